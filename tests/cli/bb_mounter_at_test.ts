import { type Arguments, bbMounterAt } from "../../src/cli/bb_mounter_at.ts";
import { parseWords } from "../../src/cli/command.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { UsageError } from "../../src/cli/print.ts";
import { commandLine, programTest, run } from "../support/program.ts";
import { mountsBelow, ROOT, SCRATCH } from "../support/testing.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { hold } from "../support/held.ts";
import { injecting, runTraced } from "../support/strace.ts";

async function parse(args: string[]): Promise<Arguments> {
  return bbMounterAt.parse(await parseWords(bbMounterAt.description, args));
}

Deno.test("bbMounterAt takes a directory and a delay", async () => {
  assertEquals(await parse(["d"]), { directory: "d", delay: 5 });
  assertEquals(await parse(["d", "0"]), { directory: "d", delay: 0 });
  assertEquals(await parse(["007", "10"]), { directory: "007", delay: 10 });
  assertEquals(await parse(["--", "-d", "1"]), { directory: "-d", delay: 1 });
});

Deno.test("bbMounterAt throws when the arguments make no sense", async () => {
  const wrong: [string[], string][] = [
    [[], "Usage: mountat <directory> [delay]"],
    [[""], "empty"],
    [["d", "abc"], '"abc"'],
    [["d", "-1"], "-1"],
    [["d", "1e9"], '"1e9"'],
    [["d", "007"], '"007"'],
    [["d", ""], '""'],
    [["d", " 1"], '" 1"'],
    [["d", "1.5"], '"1.5"'],
    [["d", "+1"], '"+1"'],
    [["d", "0x10"], '"0x10"'],
    [["d", "9".repeat(20)], "999"],
    [["d", "1", "2"], '"2"'],
    [["--nope", "d"], '"--nope"'],
    [["--nope=x", "d"], "--nope"],
    [["-x"], '"-x"'],
  ];
  for (const [args, words] of wrong) {
    await assertRejects(() => parse(args), UsageError, words);
  }
});

function transcript(directory: string, seconds: string): RegExp {
  return new RegExp(
    `^Mounting /proc into (\\d+) \\(file descriptor for\\) ${directory}\\.
Mounting /sys into \\1 \\(file descriptor for\\) ${directory}\\.
Sleeping ${seconds}\\.
Unmounting proc from \\1 \\(directory file descriptor\\)\\.
Unmounting sys from \\1 \\(directory file descriptor\\)\\.
$`,
  );
}

const LIBC = Deno.build.arch === "x86_64"
  ? "/lib/x86_64-linux-gnu/libc.so.6"
  : "/lib/aarch64-linux-gnu/libc.so.6";

for (
  const permissions of [
    ["-A"],
    ["--allow-ffi"],
    [`--allow-ffi=${LIBC}`],
  ]
) {
  for (const entry of ["mod.ts", "cli.ts"]) {
    programTest(`${entry} does the main job with ${permissions}`, () => {
      const directory = `${SCRATCH}/new/root`;
      const ended = run([directory, "0"], { permissions, entry });
      assertMatch(ended.stdout, transcript(directory, "0 seconds"));
      assertEquals([ended.code, ended.stderr], [0, ""]);
      assertEquals(mountsBelow(directory), []);
      for (const name of ["proc", "sys"]) {
        assertEquals(
          Deno.statSync(`${directory}/${name}`).mode! & 0o7777,
          0o700,
        );
      }
    });
  }
}

programTest("bb_mounter_at is the program without a subcommand", () => {
  const ended = run(["bb_mounter_at", `${SCRATCH}/root`, "1"]);
  assertMatch(ended.stdout, transcript(`${SCRATCH}/root`, "1 second"));
  assertEquals([ended.code, ended.stderr], [0, ""]);
});

programTest("./help is a directory, help is not", () => {
  Deno.mkdirSync(`${SCRATCH}/help`);
  const shown = run(["help"]);
  assertEquals(shown.code, 0);
  assert(shown.stdout.startsWith("Usage: mountat"));
  const mounted = run(["./help", "0"], { cwd: SCRATCH });
  assertEquals(mounted.code, 0, mounted.stderr);
  assert(Deno.statSync(`${SCRATCH}/help/proc`).isDirectory);
});

programTest("mountat makes directories through the caller's symlinks", () => {
  Deno.mkdirSync(`${SCRATCH}/real`);
  Deno.symlinkSync("real", `${SCRATCH}/link`);
  assertEquals(run([`${SCRATCH}/link/../link/a/b`, "0"]).code, 0);
  assert(Deno.statSync(`${SCRATCH}/real/a/b/proc`).isDirectory);
});

