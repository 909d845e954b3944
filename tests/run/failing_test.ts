import { Directory } from "../../src/directory.ts";
import type { RunOptions, RunResult } from "../../src/run/options.ts";
import { execute } from "../../src/run/execute.ts";
import { run } from "../../src/run/run.ts";
import {
  keepers,
  makeRoot,
  names,
  processesWith,
  rootTest,
  runTest,
  text,
} from "../support/run_root.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  mountTable,
  openDescriptors,
  ROOT,
  ROOT_URL,
  SCRATCH,
  withoutProc,
} from "../support/testing.ts";
import { MountError } from "../../src/error/error.ts";
import { withoutCall } from "../support/scratch.ts";
import { endSpawner, spawner } from "../../src/run/spawner.ts";
import { libc, NR } from "../../src/sys/libc.ts";
import { endStagingThread } from "../../src/mount/staging.ts";
import { SyscallError, UnsupportedError } from "../../src/sys/error.ts";

runTest("run() lets the program end after it failed", async () => {
  using root = Directory.open(makeRoot());
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      `--config=${ROOT}deno.json`,
      `import { Directory, run } from "${ROOT_URL}mod.ts";
       using root = Directory.open(${JSON.stringify(`${SCRATCH}/root`)});
       const mounts = [{ type: "bind", source: "/nosuch", target: "a" }];
       for (const [program, options] of [["true", {}], ["nosuch", {}], ["true", { mounts }]]) {
         await run(root, [program], options).catch((error) => console.log(error.code));
       }`,
    ],
    stdin: "null",
    signal: AbortSignal.timeout(20_000),
  }).output();
  assertEquals([code, text.decode(stdout)], [0, "ENOENT\nENOENT\n"]);
  assertEquals((await run(root, ["true"])).code, 0);
});

/** Runs something as on a kernel that lacks a call. */
async function lacking<T>(
  name: keyof typeof NR,
  fn: () => Promise<T>,
): Promise<T> {
  const numbers: Record<string, number> = NR;
  const real = numbers[name]!;
  // No call has this number.
  numbers[name] = 9999;
  try {
    return await fn();
  } finally {
    numbers[name] = real;
  }
}

