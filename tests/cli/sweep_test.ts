import { sweep } from "../../src/cli/sweep.ts";
import { parseWords } from "../../src/cli/command.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { UsageError } from "../../src/cli/print.ts";
import { commandLine, type Ended, run } from "../support/program.ts";
import { type Held, hold } from "../support/held.ts";
import { mountsBelow, SCRATCH } from "../support/testing.ts";
import {
  makeCache,
  OTHER_USER,
  recorder,
  recordingTest,
  recordLines,
  recordName,
  recordNames,
  RECORDS,
  recordText,
  writeRecord,
} from "../support/records.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { runTraced } from "../support/strace.ts";
import { makeDirectory, mountId } from "../support/scratch.ts";

async function parse(args: string[]) {
  return sweep.parse(await parseWords(sweep.description, args));
}

Deno.test("sweep takes two switches and nothing else", async () => {
  const neither = { dryRun: false, lazy: false };
  assertEquals(await parse([]), neither);
  assertEquals(await parse(["-n"]), { ...neither, dryRun: true });
  assertEquals(await parse(["--dry-run"]), { ...neither, dryRun: true });
  assertEquals(await parse(["-l"]), { ...neither, lazy: true });
  assertEquals(await parse(["--lazy", "-n"]), { dryRun: true, lazy: true });
  await assertRejects(() => parse(["/mnt"]), UsageError, '"/mnt"');
  await assertRejects(() => parse(["--all"]), UsageError, '"--all"');
});

const PERMISSIONS = ["--allow-ffi", "--allow-write=/run/mountat"];

function runSweep(...args: string[]): Ended {
  return run(["sweep", ...args], { permissions: PERMISSIONS });
}

/** Starts the main job, and waits until both file systems are mounted. */
async function startMainJob(root: string): Promise<Held> {
  const command = commandLine([root, "60"], { permissions: PERMISSIONS });
  const job = await hold(command);
  while (mountsBelow(root).length < 2) await job.written();
  return job;
}

/** Mounts both by the main job, which is then killed. */
async function killMainJob(root: string): Promise<number> {
  await using job = await startMainJob(root);
  return job.pid;
}

recordingTest("sweep unmounts what kill -9 of the main job left", async () => {
  const root = `${SCRATCH}/root`;
  const pid = await killMainJob(root);
  assertEquals(mountsBelow(root).length, 2);
  assertEquals(runSweep("--dry-run"), {
    code: 0,
    stdout: `Would unmount "${root}/sys" of process ${pid}.\n` +
      `Would unmount "${root}/proc" of process ${pid}.\n`,
    stderr: "",
  });
  assertEquals(runSweep(), {
    code: 0,
    stdout: `Unmounted "${root}/sys" of process ${pid}.\n` +
      `Unmounted "${root}/proc" of process ${pid}.\n`,
    stderr: "",
  });
  assertEquals(mountsBelow(root), []);
  assertEquals(recordNames(), []);
  // What somebody else mounts there later is theirs, before a sweep and after.
  mount("theirs", `${root}/proc`, "tmpfs", 0, null);
  assertEquals(runSweep(), { code: 0, stdout: "", stderr: "" });
  assertEquals(mountsBelow(root).length, 1);
  umount2(`${root}/proc`);
});

recordingTest("sweep spares what took the place of a left mount", async () => {
  const root = `${SCRATCH}/root`;
  const pid = await killMainJob(root);
  umount2(`${root}/proc`);
  mount("theirs", `${root}/proc`, "tmpfs", 0, null);
  mount("theirs", `${root}/sys`, "tmpfs", 0, null);
  const ended = runSweep();
  assertEquals(ended.code, 32);
  assertEquals(
    ended.stdout,
    `Left "${root}/sys" of process ${pid}, which could not be unmounted.\n`,
  );
  assert(ended.stderr.includes("another mount is on top of it"), ended.stderr);
  assert(ended.stderr.includes(`Unmount what is on "${root}/sys" first`));
  assertEquals(mountsBelow(root).length, 3);
  umount2(`${root}/sys`);
  assertEquals(runSweep().code, 0);
  const [line, ...others] = mountsBelow(root);
  assert(line!.includes(" theirs "));
  assertEquals(others, []);
  umount2(`${root}/proc`);
});

