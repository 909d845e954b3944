/** A runner, a client of another implementation, and actions as a worker lays them out. */
import { ROOT, SCRATCH } from "../support/testing.ts";
import { missingPermission } from "../support/testing.ts";
import { commandLine, programTest } from "../support/program.ts";
import { assert } from "@std/assert";

/** The version of the client's library. */
const GRPCIO = "1.76.0";

/** Where the client's library is kept from run to run. */
function cache(): string {
  const home = Deno.env.get("XDG_CACHE_HOME") ??
    `${Deno.env.get("HOME") ?? "/tmp"}/.cache`;
  return `${home}/mountat-tests/grpcio-${GRPCIO}`;
}

let python: { path: string | null; reason: string | null } | undefined;

/** Installs Python's gRPC library, once; tells what stands in the way of that. */
function findPython(): { path: string | null; reason: string | null } {
  const permission = missingPermission(["run", "read", "write", "env"]);
  if (permission !== null) return { path: null, reason: permission };
  const directory = cache();
  const path = `${directory}/bin/python3`;
  const works = () => succeeds(path, ["-c", "import grpc, grpc_tools"]);
  const reason = works() ||
      succeeds("python3", ["-m", "venv", directory]) &&
        succeeds(path, [
          ...["-m", "pip", "install", "--quiet"],
          ...[`grpcio==${GRPCIO}`, `grpcio-tools==${GRPCIO}`],
        ]) && works()
    ? null
    : "needs python3 with venv, and grpcio from PyPI";
  return { path, reason };
}