runTest(
  "run() says what is wrong with its arguments, before any call",
  async () => {
    using root = Directory.open(SCRATCH);
    const word = 1 as unknown as string;
    for (
      const [command, options, message] of [
        [[], {}, "The command must have a program"],
        [[""], {}, "The command must have a program"],
        [["a", word], {}, "The command must be text, not number"],
        [["a\0b"], {}, "The command must not contain a NUL"],
        [["a", "\ud800"], {}, "stands for no byte"],
        [["a"], { cwd: "relative" }, "must be absolute"],
        [["a"], { cwd: "/\0" }, "must not contain a NUL"],
        [["a"], { env: { "a=b": "" } }, 'a name without "="'],
        [["a"], { env: { "": "" } }, 'a name without "="'],
        [["a"], { env: { A: word } }, "must be text, not number"],
        [["a"], { uid: -1 }, '"uid" must be a whole number'],
        [["a"], { gid: 0xffff_ffff }, '"gid" must be a whole number'],
        [["a"], { timeout: 1.5 }, '"timeout" must be a whole number'],
        [["a"], { killAfter: NaN }, '"killAfter" must be a whole number'],
        [["a"], { stdin: "piped" }, '"stdin" can\'t be "piped"'],
        [["a"], { stdout: new Uint8Array() }, '"stdout" can\'t be'],
        [["a"], { stderr: -1 }, "must be an open descriptor"],
        [["a"], { forwardSignals: ["SIGNOT"] }, "Unknown signal"],
        [["a"], { mounts: [{ type: "", target: "a" }] }, "mounts[0]: The type"],
        [
          ["a"],
          { mounts: [{ type: "tmpfs", target: "./" }] },
          "mounts[0]: Noth",
        ],
        ["sh", {}, "The command must be an array, not string"],
        [["a"], { mounts: "x" }, '"mounts" must be an array'],
        [["a"], { forwardSignals: "SIGINT" }, '"forwardSignals" must be an'],
        [["a"], { signal: null }, '"signal" must be an AbortSignal'],
        [["a"], { newSession: 1 }, '"newSession" must be true or false'],
        [
          ["a"],
          { newSession: true, hostPid: true },
          'can\'t go with "hostPid"',
        ],
        [["a"], { hostPid: "false" }, '"hostPid" must be true or false'],
        [["a"], { proc: "no" }, '"proc" must be true or false'],
        [["a"], { clearEnv: "no" }, '"clearEnv" must be true or false'],
        [["a"], { hostIpc: 1 }, '"hostIpc" must be true or false'],
        [["a"], { hostUts: 1 }, '"hostUts" must be true or false'],
        [["a"], { network: "own" }, '"network" must be "host" or "none"'],
        [["a"], { profile: "lax" }, '"profile" must be "default" or "strict"'],
        [["a"], { user: "a", uid: 1 }, '"user" and "uid" contradict'],
        [["a"], { user: 1 }, "The user must be text"],
        [
          ["a"],
          { profile: "strict", noNewPrivs: false },
          '"noNewPrivs" is part of the profile',
        ],
        [
          ["a"],
          { profile: "strict", capabilities: ["CAP_KILL", "CAP_SYS_ADMIN"] },
          'The profile "strict" leaves no command CAP_SYS_ADMIN',
        ],
        [
          ["a"],
          { profile: "strict", mounts: [{ type: "sysfs", target: "a" }] },
          "mounts[0]: In the profile",
        ],
      ] as unknown as [string[], RunOptions, string][]
    ) {
      const error = await assertRejects(
        () => run(root, command, options),
        Error,
      );
      assert(error instanceof TypeError || error instanceof RangeError);
      assert(error.message.includes(message), error.message);
    }
    const error = await assertRejects(
      () => run(root, ["a"], { stdin: 4000 }),
      Error,
    );
    assert(error instanceof MountError && error.code === "EBADF");
  },
);

/** Calls that can't fail as they are made here, or give back what was had. */
const UNFAILING = ["close", "kill", "waitid", "rt_sigprocmask", "ppoll"];

/**
 * Lets the n-th call of this thread fail.
 *
 * @returns Its name, null where there were fewer.
 */
async function withFailing(
  n: number,
  fn: () => Promise<unknown>,
): Promise<string | null> {
  type Call = (...args: unknown[]) => number;
  const calls = libc as unknown as Record<string, Call>;
  const real = new Map<string, Call>();
  let left = n;
  let failed: string | null = null;
  for (const name of Object.keys(Object.getOwnPropertyDescriptors(libc))) {
    if (!(name in NR) || UNFAILING.includes(name)) continue;
    const call = calls[name]!;
    real.set(name, call);
    Object.defineProperty(libc, name, {
      value(...args: unknown[]) {
        if (--left !== 0) return call(...args);
        failed = name;
        // EBADF
        return libc.close(NR.close, -1);
      },
    });
  }
  try {
    await fn();
  } finally {
    for (const [name, value] of real) {
      Object.defineProperty(libc, name, { value });
    }
  }
  return failed;
}

