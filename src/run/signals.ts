import { readFile } from "../read_file.ts";
import { startIgnoring } from "../sys/rt_sigaction.ts";
import { type SignalName, SIGNALS } from "../sys/signals.ts";

/** What a process does about signals: proc_pid_status(5). */
export interface Dispositions {
  ignores(name: SignalName): boolean;
  catches(name: SignalName): boolean;
}

/**
 * Asks /proc what a process does about signals.
 *
 * @param pidfd The process, by default this one.
 * @throws {SyscallError} ENOENT when there is no such process.
 */
export function dispositions(pidfd?: number): Dispositions {
  const name = pidfd === undefined ? "self" : numberInProc(pidfd);
  const status = readFile(`/proc/${name}/status`);
  const has = (field: string) => {
    const mask = new RegExp(`^${field}:\\s*(\\w+)$`, "m").exec(status)![1]!;
    return (name: SignalName) =>
      (BigInt(`0x${mask}`) >> BigInt(SIGNALS[name] - 1) & 1n) !== 0n;
  };
  return { ignores: has("SigIgn"), catches: has("SigCgt") };
}

/** A process's number in the PID namespace that /proc shows: proc_pid_fdinfo(5). */
function numberInProc(pidfd: number): string {
  return /^Pid:\t(\d+)$/m.exec(readFile(`/proc/self/fdinfo/${pidfd}`))![1]!;
}

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