/** What lies in the directory, by path. */
function contents(directory: string): string[] {
  return [...Deno.readDirSync(directory)].flatMap((entry) => {
    const path = `${directory}/${entry.name}`;
    return entry.isDirectory ? [path, ...contents(path)] : [path];
  }).sort();
}

/** It must fail with these words and status 1, and leave nothing. */
function assertFails(args: string[], words: string): string {
  const before = contents(SCRATCH);
  const table = mountsBelow(SCRATCH);
  const ended = run(args);
  assertEquals(ended.code, 1, ended.stderr);
  assert(ended.stderr.startsWith("mountat: "), ended.stderr);
  assert(ended.stderr.includes(words), ended.stderr);
  assertEquals(contents(SCRATCH), before);
  assertEquals(mountsBelow(SCRATCH), table);
  return ended.stdout;
}

programTest("mountat leaves nothing when its arguments make no sense", () => {
  assertEquals(assertFails([], "Usage: mountat <directory> [delay]"), "");
  assertFails(["--nope"], 'Unknown option "--nope"');
  for (const delay of ["abc", "-1", "1e9", "007", ""]) {
    assertFails([`${SCRATCH}/new/root`, delay], `"${delay}"`);
  }
});

programTest("mountat -h shows its usage whatever else is said", () => {
  for (const args of [["-h"], ["--help"], ["d", "nonsense", "-h"]]) {
    const ended = run(args);
    assertEquals([ended.code, ended.stderr], [0, ""]);
    assert(ended.stdout.startsWith("Usage: mountat <directory> [delay]"));
  }
});

