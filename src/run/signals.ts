import { type SignalName, SIGNALS } from "../sys/layout.ts";
import { dispositions } from "../kernel/process.ts";
import {
  foregroundGroup,
  processGroup,
  setForegroundGroup,
  startIgnoring,
} from "../sys/process.ts";
import { SyscallError } from "../sys/error.ts";

/** The signals that a terminal sends to its whole foreground group: termios(3). */
export const FROM_TERMINAL: readonly SignalName[] = [
  "SIGINT",
  "SIGQUIT",
  "SIGWINCH",
];

/**
 * Holds back signals that would end this process, until it is disposed of.
 * Signals that this process ignores, under nohup(1) for example, stay ignored, by
 * its child processes, too.
 */
export class HeldSignals implements Disposable {
  readonly #listeners = new DisposableStack();
  readonly #early: SignalName[] = [];
  #deliver = (name: SignalName): unknown => this.#early.push(name);

  constructor(names: readonly SignalName[]) {
    if (names.length === 0) return;
    const { ignores } = dispositions();
    for (const name of names) {
      // A listener that does nothing keeps an ignored signal from ending this
      // process.
      const listener = ignores(name) ? () => {} : () => this.#deliver(name);
      Deno.addSignalListener(name, listener);
      this.#listeners.defer(() => Deno.removeSignalListener(name, listener));
    }
    // With its first listener Deno catches more signals than were asked for. A
    // program that is executed does not ignore a caught signal: execve(2).
    const { catches } = dispositions();
    for (const name of Object.keys(SIGNALS) as SignalName[]) {
      if (ignores(name) && catches(name)) startIgnoring(name);
    }
  }

  /** Delivers the signals from now on, first those that were held back. */
  deliverTo(deliver: (name: SignalName) => void): void {
    this.#deliver = deliver;
    for (const name of this.#early) deliver(name);
  }

  /** No longer listens for the signals. */
  [Symbol.dispose](): void {
    this.#listeners.dispose();
  }
}

/** The terminal on standard input, while this process is in its foreground. */
export class Terminal implements Disposable {
  readonly #group: number;

  private constructor(group: number) {
    this.#group = group;
  }

  /** The terminal; null if there is none, or another process group has it. */
  static ours(): Terminal | null {
    const group = processGroup();
    return foregroundGroup(0) === group ? new Terminal(group) : null;
  }

  /**
   * True if standard input is this session's terminal, whichever process group is
   * in its foreground.
   */
  static isThere(): boolean {
    return foregroundGroup(0) !== null;
  }

  /** Takes the foreground back from the process group that the command gave it to. */
  [Symbol.dispose](): void {
    try {
      setForegroundGroup(0, this.#group);
    } catch (error) {
      // The terminal was hung up.
      if (!(error instanceof SyscallError)) throw error;
    }
  }
}
