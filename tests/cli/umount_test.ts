import { type Arguments, umount } from "../../src/cli/umount.ts";
import { parseWords } from "../../src/cli/command.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { UsageError } from "../../src/cli/print.ts";
import { mountsBelow, mountTable, SCRATCH } from "../support/testing.ts";
import { mkdirat } from "../../src/sys/names.ts";
import { AT_FDCWD, MS_BIND } from "../../src/sys/constants.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import {
  type Ended,
  programTest,
  run,
  type RunOptions,
} from "../support/program.ts";

async function parse(args: string[]): Promise<Arguments> {
  return umount.parse(await parseWords(umount.description, args));
}

const NO_OPTIONS = { lazy: false, force: false, expire: false };

Deno.test("umount takes a directory and a name, or --recursive", async () => {
  assertEquals(await parse(["d", "./a//b/"]), {
    directory: "d",
    target: "a/b",
    extent: "topmost",
    options: NO_OPTIONS,
  });
  assertEquals((await parse(["d", "x/../007"])).target, "x/../007");
  assertEquals((await parse(["--all", "d", "a"])).extent, "stack");
  for (const option of ["--recursive", "-R"]) {
    const { target, extent } = await parse([option, "d"]);
    assertEquals([target, extent], [null, "tree"]);
    assertEquals((await parse(["d", option, "a"])).target, "a");
  }
  assertEquals((await parse(["--all", "-R", "d"])).extent, "tree");
  assertEquals((await parse(["--all", "d"])).extent, "tree");
  for (
    const [args, expected] of [
      [["-l"], { lazy: true }],
      [["-f"], { force: true }],
      [["-lf"], { lazy: true, force: true }],
      [["--lazy", "--force"], { lazy: true, force: true }],
      [["--expire"], { expire: true }],
      [["--strategy", "mtab"], { strategy: "mtab" }],
    ] as const
  ) {
    const { options } = await parse([...args, "d", "a"]);
    assertEquals(options, { ...NO_OPTIONS, ...expected });
  }
});

Deno.test("umount throws when its arguments make no sense", async () => {
  const wrong: [string[], string][] = [
    [[], "Usage: mountat umount [options] <directory> <name>"],
    [["d"], "The name is missing"],
    [["-R"], "Usage: mountat umount"],
    [["", "a"], "empty"],
    [["d", ""], "empty"],
    [["-R", "d", ""], "empty"],
    [["d", "/a"], "relative"],
    [["d", ".."], 'must not end in "..": ".."'],
    [["d", "a/.."], 'must not end in ".."'],
    [["-R", "d", "a/../b"], 'must not have ".."'],
    [["d", "a", "b"], '"b"'],
    [["--nope", "d", "a"], '"--nope"'],
    [["--lazily", "d", "a"], '"--lazily"'],
    [["--strategy", "chdir", "d", "a"], 'strategy "chdir"'],
  ];
  for (const [args, words] of wrong) {
    await assertRejects(() => parse(args), UsageError, words);
  }
});

/** Mounts tmpfs, each on a directory of the scratch directory. */
function mountAll(...names: string[]): void {
  for (const name of names) {
    const path = `${SCRATCH}/${name}`;
    try {
      mkdirat(AT_FDCWD, path, 0o755);
    } catch (error) {
      if (!(error instanceof SyscallError && error.code === "EEXIST")) {
        throw error;
      }
    }
    mount("scratch", path, "tmpfs", 0, null);
  }
}

function left(): string[] {
  return mountsBelow(SCRATCH).slice(1).map((line) =>
    line.split(" ")[4]!.slice(SCRATCH.length + 1)
  );
}

function unmount(args: string[], options: RunOptions = {}): Ended {
  return run(["umount", ...args], options);
}

/** The errors that were reported, without their hints. */
function errors({ stderr }: Ended): string[] {
  return stderr.split("\n").filter((line) => line.startsWith("mountat: "));
}

programTest("umount unmounts the topmost mount on a name", () => {
  mountAll("a", "a", "b c", "esc\x1b[31m");
  const done = (target: string) => ({
    code: 0,
    stdout: `Unmounted "${target}".\n`,
    stderr: "",
  });
  assertEquals(unmount([SCRATCH, "a"]), done("a"));
  assertEquals(left().length, 3);
  assertEquals(unmount([".", "a"], { cwd: SCRATCH }), done("a"));
  assertEquals(unmount([SCRATCH, "b c"]), done("b c"));
  assertEquals(unmount([SCRATCH, "esc\x1b[31m"]), done("esc\\x1b[31m"));
  assertEquals(left(), []);
});

