/** Where text goes: `Deno.stdout`, `Deno.stderr`. */
export interface Output {
  /** Writes some of it, and returns how many bytes. */
  writeSync(bytes: Uint8Array): number;
}

/** How many milliseconds to wait for room. */
const PAUSE = 10;

/**
 * Prints text and a newline, all of it, before it returns: where `console.log`
 * would throw, and lose the rest, because whoever shares the pipe or terminal has
 * set O_NONBLOCK and there is no room, this waits. It needs no permission.
 *
 * @param output Where to; stdout by default.
 * @throws {Deno.errors.BrokenPipe} When nobody reads.
 */
export function printNow(text: string, output: Output = Deno.stdout): void {
  let rest = new TextEncoder().encode(`${text}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(output.writeSync(rest));
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE);
    }
  }
}