function succeeds(command: string, args: string[]): boolean {
  try {
    return new Deno.Command(command, {
      args,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).outputSync().success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** What stands in the way of a client. */
export function missingClient(): string | null {
  return (python ??= findPython()).reason;
}

/** Registers a test of a runner with a client. */
export function runnerTest(
  name: string,
  fn: () => Promise<void>,
  commands: readonly string[] = [],
): void {
  programTest(name, fn, {
    missing: missingClient(),
    commands: ["busybox", ...commands],
  });
}

/** The lines that a process writes, and those that were read. */
export class Lines {
  readonly all: string[] = [];
  readonly #reader: ReadableStreamDefaultReader<string>;
  #rest = "";

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** The next line, null at the end. */
  async next(): Promise<string | null> {
    for (;;) {
      const at = this.#rest.indexOf("\n");
      if (at !== -1) {
        const line = this.#rest.slice(0, at);
        this.#rest = this.#rest.slice(at + 1);
        this.all.push(line);
        return line;
      }
      const { done, value } = await this.#reader.read();
      if (done) return null;
      this.#rest += value;
    }
  }

  /** The next line that a pattern matches. */
  async find(pattern: RegExp): Promise<string> {
    for (;;) {
      const line = await this.next();
      assert(line !== null, `${pattern} in\n${this.all.join("\n")}`);
      if (pattern.test(line)) return line;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader.cancel();
  }
}

export const BUILD = `${SCRATCH}/build`;

export const SOCKET = `${SCRATCH}/socket/runner`;

/** Waits until there is something of a path. */
export async function appears(path: string): Promise<void> {
  for (;;) {
    try {
      Deno.lstatSync(path);
      return;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A runner that serves. */
export class RunnerProcess implements AsyncDisposable {
  readonly process: Deno.ChildProcess;
  readonly log: Lines;

  private constructor(process: Deno.ChildProcess) {
    this.process = process;
    this.log = new Lines(process.stderr);
  }

  /**
   * Starts one, and waits until it serves.
   *
   * @param options The program's.
   * @param flags Deno's, besides its permissions.
   * @param wrapper What starts it.
   */
  static async start(
    options: string[] = ["--build-directory", BUILD, "--listen", SOCKET],
    flags: string[] = [],
    wrapper: string[] = [],
  ): Promise<RunnerProcess> {
    Deno.mkdirSync(BUILD, { recursive: true });
    Deno.mkdirSync(`${SCRATCH}/socket`, { recursive: true });
    const [command, ...args] = commandLine(options, {
      entry: "runner.ts",
      permissions: ["-A", ...flags],
      wrapper,
    });
    const runner = new RunnerProcess(
      new Deno.Command(command!, {
        args,
        stdin: "null",
        stdout: "null",
        stderr: "piped",
        env: { NO_COLOR: "1" },
      }).spawn(),
    );
    if (options.includes("--json")) await appears(SOCKET);
    else await runner.log.find(/^Runs commands in /);
    return runner;
  }

  /** Ends it, and returns its exit status. */
  async end(signal: Deno.Signal = "SIGTERM"): Promise<Deno.CommandStatus> {
    try {
      this.process.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
    await this.log[Symbol.asyncDispose]();
    return await this.process.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("SIGKILL");
  }
}

/** What a call ended with. */
export interface Answer {
  status: string;
  message?: string;
  // deno-lint-ignore no-explicit-any
  response?: any;
}

/** A program of Python that is asked by lines of JSON, and answers so. */
export class PythonClient<Answer> implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: Lines;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  readonly #watching = new Map<number, (status: string) => void>();
  #last = 0;

  /**
   * @param script Its file, beside this one.
   * @param protocols What it speaks: folders with the files in them.
   * @param server Where the server is.
   */
  constructor(
    script: string,
    protocols: readonly (readonly [folder: string, ...files: string[]])[],
    server: string,
  ) {
    const messages = generateMessages(protocols);
    this.#process = new Deno.Command(python!.path!, {
      args: [`${ROOT}tests/runner/${script}`, messages, server],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
      env: { GRPC_VERBOSITY: "NONE" },
    }).spawn();
    this.#writer = this.#process.stdin.getWriter();
    this.#lines = new Lines(this.#process.stdout);
    this.#listen();
  }

  async #listen(): Promise<void> {
    for (;;) {
      const line = await this.#lines.next();
      if (line === null) return;
      const { id, watched, ...answer } = JSON.parse(line);
      if (watched !== undefined) this.#watching.get(id)!(watched);
      else this.#waiting.get(id)!(answer);
    }
  }

  #write(line: object): Promise<void> {
    return this.#writer.write(
      new TextEncoder().encode(`${JSON.stringify(line)}\n`),
    );
  }

  /** Asks for something. */
  ask(
    what: object,
    watching?: (status: string) => void,
  ): { id: number; answer: Promise<Answer> } {
    const id = ++this.#last;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#waiting.set(id, resolve);
    if (watching !== undefined) this.#watching.set(id, watching);
    this.#write({ id, ...what });
    return { id, answer: promise };
  }

  /** Tells something that is not answered. */
  tell(what: object): void {
    this.#write(what);
  }

  /** Kills it in the middle of its calls. */
  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.#process.status;
    await this.#lines[Symbol.asyncDispose]();
  }
}

/** A client of a runner. */
export class Client extends PythonClient<Answer> {
  constructor(socket = SOCKET) {
    const files = [
      "buildbarn/runner/runner.proto",
      "buildbarn/resourceusage/resourceusage.proto",
      "grpc/health/v1/health.proto",
    ];
    super("client.py", [["proto", ...files]], socket);
  }

  /** Begins a call. */
  call(
    method: "run" | "checkReadiness" | "health",
    request: object,
    options: { timeout?: number; wait?: boolean } = {},
  ): { answer: Promise<Answer>; cancel(): void } {
    const { id, answer } = this.ask({ method, request, ...options });
    return { answer, cancel: () => this.tell({ cancel: id }) };
  }

  /** Calls `Run`. */
  run(
    request: object,
    options: { timeout?: number; wait?: boolean } = {},
  ): Promise<Answer> {
    return this.call("run", request, options).answer;
  }

  /** Watches a service's health. */
  watch(service: string, told: (status: string) => void): Promise<Answer> {
    return this.ask({ method: "watch", service }, told).answer;
  }
}

/** Generates a client's messages from protocols, by its own compiler. */
function generateMessages(
  protocols: readonly (readonly [folder: string, ...files: string[]])[],
): string {
  const messages = `${SCRATCH}/messages`;
  Deno.mkdirSync(messages, { recursive: true });
  for (const [folder, ...files] of protocols) {
    const { success } = new Deno.Command(python!.path!, {
      args: [
        ...["-m", "grpc_tools.protoc", `--proto_path=${ROOT}${folder}`],
        ...[`--python_out=${messages}`, `--grpc_python_out=${messages}`],
        ...files,
      ],
    }).outputSync();
    assert(success);
  }
  return messages;
}

/** The applets of busybox that actions have. */
const APPLETS =
  "sh,cat,echo,env,ls,mkdir,sleep,touch,true,false,id,stat,mv,rm,ln,chmod,chown,dd,head,kill,mount,umount,mknod,ps,pwd,readlink,cp,yes,seq,wc,test,rmdir,hostname,find,mkfifo,unshare"
    .split(",");

/** An action's directories in the build directory, as a worker makes them. */
export class Action {
  readonly id: string;
  readonly path: string;
  readonly root: string;

  constructor(id: string) {
    this.id = id;
    this.path = `${BUILD}/${id}`;
    this.root = `${this.path}/root`;
    for (const name of ["root/bin", "tmp", "server_logs"]) {
      Deno.mkdirSync(`${this.path}/${name}`, { recursive: true });
    }
    Deno.linkSync(cachedBusybox(), `${this.root}/bin/busybox`);
    for (const applet of APPLETS) {
      Deno.symlinkSync("busybox", `${this.root}/bin/${applet}`);
    }
  }

  /** A request to run a command. */
  request(command: string[], more: object = {}): object {
    const { id } = this;
    return {
      arguments: command,
      environmentVariables: { PATH: "/bin" },
      stdoutPath: `${id}/stdout`,
      stderrPath: `${id}/stderr`,
      inputRootDirectory: `${id}/root`,
      temporaryDirectory: `${id}/tmp`,
      serverLogsDirectory: `${id}/server_logs`,
      ...more,
    };
  }

  /** A request to run a script. */
  shell(script: string, more: object = {}): object {
    return this.request(["sh", "-c", script], more);
  }

  read(name: string): string {
    return Deno.readTextFileSync(`${this.path}/${name}`);
  }

  get stdout(): string {
    return this.read("stdout");
  }

  get stderr(): string {
    return this.read("stderr");
  }

  /** Removes it, as a worker does. */
  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** The worker's cache has one, of which actions have hard links. */
function cachedBusybox(): string {
  const path = `${BUILD}/cached-busybox`;
  try {
    Deno.statSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    Deno.copyFileSync("/bin/busybox", path);
    Deno.chmodSync(path, 0o555);
  }
  return path;
}
