import { mountsBelow, mountTable, SCRATCH } from "../support/testing.ts";
import { mount } from "../../src/sys/mount.ts";
import { commandLine, programTest, run } from "../support/program.ts";
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { injecting, runTraced } from "../support/strace.ts";
import { MS_PRIVATE, MS_SHARED } from "../../src/sys/constants.ts";

/** The mount points below the scratch directory, relative to it, in order. */
function places(): string[] {
  return mountsBelow(SCRATCH).slice(1).map((line) =>
    line.split(" ")[4]!.slice(SCRATCH.length + 1)
  );
}

function mountProc(path: string): void {
  Deno.mkdirSync(path, { recursive: true });
  mount("/proc", path, "proc", 0, null);
}

/** Runs the program under a shell that redirects descriptors. */
function runInShell(script: string): ReturnType<typeof run> {
  const [deno, ...rest] = commandLine([]);
  const { code, stdout, stderr } = new Deno.Command("sh", {
    args: ["-c", script.replaceAll("mountat", '"$0" "$@"'), deno!, ...rest],
    cwd: SCRATCH,
    env: { NO_COLOR: "1" },
  }).outputSync();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

const TARGETS = [
  "proc",
  "sys",
  "run",
  "dev/full",
  "dev/null",
  "dev/random",
  "dev/tty",
  "dev/urandom",
  "dev/zero",
];

for (const options of [[], ["--legacy"]]) {
  const how = options[0] ?? "by descriptors";
  programTest(`bb_mounter ${how} mounts all and undoes all`, () => {
    const root = `${SCRATCH}/root`;
    const ended = run(["bb_mounter", ...options, root]);
    assertEquals([ended.code, ended.stderr], [0, ""]);
    assertEquals(
      ended.stdout,
      TARGETS.map((target) => `mounting '${root}/${target}'.\n`).join(""),
    );
    assertEquals(places(), []);
    assertEquals([...Deno.readDirSync(root)], []);
  });

  programTest(`bb_mounter ${how} has the devices while it waits`, async () => {
    const root = `${SCRATCH}/root`;
    // What was there before stays.
    Deno.mkdirSync(`${root}/dev`, { recursive: true });
    Deno.writeTextFileSync(`${root}/dev/null`, "");
    const [command, ...rest] = commandLine(
      ["bb_mounter", ...options, root, "3600"],
      // A shell's background ignores SIGQUIT.
      { wrapper: ["env", "--default-signal"] },
    );
    const child = new Deno.Command(command!, {
      args: rest,
      stdin: "null",
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    for (let seen = ""; !seen.includes("zero");) {
      const { value, done } = await reader.read();
      assert(!done, seen);
      seen += value;
    }
    // The last line comes before its mount.
    while (!places().includes("root/dev/zero")) await Promise.resolve();
    assertEquals(places(), TARGETS.map((target) => `root/${target}`));
    for (const name of ["null", "zero", "full"]) {
      const [ours, host] = [`${root}/dev/${name}`, `/dev/${name}`]
        .map((path) => Deno.statSync(path));
      assertEquals([ours!.isCharDevice, ours!.rdev], [true, host!.rdev]);
    }
    child.kill("SIGQUIT");
    assertEquals((await child.status).code, 131);
    await reader.cancel();
    assertEquals(places(), []);
    assertEquals([...Deno.readDirSync(root)].map(({ name }) => name), ["dev"]);
    assertEquals(
      [...Deno.readDirSync(`${root}/dev`)].map(({ name }) => name),
      ["null"],
    );
  });
}

programTest("bb_mounter leaves nothing when any call of it fails", () => {
  const root = `${SCRATCH}/new/root`;
  const calls = ["openat2", "mkdirat", "fsopen", "fsconfig", "fsmount"].concat(
    ["move_mount", "open_tree"],
  );
  const clean = runTraced(["bb_mounter", root]);
  assertEquals(clean.ended.code, 0, clean.ended.stderr);
  Deno.removeSync(`${SCRATCH}/new`, { recursive: true });
  let injected = 0;
  for (const name of calls) {
    const times = clean.calls.filter((call) => call.name === name).length;
    assertGreater(times, 0, name);
    for (let when = 1; when <= times; when++) {
      const { ended, calls } = runTraced(
        ["bb_mounter", root],
        injecting(name, `error=EIO:when=${when}`),
      );
      const what = `${name} the ${when}th time: ${ended.stderr}`;
      assert(calls.some((call) => call.injected), what);
      // While undoing, a directory of the mount may be opened, too; and what is
      // ignored is asked for first.
      if (ended.code === 0) {
        Deno.removeSync(`${SCRATCH}/new`, { recursive: true });
        continue;
      }
      assertEquals(places(), [], what);
      assertEquals([...Deno.readDirSync(SCRATCH)], [], what);
      injected++;
    }
  }
  assertGreater(injected, 40);
}, { commands: ["strace"] });

programTest("bb_mounter --legacy leaves nothing when a mount fails", () => {
  const root = `${SCRATCH}/new/root`;
  for (let when = 1; when <= TARGETS.length; when++) {
    const { ended, calls } = runTraced(
      ["bb_mounter", "--legacy", root],
      injecting("mount", `error=EIO:when=${when}`),
    );
    assert(calls.some((call) => call.injected));
    assertEquals(ended.code, 32, ended.stderr);
    assert(ended.stderr.includes("mount: EIO"), ended.stderr);
    assertEquals(places(), []);
    assertEquals([...Deno.readDirSync(SCRATCH)], []);
  }
}, { commands: ["strace"] });

programTest("relative-mount mounts a procfs and leaves it", () => {
  Deno.mkdirSync(`${SCRATCH}/d`);
  const ended = run(["relative-mount", `${SCRATCH}/d`, "proc"]);
  assertEquals(ended, { code: 0, stdout: "", stderr: "" });
  const [line] = mountsBelow(`${SCRATCH}/d`);
  assertMatch(line!, / rw,nosuid,nodev,relatime .* proc \/proc /);
  const unmounted = runInShell("mountat relative-unmount 3 proc 3< d");
  assertEquals(unmounted, { code: 0, stdout: "", stderr: "" });
  assertEquals(places(), []);
});

programTest("relative-mount says what is wrong", () => {
  for (const args of [[], [SCRATCH], [SCRATCH, "a", "b"], [SCRATCH, "/a"]]) {
    const ended = run(["relative-mount", ...args]);
    assertEquals([ended.code, ended.stdout], [1, ""]);
    assert(ended.stderr.startsWith("mountat: "), ended.stderr);
  }
  const missing = run(["relative-mount", `${SCRATCH}/missing`, "proc"]);
  assertEquals(missing.code, 32);
  assert(missing.stderr.includes("ENOENT"), missing.stderr);
});

programTest("relative-unmount has the reference's three errors", () => {
  Deno.mkdirSync(`${SCRATCH}/d/proc`, { recursive: true });
  const cases: [string, number, string][] = [
    // The reference once got "\\3" for "3".
    [
      "mountat relative-unmount '\\3' proc",
      2,
      "Failed to parse file descriptor: '\\3'\n",
    ],
    [
      "mountat relative-unmount 77 proc",
      1,
      "Failed to change directory to file descriptor: '77'\nfchdir(77): EBADF (Bad file descriptor)\n",
    ],
    [
      "mountat relative-unmount 3 proc 3< d",
      1,
      `Failed to unmount 'proc' in ${SCRATCH}/d\numount2("proc", UMOUNT_NOFOLLOW): EINVAL (Invalid argument)\n`,
    ],
  ];
  for (const [script, code, stderr] of cases) {
    assertEquals(runInShell(script), { code, stdout: "", stderr });
  }
  const json = runInShell("mountat relative-unmount --json 3 proc 3< d");
  assertEquals(JSON.parse(json.stdout), {
    syscall: "umount2",
    errno: 22,
    code: "EINVAL",
  });
});

programTest("relative-unmount leaves the root of this process", () => {
  const before = mountTable()[0];
  for (const options of ["", "--lazy", "--force"]) {
    const ended = runInShell(`mountat relative-unmount ${options} 3 . 3< /`);
    assertEquals([ended.code, ended.stdout], [1, ""]);
    assert(ended.stderr.includes("EBUSY"), ended.stderr);
  }
  assertEquals(mountTable()[0], before);
});

programTest("relative-unmount follows no symlink out of the directory", () => {
  mountProc(`${SCRATCH}/outside/proc`);
  Deno.mkdirSync(`${SCRATCH}/d`);
  Deno.symlinkSync("../outside", `${SCRATCH}/d/link`);
  Deno.symlinkSync("../outside/proc", `${SCRATCH}/d/proc`);
  for (const name of ["proc", "link/proc", "../outside/proc"]) {
    const ended = runInShell(`mountat relative-unmount 3 ${name} 3< d`);
    assertEquals(ended.code, 1, name);
  }
  assertEquals(places(), ["outside/proc"]);
  const flags = runInShell("mountat relative-unmount -l 3 proc 3< outside");
  assertEquals(flags.code, 0, flags.stderr);
});

programTest("move moves the mount, and says which way", () => {
  for (const name of ["from", "to"]) Deno.mkdirSync(`${SCRATCH}/${name}`);
  const [from, to] = [`${SCRATCH}/from`, `${SCRATCH}/to`];
  mountProc(`${from}/proc`);
  const moved = run(["move", "--mkdir", from, to]);
  assertEquals(moved, {
    code: 0,
    stdout: `Moved "proc" from "${from}" to "${to}".\n`,
    stderr: "",
  });
  assertEquals(places(), ["to/proc"]);
  mount(null, SCRATCH, null, MS_SHARED, null);
  const cloned = run(["move", to, from, "proc"]);
  assertEquals(
    cloned.stdout,
    `Cloned and unmounted "proc" from "${to}" to "${from}".\n`,
  );
  assert(cloned.stderr.includes("--make-private"), cloned.stderr);
  assertEquals(places(), ["from/proc"]);
  const json = run(["move", "--json", "--make-private", from, to]);
  const { made, name } = JSON.parse(json.stdout);
  assertEquals([made, name, json.code], ["moved", "proc", 0]);
  assertEquals(places(), ["to/proc"]);
  assertEquals(run(["move", to, from, "nope"]).code, 32);
  assertEquals(run(["move", to]).code, 1);
  const { success } = new Deno.Command("umount", { args: [`${to}/proc`] })
    .outputSync();
  assert(success);
}, { commands: ["umount"] });

programTest(
  "move takes the clone away when the original can't be unmounted",
  () => {
    const [from, to] = [`${SCRATCH}/from`, `${SCRATCH}/to`];
    mountProc(`${from}/proc`);
    Deno.mkdirSync(to);
    mount(null, SCRATCH, null, MS_SHARED, null);
    // The first asks whether it may be unmounted at all.
    const { ended, calls } = runTraced(
      ["move", "--mkdir", from, to],
      injecting("umount2", "error=EIO:when=2"),
    );
    assert(calls.some((call) => call.injected));
    assertEquals(ended.code, 32);
    assert(ended.stderr.includes("umount2: EIO"), ended.stderr);
    assertEquals(places(), ["from/proc"]);
    assertEquals([...Deno.readDirSync(to)], []);
    mount(null, SCRATCH, null, MS_PRIVATE, null);
    const { success } = new Deno.Command("umount", { args: [`${from}/proc`] })
      .outputSync();
    assert(success);
  },
  { commands: ["strace", "umount"] },
);

programTest(
  "a subcommand's word is no directory, wherever the switches stand",
  () => {
    const cwd = SCRATCH;
    assertEquals(run(["--json", "list", SCRATCH], { cwd }).stdout[0], "{");
    assert(
      run(["--trace", "help"], { cwd }).stdout.startsWith("Usage: mountat"),
    );
    for (const word of ["mount", "bind", "remount", "apply", "run"]) {
      const ended = run([word], { cwd });
      const wrong = word === "run" ? 125 : 1;
      assertEquals([ended.code, ended.stdout], [wrong, ""], ended.stderr);
    }
    assertEquals([...Deno.readDirSync(SCRATCH)], []);
    const directory = run(["./run", "0"], { cwd });
    assertEquals(directory.code, 0, directory.stderr);
    const dashed = run(["--", "list", "0"], { cwd });
    assertEquals(dashed.code, 0, dashed.stderr);
  },
);

programTest("move tells of a move that the last look-up does not spoil", () => {
  const [from, to] = [`${SCRATCH}/from`, `${SCRATCH}/to`];
  mountProc(`${from}/proc`);
  Deno.mkdirSync(to);
  const clean = runTraced(["move", "--mkdir", from, to]);
  assertEquals(clean.ended.code, 0, clean.ended.stderr);
  // What is done after the mount was moved must not fail it.
  const moved = clean.calls.findIndex(({ name }) => name === "move_mount");
  // Deno asks statx(2) for other things.
  const ours = (name: string, args: string) =>
    name === "statx"
      ? args.includes(", STATX_MNT_ID|")
      : ["openat2", "statmount", "umount2"].includes(name);
  const after = clean.calls.slice(moved + 1).filter(({ name, args }) =>
    ours(name, args)
  );
  assertEquals(after, []);
  assertEquals(places(), ["to/proc"]);
  assert(
    new Deno.Command("umount", { args: [`${to}/proc`] }).outputSync().success,
  );
}, { commands: ["strace", "umount"] });

programTest("move names the copy that it could not take away", () => {
  const [from, to] = [`${SCRATCH}/from`, `${SCRATCH}/to`];
  mountProc(`${from}/proc`);
  Deno.mkdirSync(to);
  mount(null, SCRATCH, null, MS_SHARED, null);
  const { ended } = runTraced(
    ["move", "--mkdir", from, to],
    // The first asks whether the mount is locked.
    injecting("umount2", "error=EIO:when=2+"),
  );
  assertEquals(ended.code, 32);
  assert(ended.stderr.includes('a copy stays at "proc"'), ended.stderr);
  mount(null, SCRATCH, null, MS_PRIVATE, null);
  for (const path of [from, to]) {
    new Deno.Command("umount", { args: [`${path}/proc`] }).outputSync();
  }
}, { commands: ["strace", "umount"] });

programTest("bb_mounter says what it could not undo", () => {
  const root = `${SCRATCH}/root`;
  const unlinked =
    runTraced(["bb_mounter", root], injecting("unlinkat", "error=EIO:when=1"))
      .ended;
  assertEquals(unlinked.code, 32);
  assert(unlinked.stderr.includes("unlinkat: EIO"), unlinked.stderr);
  const mounted =
    runTraced(["bb_mounter", root], injecting("umount2", "error=EIO:when=1"))
      .ended;
  assertEquals(mounted.code, 64);
  assertEquals(places(), ["root/dev/zero"]);
  new Deno.Command("umount", { args: [`${root}/dev/zero`] }).outputSync();
}, { commands: ["strace", "umount"] });

programTest("umount --all of a directory takes everything below it", () => {
  mountProc(`${SCRATCH}/d/a`);
  mountProc(`${SCRATCH}/d/a`);
  mountProc(`${SCRATCH}/d/b`);
  assertEquals(run(["umount", "--all", `${SCRATCH}/d`]).code, 0);
  assertEquals(places(), []);
});
