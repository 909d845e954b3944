/**
 * Room `runner`: Buildbarn's runner: gRPC in, `run()` out. Its packages from npm
 * are nobody else's.
 */
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { createServer, type Server as NetServer } from "node:net";
import { anyPack, type Empty, EmptySchema } from "@bufbuild/protobuf/wkt";
import { create } from "@bufbuild/protobuf";
import {
  type CheckReadinessRequest,
  Runner as RunnerService,
  type RunRequest,
  type RunResponse,
  RunResponseSchema,
} from "./generated/buildbarn/runner/runner_pb.ts";
import { POSIXResourceUsageSchema } from "./generated/buildbarn/resourceusage/resourceusage_pb.ts";
import { Health as HealthService } from "./generated/grpc/health/v1/health_pb.ts";
import { answerWhenOver, definitionOf, Health, unary } from "./service.ts";
import { type Ended, runAction } from "./action.ts";
import { checkPath, openBuildDirectory } from "./build_directory.ts";
import { Connection } from "./connection.ts";
import { Inputs } from "./inputs.ts";
import { checkOverlays } from "./overlay.ts";
import {
  parseServe,
  type Runner,
  type ServeOptions,
  type ServePlan,
} from "./options.ts";
import { SocketPlace } from "./socket.ts";
import { StatusError, statusOf } from "./status.ts";
import { run } from "../run/run.ts";
import { MountTree } from "../mount/tree.ts";
import { MountError } from "../error/error.ts";
import type { Usage } from "../sys/process.ts";

class RunnerServer implements Runner {
  readonly #plan: ServePlan;
  readonly #inputs: Inputs;
  readonly #health: Health;
  readonly #server: Server;
  readonly #places: SocketPlace[] = [];
  readonly #listeners: NetServer[] = [];
  /** The calls that are not answered yet. */
  readonly #calls = new Set<Promise<void>>();
  /** The number of running actions. */
  #running = 0;
  /** True once the server takes no more calls. */
  #stopping = false;
  /** Ends all actions that run. */
  #ending = new AbortController();