programTest("umount says nothing with --quiet, and all with --json", () => {
  mountAll("a", "b", "b/busy");
  assertEquals(unmount(["-q", SCRATCH, "a"]), {
    code: 0,
    stdout: "",
    stderr: "",
  });
  using _file = Deno.createSync(`${SCRATCH}/b/busy/file`);
  const ended = unmount(["--json", "-R", SCRATCH]);
  assertEquals(ended.code, 32);
  const { unmounted, failed } = JSON.parse(ended.stdout);
  assertEquals(unmounted, []);
  assertEquals(failed.length, 2);
  const { hint, ...rest } = failed[0];
  assert(hint.includes("b/busy/file"), hint);
  assertEquals(rest, {
    target: "b/busy",
    syscall: "umount2",
    errno: 16,
    code: "EBUSY",
  });
  assertEquals(failed[1].target, "b");
  assertEquals(errors(ended).length, 2);
  const lazily = unmount(["--json", "-lR", SCRATCH]);
  assertEquals(JSON.parse(lazily.stdout), {
    unmounted: ["b/busy", "b"],
    failed: [],
  });
});

programTest("umount --all unmounts a stack, and counts", () => {
  mountAll("a", "a", "a");
  assertEquals(
    unmount(["--all", SCRATCH, "a"]).stdout,
    'Unmounted "a".\n'.repeat(3),
  );
  assertEquals(left(), []);
  mountAll("a", "a");
  using file = Deno.createSync(`${SCRATCH}/a/file`);
  mountAll("a");
  const some = unmount(["--all", SCRATCH, "a"]);
  assertEquals([some.code, some.stdout], [64, 'Unmounted "a".\n']);
  assert(errors(some)[0]!.includes('Cannot unmount "a": umount2: EBUSY'));
  const none = unmount(["--all", SCRATCH, "a"]);
  assertEquals([none.code, none.stdout, errors(none).length], [32, "", 1]);
  assertEquals(left(), ["a", "a"]);
  file.close();
  assertEquals(unmount(["--all", "./a/..", "a"], { cwd: SCRATCH }).code, 0);
});

programTest("umount --recursive unmounts everything below", () => {
  mountAll("a", "a/b", "a/b", "a/b/c", "d");
  const all = unmount(["-R", SCRATCH]);
  assertEquals(all, {
    code: 0,
    stdout: ["d", "a/b/c", "a/b", "a/b", "a"].map((target) =>
      `Unmounted "${target}".\n`
    ).join(""),
    stderr: "",
  });
  assertEquals(left(), []);
  // Then nothing is below it, which was wanted.
  assertEquals(unmount(["-R", SCRATCH]), { code: 0, stdout: "", stderr: "" });
});

programTest("umount --recursive unmounts a name and what is in it", () => {
  mountAll("a", "a/b", "a", "ab", "a/in");
  mkdirat(AT_FDCWD, `${SCRATCH}/plain`, 0o755);
  mountAll("plain/m");
  assertEquals(unmount(["-R", SCRATCH, "a"]).code, 0);
  assertEquals(left(), ["ab", "plain/m"]);
  // The name itself need not be mounted on.
  assertEquals(unmount(["-R", SCRATCH, "plain"]).code, 0);
  assertEquals(left(), ["ab"]);
  for (const [name, code] of [["plain", "EINVAL"], ["none", "ENOENT"]]) {
    const ended = unmount(["-R", SCRATCH, name!]);
    assertEquals(ended.code, 32);
    assert(errors(ended)[0]!.includes(`"${name}": umount2: ${code}`));
  }
  assertEquals(unmount(["-R", SCRATCH, "."]).code, 0);
  assertEquals(left(), []);
});

