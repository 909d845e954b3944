import {
  Action,
  type Answer,
  appears,
  BUILD,
  Client,
  RunnerProcess,
  runnerTest,
  SOCKET,
} from "./support.ts";
import { SCRATCH } from "../support/testing.ts";
import { processesWith } from "../support/run_root.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { MNT_DETACH } from "../../src/sys/constants.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import { connect as connectHttp } from "node:http2";
import { connect as connectSocket } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { RunRequestSchema } from "../../src/runner/generated/buildbarn/runner/runner_pb.ts";

/** The exit status of a call that ran a command. */
function exitCode({ status, message, response }: Answer): number {
  assertEquals([status, message], ["OK", undefined]);
  return Number(response.exitCode);
}

/** Does something with a runner, and a client that is connected to it. */
function servedTest(
  name: string,
  fn: (client: Client, runner: RunnerProcess) => Promise<void>,
  options?: () => string[],
): void {
  runnerTest(name, async () => {
    await using runner = await RunnerProcess.start(options?.());
    await using client = new Client();
    await fn(client, runner);
  });
}

servedTest(
  "Run answers how the command ended, and what it used",
  async (client) => {
    const action = new Action("1");
    const { status, response } = await client.run(
      action.shell(
        "echo out; echo error >&2; i=0; while [ $i -lt 9999 ]; do i=$((i+1)); done; exit 3",
      ),
    );
    assertEquals(status, "OK");
    assertEquals(response.exitCode, "3");
    assertEquals([action.stdout, action.stderr], ["out\n", "error\n"]);
    const [usage, ...more] = response.resourceUsage;
    assertEquals(more, []);
    assertEquals(
      usage["@type"],
      "type.googleapis.com/buildbarn.resourceusage.POSIXResourceUsage",
    );
    assert(parseFloat(usage.userTime) + parseFloat(usage.systemTime) > 0);
    assert(Number(usage.maximumResidentSetSize) > 0);
    assert(Number(usage.pageReclaims) > 0);
    assertEquals(usage.terminationSignal, "");
  },
);

servedTest(
  "Run tells what a command used, each thing by its name",
  async (client) => {
    const usageOf = async (id: string, script: string) => {
      const { response } = await client.run(new Action(id).shell(script));
      assertEquals(response.exitCode, "0");
      const { "@type": _, userTime, systemTime, ...rest } =
        response.resourceUsage[0];
      const seconds = parseFloat(userTime) + parseFloat(systemTime);
      return { seconds, ...rest };
    };
    const small = await usageOf("small", ":");
    const much = await usageOf(
      "much",
      "dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; i=0; while [ $i -lt 9 ]; do i=$((i+1)); sleep 0.001; done",
    );
    const number = (usage: typeof small, name: string) => Number(usage[name]);
    // The memory is the command's, and nothing of the runner's.
    assert(number(small, "maximumResidentSetSize") < 8 << 20);
    assert(number(much, "maximumResidentSetSize") > 64 << 20);
    assert(number(much, "pageReclaims") > number(small, "pageReclaims"));
    const waited = "voluntaryContextSwitches";
    assert(number(much, waited) >= number(small, waited) + 9);
    assert(much.seconds > 0);
    // What Linux does not count is not made up.
    const uncounted = ["swaps", "messagesSent", "messagesReceived"];
    for (const name of [...uncounted, "signalsReceived"]) {
      assertEquals(much[name], "0", name);
    }
    const names = Object.keys(much).filter((name) => name !== "seconds");
    assertEquals(
      names.sort(),
      [
        ...["blockInputOperations", "blockOutputOperations"],
        ...["involuntaryContextSwitches", "maximumResidentSetSize"],
        ...["messagesReceived", "messagesSent", "pageFaults", "pageReclaims"],
        ...["signalsReceived", "swaps", "terminationSignal"],
        "voluntaryContextSwitches",
      ],
    );
  },
);

servedTest("Run tells the signal that ended a command", async (client) => {
  for (
    const [signal, name] of [
      ["KILL", "KILL"],
      ["TERM", "TERM"],
      ["SEGV", "SEGV"],
      ["35", "RTMIN+1"],
    ] as const
  ) {
    const action = new Action(name);
    const { response } = await client.run(
      action.shell(
        `sh -c 'kill -${signal} $$' & wait $!; kill -${signal} $$; sleep 9`,
      ),
    );
    assertEquals(response.exitCode, "-1");
    assertEquals(response.resourceUsage[0].terminationSignal, name);
  }
});

