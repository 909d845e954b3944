/** Row 12: a command of a Buildbarn worker's. */
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
  // bb_runner executes that, which would execute the command.
  Deno.copyFileSync(program, `${BUILD}/1/root/usr/bin/env`);
}

/** A server, and a client of it. */
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

  /** Starts one, and waits until it serves. */
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
    // Only here: to be loaded it takes a permission.
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

  /** Calls it, so many times at once. */
  calls(count: number): Contestant {
    return {
      name: this.name,
      times: 1,
      time: async () => {
        const begin = performance.now();
        await Promise.all(Array.from({ length: count }, () => this.#run()));
        return performance.now() - begin;
      },
    };
  }

  /** Microseconds of processor time that a call takes, with its command. */
  async processorTime(): Promise<number> {
    const before = this.#ticks();
    for (let i = 0; i < CPU_CALLS; i++) await this.#run();
    return (this.#ticks() - before) * 10_000 / CPU_CALLS;
  }

  /** Ticks of 10 milliseconds: proc_pid_stat(5). */
  #ticks(): number {
    const text = Deno.readTextFileSync(`/proc/${this.#process.pid}/stat`);
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0);
  }

  /** KiB of memory. */
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

/** Starts `bb_runner`, where one is given. */
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

/** Row 12. */
export const runner: Row = {
  row: 12,
  work: "A command for a Buildbarn worker, by gRPC",
  note:
    "One client calls Run of each server. A call makes two log files and executes a static true. mountat gives each command namespaces, /proc, /sys, /dev and /tmp, and its inputs an id map. bb_runner chroots; it is measured if BB_RUNNER_BIN names it. The C program uses clone3(2) and chroot(2), and serves nobody. Processor time is that of the server and its commands.",
  async measure(seconds) {
    const missing = whyMissing(COMPILER);
    if (missing !== null) {
      return [{ what: "a static true", unit: "µs", name: "mountat", missing }];
    }
    Deno.mkdirSync(DIRECTORY, { recursive: true });
    makeAction();
    await using stack = new AsyncDisposableStack();
    const ours = await Server.start(stack, "mountat", Deno.execPath(), [
      // As the compiled program has it.
      ...["run", "-A", "--v8-flags=--max-semi-space-size=2"],
      ...[`${ROOT}runner.ts`, "--quiet"],
      ...["--build-directory", BUILD, "--listen", socketOf("mountat")],
    ]);
    const theirs = await startOther(stack);
    const inC = (count: number) =>
      Rival.start(stack, { name: "C program", times: 1 }, [
        ...["run", "chroot", String(count), `${BUILD}/1/root`],
        ...[`${BUILD}/1/root/bin/true`, "/bin/true"],
      ]);
    const matches = await Promise.all([1, 8].map(async (count) => ({
      what: count === 1 ? "one call" : `${count} calls at once`,
      ours: ours.calls(count),
      others: [
        {
          by: theirs?.calls(count) ?? { name: "bb_runner", missing: NONE },
          limit: 2,
        },
        { by: await inC(count) },
      ],
    })));
    const figures = await compare(matches, 12 * seconds);
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
