/** Row 12: a command of a Buildbarn worker. */
import { ROOT, SCRATCH } from "../../tests/support/testing.ts";
import { compile, COMPILER, Rival, whyMissing } from "../programs.ts";
import { type Contestant, spread } from "../measure.ts";
import type { Figure } from "../results.ts";
import { compare, type Row } from "./row.ts";
import type { Client } from "@grpc/grpc-js";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  RunRequestSchema,
  type RunResponse,
  RunResponseSchema,
} from "../../src/runner/generated/buildbarn/runner/runner_pb.ts";
import { Buffer } from "node:buffer";

const DIRECTORY = `${SCRATCH}/runner`;
const BUILD = `${DIRECTORY}/build`;

/** Makes an action's directories, with nothing in its root but a static `true`. */
function makeAction(): void {
  for (const name of ["root/bin", "root/usr/bin", "tmp", "logs"]) {
    Deno.mkdirSync(`${BUILD}/1/${name}`, { recursive: true });
  }
  const program = compile("true", "-static", "-nostdlib");
  Deno.copyFileSync(program, `${BUILD}/1/root/bin/true`);
  // bb_runner executes env, which would execute the command.
  Deno.copyFileSync(program, `${BUILD}/1/root/usr/bin/env`);
}

/** A server, with a client. */
class Server implements AsyncDisposable {
  readonly name: string;
  readonly #process: Deno.ChildProcess;
  readonly #client: Client;
  #calls = 0;

  private constructor(
    name: string,
    process: Deno.ChildProcess,
    client: Client,
  ) {
    this.name = name;
    this.#process = process;
    this.#client = client;
  }

  /** Starts a server, and waits until it serves. */
  static async start(
    stack: AsyncDisposableStack,
    name: string,
    command: string,
    args: string[],
  ): Promise<Server> {
    Deno.mkdirSync(`${DIRECTORY}/${name}`, { recursive: true });
    const process = new Deno.Command(command, {
      args,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    // Imported only here, because loading it needs a permission.
    const { Client, credentials } = await import("@grpc/grpc-js");
    const client = new Client(
      `unix:${socketOf(name)}`,
      credentials.createInsecure(),
    );
    const server = stack.use(new Server(name, process, client));
    await new Promise<void>((resolve, reject) =>
      server.#client.waitForReady(
        Date.now() + 10_000,
        (error) => error === undefined ? resolve() : reject(error),
      )
    );
    return server;
  }

  #run(): Promise<void> {
    const call = `1/logs/${this.name}-${this.#calls++}`;
    const request = create(RunRequestSchema, {
      arguments: ["/bin/true"],
      environmentVariables: { PATH: "/bin" },
      stdoutPath: `${call}.out`,
      stderrPath: `${call}.err`,
      inputRootDirectory: "1/root",
      temporaryDirectory: "1/tmp",
    });
    return new Promise((resolve, reject) =>
      this.#client.makeUnaryRequest(
        "/buildbarn.runner.Runner/Run",
        () => Buffer.from(toBinary(RunRequestSchema, request)),
        (bytes): RunResponse => fromBinary(RunResponseSchema, bytes),
        request,
        (error, response) => {
          if (error !== null) reject(error);
          else if (response!.exitCode !== 0n) {
            reject(new Error(`${this.name}: exit ${response!.exitCode}`));
          } else resolve();
        },
      )
    );
  }

  /** Asks the server if it is ready; runs nothing. */
  #check(): Promise<void> {
    return new Promise((resolve, reject) =>
      this.#client.makeUnaryRequest(
        "/buildbarn.runner.Runner/CheckReadiness",
        () => Buffer.alloc(0),
        (bytes) => bytes,
        null,
        (error) => error === null ? resolve() : reject(error),
      )
    );
  }

  /** A contestant that makes this number of calls at once. */
  calls(count: number): Contestant {
    return this.#contestant(count, () => this.#run());
  }

  /** A contestant that asks the server if it is ready. */
  checks(): Contestant {
    return this.#contestant(1, () => this.#check());
  }

  #contestant(count: number, call: () => Promise<void>): Contestant {
    return {
      name: this.name,
      times: 1,
      time: async () => {
        const begin = performance.now();
        await Promise.all(Array.from({ length: count }, call));
        return performance.now() - begin;
      },
    };
  }

  /** The processor time of a call with its command, in microseconds. */
  async processorTime(): Promise<number> {
    const before = this.#ticks();
    for (let i = 0; i < CPU_CALLS; i++) await this.#run();
    return (this.#ticks() - before) * 10_000 / CPU_CALLS;
  }

  /** The server's processor time, in ticks of 10 ms: proc_pid_stat(5). */
  #ticks(): number {
    const text = Deno.readTextFileSync(`/proc/${this.#process.pid}/stat`);
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0);
  }

  /** The server's memory, in KiB. */
  memory(): number {
    const path = `/proc/${this.#process.pid}/status`;
    const [, size] = /^VmRSS:\s*(\d+) kB$/m.exec(Deno.readTextFileSync(path))!;
    return Number(size);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    this.#process.kill("SIGTERM");
    await this.#process.status;
  }
}

const CPU_CALLS = 100;