servedTest(
  "Run gives the command the environment, and no other",
  async (client) => {
    const environment = {
      "PATH": "/bin",
      "A B": "with = and\nnewline",
      "empty": "",
      "__proto__": "polluted",
      "TMPDIR": "/elsewhere",
    };
    const entries = Object.entries(environment);
    entries.push(["__proto__", "polluted"]);
    const own = new Action("own");
    const environmentVariables = Object.fromEntries(entries);
    assertEquals(
      exitCode(
        await client.run(
          own.request(["cat", "/proc/self/environ"], { environmentVariables }),
        ),
      ),
      0,
    );
    assertEquals(
      own.stdout.split("\0").filter((entry) => entry !== "").sort(),
      [...new Map(entries)].map(([name, value]) => `${name}=${value}`).sort(),
    );
    const bare = new Action("bare");
    await client.run(
      bare.request(["/bin/cat", "/proc/self/environ"], {
        environmentVariables: {},
      }),
    );
    assertEquals(bare.stdout, "TMPDIR=/tmp\0");
  },
);

servedTest(
  "Run gives the command its temporary directory as /tmp",
  async (client) => {
    const action = new Action("1");
    Deno.writeTextFileSync(`${action.path}/tmp/there`, "");
    const script = "ls /tmp; echo $TMPDIR; echo made > $TMPDIR/new; ls /";
    assertEquals(exitCode(await client.run(action.shell(script))), 0);
    assertEquals(action.stdout.split("\n").slice(0, 2), ["there", "/tmp"]);
    assertEquals(action.read("tmp/new"), "made\n");
    const none = new Action("2");
    Deno.mkdirSync(`${none.root}/tmp`);
    const answer = await client.run(
      none.shell("echo made > /tmp/new; echo $TMPDIR", {
        temporaryDirectory: "",
      }),
    );
    assertEquals(exitCode(answer), 0);
    assertEquals(none.read("root/tmp/new"), "made\n");
    assertEquals(none.stdout, "\n");
  },
);

servedTest("Run puts each command in namespaces of its own", async (client) => {
  const action = new Action("1");
  const script =
    "cat; ps -o args; readlink /proc/self/ns/mnt; ls -l /dev/null; : > /dev/null; echo x | cat >> /dev/stdout";
  assertEquals(exitCode(await client.run(action.shell(script))), 0);
  assert(!action.stdout.includes("deno"), action.stdout);
  const [namespace] = /^mnt:\[\d+\]$/m.exec(action.stdout)!;
  assert(namespace !== Deno.readLinkSync("/proc/self/ns/mnt"));
  assertMatch(action.stdout, /^x$/m);
});

servedTest(
  "Run finds the program in the root, as a shell does",
  async (client) => {
    Deno.mkdirSync(BUILD, { recursive: true });
    const cases: [command: string[], expected: number, more?: object][] = [
      [["true"], 0],
      [["/bin/false"], 1],
      [["bin/true"], 0],
      [["./true"], 0, { workingDirectory: "bin" }],
      [["true"], 127, { environmentVariables: { PATH: "/sbin" } }],
      [["true"], 0, { environmentVariables: { PATH: "bin" } }],
      [["true"], 127, {
        environmentVariables: { PATH: "bin" },
        workingDirectory: "tmp",
      }],
      [["nothing"], 127],
      [["/nothing"], 127],
      [["x".repeat(300)], 127],
      [["plain"], 126],
      [["/bin"], 126],
      [["badly"], 126],
    ];
    for (const [i, [command, expected, more]] of cases.entries()) {
      const action = new Action(String(i));
      Deno.writeTextFileSync(`${action.root}/bin/plain`, "");
      Deno.writeTextFileSync(`${action.root}/bin/badly`, "?", { mode: 0o755 });
      const answer = await client.run(action.request(command, more));
      assertEquals(exitCode(answer), expected, command.join(" "));
      if (expected > 1) {
        assertMatch(action.stderr, /^mountat: Cannot run ".*": execve: E/);
      }
    }
  },
);

