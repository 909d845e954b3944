/**
 * A whole cluster of Buildbarn's, with the runner in place of `bb_runner`: where
 * BUILDBARN_BIN names a folder with its programs.
 */
import {
  Lines,
  missingClient,
  PythonClient,
  RunnerProcess,
} from "./support.ts";
import { programTest } from "../support/program.ts";
import { missingPermission, mountsBelow, SCRATCH } from "../support/testing.ts";
import { possessionsOf } from "../support/possessions.ts";
import { processesWith } from "../support/run_root.ts";
import { umount2 } from "../../src/sys/mount.ts";
import { MNT_DETACH } from "../../src/sys/constants.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";

const BIN = missingPermission(["env"]) === null
  ? Deno.env.get("BUILDBARN_BIN")
  : undefined;

/** Registers a test that no package has the programs for. */
function clusterTest(
  name: string,
  programs: readonly string[],
  fn: () => Promise<void>,
): void {
  const there = BIN !== undefined &&
    programs.every((program) => exists(`${BIN}/${program}`));
  if (there) {
    programTest(name, fn, {
      missing: missingClient(),
      commands: ["busybox", "setpriv"],
    });
    return;
  }
  // Not for MOUNTAT_TEST_STRICT, either: nothing that can be installed has them.
  const reason = `needs ${programs.join(", ")} in BUILDBARN_BIN`;
  Deno.test({ name: `${name} (ignored: ${reason})`, ignore: true, fn() {} });
}

const PROGRAMS = ["bb_storage", "bb_scheduler", "bb_worker"];

const WORKER = `${SCRATCH}/worker`;
const BUILD = `${WORKER}/build`;
const SOCKET = `${WORKER}/socket/runner`;

