import { SyscallError } from "../sys/error.ts";
import {
  foregroundGroup,
  processGroup,
  setForegroundGroup,
} from "../sys/terminal.ts";

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