servedTest(
  "Run starts in the working directory, and never above the root",
  async (client) => {
    const cases: [directory: string, expected: string][] = [
      ["", "/"],
      [".", "/"],
      ["a/b", "/a/b"],
      ["../../..", "/"],
      ["a/../../../a", "/a"],
      ["link", "/a"],
      ["out", "/bin"],
    ];
    for (const [i, [workingDirectory, expected]] of cases.entries()) {
      const action = new Action(String(i));
      Deno.mkdirSync(`${action.root}/a/b`, { recursive: true });
      Deno.symlinkSync("a", `${action.root}/link`);
      Deno.symlinkSync("/bin", `${action.root}/out`);
      const answer = await client.run(
        action.request(["pwd", "-P"], { workingDirectory }),
      );
      assertEquals(exitCode(answer), 0, workingDirectory);
      assertEquals(action.stdout, `${expected}\n`);
    }
  },
);

/** Requests that can't be met, with what they are answered. */
const WRONG: [
  more: Record<string, unknown>,
  status: string,
  message: RegExp,
][] = [
  [{ arguments: [] }, "INVALID_ARGUMENT", /no arguments/],
  [{ arguments: [""] }, "INVALID_ARGUMENT", /must have a program/],
  [{ arguments: ["a\0b"] }, "INVALID_ARGUMENT", /NUL/],
  [
    { environmentVariables: { "A=B": "" } },
    "INVALID_ARGUMENT",
    /name without "="/,
  ],
  [{ environmentVariables: { "": "" } }, "INVALID_ARGUMENT", /name/],
  [{ environmentVariables: { A: "\0" } }, "INVALID_ARGUMENT", /NUL/],
  ...["stdoutPath", "stderrPath"].flatMap((field): typeof WRONG => [
    [{ [field]: "" }, "INVALID_ARGUMENT", /can only be a directory/],
    [{ [field]: "1/" }, "INVALID_ARGUMENT", /can only be a directory/],
    [{ [field]: "1/." }, "INVALID_ARGUMENT", /can only be a directory/],
    [{ [field]: ".." }, "INVALID_ARGUMENT", /can only be a directory/],
    [{ [field]: "/tmp/x" }, "INVALID_ARGUMENT", /leaves the build/],
    [{ [field]: "../x" }, "INVALID_ARGUMENT", /leaves the build/],
    [{ [field]: "1/../../x" }, "INVALID_ARGUMENT", /leaves the build/],
    [{ [field]: "link/x" }, "INVALID_ARGUMENT", /ELOOP/],
    [{ [field]: "a\0b" }, "INVALID_ARGUMENT", /NUL/],
    [{ [field]: "1/root" }, "UNKNOWN", /EEXIST/],
    [{ [field]: "link" }, "UNKNOWN", /EEXIST/],
    [{ [field]: "1/there" }, "UNKNOWN", /EEXIST/],
    [{ [field]: "missing/x" }, "UNKNOWN", /ENOENT/],
    [{ [field]: "1/there/x" }, "UNKNOWN", /ENOTDIR/],
    [{ [field]: `1/${"x".repeat(300)}` }, "UNKNOWN", /ENAMETOOLONG/],
  ]),
  ...["inputRootDirectory", "temporaryDirectory"].flatMap((
    field,
  ): typeof WRONG => [
    [{ [field]: "/tmp" }, "INVALID_ARGUMENT", /leaves the build/],
    [{ [field]: "../" }, "INVALID_ARGUMENT", /leaves the build/],
    [{ [field]: "1/../../x" }, "INVALID_ARGUMENT", /leaves the build/],
    [{ [field]: "link" }, "INVALID_ARGUMENT", /ELOOP/],
    [{ [field]: "1/there" }, "INVALID_ARGUMENT", /ENOTDIR/],
    [{ [field]: "missing" }, "INVALID_ARGUMENT", /ENOENT/],
    [{ [field]: "a\0b" }, "INVALID_ARGUMENT", /NUL/],
  ]),
  ...["", "./.", "1/..", "1/root/../../"].map((
    inputRootDirectory,
  ): typeof WRONG[number] => [
    { inputRootDirectory },
    "INVALID_ARGUMENT",
    /leaves the build/,
  ]),
  // Clients refuse an answer with more than some thousand bytes beside it.
  ...["missing/", "\u3042", "\u{1f600}"].flatMap((part) =>
    ["", "x"].map((before): typeof WRONG[number] => [
      { inputRootDirectory: before + part.repeat(4000) },
      "INTERNAL",
      /^input_root_directory ".*….*ENAMETOOLONG/,
    ])
  ),
  [{ workingDirectory: "/bin" }, "INVALID_ARGUMENT", /relative/],
  [{ workingDirectory: "missing" }, "INVALID_ARGUMENT", /ENOENT/],
  [{ workingDirectory: "bin/sh" }, "INVALID_ARGUMENT", /ENOTDIR/],
  [{ workingDirectory: "loop" }, "INVALID_ARGUMENT", /ELOOP/],
  [{ workingDirectory: "a\0b" }, "INVALID_ARGUMENT", /NUL/],
];

