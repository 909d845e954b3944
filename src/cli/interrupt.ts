import { SIGNALS } from "../sys/layout.ts";
import { hasDefaultAction, ignores } from "../sys/process.ts";

/** The signals that people, terminals and service managers end a program with. */
const USUAL = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"] as const;

/**
 * The others that end a program, signal(7). Not those that the kernel sends for a
 * mistake, like SIGSEGV: who returns from them makes it again. Deno ignores
 * SIGPIPE, and knows no real-time signals.
 */
const UNUSUAL = [
  "SIGABRT",
  "SIGUSR1",
  "SIGUSR2",
  "SIGALRM",
  "SIGSTKFLT",
  "SIGXCPU",
  "SIGXFSZ",
  "SIGVTALRM",
  "SIGPROF",
  "SIGIO",
  "SIGPWR",
] as const;

/**
 * How often the event loop turns until a signal is told that came long ago: what
 * timer is due goes before it, and where all is slow that is the next one, too.
 */
const TURNS = 5;

type Caught = (typeof USUAL | typeof UNUSUAL)[number];

/** Holds back the signals that would end the program, until disposed of. */
export class Interrupt implements Disposable {
  /** The exit status for the signal that came, null while there was none. */
  status: number | null = null;
  readonly #listeners = new Map<Caught, () => void>();
  #wake: () => void;

  /** @param wake Is called when a signal comes, but while this sleeps. */
  constructor(wake: () => void = () => {}) {
    this.#wake = wake;
    // nohup(1) has a hang-up ignored, a shell's background what the terminal
    // sends. With the first listener Deno catches three of these: one that does
    // nothing keeps what is ignored from ending this process.
    const ignored = USUAL.filter(ignores);
    for (const signal of USUAL) {
      this.#catch(signal, ignored.includes(signal) ? () => {} : undefined);
    }
  }

  /**
   * Holds back the unusual signals, too. Their listeners take half a millisecond:
   * who does little but sleep calls it right before that.
   */
  catchAll(): void {
    for (const signal of UNUSUAL) {
      // V8's profiler has one of them.
      if (!this.#listeners.has(signal) && hasDefaultAction(signal)) {
        this.#catch(signal);
      }
    }
  }

  #catch(
    signal: Caught,
    listener = () => {
      // As a shell tells it.
      this.status ??= 128 + SIGNALS[signal];
      this.#wake();
    },
  ): void {
    Deno.addSignalListener(signal, listener);
    this.#listeners.set(signal, listener);
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