programTest("umount --recursive names each failure, 64 for some", () => {
  mountAll("a", "a/busy", "b", "c", "c");
  using _file = Deno.createSync(`${SCRATCH}/a/busy/file`);
  const some = unmount(["--recursive", SCRATCH]);
  assertEquals(some.code, 64);
  assertEquals(
    some.stdout,
    ["c", "c", "b"].map((target) => `Unmounted "${target}".\n`).join(""),
  );
  assertEquals(errors(some), [
    'mountat: Cannot unmount "a/busy": umount2: EBUSY (Device or resource busy)',
    'mountat: Cannot unmount "a": umount2: EBUSY (Device or resource busy)',
  ]);
  const none = unmount(["--recursive", SCRATCH]);
  assertEquals([none.code, none.stdout, errors(none).length], [32, "", 2]);
  assertEquals(unmount(["--recursive", "--lazy", SCRATCH]).code, 0);
  assertEquals(left(), []);
});

programTest("umount says why it can't unmount a name", () => {
  mountAll("outside");
  mkdirat(AT_FDCWD, `${SCRATCH}/root`, 0o755);
  Deno.symlinkSync("../outside", `${SCRATCH}/root/link`);
  Deno.symlinkSync("..", `${SCRATCH}/root/up`);
  const root = `${SCRATCH}/root`;
  for (
    const [name, words] of [
      ["none", "umount2: ENOENT"],
      ["none/a", "openat2: ENOENT"],
      ["link", "umount2: EINVAL"],
      ["up/outside", "openat2: ELOOP"],
      ["../outside", "openat2: EXDEV"],
    ] as const
  ) {
    const ended = unmount([root, name]);
    assertEquals([ended.code, ended.stdout], [32, ""]);
    assert(
      errors(ended)[0]!.startsWith(
        `mountat: Cannot unmount "${name}": ${words}`,
      ),
      ended.stderr,
    );
  }
  for (const name of ["link", "up"]) {
    assertEquals(unmount(["-R", root, name]).code, 32);
  }
  assertEquals(unmount([`${root}/none`, "a"]).code, 32);
  assertEquals(unmount([root]).code, 1);
  assertEquals(left(), ["outside"]);
  umount2(`${SCRATCH}/outside`);
});

for (const strategy of ["procfd", "worker", "subprocess", "mtab"]) {
  programTest(`umount --strategy ${strategy} unmounts, stacks too`, () => {
    const permissions = strategy === "subprocess"
      ? ["--allow-ffi", "--allow-run"]
      : ["--allow-ffi"];
    mountAll("a", "a", "b", "b/c");
    const args = ["--strategy", strategy];
    const all = run(["umount", ...args, "--all", SCRATCH, "a"], {
      permissions,
    });
    assertEquals([all.code, all.stderr, left()], [0, "", ["b", "b/c"]]);
    const busy = run(["umount", ...args, SCRATCH, "b"], { permissions });
    assertEquals(busy.code, 32, busy.stderr);
    assert(busy.stderr.includes("EBUSY"), busy.stderr);
    const below = run(["umount", ...args, "-R", SCRATCH], { permissions });
    assertEquals([below.code, below.stderr, left()], [0, "", []]);
  });
}

programTest(
  "umount --strategy subprocess works where SIGCHLD is ignored",
  () => {
    mountAll("a");
    const ended = run(["umount", "--strategy", "subprocess", SCRATCH, "a"], {
      permissions: ["--allow-ffi", "--allow-run"],
      wrapper: ["env", "--ignore-signal=CHLD"],
    });
    assertEquals([ended.code, ended.stderr, left()], [0, "", []]);
  },
);