recordingTest("sweep leaves the main job alone while it runs", async () => {
  const root = `${SCRATCH}/root`;
  {
    await using job = await startMainJob(root);
    const left = (name: string) =>
      `Left "${root}/${name}" of process ${job.pid}, which is alive.\n`;
    assertEquals(runSweep("--lazy"), {
      code: 0,
      stdout: left("sys") + left("proc"),
      stderr: "",
    });
    assertEquals(mountsBelow(root).length, 2);
  }
  assertEquals(runSweep().code, 0);
  assertEquals(mountsBelow(root), []);
});

recordingTest("mountat removes its record when it has unmounted", () => {
  const root = `${SCRATCH}/root`;
  const { ended, calls } = runTraced([root, "0"], ["-e", "trace=%file"], {
    permissions: PERMISSIONS,
  });
  assertEquals([ended.code, ended.stderr], [0, ""]);
  assert(calls.some(({ args }) => args.includes(".jsonl")));
  assertEquals(recordNames(), []);
}, { commands: ["strace"] });

for (const [point, first] of [["first", 1], ["second", 2]] as const) {
  recordingTest(
    `sweep knows what the main job wrote before its ${point} mount`,
    () => {
      const root = `${SCRATCH}/root`;
      // Killed at the call, which is not made.
      runTraced([root, "0"], [
        "-e",
        `inject=move_mount:signal=SIGKILL:when=${first}`,
      ], { permissions: PERMISSIONS });
      assertEquals(recordLines().length, 1 + first);
      assertEquals(mountsBelow(root).length, first - 1);
      const { code, stdout } = runSweep();
      assertEquals([code, stdout.split("\n").length], [0, first]);
      assertEquals(mountsBelow(root), []);
      assertEquals(recordNames(), []);
    },
    { commands: ["strace"] },
  );
}

recordingTest("mountat records nothing where Deno does not allow it", () => {
  const root = `${SCRATCH}/root`;
  const { ended, calls } = runTraced([root, "0"], ["-e", "trace=%file"]);
  assertEquals([ended.code, ended.stderr], [0, ""]);
  const asked = calls.filter(({ args }) => args.includes('"/run/mountat'));
  assertEquals([asked, recordNames("/run")], [[], []]);
}, { commands: ["strace"] });

recordingTest("mountat mounts where it can't record, and says so", () => {
  Deno.symlinkSync("/tmp", RECORDS);
  const ended = run([`${SCRATCH}/root`, "0"], { permissions: PERMISSIONS });
  assertEquals(ended.code, 0);
  assertMatch(ended.stdout, /Unmounting sys/);
  assertMatch(
    ended.stderr,
    /^mountat: Cannot use "\/run\/mountat" for records: openat2: ELOOP/,
  );
  assertEquals(runSweep().code, 32);
});