  constructor(plan: ServePlan) {
    this.#plan = plan;
    this.#inputs = new Inputs(plan);
    this.#health = new Health(plan.healthServices);
    this.#server = new Server({
      "grpc.max_receive_message_length": plan.maxMessageSize,
      "grpc.enable_channelz": 0,
      interceptors: [answerWhenOver],
    });
    this.#server.addService(definitionOf(RunnerService), {
      checkReadiness: unary(
        ({ path }: CheckReadinessRequest) => this.#check(path),
        this.#calls,
      ),
      run: unary(
        (request: RunRequest, signal) => this.#run(request, signal),
        this.#calls,
      ),
    });
    this.#server.addService(definitionOf(HealthService), this.#health.handlers);
  }

  get running(): number {
    return this.#running;
  }

  async listen(): Promise<void> {
    const injector = this.#server.createConnectionInjector(
      ServerCredentials.createInsecure(),
    );
    for (const [index, path] of this.#plan.sockets.entries()) {
      const place = new SocketPlace(path, index);
      this.#places.push(place);
      await place.check();
      const listener = createServer((socket) =>
        injector.injectConnection(new Connection(socket))
      );
      await new Promise<void>((resolve, reject) => {
        listener.once("error", reject);
        listener.listen(place.path, resolve);
      });
      this.#listeners.push(listener);
      place.take();
    }
  }

  #check(path: string): Empty {
    checkReadinessPaths(this.#plan);
    using build = openBuildDirectory(this.#plan.buildDirectory);
    checkPath(build, path);
    return create(EmptySchema);
  }

  async #run(request: RunRequest, signal: AbortSignal) {
    if (this.#stopping) throw stopped();
    this.#running++;
    try {
      return await this.#runReported(
        request,
        AbortSignal.any([signal, this.#ending.signal]),
      );
    } finally {
      this.#running--;
    }
  }

  async #runReported(request: RunRequest, signal: AbortSignal) {
    const begin = performance.now();
    const report = (
      what: { status: string; message?: string } | Ended,
    ) => {
      const ended = "code" in what
        ? {
          status: "OK",
          exitCode: exitCode(what),
          ...what.signal === null ? {} : { signal: what.signal },
          usage: what.usage,
        }
        : what;
      this.#plan.onAction({
        id: request.inputRootDirectory.replace(/\/?[^/]*$/, ""),
        command: request.arguments,
        milliseconds: performance.now() - begin,
        ...ended,
      });
    };
    try {
      const ended = await runAction(this.#plan, this.#inputs, request, signal);
      // The files that are missing may be why.
      if (ended.code !== 0) checkReadinessPaths(this.#plan);
      report(ended);
      return response(ended);
    } catch (error) {
      const { status, message } = statusOf(error);
      report({ status, message });
      throw error;
    }
  }

  killActions(): void {
    const ending = this.#ending;
    // Later ones are not meant.
    this.#ending = new AbortController();
    ending.abort(
      this.#stopping
        ? stopped()
        : new StatusError("UNAVAILABLE", "The runner has killed its actions"),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    this.#health.stop();
    for (const listener of this.#listeners) listener.close();
    // This server listens no more: another may take its place.
    for (const place of this.#places) place[Symbol.dispose]();
    const late = setTimeout(() => this.killActions(), this.#plan.grace);
    // The library would close the connections under them.
    while (this.#calls.size > 0) await Promise.all(this.#calls);
    clearTimeout(late);
    await sent();
    const closed = new Promise<void>((resolve) =>
      this.#server.tryShutdown(() => resolve())
    );
    // Clients that stay, though there is nothing to wait for.
    const unfriendly = setTimeout(
      () => this.#server.forceShutdown(),
      MOST_CLOSING,
    );
    await closed;
    clearTimeout(unfriendly);
    this.#inputs[Symbol.dispose]();
  }
}

/** Waits until the library has handed its last answers to the connections. */
async function sent(): Promise<void> {
  // It does that at the next turn of the event loop, and tells nobody.
  for (let turn = 0; turn < TURNS; turn++) {
    await new Promise((resolve) => setTimeout(resolve));
  }
}

const TURNS = 5;

function stopped(): StatusError {
  return new StatusError("UNAVAILABLE", "The runner is being stopped");
}

/** How many milliseconds clients may take to close their connections. */
const MOST_CLOSING = 1000;

/**
 * Starts a runner for a Buildbarn worker. It executes each action's command in
 * the action's input root, with its own /proc, /sys, /dev and /tmp, in its own
 * namespaces. When a call is answered or cancelled, or this process dies in any
 * way, nothing of the command is left.
 *
 * Needs what {@linkcode run} needs, and CAP_CHOWN and Linux 5.12 for
 * `protectInputs` "idmap"; CAP_SYS_ADMIN outside any user namespace for
 * "overlay". Needs Deno's permissions `--allow-ffi`;
 * `--allow-read`, `--allow-write` and `--allow-net` for the socket;
 * `--allow-env` and `--allow-sys` for the gRPC library.
 *
 * @param options The build directory, the socket, and how to run commands.
 * @returns The server, which listens; dispose of it to stop it.
 * @throws {TypeError | RangeError} For a wrong argument; before any call.
 * @throws {SocketError} For a socket that another process serves, or that
 * strangers could replace.
 * @throws {MountError | UnsupportedError} If commands can't be run: rights are
 * missing, the kernel is too old, or the build directory can't have the overlays
 * that are asked for.
 */
export async function serve(options: ServeOptions): Promise<Runner> {
  const plan = parseServe(options);
  if (plan.protectInputs === "overlay") {
    await checkOverlays(plan.buildDirectory);
  }
  await warmUp();
  const runner = new RunnerServer(plan);
  try {
    await runner.listen();
    return runner;
  } catch (error) {
    await runner[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Runs commands that don't exist, in a root that is empty: the first takes a
 * hundred times as long as later ones, and tells whether commands can be run
 * at all.
 */
async function warmUp(): Promise<void> {
  for (let i = 0; i < WARM; i++) {
    using root = MountTree.create({ type: "tmpfs" });
    for (const name of ["proc", "sys", "dev"]) root.mkdir(name);
    try {
      await run(root, ["/nothing"], { clearEnv: true, stdin: "null" });
    } catch (error) {
      const tried = error instanceof MountError && error.syscall === "execve" &&
        error.code === "ENOENT";
      if (!tried) throw error;
    }
  }
}

/** After so many the compiler knows what to expect. */
const WARM = 8;

function checkReadinessPaths({ readinessPaths }: ServePlan): void {
  for (const path of readinessPaths) {
    try {
      Deno.statSync(path);
    } catch (error) {
      throw new StatusError(
        "UNAVAILABLE",
        `Path ${JSON.stringify(path)}: ${(error as Error).message}`,
        { cause: error },
      );
    }
  }
}

function exitCode({ code, signal }: Ended): number {
  return signal === null ? code : -1;
}

function response(ended: Ended): RunResponse {
  const usage = create(
    POSIXResourceUsageSchema,
    usageOf(ended.usage, ended.signal),
  );
  return create(RunResponseSchema, {
    exitCode: BigInt(exitCode(ended)),
    resourceUsage: [anyPack(POSIXResourceUsageSchema, usage)],
  });
}

function usageOf(usage: Usage, signal: string | null) {
  return {
    userTime: duration(usage.userTime),
    systemTime: duration(usage.systemTime),
    maximumResidentSetSize: BigInt(usage.maxRss),
    pageReclaims: BigInt(usage.minorFaults),
    pageFaults: BigInt(usage.majorFaults),
    blockInputOperations: BigInt(usage.blockReads),
    blockOutputOperations: BigInt(usage.blockWrites),
    voluntaryContextSwitches: BigInt(usage.voluntarySwitches),
    involuntaryContextSwitches: BigInt(usage.involuntarySwitches),
    terminationSignal: signal?.replace(/^SIG/, "") ?? "",
  };
}

function duration(milliseconds: number) {
  const microseconds = Math.round(milliseconds * 1000);
  return {
    seconds: BigInt(Math.floor(microseconds / 1e6)),
    nanos: microseconds % 1e6 * 1000,
  };
}
