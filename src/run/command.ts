/** A command that was started, until it has ended. */
import {
  type RealTimeSignal,
  type SignalName,
  signalName,
  SIGNALS,
} from "../sys/layout.ts";
import { kill, type Usage } from "../sys/process.ts";
import { dispositionsOfChild } from "../kernel/process.ts";
import type { InitProcess, Report } from "./init_process.ts";
import type { CallTable } from "./table.ts";

/** How a command ended. */
export interface Outcome {
  /** The exit status; 128 plus the signal's number if a signal ended the command. */
  readonly code: number;
  /** The signal that ended the command, null if it exited. */
  readonly signal: SignalName | RealTimeSignal | null;
  /** The resources that the command used. */
  readonly usage: Usage;
}

/**
 * How a command and the first process share PID namespaces.
 *
 * - `child`: the command is a child of the first process, in its PID namespace.
 * - `first`: the command is the first process of another PID namespace inside that.
 * - `group`: both are in this process's PID namespace, in a process group of their
 *   own.
 */
export type Kind = "child" | "first" | "group";

/** The process of a command. */
export class CommandProcess implements Disposable {
  readonly #init: InitProcess;
  readonly #tables: readonly CallTable[];
  readonly #kind: Kind;
  /** True if the command leads a session, and a process group in it. */
  readonly #leads: boolean;
  #endedBy: SignalName | null = null;
  /** The error of a failed message to the first process, which was killed then. */
  #failure: { readonly error: unknown } | null = null;

  /**
   * @param init The first process, which was given the tables; this object ends it.
   * @param tables The calls that start the command.
   */
  constructor(
    init: InitProcess,
    tables: readonly CallTable[],
    { kind, leads }: { kind: Kind; leads: boolean },
  ) {
    this.#init = init;
    this.#tables = tables;
    this.#kind = kind;
    this.#leads = leads;
  }

  /**
   * Sends it a signal. The kernel spares the first process of a PID namespace
   * what would end it by default: then it is killed, and reported as ended by
   * that signal.
   *
   * @param sent True if the terminal has sent it already.
   */
  signal(name: SignalName, sent = false): void {
    this.#orKill(() => {
      if (this.#isSpared(name)) return this.#endBy(name);
      if (sent) return;
      // A shell takes it that its children have a terminal's signals, too.
      const all = this.#leads && OF_TERMINALS.includes(name);
      this.#init.order(all ? -NUMBER_IN_NAMESPACE : 0, SIGNALS[name]);
    });
  }

  /** Sends a signal to all that it has started, and to itself. */
  signalAll(name: SignalName): void {
    const all = this.#kind === "group" ? -this.#init.pid : -1;
    this.#orKill(() => {
      if (this.#isSpared(name)) this.#endBy(name);
      else this.#init.order(all, SIGNALS[name]);
    });
  }

  /** Kills it, and all that it has started, at once. */
  kill(): void {
    this.#init.kill();
  }

  /**
   * Stops with it, as a signal of the terminal's has it, unless it has its own
   * way with that; returns once this process goes on.
   */
  suspend(name: SignalName): void {
    this.#orKill(() => {
      if (this.#minds(name)) return;
      // The first process of a PID namespace is spared what the terminal has sent.
      if (this.#kind === "first") this.#init.order(0, SIGNALS.SIGSTOP);
      // Unlike SIGSTOP this stops nobody whom no shell would let go on.
      kill(Deno.pid, SIGNALS.SIGTTOU);
      this.#init.order(0, SIGNALS.SIGCONT);
    });
  }

  /**
   * Does something that nobody waits for; if that fails, kills it, and tells at the
   * end why.
   */
  #orKill(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#failure ??= { error };
      this.kill();
    }
  }

  #isSpared(name: SignalName): boolean {
    return this.#kind === "first" && ENDING.includes(name) &&
      !this.#minds(name);
  }

  #endBy(name: SignalName): void {
    this.#endedBy ??= name;
    this.#init.order(0, SIGNALS.SIGKILL);
  }

  /** True if the command ignores or catches a signal, or has ended. */
  #minds(name: SignalName): boolean {
    if (this.#init.pid === 0) return true;
    const found = dispositionsOfChild(this.#init.pidfd);
    return found === null || found.ignores(name) || found.catches(name);
  }

  /**
   * Waits for the end of the command, and of everything that it started.
   *
   * @throws {SyscallError | MountError | UnsupportedError} If it could not be
   * started.
   */
  async outcome(): Promise<Outcome> {
    const report = await this.#init.ended();
    let failure = this.#failure;
    for (const [i, table] of this.#tables.entries()) {
      const failures = report.failures.filter((one) => one.table === i);
      table.trace(failures);
      const fatal = failures.find((one) => table.isFatal(one));
      if (fatal === undefined) continue;
      failure ??= { error: table.error(fatal) };
      // Of the tables after it nothing was done.
      break;
    }
    if (failure !== null) throw failure.error;
    return this.#outcomeOf(report);
  }

  #outcomeOf({ command, own }: Report): Outcome {
    // Without a word the first process was killed, and the command with it.
    const usage = command?.usage ?? own.usage;
    const status = command?.status ?? SIGNALS.SIGKILL;
    const number = status & 0x7f;
    if (number === 0) return { code: status >> 8, signal: null, usage };
    if (number === SIGNALS.SIGKILL && this.#endedBy !== null) {
      const signal = this.#endedBy;
      return { code: 128 + SIGNALS[signal], signal, usage };
    }
    return { code: 128 + number, signal: signalName(number), usage };
  }

  /** Kills it, unless it has ended. */
  [Symbol.dispose](): void {
    this.#init[Symbol.dispose]();
  }
}

/** The command's number: the second process of its PID namespace. */
const NUMBER_IN_NAMESPACE = 2;

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
  "SIGSTKFLT",
  "SIGSYS",
  "SIGTERM",
  "SIGTRAP",
  "SIGUSR1",
  "SIGUSR2",
  "SIGVTALRM",
  "SIGXCPU",
  "SIGXFSZ",
];
