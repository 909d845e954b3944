import { UnsupportedError } from "./sys/error.ts";

/** The URL of the program mountat, null in a process that uses the library alone. */
export const program: { url: string | null } = { url: null };

/**
 * The command line that runs the program in a process of its own.
 *
 * @throws {UnsupportedError} Where this process is another program.
 */
export function programCommand(): string[] {
  if (program.url === null) {
    throw new UnsupportedError("Only the program mountat can run itself again");
  }
  return Deno.build.standalone
    ? [Deno.execPath()]
    : [Deno.execPath(), "run", "--no-prompt", "--allow-ffi", program.url];
}

/** How the program's reader gives options that have another name in the library. */
const OF_PROGRAM: Record<string, string> = {
  makePrivate: "--make-private",
};

/**
 * Has messages name an option as the reader of this subcommand gives it.
 *
 * @param name The library's name of the option.
 * @param given What the reader writes.
 */
export function nameOption(name: string, given: string): void {
  OF_PROGRAM[name] = given;
}

/**
 * Names an option as the reader of a message gives it: the program's reader at
 * the command line, the library's in code.
 *
 * @param name The library's name of the option.
 */
export function optionName(name: string): string {
  return program.url === null
    ? `the option ${name}`
    : OF_PROGRAM[name] ?? `--${name}`;
}

/**
 * Runs the program to its end, and ends the process.
 *
 * @param url The program's URL.
 * @param main Returns the exit status.
 */
export async function runProgram(
  url: string,
  main: (args: string[]) => Promise<number>,
): Promise<never> {
  program.url = url;
  const status = await main(Deno.args);
  // In one file with the rest nothing was loaded, which makes it turn.
  if (url === import.meta.url) await turn();
  // Do not wait for output that is still being written.
  Deno.exit(status);
}

/**
 * Lets the event loop turn once: only then Deno keeps the code that V8 made of
 * the modules for the next start, of which a bundle takes a fifth less with it.
 */
async function turn(): Promise<void> {
  // This needs no thread, timer, file or permission. Bundlers would put an
  // import of text/javascript into the bundle, where it turns nothing.
  await import("data:application/javascript,");
}
