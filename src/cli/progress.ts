import type { Manner } from "./command.ts";

/**
 * Tells on a terminal how far it is, once that takes long: on one line of
 * stderr, which is written anew, and empty again when this is disposed of.
 */
export class Progress implements Disposable {
  readonly #done: string;
  readonly #wait: number;
  /** The time of the next message. */
  #next: number;
  #count = 0;
  #shown = 0;

  /**
   * Starts to count.
   *
   * @param done The word for what was done to each, like "Unmounted".
   * @param manner Its `progressAfter` is the time until the first message.
   */
  constructor(done: string, { progressAfter }: Manner) {
    this.#done = done;
    this.#wait = progressAfter;
    this.#next = performance.now() + progressAfter;
  }

  /** Counts one more. */
  readonly step = (): void => {
    this.#count++;
    // No timer runs during work that never awaits: so the clock is read here.
    if (performance.now() < this.#next) return;
    this.#next = performance.now() + this.#wait / 10;
    if (!Deno.stderr.isTerminal()) return;
    const text = `${this.#done} so far: ${this.#count}`;
    this.#shown = text.length;
    write(`\r${text}`);
  };

  [Symbol.dispose](): void {
    if (this.#shown === 0) return;
    write(`\r${" ".repeat(this.#shown)}\r`);
    this.#shown = 0;
  }
}

function write(text: string): void {
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(text));
  } catch {
    // The work goes on, even if nobody reads the progress.
  }
}