/** What came of an action. */
interface Outcome {
  code: number;
  message: string;
  exitCode: number;
  stdout: string;
  stderr: string;
  outputs: Record<string, string>;
  logs: Record<string, string>;
  seconds: number;
  error?: string;
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

const MESSAGE_SIZE = 16 << 20;

const ALLOW = { allow: {} };

/** What a worker runs as, where not as root with its umask. */
interface WorkerUser {
  /** The user, who then has no capability but these. */
  readonly uid?: number;
  readonly capabilities?: readonly string[];
  /** The umask that its configuration sets. */
  readonly umask?: number;
  /** Whether its FUSE mount is for other users, too. */
  readonly allowOther?: boolean;
}

/** Configurations of a cluster on loopback. */
function configurations(
  kind: "native" | "fuse",
  { umask, allowOther }: WorkerUser,
) {
  const [storage, clients, workers] = [freePort(), freePort(), freePort()]
    .map((port) => `127.0.0.1:${port}`) as [string, string, string];
  const server = (address: string) => [{
    listenAddresses: [address],
    authenticationPolicy: ALLOW,
    maximumReceivedMessageSizeBytes: MESSAGE_SIZE,
  }];
  const blobs = { grpc: { client: { address: storage } } };
  const local = (name: string) => ({
    local: {
      keyLocationMapInMemory: { entries: 100_000 },
      keyLocationMapMaximumGetAttempts: 16,
      keyLocationMapMaximumPutAttempts: 64,
      oldBlocks: 8,
      currentBlocks: 24,
      newBlocks: 1,
      blocksOnBlockDevice: {
        source: { file: { path: `${SCRATCH}/${name}`, sizeBytes: 1 << 30 } },
        spareBlocks: 3,
        dataIntegrityValidationCache: {
          cacheSize: 100_000,
          cacheDuration: "14400s",
          cacheReplacementPolicy: "LEAST_RECENTLY_USED",
        },
      },
    },
  });
  const authorizers = { getAuthorizer: ALLOW, putAuthorizer: ALLOW };
  const native = {
    native: {
      buildDirectoryPath: BUILD,
      cacheDirectoryPath: `${WORKER}/cache`,
      maximumCacheFileCount: 10_000,
      maximumCacheSizeBytes: 1 << 30,
      cacheReplacementPolicy: "LEAST_RECENTLY_USED",
    },
  };
  const virtual = {
    virtual: {
      mount: {
        mountPath: BUILD,
        fuse: {
          ...allowOther === undefined ? {} : { allowOther },
          directoryEntryValidity: "300s",
          inodeAttributeValidity: "300s",
          mountMethod: "DIRECT",
        },
      },
      maximumExecutionTimeoutCompensation: "3600s",
      maximumWritableFileUploadDelay: "60s",
    },
  };
  return {
    address: storage,
    bb_storage: {
      grpcServers: server(storage),
      maximumMessageSizeBytes: MESSAGE_SIZE,
      contentAddressableStorage: {
        backend: local("cas"),
        findMissingAuthorizer: ALLOW,
        ...authorizers,
      },
      actionCache: { backend: local("ac"), ...authorizers },
      schedulers: { "": { endpoint: { address: clients } } },
      executeAuthorizer: ALLOW,
    },
    bb_scheduler: {
      clientGrpcServers: server(clients),
      workerGrpcServers: server(workers),
      contentAddressableStorage: blobs,
      maximumMessageSizeBytes: MESSAGE_SIZE,
      executeAuthorizer: ALLOW,
      modifyDrainsAuthorizer: ALLOW,
      killOperationsAuthorizer: ALLOW,
      synchronizeAuthorizer: ALLOW,
      actionRouter: {
        simple: {
          platformKeyExtractor: { action: {} },
          invocationKeyExtractors: [{ toolInvocationId: {} }],
          initialSizeClassAnalyzer: {
            defaultExecutionTimeout: "1800s",
            maximumExecutionTimeout: "7200s",
          },
        },
      },
      platformQueueWithNoWorkersTimeout: "900s",
      predeclaredPlatformQueues: [{
        instanceNamePrefix: "",
        platform: {},
        sizeClasses: [0],
      }],
    },
    bb_worker: {
      ...umask === undefined ? {} : { global: { setUmask: { umask } } },
      blobstore: {
        contentAddressableStorage: kind === "native" ? blobs : {
          readCaching: {
            slow: blobs,
            fast: local("worker-cas"),
            replicator: { deduplicating: { local: {} } },
          },
        },
        actionCache: blobs,
      },
      browserUrl: "http://nowhere.invalid",
      maximumMessageSizeBytes: MESSAGE_SIZE,
      scheduler: { address: workers },
      filePool: {
        blockDevice: {
          file: { path: `${WORKER}/filepool`, sizeBytes: 1 << 30 },
        },
      },
      inputDownloadConcurrency: 10,
      outputUploadConcurrency: 11,
      directoryCache: {
        maximumCount: 10_000,
        maximumSizeBytes: 10 << 20,
        cacheReplacementPolicy: "LEAST_RECENTLY_USED",
      },
      buildDirectories: [{
        ...kind === "native" ? native : virtual,
        runners: [{
          endpoint: { address: `unix://${SOCKET}` },
          concurrency: 8,
          platform: {},
          maximumFilePoolFileCount: 1000,
          maximumFilePoolSizeBytes: 100 << 20,
          workerId: { hostname: "test" },
        }],
      }],
    },
  };
}

/** What starts a program as a user. */
function wrapperFor({ uid, capabilities = [] }: WorkerUser): string[] {
  if (uid === undefined) return [];
  const all = ["-all", ...capabilities.map((name) => `+${name}`)].join(",");
  return [
    ...["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"],
    ...[`--inh-caps=${all}`, `--ambient-caps=${all}`, `--bounding-set=${all}`],
  ];
}

/** The programs of a cluster, but for the runner. */
class Cluster implements AsyncDisposable {
  readonly #processes: Deno.ChildProcess[] = [];
  readonly address: string;

