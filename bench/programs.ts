/** Programs that take part: C sources of this folder, and other commands. */
import { ROOT, SCRATCH } from "../tests/support/testing.ts";
import type { Absent, Contestant } from "./measure.ts";

/**
 * Compiles a C source of this folder, once, and returns the program's path.
 *
 * @throws {Error} If the compiler fails; ask {@linkcode whyMissing} before.
 */
export function compile(name: string, ...flags: string[]): string {
  const path = `${SCRATCH}/${name}`;
  // When a row is measured again, the directory is empty again.
  if (isFile(path)) return path;
  command(COMPILER, ["-O2", ...flags, "-o", path, `${ROOT}bench/${name}.c`])
    .run();
  return path;
}

/** The C compiler. */
export const COMPILER = "cc";

/** A command that runs to its end. */
export interface Command {
  /** Runs the command. @throws {Error} If it fails. */
  run(): void;
  /** Runs the command some times, and returns the milliseconds. */
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

/** A contestant that needs a command; absent if the command is not on PATH. */
export function installed(
  program: string,
  contestant: Contestant,
): Contestant | Absent {
  const missing = whyMissing(program);
  return missing === null ? contestant : { name: contestant.name, missing };
}

/** The reason why a command can't be run; null if it is on PATH. */
export function whyMissing(program: string): string | null {
  const directories = (Deno.env.get("PATH") ?? "").split(":");
  return directories.some((directory) => isFile(`${directory}/${program}`))
    ? null
    : `${program} is not installed`;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** The description of a {@linkcode Rival}. */
export type RivalDescription = Pick<Contestant, "name" | "times" | "mounts">;

/** A C program that waits for its turns. */
export class Rival implements Contestant, AsyncDisposable {
  readonly name: string;
  readonly times: number;
  readonly mounts?: number;
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #reader: ReadableStreamDefaultReader<string>;

  private constructor(
    { name, times, mounts }: RivalDescription,
    program: string,
    args: string[],
  ) {
    this.name = name;
    this.times = times;
    if (mounts !== undefined) this.mounts = mounts;
    this.#child = new Deno.Command(program, {
      args,
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
  }

  /**
   * Starts a C program.
   *
   * @param stack The stack that ends the program.
   * @param description The contestant.
   * @param args The job of `contestants.c`.
   * @param program Another program, which takes turns in the same way.
   * @returns The contestant, or the reason if it can't do the job.
   */
  static async start(
    stack: AsyncDisposableStack,
    description: RivalDescription,
    args: string[],
    program?: string,
  ): Promise<Rival | Absent> {
    const { name } = description;
    const missing = program === undefined ? whyMissing(COMPILER) : null;
    if (missing !== null) return { name, missing };
    program ??= compile("contestants");
    const rival = stack.use(new Rival(description, program, args));
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
