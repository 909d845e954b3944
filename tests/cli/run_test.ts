import {
  commandLine,
  programTest,
  run,
  shellCommand,
} from "../support/program.ts";
import { parseDuration, run as runDescription } from "../../src/cli/run.ts";
import { parseWords } from "../../src/cli/command.ts";
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { UsageError } from "../../src/cli/print.ts";
import { makeRoot, names, processesWith } from "../support/run_root.ts";
import { mountTable, SCRATCH } from "../support/testing.ts";
import { Directory } from "../../src/directory.ts";
import { asNobody, denoDirectory } from "../support/nobody.ts";
import { onTerminal } from "../support/terminal.ts";
import { runTraced } from "../support/strace.ts";

const NEEDS = { commands: ["busybox"] };

function runIn(root: string, ...args: string[]) {
  return run(["run", root, ...args]);
}

Deno.test("parse() keeps the command's options apart", async () => {
  const parse = async (...args: string[]) =>
    runDescription.parse(await parseWords(runDescription.description, args));
  const plain = await parse("root", "cmd", "-x", "--uid", "7");
  assertEquals([plain.root, plain.command], ["root", [
    "cmd",
    "-x",
    "--uid",
    "7",
  ]]);
  const parsed = await parse(
    "--uid=7",
    "--no-sys",
    "--env",
    "A=b=c",
    "--bind",
    "/a:/b/c:ro",
    "--bind=x:y",
    "--bind=x\\:y\\\\z\\w:y:rw",
    "--ro-bind=/r:/r",
    "--keep-root",
    "--tmpfs",
    "/tmp",
    "--chdir=/work",
    "--timeout",
    "1.5s",
    "--kill-after=0.2",
    "--groups=4,24",
    "--capabilities=chown,CAP_NET_ADMIN",
    "--no-new-privs",
    "--limit=nofile=64:128",
    "--limit=core=unlimited",
    "--pass-fd=3",
    "--pass-fd=7",
    "--host-ipc",
    "--no-network",
    "--strict",
    "root",
    "--",
    "--cmd",
  );
  assertEquals(parsed.command, ["--cmd"]);
  assertEquals(parsed.options, {
    proc: true,
    sys: false,
    dev: true,
    hostPid: false,
    hostIpc: true,
    hostUts: false,
    network: "none",
    profile: "strict",
    asPid1: false,
    noNewPrivs: true,
    limits: {
      nofile: { soft: 64, hard: 128 },
      core: { soft: "unlimited", hard: "unlimited" },
    },
    fds: [3, 7],
    newSession: false,
    mountPoints: "stand-in",
    clearEnv: false,
    env: { A: "b=c" },
    mounts: [
      {
        type: "tmpfs",
        target: "tmp",
        options: "nosuid,nodev,mode=1777",
        place: "--tmpfs /tmp",
      },
      {
        type: "bind",
        source: "x",
        target: "y",
        recursive: true,
        place: "--bind x:y",
      },
      {
        type: "bind",
        source: "x:y\\z\\w",
        target: "y",
        recursive: true,
        place: "--bind x\\:y\\\\z\\w:y:rw",
      },
      {
        type: "bind",
        source: "/r",
        target: "r",
        recursive: true,
        place: "--ro-bind /r:/r",
        options: "rro",
      },
      {
        type: "bind",
        source: "/a",
        target: "b/c",
        recursive: true,
        place: "--bind /a:/b/c:ro",
        options: "rro",
      },
    ],
    uid: 7,
    timeout: 1500,
    killAfter: 200,
    groups: [4, 24],
    capabilities: ["CAP_CHOWN", "CAP_NET_ADMIN"],
    cwd: "/work",
  });
});

Deno.test("parse() takes a timeout of 0 for none", async () => {
  for (
    const [text, expected] of [["0", undefined], ["0.0s", undefined], [
      "1",
      1000,
    ]] as const
  ) {
    const args = [`--timeout=${text}`, "root", "cmd"];
    const words = await parseWords(runDescription.description, args);
    assertEquals(runDescription.parse(words).options.timeout, expected);
  }
});