  constructor(kind: "native" | "fuse", user: WorkerUser = {}) {
    for (const name of ["build", "cache", "socket"]) {
      Deno.mkdirSync(`${WORKER}/${name}`, { recursive: true });
    }
    if (user.uid !== undefined) {
      for (const name of ["build", "cache"]) {
        Deno.chownSync(`${WORKER}/${name}`, user.uid, user.uid);
      }
      Deno.chmodSync(`${WORKER}/cache`, 0o700);
      Deno.writeTextFileSync(`${WORKER}/filepool`, "");
      Deno.chownSync(`${WORKER}/filepool`, user.uid, user.uid);
    }
    const { address, ...programs } = configurations(kind, user);
    this.address = address;
    for (const [name, configuration] of Object.entries(programs)) {
      const file = `${SCRATCH}/${name}.json`;
      Deno.writeTextFileSync(file, JSON.stringify(configuration));
      const wrapper = name === "bb_worker" ? wrapperFor(user) : [];
      this.#processes.push(
        new Deno.Command("sh", {
          args: [
            ...["-c", 'exec "$@" > "$0" 2>&1', `${SCRATCH}/${name}.log`],
            ...[...wrapper, `${BIN}/${name}`, file],
          ],
          stdin: "null",
        }).spawn(),
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#processes.reverse()) {
      process.kill("SIGKILL");
      await process.status;
    }
    while (mountsBelow(BUILD).length > 0) umount2(BUILD, MNT_DETACH);
  }
}

const APPLETS = ["sh", "cat", "echo", "sleep", "true", "grep", "ls", "mkdir"];

/** The inputs of all actions: busybox, and a file that some will try to change. */
const INPUTS = {
  bin: {
    directory: {
      busybox: { file: "/bin/busybox", executable: true },
      ...Object.fromEntries(APPLETS.map((name) => [name, { link: "busybox" }])),
    },
  },
  src: { directory: { input: { text: "input\n" } } },
};

/** Executes actions of a client's. */
class Actions extends PythonClient<Outcome> {
  constructor(address: string) {
    const protocol = ["tests/runner", "remote_execution.proto"] as const;
    super("remote_client.py", [protocol], address);
  }