function socketOf(name: string): string {
  return `${DIRECTORY}/${name}/socket`;
}

/** Starts `bb_runner`, if one is given. */
async function startOther(stack: AsyncDisposableStack): Promise<Server | null> {
  const program = Deno.env.get("BB_RUNNER_BIN") ?? "";
  if (program === "") return null;
  const file = `${DIRECTORY}/bb_runner.json`;
  const configuration = {
    buildDirectoryPath: BUILD,
    chrootIntoInputRoot: true,
    grpcServers: [{
      listenPaths: [socketOf("bb_runner")],
      authenticationPolicy: { allow: {} },
    }],
  };
  Deno.writeTextFileSync(file, JSON.stringify(configuration));
  return await Server.start(stack, "bb_runner", program, [file]);
}

const NONE = "BB_RUNNER_BIN names none";

const IN_C = {
  chroot: "C program with chroot(2) alone",
  init: "C program with namespaces",
};

/** The reason why goals are missed. */
const MISSED =
  "To run a command with namespaces, /proc, /sys, /dev and an init takes the C program, which serves nobody, 0.75 times what a whole call of bb_runner's takes, and 1.8 times with 8 at once. A call that runs nothing takes 1.5 times what it takes with bb_runner: that is the gRPC library on Deno's HTTP/2. The rest, in calls that nothing disturbs, is 0.12 ms for the log files, the id map and the input root's directories, 0.12 ms for /tmp and for mount points that the root lacks, 0.07 ms to remove these, 0.2 ms to check the options and to describe the calls to the init, and what the profile strict covers and drops. With 8 at once, all of that is done by one thread of JavaScript.";

/** Row 12. */
export const runner: Row = {
  row: 12,
  work: "A command for a Buildbarn worker, by gRPC",
  note:
    "One client calls Run of each server. A call makes two log files and executes a static true. mountat gives each command namespaces, /proc, /sys, /dev and /tmp, and its inputs an id map. bb_runner chroots; it is measured if BB_RUNNER_BIN names it. The C programs serve nobody: one uses clone3(2) and chroot(2), as bb_runner does, the other gives each command namespaces, /proc, /sys, /dev and an init, as in row 7. CheckReadiness is the call that runs nothing. Processor time is that of the server and its commands.",
  missed: MISSED,
  async measure(seconds) {
    const missing = whyMissing(COMPILER);
    if (missing !== null) {
      return [{ what: "a static true", unit: "µs", name: "mountat", missing }];
    }
    Deno.mkdirSync(DIRECTORY, { recursive: true });
    makeAction();
    await using stack = new AsyncDisposableStack();
    const ours = await Server.start(stack, "mountat", Deno.execPath(), [
      // The compiled program has the same flag.
      ...["run", "-A", "--v8-flags=--max-semi-space-size=2"],
      ...[`${ROOT}runner.ts`, "--quiet"],
      ...["--build-directory", BUILD, "--listen", socketOf("mountat")],
    ]);
    const theirs = await startOther(stack);
    const init = compile(
      "init",
      "-static",
      "-nostdlib",
      "-fno-stack-protector",
    );
    const root = `${DIRECTORY}/root`;
    for (const name of ["bin", "proc", "sys", "dev"]) {
      Deno.mkdirSync(`${root}/${name}`, { recursive: true });
    }
    const program = "/bin/true";
    Deno.copyFileSync(`${BUILD}/1/root${program}`, `${root}${program}`);
    const inC = (how: "chroot" | "init", count: number) =>
      Rival.start(stack, { name: IN_C[how], times: 1 }, [
        ...["run", how, String(count), root, init, program],
      ]);
    const matches = await Promise.all([1, 8].map(async (count) => ({
      what: count === 1 ? "one call" : `${count} calls at once`,
      ours: ours.calls(count),
      others: [
        {
          by: theirs?.calls(count) ?? { name: "bb_runner", missing: NONE },
          limit: 2,
        },
        { by: await inC("init", count) },
        { by: await inC("chroot", count) },
      ],
    })));
    const idle = {
      what: "a call that runs nothing",
      ours: ours.checks(),
      others: [{
        by: theirs?.checks() ?? { name: "bb_runner", missing: NONE },
      }],
    };
    const figures = await compare([...matches, idle], 12 * seconds);
    const other = (measured: number | undefined) =>
      measured === undefined ? { missing: NONE } : {
        theirs: spread([measured]),
      };
    const processor = spread([await ours.processorTime()]);
    const memory = spread([ours.memory()]);
    const rest: Figure[] = [
      {
        what: "processor time of a call",
        unit: "µs",
        name: "mountat",
        ours: processor,
        limit: 2000,
      },
      {
        what: "memory of the server",
        unit: "KiB",
        name: "mountat",
        ours: memory,
        limit: 120_000,
      },
    ];
    if (theirs !== null) {
      rest.push({
        what: "processor time of a call",
        unit: "µs",
        name: "mountat",
        ours: processor,
        against: "bb_runner",
        ...other(await theirs.processorTime()),
      }, {
        what: "memory of the server",
        unit: "KiB",
        name: "mountat",
        ours: memory,
        against: "bb_runner",
        ...other(theirs.memory()),
      });
    }
    return [...figures, ...rest];
  },
};
