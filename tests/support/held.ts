/** Processes that hold what a test mounted, until the end of their block. */

/** A process that runs. */
export interface Held extends AsyncDisposable {
  readonly pid: number;
  /** Waits until it has written something more. */
  written(): Promise<void>;
  /** Writes to its standard input, where that is piped. */
  tell(text: string): Promise<void>;
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
    stdin: options.stdin ?? "null",
    stdout: "piped",
  }).spawn();
  const reader = process.stdout.getReader();
  async function written(): Promise<void> {
    const { done } = await reader.read();
    if (done) throw new Error(`${command} ended`);
  }
  const writer = options.stdin === "piped" ? process.stdin.getWriter() : null;
  await written();
  return {
    pid: process.pid,
    written,
    async tell(text) {
      await writer!.write(new TextEncoder().encode(text));
    },
    async [Symbol.asyncDispose]() {
      try {
        process.kill("SIGKILL");
      } catch (error) {
        // It has ended by itself.
        if (!(error instanceof TypeError)) throw error;
      }
      await reader.cancel();
      await writer?.close().catch(() => {});
      await process.status;
    },
  };
}

/**
 * Lets no time pass until it is disposed of: however busy the machine is, the
 * search for who holds a mount comes to its end.
 */
export function stoppedClock(): Disposable {
  const now = performance.now();
  const real = performance.now;
  performance.now = () => now;
  return { [Symbol.dispose]: () => void (performance.now = real) };
}