programTest("mountat --version shows the version of deno.json", () => {
  const { version } = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`));
  assertEquals(run(["--version"]).stdout, `mountat ${version}\n`);
});

programTest("mountat leaves nothing when the directory is a file", () => {
  Deno.writeTextFileSync(`${SCRATCH}/file`, "");
  assertFails([`${SCRATCH}/file`, "0"], "ENOTDIR (Not a directory)");
  assertFails([`${SCRATCH}/file/x`, "0"], "ENOTDIR (Not a directory)");
  Deno.symlinkSync("missing", `${SCRATCH}/dangling`);
  assertFails([`${SCRATCH}/dangling/x`, "0"], "ENOENT");
  assertFails([`${SCRATCH}/new/${"x".repeat(300)}`, "0"], "ENAMETOOLONG");
  Deno.symlinkSync("loop", `${SCRATCH}/loop`);
  assertFails(
    [`${SCRATCH}/loop`, "0"],
    "The symlinks of the target lead in a circle",
  );
});

for (const name of ["proc", "sys"]) {
  programTest(`mountat leaves nothing when ${name} is no directory`, () => {
    const root = `${SCRATCH}/root`;
    const path = `${root}/${name}`;
    Deno.mkdirSync(root);
    Deno.mkdirSync(`${SCRATCH}/outside`);
    Deno.writeTextFileSync(path, "");
    assertFails([root, "0"], `"${name}": openat2: ENOTDIR`);
    Deno.removeSync(path);
    for (const target of ["../outside", `${SCRATCH}/outside`, "missing"]) {
      Deno.symlinkSync(target, path);
      assertFails([root, "0"], `"${name}": openat2: ELOOP`);
      Deno.removeSync(path);
    }
  });
}

programTest("mountat says what is needed when it may not mount", () => {
  // Root without the capability: what a container usually runs as.
  const wrapper = ["setpriv", "--bounding-set=-sys_admin"];
  const before = contents(SCRATCH);
  const ended = run([`${SCRATCH}/new/root`, "0"], { wrapper });
  assertEquals(ended.code, 1);
  assert(
    ended.stderr.includes('Cannot mount proc on "proc": fsopen: EPERM'),
    ended.stderr,
  );
  assert(ended.stderr.includes("CAP_SYS_ADMIN"), ended.stderr);
  assert(ended.stderr.includes("unshare -Urm"), ended.stderr);
  assertEquals(contents(SCRATCH), before);
}, { commands: ["setpriv"] });

programTest("mountat leaves nothing where it may not write", () => {
  Deno.mkdirSync(`${SCRATCH}/theirs`, { mode: 0o755 });
  const wrapper = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search,-fowner",
    "--securebits=+noroot",
  ];
  Deno.chownSync(`${SCRATCH}/theirs`, 65534, 65534);
  const ended = run([`${SCRATCH}/theirs/root`, "0"], { wrapper });
  assertEquals(ended.code, 1);
  assert(ended.stderr.includes("mkdirat: EACCES"), ended.stderr);
  assertEquals(contents(`${SCRATCH}/theirs`), []);
}, { commands: ["setpriv"] });

programTest("mountat names the permission when FFI is denied", () => {
  const ended = run([`${SCRATCH}/new`, "0"], { permissions: [] });
  assertEquals([ended.code, ended.stdout], [1, ""]);
  assert(ended.stderr.includes("--allow-ffi"), ended.stderr);
  const elsewhere = run([`${SCRATCH}/new`, "0"], {
    permissions: ["--allow-ffi=/nowhere.so"],
  });
  assertEquals(elsewhere.code, 1);
  assertEquals(contents(SCRATCH), []);
});

/** Starts the program, and waits until it sleeps. */
async function startSleeping(args: string[], wrapper: string[] = []): Promise<{
  child: Deno.ChildProcess;
  ended: Promise<[Deno.CommandStatus, string, string]>;
}> {
  const [command, ...rest] = commandLine(args, { wrapper });
  const child = new Deno.Command(command!, {
    args: rest,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const [watched, kept] = child.stdout.tee();
  const reader = watched.pipeThrough(new TextDecoderStream()).getReader();
  for (let seen = ""; !seen.includes("Sleeping");) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`Ended early: ${seen}`);
    seen += value;
  }
  const ended = Promise.all([
    child.status,
    new Response(kept).text(),
    new Response(child.stderr).text(),
    reader.cancel(),
  ]);
  return {
    child,
    ended: ended.then(([status, out, err]) => [status, out, err]),
  };
}

/** Has each signal its default action, whatever the tests' own parent ignores. */
const DEFAULTS = ["env", "--default-signal"];

// All that end a process, signal(7), but those that nobody can catch, that tell of
// a mistake in the process itself, and SIGPIPE, which Deno ignores.
for (
  const [signal, status] of [
    ["SIGHUP", 129],
    ["SIGINT", 130],
    ["SIGQUIT", 131],
    ["SIGABRT", 134],
    ["SIGUSR1", 138],
    ["SIGUSR2", 140],
    ["SIGALRM", 142],
    ["SIGTERM", 143],
    ["SIGSTKFLT", 144],
    ["SIGXCPU", 152],
    ["SIGXFSZ", 153],
    ["SIGVTALRM", 154],
    ["SIGPROF", 155],
    ["SIGIO", 157],
    ["SIGPWR", 158],
  ] as const
) {
  programTest(`mountat unmounts and exits ${status} on ${signal}`, async () => {
    const root = `${SCRATCH}/root`;
    const { child, ended } = await startSleeping([root, "3600"], DEFAULTS);
    const table = mountsBelow(root).map((line) => line.split(" "));
    assertEquals(table.map((fields) => fields[4]), [
      `${root}/proc`,
      `${root}/sys`,
    ]);
    for (const fields of table) assert(fields[5]!.includes("noexec"));
    assertEquals(table.map((fields) => fields.slice(-3, -1)), [
      ["proc", "/proc"],
      ["sysfs", "/sys"],
    ]);
    child.kill(signal);
    const [{ code }, stdout] = await ended;
    assertEquals(code, status);
    assertMatch(stdout, transcript(root, "3600 seconds"));
    assertEquals(mountsBelow(root), []);
  }, { commands: ["env"] });
}

programTest("mountat ignores what it was started to ignore", async () => {
  const root = `${SCRATCH}/root`;
  // As a shell starts what is to run in the background.
  const ignoring = ["env", "--ignore-signal=INT,QUIT,USR1"];
  const { child, ended } = await startSleeping([root, "1"], ignoring);
  for (const signal of ["SIGINT", "SIGQUIT", "SIGUSR1"] as const) {
    child.kill(signal);
  }
  const [{ code }] = await ended;
  assertEquals(code, 0);
  assertEquals(mountsBelow(root), []);
}, { commands: ["env"] });

programTest("mountat ignores a hang-up under nohup", async () => {
  const root = `${SCRATCH}/root`;
  const { child, ended } = await startSleeping([root, "1"], ["nohup"]);
  child.kill("SIGHUP");
  const [{ code }] = await ended;
  assertEquals(code, 0);
  assertEquals(mountsBelow(root), []);
}, { commands: ["nohup"] });

programTest(
  "mountat says what it could not unmount, and unmounts the rest",
  async () => {
    const root = `${SCRATCH}/root`;
    const { child, ended } = await startSleeping([root, "3600"]);
    const file = Deno.openSync(`${root}/proc/version`);
    child.kill("SIGTERM");
    const [status, , stderr] = await ended;
    assertEquals(status.code, 1);
    assert(stderr.includes('Cannot unmount "proc": umount2: EBUSY'), stderr);
    // Who is in the way is looked for while it is.
    assert(stderr.includes(`"${root}/proc/version"`), stderr);
    assertEquals(mountsBelow(root).length, 1);
    file.close();
    const { success } = new Deno.Command("umount", { args: [`${root}/proc`] })
      .outputSync();
    assert(success);
  },
  { commands: ["umount"] },
);

/** Runs the program in a shell, `"$@"` being its command line. */
function runInShell(
  script: string,
  args: string[],
): { code: number; stderr: string } {
  const [deno, ...rest] = commandLine(args);
  const { code, stderr } = new Deno.Command("sh", {
    args: ["-c", script, "sh", deno!, ...rest],
    cwd: SCRATCH,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).outputSync();
  return { code, stderr: new TextDecoder().decode(stderr) };
}

for (const room of [0, 5, 100, 150, 200]) {
  programTest(
    `mountat leaves nothing when output fails after ${room} bytes`,
    () => {
      Deno.mkdirSync(`${SCRATCH}/small`);
      mount("small", `${SCRATCH}/small`, "tmpfs", 0, "size=4k");
      Deno.writeTextFileSync(`${SCRATCH}/small/out`, "x".repeat(4096 - room));
      const { code, stderr } = runInShell('"$@" >> small/out', [
        `${SCRATCH}/new/root`,
        "0",
      ]);
      assertEquals(code, 1, stderr);
      assertMatch(stderr, /^mountat: Cannot write to standard output: ENOSPC/);
      assertEquals(mountsBelow(`${SCRATCH}/new`), []);
      umount2(`${SCRATCH}/small`, 0);
    },
  );
}

programTest("mountat tells both causes when undoing fails, too", () => {
  const root = `${SCRATCH}/root`;
  Deno.mkdirSync(root);
  Deno.writeTextFileSync(`${root}/sys`, "");
  const { ended } = runTraced(
    [root, "0"],
    injecting("umount2", "error=EBUSY:when=1"),
  );
  assertEquals(ended.code, 1);
  assert(ended.stderr.includes('"sys": openat2: ENOTDIR'), ended.stderr);
  assert(ended.stderr.includes('unmount "proc": umount2: EBUSY'), ended.stderr);
  umount2(`${root}/proc`, 0);
}, { commands: ["strace"] });

programTest(
  "mountat mounts into the very directory whose name is no UTF-8",
  () => {
    const { code, stderr } = runInShell(
      `"$@" "$(printf 'o\\377d')" 0 && test -d "$(printf 'o\\377d/proc')"`,
      [],
    );
    assertEquals([code, stderr], [0, ""]);
  },
);

programTest("mountat tries again when the kernel can't tell (EAGAIN)", () => {
  const { ended, calls } = runTraced(
    [`${SCRATCH}/root`, "0"],
    injecting("openat2", "error=EAGAIN:when=1..3"),
  );
  assertEquals(ended.code, 0, ended.stderr);
  assertEquals(calls.filter((call) => call.injected).length, 3);
}, { commands: ["strace"] });

programTest("mountat says which Linux has the call that is missing", () => {
  for (
    const [call, version] of [["fsopen", "5.2"], ["openat2", "5.6"]] as const
  ) {
    const { ended } = runTraced(
      [`${SCRATCH}/root`, "0"],
      injecting(call, "error=ENOSYS"),
    );
    assertEquals(ended.code, 1);
    assert(ended.stderr.includes(`Linux ${version}`), ended.stderr);
    assertEquals(contents(SCRATCH), []);
  }
}, { commands: ["strace"] });

programTest(
  "mountat says of a directory in another namespace that it is there",
  async () => {
    await using other = await hold([
      ...["unshare", "-m", "--propagation", "private", "sh", "-c"],
      `mount -t tmpfs other ${SCRATCH} && echo && exec sleep 1000`,
    ]);
    const { code, stderr } = run([`/proc/${other.pid}/root${SCRATCH}`, "0"]);
    assertEquals(code, 1);
    assertMatch(
      stderr,
      /"proc": move_mount: EINVAL .*\n {2}hint: The mount point is in .*another mount namespace/,
    );
  },
  { commands: ["unshare", "mount"] },
);

programTest("mountat unmounts, and undoes, where /proc is missing", () => {
  const root = `${SCRATCH}/root`;
  const withoutProc = () =>
    runInShell(
      'mount -t tmpfs none /proc && "$@"; code=$?; umount /proc; exit $code',
      [root, "0"],
    );
  assertEquals(withoutProc(), { code: 0, stderr: "" });
  Deno.removeSync(`${root}/sys`);
  Deno.writeTextFileSync(`${root}/sys`, "");
  const { code, stderr } = withoutProc();
  assertEquals(code, 1);
  assert(stderr.includes('"sys": openat2: ENOTDIR'), stderr);
  assertEquals(mountsBelow(root), []);
}, { commands: ["mount", "umount"] });