Deno.test("parse() throws when an option makes no sense", async () => {
  for (
    const [args, message] of [
      [["root"], "Usage: mountat run"],
      [["--bind", "/a", "root", "cmd"], "must be SRC:DST"],
      [["--bind", ":/b", "root", "cmd"], "must be SRC:DST"],
      [["--bind", "a:b:rx", "root", "cmd"], "with \\: for a colon in a path"],
      [["--ro-bind", "a:b:rw", "root", "cmd"], "must be SRC:DST, with"],
      [["--env", "=x", "root", "cmd"], "must be NAME=value"],
      [["--uid", "root", "root", "cmd"], "must be an id"],
      [["--gid", "4294967295", "root", "cmd"], "must be an id"],
      [["--chdir", "work", "root", "cmd"], "must be absolute"],
      [["--timeout", "1w", "root", "cmd"], "A duration must be like"],
      [
        ["--host-pid", "--new-session", "root", "cmd"],
        "leave out --new-session",
      ],
      [["--rootless", "--host-pid", "root", "cmd"], "leave out --host-pid"],
      [["--uid=1", "--user=a", "root", "cmd"], "leave out --uid or --user"],
      [["--host-pid", "--as-pid-1", "root", "cmd"], "leave out --as-pid-1"],
      [["--pass-fd=2", "root", "cmd"], "a descriptor above 2"],
      [["--limit=nofile", "root", "cmd"], "must be NAME=SOFT"],
      [["--groups=a", "root", "cmd"], "must be an id"],
      [["--limit==1", "root", "cmd"], "must be NAME=SOFT"],
    ] as const
  ) {
    const words = await parseWords(runDescription.description, [...args]);
    assertThrows(
      () => runDescription.parse(words),
      UsageError,
      message,
    );
  }
});

Deno.test("parseDuration() reads what timeout(1) does", () => {
  assertEquals(
    ["0", "10", "1.5s", ".5", "1.", "2m", "1h", "1d"].map(parseDuration),
    [0, 10_000, 1500, 500, 1000, 120_000, 3_600_000, 86_400_000],
  );
});

programTest("run passes on how the command ended", () => {
  const root = makeRoot();
  for (
    const [args, code, message] of [
      [["true"], 0, /^$/],
      [["sh", "-c", "exit 7"], 7, /^$/],
      [["--", "sh", "-c", "exit 9"], 9, /^$/],
      [["nosuch"], 127, /^mountat: Cannot run "nosuch": execve: ENOENT/],
      [
        ["n".repeat(300)],
        127,
        /^mountat: Cannot run "n+": execve: ENAMETOOLONG/,
      ],
      [["/bin"], 126, /^mountat: Cannot run "\/bin": execve: EACCES/],
    ] as const
  ) {
    const ended = runIn(root, ...args);
    assertEquals(ended.code, code);
    assertMatch(ended.stderr, message);
  }
  const timeout = run(["run", "--timeout=0.1", root, "sleep", "60"]);
  assertEquals(
    [timeout.code, timeout.stderr],
    [124, "mountat: Ended by SIGTERM after its --timeout\n"],
  );
  const ignores = "trap '' TERM; while :; do :; done";
  const killed = run([
    "run",
    "--json",
    "--timeout=0.1",
    "--kill-after=0.1",
    root,
    "sh",
    "-c",
    ignores,
  ]);
  assertEquals(killed.code, 137);
  const [said, json] = killed.stderr.split("\n");
  assertEquals(said, "mountat: Ended by SIGKILL after its --timeout");
  const { usage, ...end } = JSON.parse(json!);
  assertEquals(end, { code: 137, signal: "SIGKILL", timedOut: true });
  assert(usage.userTime > 0);
  assertEquals(run(["run", `${SCRATCH}/nosuch`, "true"]).code, 125);
}, NEEDS);

