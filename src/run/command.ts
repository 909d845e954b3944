import { type SignalName, signalName, SIGNALS } from "../sys/layout.ts";
import { kill, pidfdOpen, type Usage, waitid } from "../sys/process.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import { dispositions } from "../kernel/process.ts";
import { waitReady } from "./wait_ready.ts";
import { POLLIN } from "../sys/event.ts";

/** How a command ended. */
export interface Outcome {
  /** Its exit status, 128 and the signal's number when one ended it. */
  readonly code: number;
  /** The signal that ended it, null when it exited. */
  readonly signal: SignalName | null;
  /** What it used. */
  readonly usage: Usage;
}

/** The process of a command, a child of this one. */
export class CommandProcess implements Disposable {
  /** Its number in this PID namespace. */
  readonly pid: number;
  readonly #process: OwnedFd;
  /** Whether it is the first of its PID namespace. */
  readonly #isInit: boolean;
  /** Whether it leads a session, and in it a process group. */
  readonly #leads: boolean;
  #reaped = false;
  #endedBy: SignalName | null = null;

  /**
   * @param pid Its number; this object reaps it.
   * @param role Whether it is the first of its PID namespace, and whether it
   * leads a session.
   * @throws {SyscallError} EMFILE; then it is killed.
   */
  constructor(
    pid: number,
    { isInit, leads }: { isInit: boolean; leads: boolean },
  ) {
    this.pid = pid;
    this.#isInit = isInit;
    this.#leads = leads;
    try {
      this.#process = new OwnedFd(pidfdOpen(pid));
    } catch (error) {
      kill(pid, SIGNALS.SIGKILL);
      waitid(pid);
      throw error;
    }
  }

  /**
   * Sends it a signal. The kernel spares the first process of a PID namespace
   * what would end it by default: then it is killed, and reported as ended by
   * that signal.
   *
   * @param sent Whether the terminal has sent it already.
   */
  signal(name: SignalName, sent = false): void {
    if (this.#reaped) return;
    if (this.#isInit && ENDING.includes(name) && !this.#minds(name)) {
      this.#endedBy ??= name;
      kill(this.pid, SIGNALS.SIGKILL);
    } else if (!sent) {
      // A shell takes it that its children have a terminal's signals, too.
      const all = this.#leads && OF_TERMINALS.includes(name);
      kill(all ? -this.pid : this.pid, SIGNALS[name]);
    }
  }

  /**
   * Stops with it, as a signal of the terminal's has it, unless it has its own
   * way with that; returns once this process goes on.
   */
  suspend(name: SignalName): void {
    if (this.#reaped || this.#minds(name)) return;
    // The first process of a PID namespace is spared what the terminal has sent.
    if (this.#isInit) kill(this.pid, SIGNALS.SIGSTOP);
    // Unlike SIGSTOP this stops nobody whom no shell would let go on.
    kill(Deno.pid, SIGNALS.SIGTTOU);
    kill(this.pid, SIGNALS.SIGCONT);
  }

  #minds(name: SignalName): boolean {
    const { ignores, catches } = dispositions(this.#process.fd);
    return ignores(name) || catches(name);
  }

  /** Waits for its end. */
  async outcome(): Promise<Outcome> {
    await waitReady(this.#process.fd, POLLIN);
    return this.#reap();
  }

  #reap(): Outcome {
    // Until now the number was nobody else's.
    const { status, signal, usage } = waitid(this.pid);
    this.#reaped = true;
    this.#process.close();
    if (status !== null) return { code: status, signal: null, usage };
    const killed = signal === SIGNALS.SIGKILL;
    const name = killed && this.#endedBy !== null
      ? this.#endedBy
      : signalName(signal!);
    const number = name === null ? signal! : SIGNALS[name];
    return { code: 128 + number, signal: name, usage };
  }

  /** Kills it, unless it has ended. */
  [Symbol.dispose](): void {
    if (this.#reaped) return;
    kill(this.pid, SIGNALS.SIGKILL);
    this.#reap();
  }
}

/** The signals that a terminal sends to a process group: termios(3). */
const OF_TERMINALS: readonly SignalName[] = ["SIGINT", "SIGQUIT", "SIGHUP"];

/** The signals that end a process by default, and may be forwarded: signal(7). */
const ENDING: readonly SignalName[] = [
  "SIGALRM",
  "SIGHUP",
  "SIGINT",
  "SIGIO",
  "SIGPIPE",
  "SIGPROF",
  "SIGPWR",
  "SIGQUIT",
  "SIGTERM",
  "SIGUSR1",
  "SIGUSR2",
  "SIGVTALRM",
];