for (const strategy of ["worker", "subprocess"]) {
  programTest(`--trace shows what umount --strategy ${strategy} calls`, () => {
    const traced = (...args: string[]) => {
      const words = ["--trace", "umount", "--strategy", strategy, ...args];
      const permissions = ["--allow-ffi", "--allow-run"];
      const { stderr } = run([...words, SCRATCH, "a"], { permissions });
      const lines = stderr.split("\n").filter((line) =>
        /^(fchdir|umount2)\(/.test(line)
      ).map((line) => line.replace(/ += /, " = "));
      assertEquals(lines.length, 2, stderr);
      assert(/^fchdir\(\d+<.*>\) = 0$/.test(lines[0]!), stderr);
      assert(lines[0]!.includes(`<${SCRATCH}>`), stderr);
      return lines[1];
    };
    mkdirat(AT_FDCWD, `${SCRATCH}/a`, 0o755);
    assertEquals(
      traced(),
      'umount2("a", UMOUNT_NOFOLLOW) = -1 EINVAL (Invalid argument)',
    );
    mountAll("a");
    assertEquals(
      traced("--lazy"),
      'umount2("a", MNT_DETACH|UMOUNT_NOFOLLOW) = 0',
    );
  });
}

programTest("umount --strategy subprocess is not permitted without run", () => {
  mountAll("a");
  const ended = run(["umount", "--strategy", "subprocess", SCRATCH, "a"]);
  assertEquals(ended.code, 1, ended.stderr);
  assert(ended.stderr.includes("--allow-run"), ended.stderr);
  umount2(`${SCRATCH}/a`, 0);
});

programTest("umount --expire expires at the second call", () => {
  mountAll("a", "b");
  assertEquals(unmount(["--expire", "-R", SCRATCH]).code, 32);
  assertEquals(unmount(["--expire", "-R", SCRATCH]).code, 0);
  mountAll("a");
  assertEquals(unmount(["--expire", SCRATCH, "a"]).code, 32);
  assertEquals(unmount(["--expire", SCRATCH, "a"]).code, 0);
  assertEquals(left(), []);
});

programTest("umount is not permitted without the capability", () => {
  mountAll("a", "a/b");
  const wrapper = ["setpriv", "--bounding-set=-sys_admin"];
  for (const args of [[SCRATCH, "a"], ["--all", SCRATCH, "a"]]) {
    const ended = unmount(args, { wrapper });
    assertEquals([ended.code, ended.stdout], [1, ""]);
    assert(ended.stderr.includes("CAP_SYS_ADMIN"), ended.stderr);
  }
  const ended = unmount(["-R", SCRATCH], { wrapper });
  assertEquals([ended.code, errors(ended).length], [1, 2]);
  assertEquals(left(), ["a", "a/b"]);
  assertEquals(unmount(["-R", SCRATCH]).code, 0);
}, { commands: ["setpriv"] });

programTest("umount unmounts a file that is mounted on", () => {
  for (const name of ["source", "file"]) {
    Deno.writeTextFileSync(`${SCRATCH}/${name}`, "");
  }
  const bind = () =>
    mount(`${SCRATCH}/source`, `${SCRATCH}/file`, null, MS_BIND, null);
  bind();
  bind();
  assertEquals(unmount(["--all", SCRATCH, "file"]).code, 0);
  bind();
  assertEquals(unmount(["-R", SCRATCH, "file"]).code, 0);
  assertEquals(left(), []);
});

programTest(
  "umount leaves the root of this process, and what is no mount",
  () => {
    const before = mountTable()[0];
    mkdirat(AT_FDCWD, `${SCRATCH}/plain`, 0o755);
    for (const lazily of [[], ["--lazy"]]) {
      const root = run(["umount", ...lazily, "/", "."]);
      assertEquals([root.code, root.stdout], [32, ""]);
      assert(
        root.stderr.includes("it is the root of this process"),
        root.stderr,
      );
      assert(!root.stderr.includes("lazy"), root.stderr);
      const plain = run(["umount", ...lazily, `${SCRATCH}/plain`, "."]);
      assertEquals([plain.code, plain.stdout], [32, ""]);
      assertEquals(
        plain.stderr,
        'mountat: Cannot unmount ".": umount2: EINVAL (Invalid argument)\n  hint: Nothing is mounted there\n',
      );
    }
    assertEquals(mountTable()[0], before);
  },
);

programTest("umount without permission exits 1, and says why once", () => {
  mountAll("a", "a", "a", "b", "b/c");
  const wrapper = ["setpriv", "--bounding-set=-sys_admin"];
  for (const args of [["-R", SCRATCH], ["--all", SCRATCH, "a"]]) {
    const { code, stdout, stderr } = run(["umount", ...args], { wrapper });
    assertEquals([code, stdout], [1, ""]);
    assertEquals(stderr.match(/hint:/g)?.length, 1, stderr);
    const lines = stderr.trimEnd().split("\n");
    assertEquals(new Set(lines).size, lines.length, stderr);
  }
  const { stdout } = run(["umount", "--json", "-R", SCRATCH], { wrapper });
  const { failed } = JSON.parse(stdout);
  assertEquals(
    failed.map(({ code }: { code: string }) => code),
    Array(5).fill("EPERM"),
  );
  assertEquals(unmount(["-R", SCRATCH]).code, 0);
}, { commands: ["setpriv"] });
