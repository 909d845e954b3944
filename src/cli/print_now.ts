/** Where text goes: `Deno.stdout`, `Deno.stderr`. */
export interface Output {
  /** Writes some of it, and returns how many bytes. */
  writeSync(bytes: Uint8Array): number;
}

/** How many milliseconds to wait for room, at a time and in a row. */
const PAUSE = 10;
const MOST_PAUSES = 500;

/**
 * Prints text and a newline, all of it, before it returns: where `console.log`
 * would throw, and lose the rest, because whoever shares the pipe or terminal has
 * set O_NONBLOCK and there is no room, this waits, for some seconds: meanwhile no
 * signal is heard. It needs no permission.
 *
 * @param output Where to; stdout by default.
 * @throws {Deno.errors.BrokenPipe} When nobody reads.
 * @throws {Deno.errors.WouldBlock} When nobody read for five seconds.
 */
export function printNow(text: string, output: Output = Deno.stdout): void {
  let rest = new TextEncoder().encode(`${text}\n`);
  for (let pauses = 0; rest.length > 0;) {
    try {
      rest = rest.subarray(output.writeSync(rest));
      pauses = 0;
    } catch (error) {
      const full = error instanceof Deno.errors.WouldBlock;
      if (!full || ++pauses > MOST_PAUSES) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE);
    }
  }
}
