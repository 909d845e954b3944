/** Programs that contestants are: C sources of this folder, and others' commands. */
import type { Absent, Contestant } from "./measure.ts";
import { ROOT, SCRATCH } from "../tests/support.ts";

/** Compiles a C source of this folder, once, and returns the program's path. */
export function compile(name: string, ...flags: string[]): string {
  const path = `${SCRATCH}/${name}`;
  if (compiled.has(path)) return path;
  command("cc", ["-O2", ...flags, "-o", path, `${ROOT}bench/${name}.c`]).run();
  compiled.add(path);
  return path;
}

const compiled = new Set<string>();

/** A command that runs to its end. */
export interface Command {
  /** Runs it. @throws {Error} When it fails. */
  run(): void;
  /** How many milliseconds it takes. */
  time(times: number): number;
}

/** A command, with nothing on its standard streams. */
export function command(program: string, args: string[]): Command {
  const child = new Deno.Command(program, {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  });
  function run(): void {
    const { success } = child.outputSync();
    if (!success) throw new Error(`${program} ${args.join(" ")} failed`);
  }
  return {
    run,
    time(times) {
      const begin = performance.now();
      for (let i = 0; i < times; i++) run();
      return performance.now() - begin;
    },
  };
}

/** A contestant that needs a command, absent where that is not on PATH. */
export function installed(
  program: string,
  contestant: Contestant,
): Contestant | Absent {
  const directories = (Deno.env.get("PATH") ?? "").split(":");
  return directories.some((directory) => isFile(`${directory}/${program}`))
    ? contestant
    : { name: contestant.name, missing: `${program} is not installed` };
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** A C program that waits for its turns. */
export class Rival implements Contestant, AsyncDisposable {
  readonly name: string;
  readonly times: number;
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #reader: ReadableStreamDefaultReader<string>;

  private constructor(name: string, times: number, args: string[]) {
    this.name = name;
    this.times = times;
    this.#child = new Deno.Command(compile("contestants"), {
      args,
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
  }

  /**
   * Starts one.
   *
   * @param stack What ends it.
   * @param name What tables call it.
   * @param times How many times it does the work in a turn.
   * @param args Which job of `contestants.c`.
   * @returns The program, or, when it can't do the job, its reason.
   */
  static async start(
    stack: AsyncDisposableStack,
    name: string,
    times: number,
    args: string[],
  ): Promise<Rival | Absent> {
    const rival = stack.use(new Rival(name, times, args));
    const answer = await rival.#line();
    return answer === "ready" ? rival : { name, missing: answer };
  }

  async time(times: number): Promise<number> {
    await this.#writer.write(new TextEncoder().encode(`${times}\n`));
    const answer = await this.#line();
    if (!/^\d+$/.test(answer)) throw new Error(`${this.name}: ${answer}`);
    return Number(answer) / 1e6;
  }

  async #line(): Promise<string> {
    let line = "";
    while (!line.endsWith("\n")) {
      const { done, value } = await this.#reader.read();
      if (done) break;
      line += value;
    }
    return line.trimEnd();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader.cancel();
    await this.#writer.close().catch(() => {});
    await this.#child.status;
  }
}