recordingTest("sweep --json tells of all it found", () => {
  for (const name of ["a", "busy"]) {
    mount("left", makeDirectory(name), "tmpfs", 0, null);
  }
  const ids = ["a", "busy"].map((name) => mountId(`${SCRATCH}/${name}`));
  const record = writeRecord(recordText(ids));
  const other = `${RECORDS}/${recordName(99)}`;
  Deno.mkdirSync(other);
  using _file = Deno.createSync(`${SCRATCH}/busy/file`);
  const ended = runSweep("--json");
  assertEquals(ended.code, 64);
  const pid = 2 ** 30;
  const { unmounted, left, ignored } = JSON.parse(ended.stdout);
  assertEquals(unmounted, [{
    id: Number(ids[0]),
    target: `${SCRATCH}/a`,
    pid,
  }]);
  const { hint, ...rest } = left[0];
  assert(hint.includes("busy/file"), hint);
  assertEquals(rest, {
    id: Number(ids[1]),
    target: `${SCRATCH}/busy`,
    pid,
    reason: "failed",
    syscall: "umount2",
    errno: 16,
    code: "EBUSY",
  });
  assertEquals(ignored, [{ path: other, reason: "it is no regular file" }]);
  assertEquals(
    ended.stderr.split("\n").filter((line) => line.startsWith("mountat")),
    [
      `mountat: Ignored "${other}": it is no regular file`,
      `mountat: Cannot unmount "${SCRATCH}/busy": umount2: EBUSY (Device or resource busy)`,
    ],
  );
  assert(Deno.statSync(record).isFile);
  assertEquals(runSweep("--quiet").code, 32);
  assertEquals(runSweep("--quiet", "--lazy").stdout, "");
  assertEquals(mountsBelow(`${SCRATCH}/busy`), []);
});

recordingTest("sweep is not permitted without the capability", () => {
  mount("left", makeDirectory("a"), "tmpfs", 0, null);
  writeRecord(recordText([mountId(`${SCRATCH}/a`)]));
  const ended = run(["sweep"], {
    permissions: PERMISSIONS,
    wrapper: ["setpriv", "--bounding-set=-sys_admin"],
  });
  assertEquals(ended.code, 1);
  assert(ended.stderr.includes("CAP_SYS_ADMIN"), ended.stderr);
  assertEquals(recordNames().length, 1);
  assertEquals(runSweep().code, 0);
}, { commands: ["setpriv"] });

recordingTest("sweep says what it misses of /proc", () => {
  const without = () => {
    mount("proc", "/proc", "proc", 0, "subset=pid");
    try {
      return runSweep();
    } finally {
      umount2("/proc", 0);
    }
  };
  assertEquals(without(), { code: 0, stdout: "", stderr: "" });
  Deno.mkdirSync(RECORDS, { mode: 0o700 });
  assertEquals(without(), {
    code: 32,
    stdout: "",
    stderr:
      'mountat: Cannot read "/proc/sys/kernel/random/boot_id": openat2: ENOENT (No such file or directory)\n',
  });
});

recordingTest("sweep prints no control characters of names", () => {
  const path = makeDirectory("esc\x1b[31m");
  mount("left", path, "tmpfs", 0, null);
  writeRecord(recordText([mountId(path)]));
  assertMatch(runSweep().stdout, /esc\\x1b\[31m"/);
});

recordingTest(
  "sweep of another user sweeps what that user recorded",
  async () => {
    const [root, runtime] = [`${SCRATCH}/root`, `${SCRATCH}/runtime`];
    for (const path of [root, runtime]) {
      Deno.mkdirSync(path, { mode: 0o700 });
      Deno.chownSync(path, 65534, 65534);
    }
    const options = {
      permissions: ["-A", "--no-config", "--no-lock"],
      wrapper: [
        ...OTHER_USER,
        "env",
        `DENO_DIR=${makeCache()}`,
        `XDG_RUNTIME_DIR=${runtime}`,
      ],
      entry: "tests/fixtures/recorder.ts",
    };
    {
      await using _ = await recorder(root, ["a"], options);
    }
    // Root's own is another directory.
    assertEquals(runSweep(), { code: 0, stdout: "", stderr: "" });
    const ended = run(["sweep"], { ...options, entry: "cli.ts" });
    assertEquals([ended.code, ended.stderr], [0, ""]);
    assertMatch(ended.stdout, /^Unmounted ".*\/root\/a" of process \d+\.\n$/);
    assertEquals(mountsBelow(root), []);
    assertEquals(recordNames(`${runtime}/mountat`), []);
  },
  { commands: ["setpriv"] },
);
