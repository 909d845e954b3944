import { Directory } from "../../src/directory.ts";
import { InitProcess, TableFile } from "../../src/run/init_process.ts";
import { INIT, openInit } from "../../src/run/init.ts";
import {
  keepers,
  makeRoot,
  processesWith,
  rootTest,
  running,
  runTest,
  shell,
  shellUntil,
  text,
} from "../support/run_root.ts";
import {
  gatedTest,
  missingCommand,
  missingPermission,
  ROOT,
  SCRATCH,
} from "../support/testing.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { run } from "../../src/run/run.ts";
import type { RunOptions } from "../../src/run/options.ts";
import {
  addSeals,
  dup,
  F_ADD_SEALS,
  F_SEAL_EXEC,
  MFD_EXEC,
  openat2,
  pipe2,
  write,
} from "../../src/sys/file.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDONLY } from "../../src/sys/constants.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { libc } from "../../src/sys/libc.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { MountError } from "../../src/error/error.ts";
import { readAll } from "../../src/fd/open.ts";
import { setTracer, type TracedCall } from "../../src/sys/call.ts";

/** What makes the program for each processor: Debian's names. */
const TOOLS = { x86_64: "x86_64-linux-gnu-", aarch64: "aarch64-linux-gnu-" };

for (const processor of ["x86_64", "aarch64"] as const) {
  const prefix = processor === Deno.build.arch ? "" : TOOLS[processor];
  const missing = missingPermission(["run", "read", "write"]) ??
    missingCommand([`${prefix}gcc`, `${prefix}objcopy`]);
  gatedTest(`init.S is what runs on ${processor}`, missing, () => {
    const directory = Deno.makeTempDirSync();
    try {
      for (
        const [tool, ...args] of [
          ["gcc", "-nostdlib", "-static", "-Wl,-Ttext=0x400000,--build-id=none"]
            .concat("-o", `${directory}/init`, `${ROOT}src/run/init.S`),
          ["objcopy", "-O", "binary", "-j", ".text"]
            .concat(`${directory}/init`, `${directory}/bytes`),
        ]
      ) {
        const made = new Deno.Command(`${prefix}${tool}`, { args })
          .outputSync();
        assert(made.success, text.decode(made.stderr));
      }
      const bytes = Deno.readFileSync(`${directory}/bytes`);
      const ours = atob(INIT[processor].replaceAll("\n", ""));
      assertEquals(ours, String.fromCharCode(...bytes));
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}

rootTest("run() tells signals as without a PID namespace", async () => {
  using root = Directory.open(makeRoot());
  for (
    const [script, code, signal, out] of [
      ["kill -9 $$", 137, "SIGKILL", ""],
      ["kill -TERM $$", 143, "SIGTERM", ""],
      ["kill -ABRT $$", 134, "SIGABRT", ""],
      ["kill -ALRM $$", 142, "SIGALRM", ""],
      ["kill -PIPE $$", 141, "SIGPIPE", ""],
      ["kill -SEGV $$", 139, "SIGSEGV", ""],
      // Not 32: "deno task" ignores that, and so does all that it starts.
      ["kill -33 $$", 161, "SIG33", ""],
      ["kill -35 $$", 163, "SIGRTMIN+1", ""],
      ["kill -63 $$", 191, "SIGRTMAX-1", ""],
      // Its last process reads no more: the other ends by SIGPIPE.
      [
        "{ while :; do echo x; done; echo $? >&2; } | head -n1; sh -c 'kill -PIPE $$'; exit $?",
        141,
        null,
        "x\n",
      ],
      ["kill -9 1; kill -TERM 1; kill -STOP 1; exit 5", 5, null, ""],
    ] as const
  ) {
    const ended = await shell(root, script);
    assertEquals([ended.code, ended.signal, ended.out], [code, signal, out]);
  }
});

runTest("run() reaps what the command leaves behind", async () => {
  using root = Directory.open(makeRoot());
  const { code, out } = await shell(
    root,
    // The child of each is the first process's when it ends, before or after that.
    `i=0; while test $i -lt 40; do (true & exec true); i=$((i+1)); done
     while set -- /proc/[0-9]*; test $# -gt 2; do :; done
     echo $*; exit 3`,
    // Of one that is left nobody would hear otherwise.
    { timeout: 20_000 },
  );
  assertEquals(code, 3);
  assertMatch(out, /^\/proc\/1 \/proc\/2\n$/);
});

runTest(
  "run() shows the command nothing of this process's memory",
  async () => {
    using root = Directory.open(makeRoot());
    const { out, err } = await shell(
      root,
      "readlink /proc/1/exe; tr '\\0' ' ' </proc/1/cmdline; echo; wc -c </proc/1/environ; wc -l </proc/1/maps; ls /proc/1/fd; readlink /proc/1/root; readlink /proc/1/cwd; cut -d' ' -f5 /proc/1/mountinfo",
    );
    assertEquals(err, "");
    const [exe, line, environment, maps, ...rest] = out.trimEnd().split("\n");
    assertEquals([exe, line, environment], [
      "/memfd:mountat init (deleted)",
      "mountat-init ",
      "0",
    ]);
    // Its program and the table, a stack, and what the kernel puts there.
    assert(Number(maps) <= 8, out);
    const points = rest.splice(4);
    assertEquals(rest, ["0", "3", "/", "/"]);
    // Before Linux 6.15 /sys comes first.
    assertEquals(points.sort(), [
      "/",
      "/dev",
      "/dev/pts",
      "/dev/shm",
      "/proc",
      "/sys",
    ]);
  },
);

runTest("run() with asPid1 makes the command the first process", async () => {
  using root = Directory.open(makeRoot());
  for (const options of [{ asPid1: true }, { init: false }]) {
    const { code, out } = await shell(
      root,
      "echo $$ /proc/[0-9]*; kill -TERM $$; kill -9 $$; exit 6",
      options,
    );
    assertEquals([code, out], [6, "1 /proc/1\n"]);
  }
  const { result } = await running(root, "echo; cat", {
    asPid1: true,
    forwardSignals: ["SIGUSR1"],
  });
  Deno.kill(Deno.pid, "SIGUSR1");
  const { code, signal } = await result;
  assertEquals([code, signal], [138, "SIGUSR1"]);
  const ended = await shell(root, "while :; do read -t 9 x; done </dev/zero", {
    asPid1: true,
    timeout: 50,
  });
  assertEquals([ended.code, ended.signal], [143, "SIGTERM"]);
  assertEquals(keepers(), 0);
});

rootTest(
  "run() mounts procfs and what is in it wherever it is told",
  async () => {
    using root = Directory.open(makeRoot());
    for (const asPid1 of [false, true]) {
      const { out, err } = await shell(
        root,
        "wc -c </proc/cmdline; echo /other/[0-9]*; grep -c hidepid /proc/mounts; test -e /dev/x/y; echo $?",
        {
          asPid1,
          mounts: [
            { type: "bind", source: "/dev/null", target: "proc/cmdline" },
            { type: "proc", target: "other", options: "hidepid=1" },
            { type: "tmpfs", target: "dev/x" },
          ],
        },
      );
      const processes = asPid1 ? "/other/1" : "/other/1 /other/2";
      assertEquals([out, err], [`0\n${processes}\n1\n1\n`, ""]);
    }
    const { message } = await assertRejects(
      () =>
        shell(root, "true", {
          mounts: [{ type: "proc", target: "other", options: "hidepid=9" }],
        }),
      MountError,
    );
    assertMatch(message, /fsconfig: EINVAL .*unknown value of hidepid/);
    assertEquals(keepers(), 0);
  },
);

for (const hostPid of [false, true]) {
  runTest(
    `run() with hostPid ${hostPid} asks all processes to end after its timeout`,
    async () => {
      using root = Directory.open(makeRoot());
      const wait = "while :; do read -t 9 x </dev/shm/p; done";
      const save = (what: string) =>
        `trap "echo ${what} >>/dev/shm/saved; exit" TERM; echo >/dev/shm/ready; ${wait}`;
      const script =
        `mkfifo /dev/shm/p /dev/shm/ready; exec 4<>/dev/shm/p 5<>/dev/shm/ready
        sh -c '${save("child")}' & setsid true; read x <&5
        trap 'wait; cat /dev/shm/saved; exit 7' TERM; echo; ${wait}`;
      const ended = await shellUntil(500, root, script, { hostPid });
      const { code, signal, timedOut, out } = ended;
      assertEquals([code, signal, timedOut, out], [
        7,
        null,
        true,
        "\nchild\n",
      ]);
    },
  );
}

runTest("run() kills all that does not end after its timeout", async () => {
  using root = Directory.open(makeRoot());
  const mark = crypto.randomUUID();
  const { code, signal, timedOut, usage } = await shellUntil(
    200,
    root,
    `trap '' TERM; sh -c 'while :; do :; done' ${mark} & echo; while :; do :; done`,
    { killAfter: 100 },
  );
  assertEquals([code, signal, timedOut], [137, "SIGKILL", true]);
  assert(usage.userTime > 0);
  assertEquals(processesWith(mark), []);
});

runTest("run() tells what the command itself used", async () => {
  using root = Directory.open(makeRoot());
  const plain = await shell(root, "true");
  // A busybox takes some two megabytes, and this process more than twenty.
  assert(plain.usage.maxRss > 0 && plain.usage.maxRss < 8 << 20);
  const large = await shell(
    root,
    "dd if=/dev/zero of=/dev/null bs=32M count=1",
  );
  assert(large.usage.maxRss > 32 << 20 && large.usage.maxRss < 40 << 20);
});

runTest("run() sets groups, limits, capabilities and noNewPrivs", async () => {
  using root = Directory.open(makeRoot());
  const status = (fields: string) =>
    `grep -E '^(${fields}):' /proc/self/status | tr -s '\\t ' ' '`;
  const groups = await shell(root, status("Uid|Groups"), {
    uid: 1000,
    groups: [7, 8],
  });
  assertEquals(groups.out, "Uid: 1000 1000 1000 1000\nGroups: 7 8 \n");
  assertEquals((await shell(root, "id -G", { groups: [9] })).out, "0 9\n");
  const limits = await shell(root, "ulimit -Sn; ulimit -Hn; ulimit -c", {
    limits: { nofile: { soft: 64, hard: 128 }, core: "unlimited" },
  });
  assertEquals(limits.out, "64\n128\nunlimited\n");
  const none = await shell(root, status("Cap(Inh|Prm|Eff|Bnd|Amb)"), {
    capabilities: [],
  });
  assertEquals(none.out.match(/0{16}/g)?.length, 5, none.out);
  const some = await shell(
    root,
    status("CapEff|CapBnd") + "; chown 7 /dev/shm && mount -t tmpfs a /sys",
    { capabilities: ["CAP_CHOWN"] },
  );
  assertEquals(
    some.out,
    "CapEff: 0000000000000001\nCapBnd: 0000000000000001\n",
  );
  assertMatch(some.err, /^mount: permission denied/);
  const plain = await shell(root, status("NoNewPrivs"));
  const barred = await shell(root, status("NoNewPrivs"), { noNewPrivs: true });
  assertEquals([plain.out, barred.out], ["NoNewPrivs: 0\n", "NoNewPrivs: 1\n"]);
});

runTest("run() leaves the command the limit of open files that was", () => {
  const path = makeRoot();
  const script = `
    import { Directory, run } from "${new URL(
    "../../mod.ts",
    import.meta.url,
  )}";
    using root = Directory.open(${JSON.stringify(path)});
    await run(root, ["/bin/sh", "-c", "ulimit -Sn; ulimit -Hn"]);
    await run(root, ["/bin/sh", "-c", "ulimit -n"], { limits: { nofile: 77 } });`;
  const file = `${SCRATCH}/limits.ts`;
  Deno.writeTextFileSync(file, script);
  // What Deno raises is the limit of who starts it still.
  const { stdout, stderr } = new Deno.Command("sh", {
    args: [
      "-c",
      `ulimit -Sn 300; ulimit -Hn 4000; ${Deno.execPath()} run -A --config=${ROOT}deno.json ${file}; :`,
    ],
    stdin: "null",
  }).outputSync();
  assertEquals(text.decode(stdout), "300\n4000\n77\n", text.decode(stderr));
});

runTest("run() passes descriptors on by their numbers", async () => {
  using root = Directory.open(makeRoot());
  const file = `${SCRATCH}/passed`;
  Deno.writeTextFileSync(file, "passed\n");
  const flags = O_RDONLY | O_CLOEXEC;
  using opened = new OwnedFd(openat2(AT_FDCWD, file, { flags }));
  using high = new OwnedFd(dup(opened.fd, { min: 200 }));
  const fds = [high.fd, opened.fd];
  const { out } = await shell(
    root,
    `cat <&${high.fd}; ls /proc/$$/fd; exec 9</dev/null`,
    { fds },
  );
  const numbers = ["0", "1", "2", String(opened.fd), String(high.fd)];
  assertEquals(out.trimEnd().split("\n").sort(), [...numbers, "passed"].sort());
  // They are what this process has, too: a jobserver's pipe, say.
  const [reading, writing] = pipe2().map((fd) => new OwnedFd(fd));
  using _reading = reading!;
  using end = writing!;
  await shell(root, `echo token >&${end.fd}`, { fds: [end.fd] });
  end.close();
  assertEquals(readAll(reading!.fd), "token\n");
  // What fails then is told, although 3 is no longer the first process's.
  using three = new OwnedFd(dup(opened.fd, { min: 3 }));
  await assertRejects(
    () => run(root, ["/bin/nosuch"], { fds: [3, three.fd] }),
    MountError,
    "execve: ENOENT",
  );
  await assertRejects(
    () => shell(root, "true", { fds: [4000] }),
    MountError,
    "Cannot pass on descriptor 4000: fcntl: EBADF",
  );
});

// By pidfd_open(2) and pidfd_getfd(2): what sends messages as the init does.
const FORGER = `
import array, ctypes, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.syscall(438, libc.syscall(434, 1, 0), 3, 0)
assert fd >= 0, ctypes.get_errno()
forged = socket.socket(fileno=fd)
null = open("/dev/null")
rights = array.array("i", [null.fileno()] * 200)
forged.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
for offset in (64 * 100000, 3, -99):
    forged.send(struct.pack("ii", 5, offset))
forged.send(b"x" * 5000)
sys.exit(7)
`;

runTest(
  "run() minds nothing that a command of root sends in the init's name",
  async () => {
    using root = Directory.open("/");
    assertEquals((await run(root, ["python3", "-c", FORGER])).code, 7);
  },
  { commands: ["python3"] },
);

runTest(
  "run() refuses options that make no sense, before any call",
  async () => {
    using root = Directory.open(SCRATCH);
    for (
      const [options, message] of [
        [{ groups: [-1] }, '"groups" must be a whole number'],
        [{ groups: "x" }, '"groups" must be an array'],
        [{ capabilities: ["CAP_X"] }, 'Unknown capability "CAP_X"'],
        [{ limits: { nofiles: 1 } }, 'did you mean "nofile"?'],
        [{ limits: { nofile: -1 } }, "must be a whole number"],
        [{ limits: { nofile: "many" } }, 'must be a number or "unlimited"'],
        [{ limits: { nofile: { soft: 2, hard: 1 } } }, "above its hard limit"],
        [{ limits: [] }, '"limits" must be an object with a property'],
        [{ env: ["A=b"] }, '"env" must be an object with a property'],
        [{ env: new Map([["A", "b"]]) }, '"env" must be an object'],
        [{ env: null }, '"env" must be an object with a property'],
        [{ fds: [2] }, "different descriptors above 2"],
        [{ fds: [7, 7] }, "different descriptors above 2"],
        [{ noNewPrivs: 1 }, '"noNewPrivs" must be true or false'],
        [{ asPid1: true, hostPid: true }, 'can\'t go with "hostPid"'],
        [{ asPid1: true, init: true }, "contradict each other"],
      ] as unknown as [RunOptions, string][]
    ) {
      const error = await assertRejects(() => run(root, ["a"], options), Error);
      assert(error instanceof TypeError || error instanceof RangeError);
      assert(error.message.includes(message), error.message);
    }
  },
);

/** Changes the arguments that a call of this thread is made with. */
async function withChanged<T>(
  name: "memfd_create" | "fcntl",
  change: (args: number[]) => number[],
  fn: () => Promise<T>,
): Promise<T> {
  type Call = (...args: number[]) => number;
  const calls = libc as unknown as Record<string, Call>;
  const real = calls[name]!;
  Object.defineProperty(libc, name, {
    value: (...args: number[]) => real(...change(args)),
  });
  try {
    return await fn();
  } finally {
    Object.defineProperty(libc, name, { value: real });
  }
}

runTest("run() works where the kernel knows no MFD_EXEC", async () => {
  using root = Directory.open(makeRoot());
  let count = 0;
  // A flag and a seal that no kernel knows take the place of those.
  const unknown = (flag: number) => (args: number[]) =>
    args.map((value, i) => {
      if (i < 2 || typeof value !== "number" || (value & flag) === 0) {
        return value;
      }
      count++;
      return value | 0x4000;
    });
  const { code } = await withChanged(
    "memfd_create",
    unknown(MFD_EXEC),
    () =>
      withChanged(
        "fcntl",
        (args) => args[2] === F_ADD_SEALS ? unknown(F_SEAL_EXEC)(args) : args,
        () => shell(root, "exit 3"),
      ),
  );
  assertEquals([code, count], [3, 2]);
});

/** Runs a program of Deno's with something done before it. */
function afterwards(script: string, before: string[]): string {
  const file = `${SCRATCH}/script.ts`;
  const url = new URL("../../mod.ts", import.meta.url);
  Deno.writeTextFileSync(
    file,
    `import { Directory, run } from "${url}";
     using root = Directory.open(${JSON.stringify(`${SCRATCH}/root`)});
     ${script}`,
  );
  const deno = [
    Deno.execPath(),
    "run",
    "-A",
    `--config=${ROOT}deno.json`,
    file,
  ];
  const [command, ...args] = [...before, ...deno];
  const { stdout, stderr } = new Deno.Command(command!, { args, stdin: "null" })
    .outputSync();
  return text.decode(stdout) + text.decode(stderr);
}

runTest("run() works where no memory may be executed", () => {
  makeRoot();
  const said = afterwards(
    `await run(root, ["/bin/readlink", "/proc/1/exe"]);`,
    ["unshare", "-pf", "--mount-proc", "sh", "-c"].concat(
      'echo 2 >/proc/sys/vm/memfd_noexec && exec "$@"',
      "sh",
    ),
  );
  assertEquals(said, "/mountat init\n");
}, { commands: ["unshare"], missing: whyNoSysctl() });

/** Since Linux 6.3; then memory is executed only where it is asked for. */
function whyNoSysctl(): string | null {
  try {
    Deno.statSync("/proc/sys/vm/memfd_noexec");
    return null;
  } catch {
    return "needs the sysctl vm.memfd_noexec";
  }
}

runTest("run() binds devices where it may make none", () => {
  makeRoot();
  const said = afterwards(
    `await run(root, ["/bin/grep", "-c", "/dev/[a-z]* devtmpfs", "/proc/mounts"]);
     await run(root, ["/bin/sh", "-c", "echo lost >/dev/null; head -c1 /dev/zero | wc -c"]);`,
    ["setpriv", "--bounding-set=-mknod", "--inh-caps=-mknod"],
  );
  assertEquals(said, "6\n1\n");
}, { commands: ["setpriv"] });

runTest("run() says that there are too many PID namespaces", () => {
  makeRoot();
  const said = afterwards(
    `await run(root, ["/bin/true"]).catch(({ message, hint }) => console.log(message, hint));`,
    ["unshare", "-Urm", "sh", "-c"].concat(
      'echo 0 >/proc/sys/user/max_pid_namespaces && exec "$@"',
      "sh",
    ),
  );
  assertMatch(said, /: clone: ENOSPC .*\/proc\/sys\/user\/max_pid_namespaces/);
}, { commands: ["unshare"] });

runTest("openInit() makes a file that nobody can change", () => {
  using file = openInit();
  assertThrows(() => write(file.fd, new Uint8Array(1)), SyscallError, "EPERM");
  assertThrows(() => addSeals(file.fd, 0), SyscallError, "EPERM");
});

runTest("an init that is left alone ends", async () => {
  using file = openInit();
  const process = new InitProcess();
  process.start(file);
  const { pid } = process;
  // It has its name once it has been executed.
  while (processesWith("mountat-init").length === 0) {
    Deno.statSync(`/proc/${pid}`);
  }
  process[Symbol.dispose]();
  assertThrows(() => Deno.statSync(`/proc/${pid}`), Deno.errors.NotFound);
  await Promise.resolve();
});

runTest("run() tells a tracer what was called for the command", async () => {
  using root = Directory.open(makeRoot());
  await run(root, ["true"]);
  const calls: TracedCall[] = [];
  const before = setTracer((call) => calls.push(call));
  try {
    await assertRejects(() => run(root, ["/bin/nosuch"]), MountError);
  } finally {
    setTracer(before);
  }
  const names = calls.map(({ syscall }) => syscall);
  for (const name of ["clone", "unshare", "chroot", "mknodat", "prctl"]) {
    assert(names.includes(name), name);
  }
  const { args, result, errno } = calls.find(({ syscall }) =>
    syscall === "execve"
  )!;
  assertEquals([args[0], args[1], result, errno], [
    '"/bin/nosuch"',
    '["/bin/nosuch"]',
    -1,
    2,
  ]);
});

runTest("nobody can change a table that several inits map", () => {
  using own = new TableFile(new Uint8Array(64));
  write(own.fd, new Uint8Array(1));
  using shared = new TableFile(new Uint8Array(64), true);
  const error = assertThrows(
    () => write(shared.fd, new Uint8Array(1)),
    SyscallError,
  );
  assertEquals(error.code, "EPERM");
  const again = assertThrows(() => addSeals(shared.fd, 0), SyscallError);
  assertEquals(again.code, "EPERM");
});
