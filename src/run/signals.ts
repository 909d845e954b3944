import { type SignalName, SIGNALS } from "../sys/layout.ts";
import { dispositions } from "../kernel/process.ts";
import {
  foregroundGroup,
  processGroup,
  setForegroundGroup,
  startIgnoring,
} from "../sys/process.ts";
import { SyscallError } from "../sys/error.ts";

/** What a terminal sends to the whole foreground: termios(3). */
export const FROM_TERMINAL: readonly SignalName[] = [
  "SIGINT",
  "SIGQUIT",
  "SIGWINCH",
];

/**
 * Holds back signals that this process would end by, for as long as it is not
 * disposed of. What it ignores, under nohup(1) say, it goes on ignoring, and so
 * does what it starts.
 */
export class HeldSignals implements Disposable {
  readonly #listeners = new DisposableStack();
  readonly #early: SignalName[] = [];
  #deliver = (name: SignalName): unknown => this.#early.push(name);

  constructor(names: readonly SignalName[]) {
    if (names.length === 0) return;
    const { ignores } = dispositions();
    for (const name of names) {
      // One that does nothing keeps what is ignored from ending this process.
      const listener = ignores(name) ? () => {} : () => this.#deliver(name);
      Deno.addSignalListener(name, listener);
      this.#listeners.defer(() => Deno.removeSignalListener(name, listener));
    }
    // With its first listener Deno catches more than was asked for. What is
    // caught would not be ignored by what is executed: execve(2).
    const { catches } = dispositions();
    for (const name of Object.keys(SIGNALS) as SignalName[]) {
      if (ignores(name) && catches(name)) startIgnoring(name);
    }
  }

  /** Delivers them from now on, those that came already first. */
  deliverTo(deliver: (name: SignalName) => void): void {
    this.#deliver = deliver;
    for (const name of this.#early) deliver(name);
  }

  /** Lets them be. */
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

  /** The terminal, null where there is none, or another process has it. */
  static ours(): Terminal | null {
    const group = processGroup();
    return foregroundGroup(0) === group ? new Terminal(group) : null;
  }

  /** Whether standard input is this session's terminal, whoever has it. */
  static isThere(): boolean {
    return foregroundGroup(0) !== null;
  }

  /** Takes the foreground back from whom the command gave it to. */
  [Symbol.dispose](): void {
    try {
      setForegroundGroup(0, this.#group);
    } catch (error) {
      // It was hung up.
      if (!(error instanceof SyscallError)) throw error;
    }
  }
}