servedTest(
  "Run refuses what leads astray, in every field",
  async (client, runner) => {
    // What strangers put into the build directory.
    Deno.mkdirSync(`${SCRATCH}/outside`);
    Deno.symlinkSync(`${SCRATCH}/outside`, `${BUILD}/link`);
    for (const [more, status, message] of WRONG) {
      const action = new Action("1");
      Deno.writeTextFileSync(`${action.path}/there`, "");
      Deno.symlinkSync("loop", `${action.root}/loop`);
      const answer = await client.run(action.request(["true"], more));
      const what = JSON.stringify(more);
      assertEquals(answer.status, status, what + answer.message);
      assertMatch(answer.message!, message, what);
      // The worker finds out why, and what the command wrote: nothing.
      const isLog = "stdoutPath" in more || "stderrPath" in more;
      if (!isLog) {
        assertEquals([action.stdout, action.stderr], ["", ""]);
        const told = action.read("server_logs/mountat-runner");
        assert(told.startsWith(`${status}: `), told);
      }
      await runner.log.find(new RegExp(`: ${status} [(]`));
      action[Symbol.dispose]();
    }
    assertEquals([...Deno.readDirSync(`${SCRATCH}/outside`)], []);
  },
);

servedTest(
  "Run goes on where why it failed can't be written down",
  async (client) => {
    const names = ["", "missing", "1/link", "../x", "1/stdout", "/tmp", "a\0b"];
    Deno.mkdirSync(`${SCRATCH}/outside`);
    for (const serverLogsDirectory of names) {
      const action = new Action("1");
      Deno.symlinkSync(`${SCRATCH}/outside`, `${action.path}/link`);
      const answer = await client.run(
        action.request([], { serverLogsDirectory }),
      );
      assertEquals(answer.status, "INVALID_ARGUMENT", serverLogsDirectory);
      action[Symbol.dispose]();
    }
    assertEquals([...Deno.readDirSync(`${SCRATCH}/outside`)], []);
  },
);

/** A word that no other process has in its command line. */
const token = () => `31${crypto.getRandomValues(new Uint32Array(1))[0]}`;

/** A script that leaves processes of all kinds, and says when it has begun. */
function lasting(word: string): string {
  return `trap '' TERM INT HUP; sleep ${word} & (sleep ${word} &) & : > /begun; sleep ${word}`;
}

/** An action whose root has what a root needs, so that it is written to itself. */
function whole(id: string): Action {
  const action = new Action(id);
  for (const name of ["proc", "sys", "dev", "tmp"]) {
    Deno.mkdirSync(`${action.root}/${name}`);
  }
  return action;
}

