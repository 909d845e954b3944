/** Processes that hold what a test mounted, until the end of their block. */

/** A process that runs. */
export interface Held extends AsyncDisposable {
  readonly pid: number;
  /** Waits until it has written something more. */
  written(): Promise<void>;
}

/**
 * Starts a process, and waits until it has written something.
 *
 * @param command The command line.
 * @param options As of Deno.Command.
 */
export async function hold(
  [command, ...args]: string[],
  options: Deno.CommandOptions = {},
): Promise<Held> {
  const process = new Deno.Command(command!, {
    ...options,
    args,
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const reader = process.stdout.getReader();
  async function written(): Promise<void> {
    const { done } = await reader.read();
    if (done) throw new Error(`${command} ended`);
  }
  await written();
  return {
    pid: process.pid,
    written,
    async [Symbol.asyncDispose]() {
      process.kill("SIGKILL");
      await reader.cancel();
      await process.status;
    },
  };
}
