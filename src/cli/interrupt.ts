import { ignores } from "../sys/process.ts";

/** The exit status that a signal's default action would have led to. */
const STATUS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/**
 * How often the event loop turns until a signal is told that came long ago: what
 * timer is due goes before it, and where all is slow that is the next one, too.
 */
const TURNS = 5;

type Caught = keyof typeof STATUS;

/** Holds back the signals that would end the program, until disposed of. */
export class Interrupt implements Disposable {
  /** The exit status for the signal that came, null while there was none. */
  status: number | null = null;
  readonly #listeners = new Map<Caught, () => void>();
  #wake: () => void;

  /** @param wake Is called when a signal comes, but while this sleeps. */
  constructor(wake: () => void = () => {}) {
    this.#wake = wake;
    for (const signal of Object.keys(STATUS) as Caught[]) {
      // nohup(1) has it ignored, and takes the terminal away.
      const ignored = signal === "SIGHUP" && !Deno.stdin.isTerminal() &&
        ignores(signal);
      // With its first listener Deno catches all three: one that does nothing
      // keeps what is ignored from ending this process.
      const listener = ignored ? () => {} : () => {
        this.status ??= STATUS[signal];
        this.#wake();
      };
      Deno.addSignalListener(signal, listener);
      this.#listeners.set(signal, listener);
    }
  }

  /** Waits, at the most until a signal comes. */
  async sleep(seconds: number): Promise<void> {
    const end = performance.now() + seconds * 1000;
    // A timer can't be set for longer than 2^31 - 1 milliseconds.
    for (let left = seconds * 1000; left > 0 && this.status === null;) {
      await this.#pause(Math.min(left, 0x7fff_ffff));
      left = end - performance.now();
    }
  }

  /** Waits until it is told what came before, while the event loop stood. */
  async told(): Promise<void> {
    for (let turn = 0; turn < TURNS && this.status === null; turn++) {
      await this.#pause(1);
    }
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  [Symbol.dispose](): void {
    for (const [signal, listener] of this.#listeners) {
      Deno.removeSignalListener(signal, listener);
    }
  }
}