servedTest(
  "Run leaves nothing when the client cancels",
  async (client, runner) => {
    const action = whole("1");
    const word = token();
    const { answer, cancel } = client.call("run", action.shell(lasting(word)));
    await appears(`${action.root}/begun`);
    assert(processesWith(word).length >= 3);
    cancel();
    assertEquals((await answer).status, "CANCELLED");
    const line = await runner.log.find(/^1: /);
    assertMatch(line, /^1: CANCELLED \(The client cancelled/);
    assertEquals(processesWith(word), []);
  },
);

servedTest(
  "Run leaves nothing when its client is gone",
  async (client, runner) => {
    const action = whole("1");
    const word = token();
    const gone = new Client();
    gone.call("run", action.shell(lasting(word)));
    await appears(`${action.root}/begun`);
    await gone.kill();
    await runner.log.find(/^1: CANCELLED/);
    assertEquals(processesWith(word), []);
    assertEquals(exitCode(await client.run(whole("2").request(["true"]))), 0);
  },
);

servedTest(
  "Run ends a command at the call's deadline, always",
  async (client, runner) => {
    for (let i = 0; i < 12; i++) {
      const action = whole(String(i));
      const word = token();
      const answer = await client.run(action.shell(lasting(word)), {
        timeout: 0.3,
      });
      assertEquals(answer.status, "DEADLINE_EXCEEDED");
      assertMatch(
        await runner.log.find(new RegExp(`^${i}: `)),
        /: (DEADLINE_EXCEEDED|CANCELLED) /,
      );
      assertEquals(processesWith(word), []);
    }
  },
);

servedTest(
  "the deadline is answered when nothing is left of the command",
  async () => {
    const action = whole("1");
    const word = token();
    const request = create(RunRequestSchema, action.shell(lasting(word)));
    const message = Buffer.from(toBinary(RunRequestSchema, request));
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    // A client with a clock of its own would not wait for the answer.
    const session = connectHttp("http://localhost", {
      createConnection: () => connectSocket(SOCKET),
    });
    const stream = session.request({
      ":method": "POST",
      ":path": "/buildbarn.runner.Runner/Run",
      "content-type": "application/grpc",
      "te": "trailers",
      "grpc-timeout": "400m",
    });
    stream.end(Buffer.concat([prefix, message]));
    const headers = await new Promise<Record<string, unknown>>((resolve) =>
      stream.on("response", resolve)
    );
    assertEquals(processesWith(word), []);
    assertEquals(headers["grpc-status"], "4");
    stream.on("data", () => {});
    await new Promise((resolve) => session.close(() => resolve(null)));
  },
);

servedTest("a pipe whose reader has gone ends its writer", async (client) => {
  const answer = await client.run(new Action("1").shell("yes | head -n 1"));
  assertEquals(exitCode(answer), 0);
});

servedTest("nothing limits how many actions run at once", async (client) => {
  const count = 40;
  const actions = Array.from({ length: count }, (_, i) => whole(String(i)));
  // Each waits for all others.
  const script = ": > /tmp/begun; while [ ! -e /tmp/go ]; do sleep 0.02; done";
  const answers = actions.map((action) => client.run(action.shell(script)));
  for (const { path } of actions) await appears(`${path}/tmp/begun`);
  for (const { path } of actions) Deno.writeTextFileSync(`${path}/tmp/go`, "");
  for (const answer of answers) assertEquals(exitCode(await answer), 0);
});

servedTest(
  "a command writes at the top of its root, and finds it as it was",
  async (client) => {
    const action = new Action("1");
    Deno.mkdirSync(`${action.root}/src`);
    const script =
      "echo a > /a && mv /a /src/b && ln /src/b /c && mkdir /d && mv /src/b /d/e";
    assertEquals(exitCode(await client.run(action.shell(script))), 0);
    const names = [...Deno.readDirSync(action.root)].map(({ name }) => name);
    // Nothing of /proc, /sys, /dev and /tmp is an output.
    assertEquals(names.sort(), ["bin", "c", "d", "src"]);
  },
);

servedTest("200 actions, 8 at a time", async (client) => {
  let next = 0;
  const outputs = new Set<string>();
  await Promise.all(Array.from({ length: 8 }, async () => {
    while (next < 200) {
      using action = whole(String(next++));
      const answer = await client.run(
        action.shell(
          `echo ${action.id} > /tmp/x; cat /tmp/x; exit $((${action.id} % 7))`,
        ),
      );
      assertEquals(exitCode(answer), Number(action.id) % 7);
      outputs.add(action.stdout);
    }
  }));
  assertEquals(outputs.size, 200);
});

servedTest("an action writes 100 MB and 10,000 files", async (client) => {
  const action = whole("1");
  const script =
    "mkdir /out; cd /out; dd if=/dev/zero bs=1M count=100 2>/dev/null; seq 10000 | while read n; do : > $n; done";
  assertEquals(exitCode(await client.run(action.shell(script))), 0);
  assertEquals(Deno.statSync(`${action.path}/stdout`).size, 100 << 20);
  assertEquals([...Deno.readDirSync(`${action.root}/out`)].length, 10_000);
});

servedTest("a full disk fails actions, and not the runner", async (client) => {
  const action = whole("small/1");
  {
    const path = `${BUILD}/full`;
    Deno.mkdirSync(path);
    // Eleven blocks, of which the directories take some.
    mount("none", path, "tmpfs", 0, "nr_inodes=2,size=4096");
    const answer = await client.run(
      action.request(["true"], { stderrPath: "full/a/b" }),
    );
    assertEquals(answer.status, "UNKNOWN");
    await client.run(
      action.request(["true"], {
        stdoutPath: "small/1/a",
        stderrPath: "full/one",
      }),
    );
    const full = await client.run(
      action.request(["true"], {
        stdoutPath: "small/1/b",
        stderrPath: "full/two",
      }),
    );
    assertEquals(full.status, "UNKNOWN");
    assertMatch(full.message!, /ENOSPC/);
    umount2(path, MNT_DETACH);
  }
  const more = whole("2");
  assertEquals(exitCode(await client.run(more.request(["true"]))), 0);
});

servedTest(
  "an action fills its disk, and the next one runs",
  async (client) => {
    mount("none", BUILD, "tmpfs", 0, "size=8m");
    const action = whole("1");
    const fill = "dd if=/dev/zero of=/tmp/fill bs=64k";
    assertEquals(exitCode(await client.run(action.shell(fill))), 1);
    assert(Deno.statSync(`${action.path}/tmp/fill`).size > 4 << 20);
    Deno.removeSync(`${action.path}/tmp/fill`);
    assertEquals(exitCode(await client.run(whole("2").request(["true"]))), 0);
    umount2(BUILD);
  },
);

servedTest(
  "CheckReadiness looks for what the worker has made",
  async (client) => {
    Deno.mkdirSync(`${BUILD}/1/check_readiness`, { recursive: true });
    const check = (path: string) =>
      client.call("checkReadiness", { path }).answer;
    for (const path of ["1/check_readiness", "", ".", "1"]) {
      assertEquals((await check(path)).status, "OK", path);
    }
    for (
      const path of ["2", "1/check_readiness/x", "/", "..", "../build", "a\0b"]
    ) {
      assertEquals((await check(path)).status, "INTERNAL", path);
    }
  },
);

servedTest(
  "the build directory may be mounted later, and gone again",
  async (client) => {
    const check = () => client.call("checkReadiness", { path: "1" }).answer;
    assertEquals((await check()).status, "INTERNAL");
    mount("none", BUILD, "tmpfs", 0, null);
    const action = whole("1");
    assertEquals((await check()).status, "OK");
    assertEquals(exitCode(await client.run(action.request(["true"]))), 0);
    // Nothing of it keeps the file system in use.
    umount2(BUILD);
    assertEquals((await check()).status, "INTERNAL");
  },
);

servedTest(
  "what commands need is looked for when asked, and when one fails",
  async (client) => {
    const needed = `${SCRATCH}/needed`;
    const check = () => client.call("checkReadiness", { path: "" }).answer;
    assertEquals((await check()).status, "UNAVAILABLE");
    assertEquals(exitCode(await client.run(whole("1").request(["true"]))), 0);
    const failed = await client.run(whole("2").request(["false"]));
    assertEquals(failed.status, "UNAVAILABLE");
    assertMatch(failed.message!, /needed/);
    Deno.writeTextFileSync(needed, "");
    assertEquals((await check()).status, "OK");
    assertEquals(exitCode(await client.run(whole("3").request(["false"]))), 1);
  },
  () => [
    ...["--build-directory", BUILD, "--listen", SOCKET],
    ...["--ready", `${SCRATCH}/needed`],
  ],
);

servedTest(
  "health is told of each service, and until the end",
  async (client, runner) => {
    const check = (service: string) =>
      client.call("health", { service }).answer;
    for (const service of ["", "buildbarn.runner.Runner"]) {
      assertEquals((await check(service)).response, { status: "SERVING" });
    }
    assertEquals((await check("x")).status, "NOT_FOUND");
    const told: string[] = [];
    const first = Promise.withResolvers<void>();
    const end = client.watch("", (status) => {
      told.push(status);
      first.resolve();
    });
    await first.promise;
    assertEquals((await runner.end()).code, 0);
    await end;
    assertEquals(told, ["SERVING", "NOT_SERVING"]);
  },
);

servedTest("a request may have 4 MiB", async (client) => {
  const answer = await client.run(
    whole("1").request([
      "true",
      ..."x".repeat(50).split("").map((x) => x.repeat(1e5)),
    ]),
  );
  assertEquals(answer.status, "RESOURCE_EXHAUSTED");
  const most = whole("2");
  const words = Array.from({ length: 20 }, () => "x".repeat(1e5));
  // One word may have 128 KiB, and all of them a quarter of the stack: execve(2).
  assertEquals(exitCode(await client.run(most.request(["true", ...words]))), 0);
  const more = Array.from({ length: 4 }, () => "x".repeat(1e6));
  const long = whole("3");
  assertEquals(
    exitCode(await client.run(long.request(["true", ...more]))),
    126,
  );
  assertMatch(long.stderr, /E2BIG/);
});