rootTest("run() leaves nothing whichever call fails", async (apart) => {
  const path = makeRoot();
  Deno.mkdirSync(`${path}/etc`);
  // Covered, and so is the root.
  Deno.symlinkSync("etc", `${path}/sys`);
  using root = Directory.open(path);
  const mark = crypto.randomUUID();
  const attempt = () =>
    run(root, ["sh", "-c", `: ${mark}; cat; sleep 100 & exit 0`], {
      stdin: new Uint8Array(10),
      stdout: "piped",
      env: { PATH: "/bin" },
      uid: 7,
      network: "none",
      profile: "strict",
      mounts: [
        { type: "mqueue", target: "dev/mqueue" },
        { type: "tmpfs", target: "dev/tmp" },
        { type: "bind", source: "/etc/passwd", target: "etc/passwd" },
        { type: "tmpfs", target: "etc/new" },
      ],
    });
  assertEquals((await attempt()).code, 0);
  // Its thread, which ends by itself when it isn't used for a while.
  endSpawner();
  endStagingThread();
  const descriptors = openDescriptors();
  const table = mountTable();
  const failures: Record<string, number> = {};
  // Most calls are those of the other way, which tries them all.
  for (let n = 1;; n += apart ? 5 : 1) {
    let outcome: unknown;
    const failed = await withFailing(n, async () => {
      outcome = await attempt().catch((error) => error);
    });
    if (failed === null) {
      assertEquals((outcome as RunResult).code, 0);
      break;
    }
    failures[failed] = (failures[failed] ?? 0) + 1;
    const told = outcome instanceof MountError ||
      outcome instanceof UnsupportedError || outcome instanceof SyscallError;
    // Not every failure is one of the run: of who asks what a process is named.
    assert(told || (outcome as RunResult).code === 0, String(outcome));
    assertEquals(keepers(), 0, `${n}: ${failed}`);
    // A mount point stays where it is in doubt who has it.
    if (!["flock", "openat2", "statx", "unlinkat"].includes(failed)) {
      assertEquals(names(`${path}/etc`), [], `${n}: ${failed}`);
    }
    for (const name of names(`${path}/etc`)) {
      Deno.removeSync(`${path}/etc/${name}`);
    }
    assertEquals(processesWith(mark), [], `${n}: ${failed}`);
    endSpawner();
    endStagingThread();
    assertEquals(openDescriptors(), descriptors, `${n}: ${failed}`);
  }
  assertEquals(mountTable(), table);
  if (apart) return;
  for (
    const name of [
      "fsconfig",
      "fsmount",
      "fspick",
      "memfd_create",
      "mkdirat",
      "mount_setattr",
      "move_mount",
      "open_tree",
      "openat2",
      "pidfd_open",
      "pipe2",
      "recvmsg",
      "sendmsg",
      "socketpair",
      "symlinkat",
    ]
  ) assert((failures[name] ?? 0) > 0, JSON.stringify(failures));
});

for (
  const name of [
    "unshare",
    "move_mount",
    "chroot",
    "fchdir",
    "setns",
    "capset",
    "ioctl",
    "keyctl",
    "prctl",
    "setresuid",
    "setsid",
    "socket",
    "execve",
  ] as const
) {
  runTest(`run() runs nothing where ${name} fails`, async () => {
    using root = Directory.open(makeRoot());
    const options = {
      uid: 7,
      network: "none",
      profile: "strict",
      stdin: "null",
      proc: false,
      sys: false,
      dev: false,
    } as const;
    // Where the kernel makes an empty mount namespace, none is kept to enter.
    if (name === "setns") withoutCall("clone3", spawner);
    // What is kept for commands of the same kind would have the call.
    await run(root, ["true"], { ...options, hostIpc: true });
    await assertRejects(
      () => lacking(name, () => run(root, ["true"], options)),
      UnsupportedError,
      ["capset", "keyctl", "setresuid"].includes(name)
        ? `Cannot change who the command runs as: ${name}: `
        : `Cannot run "true": ${name}: `,
    );
    assertEquals(keepers(), 0);
    endSpawner();
    assertEquals((await run(root, ["true"], options)).code, 0);
  });
}

runTest("run() explains what fails once /proc is gone", async () => {
  using root = Directory.open(makeRoot());
  Deno.mkdirSync(`${SCRATCH}/root/etc`);
  Deno.writeTextFileSync(`${SCRATCH}/root/etc/passwd`, "me:x:7:8::/:/bin/sh\n");
  await run(root, ["true"]);
  const cases: RunOptions[] = [{}, { profile: "strict" }, { user: "me" }];
  for (const options of cases) {
    let failed!: Promise<RunResult>;
    withoutProc(() => failed = execute(root, ["true"], options));
    const { cause } = await assertRejects(() => failed, MountError);
    assertMatch(cause.message, /^\w+\(AT_FDCWD, "\/proc\/.*: ENOENT/);
  }
});