  async execute(script: string, more: object = {}): Promise<Outcome> {
    const outcome = await this.ask({
      command: ["sh", "-c", script],
      inputs: INPUTS,
      ...more,
    }).answer;
    assertEquals(outcome.error, undefined);
    return outcome;
  }
}

/** A status of gRPC. */
const UNAVAILABLE = 14;

function median(values: number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  return `${(sorted[sorted.length >> 1]! * 1000).toFixed(1)} ms`;
}

for (const kind of ["native", "fuse"] as const) {
  clusterTest(
    `a cluster of Buildbarn's runs its actions (${kind})`,
    PROGRAMS,
    async () => {
      await using cluster = new Cluster(kind);
      await using runner = await RunnerProcess.start([
        ...["--build-directory", BUILD, "--listen", SOCKET],
      ]);
      await using actions = new Actions(cluster.address);
      const first = await actions.execute(
        "grep ^Pid: /proc/self/status; ls /proc/self/fd /sys/kernel >&2; cat src/input; mkdir -p out; echo made > out/file; : > /dev/null",
        { outputs: ["out/file"] },
      );
      assertEquals([first.code, first.exitCode], [0, 0], first.message);
      assertMatch(first.stdout, /^Pid:\t\d{1,2}\ninput\n$/);
      assertEquals(first.outputs, { "out/file": "made\n" });

      const failed = await actions.execute("echo why >&2; exit 3");
      assertEquals([failed.code, failed.exitCode, failed.stderr], [
        0,
        3,
        "why\n",
      ]);
      const none = await actions.execute("", { command: ["nothing"] });
      assertEquals([none.code, none.exitCode], [0, 127]);
      const wrong = await actions.execute("", { command: ["a\0b"] });
      assertEquals(wrong.code, 3);
      assertMatch(Object.values(wrong.logs).join(), /^INVALID_ARGUMENT: .*NUL/);

      const word = `31${crypto.getRandomValues(new Uint32Array(1))[0]}`;
      const late = await actions.execute(
        `sleep ${word} & (sleep ${word} &) & sleep ${word}`,
        { timeout: 1 },
      );
      assertEquals(late.code, 4, late.message);
      await runner.log.find(/: (DEADLINE_EXCEEDED|CANCELLED) /);
      assertEquals(processesWith(word), []);

      for (
        const attack of [
          "echo poison > src/input",
          "echo poison >> src/input",
          "rm -f src/input && echo poison > src/input",
        ]
      ) {
        await actions.execute(`${attack}; cat src/input`);
        const after = await actions.execute("cat src/input");
        assertEquals(after.stdout, "input\n", attack);
      }

      const before = possessionsOf(runner.process.pid);
      const rate = await eightAtATime(actions);
      const one = await measure(actions);
      console.log(`${kind}: one action ${one}; ${rate}`);
      const after = possessionsOf(runner.process.pid);
      assertEquals(
        [after.mounts, after.children, after.zombies],
        [before.mounts, before.children, 0],
      );
      // The worker has removed all of it.
      assertEquals([...Deno.readDirSync(BUILD)].map(({ name }) => name), []);
    },
  );
}

clusterTest(
  "a cluster's actions change and remove their inputs through an overlay",
  PROGRAMS,
  async () => {
    await using cluster = new Cluster("native");
    await using runner = await RunnerProcess.start([
      ...["--build-directory", BUILD, "--listen", SOCKET],
      ...["--protect-inputs", "overlay"],
    ]);
    await using actions = new Actions(cluster.address);
    const all = ["src/input", "src/new", "src/link", "moved", "out/deep/file"];
    for (
      const [script, outputs, exitCode] of [
        [
          "echo more >> src/input",
          { "src/input": "input\nmore\n" },
        ],
        [
          "busybox rm src/input; echo new > src/input; echo why >&2; exit 3",
          { "src/input": "new\n" },
          3,
        ],
        [
          "busybox rm -r src; mkdir src; echo a > src/new; busybox ln src/new src/link",
          { "src/new": "a\n", "src/link": "a\n" },
        ],
        [
          "busybox mv src/input moved; busybox chmod 644 moved; mkdir -p out/deep; busybox cp moved out/deep/file; busybox rm bin/true",
          { "moved": "input\n", "out/deep/file": "input\n" },
        ],
      ] as const
    ) {
      const outcome = await actions.execute(script, { outputs: all });
      assertEquals([outcome.code, outcome.exitCode], [0, exitCode ?? 0]);
      assertEquals(outcome.outputs, outputs, script);
      const after = await actions.execute("cat src/input; ls src; true", {
        outputs: all,
      });
      assertEquals(after.stdout, "input\ninput\n", script);
      assertEquals(after.outputs, { "src/input": "input\n" });
    }
    const late = await actions.execute("busybox rm src/input; sleep 60", {
      timeout: 1,
    });
    assertEquals(late.code, 4, late.message);
    await runner.log.find(/: (DEADLINE_EXCEEDED|CANCELLED) /);
    const before = possessionsOf(runner.process.pid);
    const rate = await eightAtATime(actions);
    const one = await measure(actions);
    console.log(`native, overlay: one action ${one}; ${rate}`);
    const after = possessionsOf(runner.process.pid);
    assertEquals(
      [after.mounts, after.children, after.zombies],
      [before.mounts, before.children, 0],
    );
    assertEquals([...Deno.readDirSync(BUILD)], []);
  },
);

clusterTest(
  "a worker goes on when its runner was killed, and nothing is left",
  PROGRAMS,
  async () => {
    await using cluster = new Cluster("native");
    const options = ["--build-directory", BUILD, "--listen", SOCKET];
    const first = await RunnerProcess.start(options);
    await using actions = new Actions(cluster.address);
    const word = `31${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    const lost = actions.execute(`sleep ${word} & sleep ${word}`);
    while (processesWith(word).length < 2) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await first.end("SIGKILL");
    assertEquals((await lost).code, UNAVAILABLE);
    await using _second = await RunnerProcess.start(options);
    let next = await actions.execute("cat src/input");
    while (next.code === UNAVAILABLE) {
      next = await actions.execute("cat src/input");
    }
    assertEquals([next.code, next.stdout], [0, "input\n"]);
    assertEquals(processesWith(word), []);
    assertEquals([...Deno.readDirSync(BUILD)], []);
  },
);

/** Executes 120 actions, 8 at a time, and tells how many a second. */
async function eightAtATime(
  actions: Actions,
  more: object = {},
): Promise<string> {
  const count = 120;
  const begin = performance.now();
  let next = 0;
  await Promise.all(Array.from({ length: 8 }, async () => {
    while (next < count) {
      const i = next++;
      const outcome = await actions.execute(
        `echo ${i} > out; cat out; exit $((${i} % 5))`,
        { outputs: ["out"], ...more },
      );
      assertEquals([outcome.code, outcome.exitCode], [0, i % 5]);
      assertEquals(outcome.outputs, { out: `${i}\n` });
    }
  }));
  const seconds = (performance.now() - begin) / 1000;
  return `8 at a time ${(count / seconds).toFixed(1)} a second`;
}

/** The median of actions that do nothing, one at a time. */
async function measure(actions: Actions, more: object = {}): Promise<string> {
  const times: number[] = [];
  for (let i = 0; i < 20; i++) {
    const { code, exitCode, seconds } = await actions.execute(`: ${i}`, more);
    assertEquals([code, exitCode], [0, 0]);
    times.push(seconds);
  }
  return median(times);
}

clusterTest(
  "beside bb_runner, in the same cluster",
  [...PROGRAMS, "bb_runner"],
  async () => {
    await using cluster = new Cluster("native");
    const file = `${SCRATCH}/bb_runner.json`;
    Deno.writeTextFileSync(
      file,
      JSON.stringify({
        buildDirectoryPath: BUILD,
        grpcServers: [{ listenPaths: [SOCKET], authenticationPolicy: ALLOW }],
        chrootIntoInputRoot: true,
      }),
    );
    await using actions = new Actions(cluster.address);
    const ENV = { link: "busybox" };
    const inputs = {
      inputs: {
        ...INPUTS,
        usr: {
          directory: {
            bin: {
              directory: {
                env: { link: "../../bin/env" },
              },
            },
          },
        },
        bin: { directory: { ...INPUTS.bin.directory, env: ENV } },
      },
    };
    const medians: string[] = [];
    for (const which of ["bb_runner", "mountat"]) {
      await using owned = new AsyncDisposableStack();
      if (which === "bb_runner") {
        const process = new Deno.Command(`${BIN}/bb_runner`, {
          args: [file],
          stdin: "null",
          stdout: "null",
          stderr: "piped",
        }).spawn();
        const lines = new Lines(process.stderr);
        owned.defer(async () => {
          process.kill("SIGKILL");
          await lines[Symbol.asyncDispose]();
          await process.status;
        });
      } else owned.use(await RunnerProcess.start(["--config", file]));
      // The worker asks every few seconds whether it is ready.
      let first = await actions.execute("true", inputs);
      // It may have been sent to the one that is gone.
      while (first.code === UNAVAILABLE) {
        first = await actions.execute("true", inputs);
      }
      assertEquals([first.code, first.exitCode], [0, 0], first.message);
      const rate = await eightAtATime(actions, inputs);
      medians.push(`${which} ${await measure(actions, inputs)}, ${rate}`);
    }
    assert(medians.length === 2);
    console.log(medians.join("; "));
  },
);

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** What a worker that is not root needs: to remove what actions leave. */
const REMOVING = ["dac_override", "fowner"];

/** Workers and runners with the users that they and their commands are. */
const USERS: readonly {
  readonly worker: WorkerUser;
  readonly runner: readonly string[];
  /** What the action's result says; null for one that works. */
  readonly told: RegExp | null;
}[] = [
  { worker: {}, runner: [], told: null },
  { worker: {}, runner: ["--user", "1234"], told: /Permission denied/ },
  { worker: { umask: 0 }, runner: ["--user", "1234"], told: null },
  {
    worker: {},
    runner: ["--user", "1234", "--protect-inputs", "idmap"],
    told: null,
  },
  ...[{ runner: [] }, { runner: ["--user", "1234"] }].flatMap(({ runner }) => [
    {
      worker: { uid: 1000, umask: 0 },
      runner,
      told: /Failed to remove build directory/,
    },
    {
      worker: { uid: 1000, umask: 0, capabilities: REMOVING },
      runner,
      told: null,
    },
  ]),
  {
    worker: { uid: 1000 },
    runner: ["--user", "1000"],
    told: /belong to user 1000, whom commands run as/,
  },
  { worker: {}, runner: ["--protect-inputs", "overlay"], told: null },
  {
    worker: {},
    runner: ["--user", "1234", "--protect-inputs", "overlay"],
    told: null,
  },
  {
    worker: { uid: 1000 },
    runner: ["--user", "1000", "--protect-inputs", "overlay"],
    told: null,
  },
];

for (const { worker, runner: options, told } of USERS) {
  const { uid = 0, umask = 0o22, capabilities } = worker;
  const rights = uid === 0 ? "all" : capabilities?.join() ?? "no";
  const is = `user ${uid}, umask ${umask.toString(8)}, ${rights} capabilities`;
  const outcome = told === null ? "runs actions" : `tells ${told}`;
  clusterTest(
    `a worker (${is}) with a runner (${options.join(" ")}) ${outcome}`,
    PROGRAMS,
    async () => {
      await using cluster = new Cluster("native", worker);
      const file = `${SCRATCH}/runner.json`;
      Deno.writeTextFileSync(
        file,
        JSON.stringify({
          buildDirectoryPath: BUILD,
          grpcServers: [{ listenPaths: [SOCKET], authenticationPolicy: ALLOW }],
          // Who is not root can connect, too.
          global: { setUmask: { umask: 0 } },
        }),
      );
      await using _runner = await RunnerProcess.start([
        ...["--config", file, ...options],
      ]);
      await using actions = new Actions(cluster.address);
      const script = `cat src/input; mkdir -p out/deep out/closed out/sticky
        echo made > out/deep/file && echo x > out/closed/file && : > src/new
        : > out/sticky/file; chmod 1777 out/sticky; chmod 000 out/closed
        chmod u+w src/input; echo poison >> src/input; [ -e out/deep/file ]`;
      const outputs = ["out/deep/file"];
      const outcome = await actions.execute(script, { outputs });
      if (told !== null) {
        assert(outcome.code !== 0 || outcome.exitCode !== 0);
        const said = outcome.message + outcome.stderr +
          Object.values(outcome.logs).join();
        assertMatch(said, told);
        return;
      }
      assertEquals([outcome.code, outcome.exitCode], [0, 0], outcome.stderr);
      assertEquals(outcome.outputs, { "out/deep/file": "made\n" });
      const after = await actions.execute("cat src/input");
      assertEquals([after.code, after.stdout], [0, "input\n"]);
      assertEquals([...Deno.readDirSync(BUILD)], []);
    },
  );
}

for (const allowOther of [true, false]) {
  clusterTest(
    `on FUSE another user runs commands ${
      allowOther ? "" : "only "
    }with allowOther`,
    PROGRAMS,
    async () => {
      await using cluster = new Cluster("fuse", { allowOther });
      await using _runner = await RunnerProcess.start([
        ...["--build-directory", BUILD, "--listen", SOCKET],
        ...["--user", "1234"],
      ]);
      await using actions = new Actions(cluster.address);
      const script = "id -u; echo poison >> src/input; echo made > out/file";
      const outputs = ["out/file"];
      const outcome = await actions.execute(script, { outputs });
      if (!allowOther) {
        assert(outcome.exitCode !== 0 || outcome.code !== 0);
        return;
      }
      assertEquals([outcome.code, outcome.exitCode], [0, 0], outcome.stderr);
      assertEquals(outcome.outputs, { "out/file": "made\n" });
      const after = await actions.execute("cat src/input");
      assertEquals(after.stdout, "input\n");
    },
  );
}