programTest("run exits with 125 when it is not used as it should be", () => {
  const root = makeRoot();
  const file = `${SCRATCH}/config.json`;
  const oci = (mount: Record<string, unknown>) => {
    const mounts = [{ destination: "/a", type: "tmpfs", ...mount }];
    Deno.writeTextFileSync(file, JSON.stringify({ mounts }));
    return ["--oci", file];
  };
  for (
    const [options, message] of [
      [() => ["--nosuch"], /^mountat: Unknown option "--nosuch"/],
      [() => ["--chdir=a"], /^mountat: Option --chdir must be absolute/],
      [() => oci({ destination: "/" }), /^mountat: mounts\[0\]: Nothing can/],
      [() => ["--limit=RLIMIT_NOFILE=9"], /^mountat: Unknown limit "RLIMIT_/],
      [() => ["--user=5:6"], /: numbers are for --uid and --gid\n/],
      [() => ["--tmpfs=/"], /^mountat: --tmpfs \/: Nothing can/],
      [() => ["--bind=/usr:/"], /^mountat: --bind \/usr:\/: Nothing can/],
      [() => oci({ destination: "../a" }), /^mountat: .*config.json: Line 1/],
      [() => oci({ type: "" }), /^mountat: .*config.json: Line 1/],
      [() => oci({ options: ["ro=\0"] }), /^mountat: .*NUL/],
      [() => oci({ type: "proc", options: ["fd=x", "uid=1\0"] }), /^mountat: /],
    ] as [() => string[], RegExp][]
  ) {
    const { code, stderr } = run(["run", ...options(), root, "true"]);
    assertMatch(stderr, message);
    assertMatch(stderr, /\nTry 'mountat run --help'\.\n$/);
    assert(!/\n\s+at /.test(stderr), stderr);
    assertEquals(code, 125, stderr);
  }
  assertEquals(run(["run"]).code, 125);
  assertEquals(run(["run", "--help"]).code, 0);
}, NEEDS);

programTest("run passes over an optional mount that fails", () => {
  const root = makeRoot();
  const file = `${SCRATCH}/config.json`;
  const options = ["bind", "nofail"];
  const mounts = [{ destination: "/a", source: "/nosuch", options }];
  Deno.writeTextFileSync(file, JSON.stringify({ mounts }));
  for (const quiet of [false, true]) {
    const { code, stderr } = run([
      "run",
      ...quiet ? ["--quiet"] : [],
      "--oci",
      file,
      root,
      "true",
    ]);
    assertEquals(code, 0);
    assertMatch(stderr, quiet ? /^$/ : /^mountat: Passed over: .*ENOENT.*\n$/);
  }
}, NEEDS);

programTest(
  "run passes on what it was started with, and nothing of its own",
  () => {
    const root = makeRoot();
    Deno.writeTextFileSync(`${SCRATCH}/given`, "given\n");
    const { code, stdout, stderr } = run(
      ["run", "--pass-fd=9", root, "cat", "/proc/self/fd/9"],
      { wrapper: ["sh", "-c", `exec "$@" 9<${SCRATCH}/given`, "sh"] },
    );
    assertEquals([code, stdout, stderr], [0, "given\n", ""]);
    for (let fd = 3; fd < 40; fd += 4) {
      const list = ["ls", "-l", "/proc/self/fd"];
      const ended = run(["run", `--pass-fd=${fd}`, root, ...list]);
      // Deno's copy of the standard input stays open on exec.
      if (ended.stdout.includes(`${fd} -> /dev/null\n`)) continue;
      assertEquals([ended.code, ended.stdout], [125, ""]);
      assertMatch(
        ended.stderr,
        /^mountat: Descriptor \d+ of --pass-fd was not/,
      );
    }
  },
  NEEDS,
);

programTest("run needs no permission but for the C library", () => {
  const root = makeRoot();
  const { code, stderr } = run(["run", root, "sh", "-c", "exit 3"], {
    permissions: [`--allow-ffi=/lib/${Deno.build.arch}-linux-gnu/libc.so.6`],
  });
  assertEquals([code, stderr], [3, ""]);
}, NEEDS);

programTest("run makes the mounts and the environment it is told", () => {
  const root = makeRoot();
  Deno.mkdirSync(`${SCRATCH}/shown`);
  Deno.writeTextFileSync(`${SCRATCH}/shown/file`, "shown\n");
  const { code, stdout, stderr } = run([
    "run",
    "--tmpfs=/tmp",
    `--bind=${SCRATCH}/shown:/tmp/shown:ro`,
    "--chdir=/tmp/shown",
    "--clear-env",
    "--env=A=b c",
    "--uid=1234",
    "--gid=4321",
    "--no-sys",
    root,
    "sh",
    "-c",
    "cat file; echo $A; id -u; id -g; ls -d /sys; touch /tmp/new new",
  ]);
  assertEquals(
    [code, stdout, stderr],
    [
      1,
      "shown\nb c\n1234\n4321\n",
      "ls: /sys: No such file or directory\ntouch: new: Read-only file system\n",
    ],
  );
}, NEEDS);

programTest("run mounts what is inside another after it", () => {
  const root = makeRoot();
  Deno.mkdirSync(`${SCRATCH}/host/cache`, { recursive: true });
  const { code, stdout } = run([
    "run",
    "--tmpfs=/src/cache",
    "--tmpfs=/tmp/a/cache",
    `--bind=${SCRATCH}/host:/tmp/a`,
    `--bind=${SCRATCH}/host:src`,
    "--tmpfs=//tmp",
    root,
    "sh",
    "-c",
    "touch /src/cache/x /src/seen /tmp/a/cache/y; cut -d' ' -f5 /proc/self/mountinfo | grep -E '^/(src|tmp)'",
  ]);
  assertEquals(code, 0);
  assertEquals(stdout.trimEnd().split("\n").sort(), [
    "/src",
    "/src/cache",
    "/tmp",
    "/tmp/a",
    "/tmp/a/cache",
  ]);
  const left = [...Deno.readDirSync(`${SCRATCH}/host`)].map(({ name }) => name);
  assertEquals(left.sort(), ["cache", "seen"]);
  assertEquals([...Deno.readDirSync(`${SCRATCH}/host/cache`)], []);
}, NEEDS);

programTest("run gives the command no variable of Deno's own", () => {
  const root = makeRoot();
  const directory = `DENO_DIR=${denoDirectory()}`;
  for (
    const environment of [
      // Without a node Deno adds to it.
      [directory, "PATH=/nowhere:/bin/none"],
      [directory, "PATH="],
      [directory],
      [directory, "PATH=/nowhere", "DENO_NODE_SHIM_ACTIVE=1"],
    ]
  ) {
    const { code, stdout, stderr } = run(["run", root, "/bin/env"], {
      wrapper: ["env", "-i", ...environment],
    });
    assertEquals([code, stderr], [0, ""]);
    assertEquals(stdout.trimEnd().split("\n").sort(), environment.sort());
  }
}, NEEDS);

programTest("run --oci makes the mounts of a configuration", () => {
  const root = makeRoot();
  new Deno.Command("runc", { args: ["spec"], cwd: SCRATCH }).outputSync();
  const { code, stdout } = run([
    "run",
    "--oci",
    `${SCRATCH}/config.json`,
    root,
    "sh",
    "-c",
    "cut -d' ' -f5 /proc/self/mountinfo; ls /dev/null",
  ]);
  assertEquals(code, 0);
  const points = stdout.trimEnd().split("\n");
  assertEquals(points.pop(), "/dev/null");
  assert(points.includes("/dev/mqueue"));
  for (const name of ["/proc", "/sys", "/dev"]) {
    assertEquals(points.filter((point) => point === name).length, 1);
  }
}, { commands: ["busybox", "runc"] });

programTest("run --oci leaves nothing out that it mounts not itself", () => {
  const root = makeRoot();
  new Deno.Command("runc", { args: ["spec"], cwd: SCRATCH }).outputSync();
  for (const name of ["proc", "sys", "dev"]) {
    const { code, stdout, stderr } = run([
      "run",
      `--no-${name}`,
      `--oci=${SCRATCH}/config.json`,
      root,
      "cut",
      "-d ",
      "-f5",
      "/proc/self/mountinfo",
    ]);
    assertEquals([code, stderr], [0, ""]);
    const points = stdout.split("\n").filter((point) => point === `/${name}`);
    assertEquals(points, [`/${name}`]);
  }
}, { commands: ["busybox", "runc"] });

/** The program with a command in it that has begun. */
async function started(
  args: string[],
  { nohup = false } = {},
): Promise<{ child: Deno.ChildProcess; rest: Promise<string> }> {
  const [command, ...rest] = commandLine(["run", ...args], {
    wrapper: nohup ? ["nohup"] : [],
  });
  const child = new Deno.Command(command!, {
    args: rest,
    stdin: "null",
    stderr: "null",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  await reader.read();
  return {
    child,
    rest: (async () => {
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return text;
        text += value;
      }
    })(),
  };
}

programTest("run forwards SIGINT, SIGTERM and SIGHUP, once", async () => {
  const root = makeRoot();
  const wait = "echo; while :; do sleep 0.01; done";
  for (
    const [signal, code, number] of [
      ["SIGINT", 130, "INT"],
      ["SIGTERM", 143, "TERM"],
      ["SIGHUP", 129, "HUP"],
    ] as const
  ) {
    const plain = await started([root, "sh", "-c", wait]);
    plain.child.kill(signal);
    assertEquals((await plain.child.status).code, code);
    await plain.rest;
    const trap =
      `trap 'echo caught; n=$((n+1)); test $n = 2 && exit 5' ${number};`;
    const caught = await started([root, "sh", "-c", `n=1; ${trap} ${wait}`]);
    caught.child.kill(signal);
    assertEquals((await caught.child.status).code, 5);
    assertEquals(await caught.rest, "caught\n");
  }
  // Under nohup(1) it stays ignored: then the timeout comes.
  const untilTerm = "trap 'exit 6' TERM; " + wait;
  const ignoring = await started(
    ["--timeout=0.5", root, "sh", "-c", untilTerm],
    { nohup: true },
  );
  ignoring.child.kill("SIGHUP");
  assertEquals((await ignoring.child.status).code, 124);
  await ignoring.rest;
}, NEEDS);

for (const [name, ...options] of [["run"], ["run --host-pid", "--host-pid"]]) {
  programTest(`${name} sees the command's end where SIGCHLD is ignored`, () => {
    const { code, stderr } = run(
      ["run", ...options, makeRoot(), "sh", "-c", "exit 3"],
      { wrapper: ["env", "--ignore-signal=CHLD"] },
    );
    assertEquals([code, stderr], [3, ""]);
  }, NEEDS);
}

programTest(
  "run on a terminal gives it to the command, and takes it back",
  async () => {
    const root = makeRoot();
    await onTerminal(
      `
     trap : INT
     run() { ${shellCommand(commandLine(["run"]))} "$@"; echo "=$?"; }
     run ${root} cat
     run ${root} sh -c 'trap "echo caught; exit 3" INT; echo go; while :; do sleep 0.01; done'
     run --host-pid ${root} cat
     run ${root} sh -ic 'echo go; cat; echo back'
     set -m
     run ${root} cat
     kept=$(jobs -p)
     init=$(cat /proc/$kept/task/*/children)
     for pid in $(cat /proc/\${init% }/task/*/children); do
       [ "$(cat /proc/$pid/comm)" = cat ] && command=$pid
     done
     until grep -q ^State:.T /proc/$command/status; do :; done
     echo stopped; fg > /dev/null; echo "=$?"
     run ${root} sh -c 'trap "echo caught; exit 4" TSTP; echo go; while :; do :; done'
     ${shellCommand(commandLine(["run"]))} ${root} cat &
     until [ -n "$(jobs -s)" ]; do :; done
     echo background; fg > /dev/null; echo "=$?"
     set +m
     head -n1 | tr a-z A-Z
    `,
      async (type, until) => {
        // A shell catches SIGINT until it executes something, and could not end
        // itself by it. What says a line again is cat.
        await type("go\r");
        await until("go\r\ngo\r\n");
        await type("\x03");
        await until("=130");
        await until("go\r\n");
        await type("\x03");
        await until("caught\r\n=3");
        await type("go\r");
        await until("go\r\ngo\r\n");
        await type("\x03");
        await until("=130");
        await until("go\r\n");
        await type("line\r");
        await until("line\r\nline\r\n");
        await type("\x04");
        await until("=0");
        await type("go\r");
        await until("go\r\ngo\r\n");
        await type("\x1a");
        await until("=150");
        await until("stopped\r\n");
        await type("line\r");
        await until("line\r\nline\r\n");
        await type("\x03");
        await until("=130");
        await until("go\r\n");
        await type("\x1a");
        await until("caught\r\n=4");
        // What would read in the background stops.
        await until("background\r\n");
        await type("line\r");
        await until("line\r\nline\r\n");
        await type("\x04");
        await until("=0");
        await type("mine\r");
        await until("MINE");
      },
    );
  },
  { commands: ["busybox", "script", "bash"] },
);

programTest(
  "run --new-session keeps the command from the terminal's session",
  async () => {
    const root = makeRoot();
    const look = `sh -c '(: </dev/tty) 2>/dev/null; echo =$?'`;
    await onTerminal(
      `
     trap : INT
     run() { ${shellCommand(commandLine(["run"]))} "$@"; }
     run ${root} ${look}; echo shared
     run ${root} ${look} </dev/null; echo apart
     run --host-pid ${root} ${look} </dev/null; echo host
     run --new-session ${root} ${look}; echo new
     run --new-session ${root} cat; echo "=$?"
     run --new-session ${root} sh -c 'trap "echo caught" INT; cat; echo "ended=$?"'
     head -n1 | tr a-z A-Z
    `,
      async (type, until) => {
        assertEquals(await until("shared\r\n"), "=0\r\n");
        assertEquals(await until("apart\r\n"), "=1\r\n");
        assertEquals(await until("host\r\n"), "=0\r\n");
        assertEquals(await until("new\r\n"), "=1\r\n");
        await type("go\r");
        await until("go\r\ngo\r\n");
        await type("\x03");
        await until("=130");
        // What a shell waits for has it, too, as from a terminal.
        await type("go\r");
        await until("go\r\ngo\r\n");
        await type("\x03");
        await until("caught\r\nended=130");
        await type("mine\r");
        await until("MINE");
      },
    );
  },
  { commands: ["busybox", "script", "bash"] },
);

for (const options of ["-Urmpf", "-Urmpfn", "-Urm"]) {
  programTest(`run works under unshare ${options}`, () => {
    const root = makeRoot();
    const { code, stdout, stderr } = run([
      "run",
      "--tmpfs=/tmp",
      root,
      "sh",
      "-c",
      "echo $$ /proc/[0-9]*; echo x >/dev/null; ls -d /sys/kernel; echo x >/sys/x; exit 3",
    ], { wrapper: ["unshare", options] });
    assertEquals([code, stdout], [
      3,
      `2 /proc/1 /proc/2\n/sys/kernel\n`,
    ]);
    assertMatch(stderr, /can't create \/sys\/x: Read-only file system/);
    // What /proc there shows has other numbers, and the command none.
    const args = ["run", "--timeout=0.1", root, "sleep", "60"];
    assertEquals(run(args, { wrapper: ["unshare", options] }).code, 124);
  }, { commands: ["busybox", "unshare"] });
}

/** Takes /proc from a program in a mount namespace of its own. */
const WITHOUT_PROC = [
  ...["unshare", "--mount", "--propagation=private"],
  ...["sh", "-c", 'umount -lR /proc && exec "$@"', "sh"],
];

for (const options of [[], ["--strict"], ["--user=root"]]) {
  programTest(
    `run ${[...options, ""].join(" ")}says that it needs /proc`,
    () => {
      const args = ["run", ...options, makeRoot(), "true"];
      const { code, stderr } = run(args, { wrapper: WITHOUT_PROC });
      assertEquals(code, 125);
      assertMatch(
        stderr,
        /^mountat: Cannot run "true": \w+: ENOENT \([^)]+\)\n {2}hint: This needs \/proc, which is not mounted here\n$/,
      );
    },
    { commands: ["busybox", "unshare"] },
  );
}

programTest("a file that the caller names may have 16 MiB", () => {
  const file = `${SCRATCH}/file`;
  Deno.writeTextFileSync(file, "");
  const fromFile = ["sh", "-c", `exec "$@" < ${file}`, "sh"];
  const cases: [args: string[], status: number, wrapper?: string[]][] = [
    [["run", `--oci=${file}`, SCRATCH, "true"], 125],
    [["apply", `--oci=${file}`, SCRATCH], 1],
    [["apply", `--fstab=${file}`, SCRATCH], 1],
    [["apply", "--oci=-", SCRATCH], 1, fromFile],
    [["runner", "--check-config", `--config=${file}`], 1],
  ];
  for (const [args, status, wrapper = []] of cases) {
    // Those that fail read all of it: a hole is full of NULs.
    const tell = (size: number) => {
      Deno.truncateSync(file, size);
      const { code, stderr } = run(args, { wrapper });
      return [code, /^mountat: (Cannot read .*)$/m.exec(stderr)?.[1]];
    };
    const name = wrapper.length > 0 ? "standard input" : `"${file}"`;
    assertEquals(tell(0x100_0001), [
      status,
      `Cannot read ${name}: it has more than 16 MiB`,
    ]);
    assertEquals(tell(0x100_0000)[1], undefined);
  }
});

programTest(
  "run explains a refusal where /proc does not tell its rights",
  () => {
    const { ended } = runTraced(["run", makeRoot(), "true"], [
      "--trace=readlinkat",
      "--inject=readlinkat:error=EPERM",
    ]);
    assertEquals([ended.code, ended.stderr.split("\n").slice(0, -2)], [125, [
      'mountat: Cannot run "true": readlinkat: EPERM (Operation not permitted)',
    ]]);
  },
  { commands: ["busybox", "strace"] },
);

programTest("run --rootless says that it needs /proc", () => {
  const { code, stderr } = run(["run", "--rootless", makeRoot(), "true"], {
    wrapper: WITHOUT_PROC,
    permissions: ["--allow-ffi", "--allow-run"],
  });
  assertEquals([code, stderr], [
    125,
    "mountat: Cannot make a user namespace: this needs /proc, which is not mounted here\n",
  ]);
}, { commands: ["busybox", "unshare"] });

programTest("run --rootless gets the rights to do it", async () => {
  const root = makeRoot();
  using nobody = asNobody();
  const { wrapper, deno } = nobody;
  const refused = run(["run", root, "true"], { wrapper, deno });
  assertEquals(refused.code, 125);
  assertMatch(
    refused.stderr,
    /EPERM.*\n.* hint: CAP_SYS_ADMIN is missing.*unshare -Urm.*\n *hint: mountat run --rootless /,
  );
  const permissions = ["--allow-ffi", "--allow-run"];
  const options = { wrapper, permissions, deno };
  // There it has them already.
  const inside = run(["run", "--gid=7", root, "true"], {
    wrapper: [...wrapper, "unshare", "-Urm"],
    deno,
  });
  assertEquals(inside.code, 125);
  assertMatch(inside.stderr, /EPERM/);
  assert(!inside.stderr.includes("--rootless"), inside.stderr);
  const { code, stdout } = run([
    "run",
    "--rootless",
    "--env=A=b c",
    root,
    "sh",
    "-c",
    'echo $$ "$A" "$1"; exit 4',
    "sh",
    "--rootless",
  ], { ...options, wrapper: ["env", "--ignore-signal=CHLD", ...wrapper] });
  assertEquals([code, stdout], [4, `2 b c --rootless\n`]);
  // What is killed takes all with it.
  const mark = crypto.randomUUID();
  const [command, ...args] = commandLine([
    "run",
    "--rootless",
    root,
    "sh",
    "-c",
    `: ${mark}; echo; sleep 1000; :`,
  ], options);
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    const child = new Deno.Command(command!, {
      args,
      stdin: "null",
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    await reader.read();
    child.kill(signal);
    assertEquals(
      (await child.status).signal,
      signal === "SIGKILL" ? signal : null,
    );
    while (!(await reader.read()).done);
    await untilGone(mark);
  }
}, { commands: ["busybox", "unshare", "setpriv"] });

for (const runtime of ["runc", "crun"]) {
  programTest(
    `run --rootless --oci makes the mounts of ${runtime} spec --rootless`,
    () => {
      const root = makeRoot();
      new Deno.Command(runtime, { args: ["spec", "--rootless"], cwd: SCRATCH })
        .outputSync();
      const file = `${SCRATCH}/config.json`;
      Deno.chmodSync(file, 0o644);
      using nobody = asNobody();
      const { code, stdout, stderr } = run([
        "run",
        "--rootless",
        `--oci=${file}`,
        root,
        "sh",
        "-c",
        "cut -d' ' -f5 /proc/self/mountinfo; ls /dev/mqueue",
      ], { ...nobody, permissions: ["--allow-ffi", "--allow-run"] });
      assertEquals([code, stderr], [0, ""]);
      const points = stdout.trimEnd().split("\n");
      const { mounts } = JSON.parse(Deno.readTextFileSync(file)) as {
        mounts: { destination: string }[];
      };
      assert(mounts.some(({ destination }) => destination === "/dev/mqueue"));
      for (const { destination } of mounts) {
        assert(points.includes(destination), destination);
      }
    },
    { commands: ["busybox", "unshare", "setpriv", runtime] },
  );
}

programTest("run --rootless forwards the signals that run does", async () => {
  const signals =
    "ALRM HUP INT IO PROF PWR QUIT TERM URG USR1 USR2 VTALRM WINCH".split(" ");
  const traps = signals.map((name) => `trap 'echo ${name}' ${name}`).join("; ");
  const script = `${traps}; echo go; while :; do sleep 0.01; done`;
  const [command, ...args] = commandLine(
    ["run", "--rootless", makeRoot(), "sh", "-c", script],
    { permissions: ["--allow-ffi", "--allow-run"] },
  );
  const child = new Deno.Command(command!, {
    args,
    stdin: "null",
    stdout: "piped",
    // The shell tells there which of its children a terminal's signal ended.
    stderr: "null",
    signal: AbortSignal.timeout(60_000),
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const told = [(await reader.read()).value];
  for (const name of signals) {
    child.kill(`SIG${name}` as Deno.Signal);
    told.push((await reader.read()).value);
    if (told.at(-1) === undefined) break;
  }
  assertEquals(told, ["go", ...signals].map((line) => `${line}\n`));
  child.kill("SIGKILL");
  while (!(await reader.read()).done);
  await child.status;
}, { commands: ["busybox", "unshare", "setpriv"] });

programTest("run --rootless takes other ids where newuidmap gives them", () => {
  const root = makeRoot();
  Deno.mkdirSync(`${root}/etc`);
  Deno.writeTextFileSync(
    `${root}/etc/passwd`,
    "root:x:0:0::/root:/bin/sh\nann:x:12:34::/home/ann:/bin/sh\n",
  );
  Deno.writeTextFileSync(`${root}/etc/group`, "crew:x:56:ann\n");
  using nobody = asNobody();
  const permissions = ["--allow-ffi", "--allow-run"];
  const runAs = (...options: string[]) =>
    run(
      [
        "run",
        "--rootless",
        ...options,
        root,
        "sh",
        "-c",
        "id -u; id -g; id -G",
      ],
      { ...nobody, permissions },
    );
  const ranges = `${SCRATCH}/ranges`;
  using scratch = Directory.open("/etc");
  for (const [text, refused] of [["", true], ["65534:100000:65536", false]]) {
    Deno.writeTextFileSync(ranges, `${text}\n`);
    const given = ["subuid", "subgid"].map((name) =>
      scratch.bind(ranges, name)
    );
    const plain = runAs();
    assertEquals([plain.code, plain.stdout], [0, "0\n0\n0\n"], plain.stderr);
    for (
      const [option, ids] of [
        ["--user=ann", "12\n34\n34 56\n"],
        ["--uid=7", "7\n7\n7\n"],
        ["--groups=1,2", "0\n0\n0 1 2\n"],
      ] as const
    ) {
      const { code, stdout, stderr } = runAs(option);
      if (!refused) assertEquals([code, stdout], [0, ids], stderr);
      else {
        assertEquals([code, stdout], [125, ""]);
        assert(stderr.includes(`leave out ${option.split("=")[0]}`), stderr);
      }
    }
    for (const mount of given) mount.unmount();
  }
}, { commands: ["busybox", "unshare", "setpriv", "newuidmap"] });

programTest(
  "run --rootless runs nothing when it is killed before that one minds",
  async () => {
    const root = makeRoot();
    const { stdout } = new Deno.Command("sh", {
      args: ["-c", "command -v unshare; mkfifo go"],
      cwd: SCRATCH,
    }).outputSync();
    const unshare = new TextDecoder().decode(stdout).trim();
    Deno.mkdirSync(`${SCRATCH}/bin`);
    Deno.writeTextFileSync(
      `${SCRATCH}/bin/unshare`,
      `#!/bin/sh
       case "$*" in *" true") ;; *) echo waiting; read line < ${SCRATCH}/go ;; esac
       exec ${unshare} "$@"
      `,
      { mode: 0o755 },
    );
    const [command, ...args] = commandLine(
      ["run", "--rootless", "--env=PATH=/bin", root, "echo", "ran"],
      { permissions: ["--allow-ffi", "--allow-run"] },
    );
    using go = Deno.openSync(`${SCRATCH}/go`, { read: true, write: true });
    for (const killed of [false, true]) {
      const child = new Deno.Command(command!, {
        args,
        env: { PATH: `${SCRATCH}/bin:${Deno.env.get("PATH")}` },
        stdin: "null",
        stdout: "piped",
      }).spawn();
      // To the end: until nobody is left who could write.
      let said = "";
      for await (
        const text of child.stdout.pipeThrough(new TextDecoderStream())
      ) {
        said += text;
        if (said !== "waiting\n") continue;
        if (killed) {
          child.kill("SIGKILL");
          await child.status;
        }
        go.writeSync(new TextEncoder().encode("\n"));
      }
      await child.status;
      assertEquals(said, killed ? "waiting\n" : "waiting\nran\n");
    }
  },
  { commands: ["busybox", "unshare", "setpriv", "mkfifo"] },
);

programTest(
  "run --host-pid leaves no process of its group when it is killed",
  async () => {
    const mark = crypto.randomUUID();
    const { child, rest } = await started([
      "--host-pid",
      makeRoot(),
      "sh",
      "-c",
      `sh -c 'echo; sleep 60; :' ${mark}; :`,
    ]);
    child.kill("SIGKILL");
    await child.status;
    await untilGone(mark);
    await rest;
  },
  NEEDS,
);

/** Waits until no process has a text in its command line: killing takes a moment. */
async function untilGone(mark: string): Promise<void> {
  const end = performance.now() + 5000;
  for (;;) {
    const left = processesWith(mark);
    if (left.length === 0) return;
    assert(performance.now() < end, left.join("\n"));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

programTest("run leaves nothing when it is killed at any time", async () => {
  const root = makeRoot();
  const mark = crypto.randomUUID();
  const [command, ...args] = commandLine([
    "run",
    "--tmpfs=/tmp",
    root,
    "sh",
    "-c",
    `sh -c 'sleep 1000; :' ${mark} & setsid sleep 1000 & echo; sleep 1000; : ${mark}`,
  ]);
  const options = {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  } as const;
  const before = mountTable();
  // How long it takes until the command runs; some come after that.
  const begin = performance.now();
  const measured = new Deno.Command(command!, options).spawn();
  const reader = measured.stdout.getReader();
  await reader.read();
  const duration = performance.now() - begin;
  measured.kill("SIGKILL");
  await reader.cancel();
  await measured.status;
  let ran = 0;
  const rounds = 32;
  const batch = 4;
  for (let round = 0; round < rounds; round += batch) {
    await Promise.all(
      Array.from({ length: batch }, async () => {
        const child = new Deno.Command(command!, options).spawn();
        const { promise, resolve } = Promise.withResolvers<void>();
        setTimeout(resolve, Math.random() * duration * 3);
        await promise;
        child.kill("SIGKILL");
        if ((await new Response(child.stdout).bytes()).length > 0) ran++;
        await child.status;
      }),
    );
  }
  await untilGone(mark);
  assertEquals(mountTable(), before);
  // But what nobody was left to remove.
  const left = ["dev", "proc", "sys", "tmp"];
  assertEquals(names(root), ["bin", ...left]);
  for (const name of left) assertEquals(names(`${root}/${name}`), []);
  // Neither only early nor only late.
  assert(ran > 0 && ran < rounds, String(ran));
}, NEEDS);
