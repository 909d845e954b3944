/** Signal numbers: include/uapi/asm-generic/signal.h, the same on both processors. */
export const SIGNALS = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGSTKFLT: 16,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGVTALRM: 26,
  SIGPROF: 27,
  SIGWINCH: 28,
  SIGIO: 29,
  SIGPWR: 30,
  SIGSYS: 31,
} as const satisfies Partial<Record<Deno.Signal, number>>;

/** Bytes of the kernel's `sigset_t`. */
export const SIGSET_SIZE = 8;

/** A signal by its name. */
export type SignalName = keyof typeof SIGNALS;

/** The name of a signal, null for one of the real-time signals. */
export function signalName(number: number): SignalName | null {
  const names = Object.keys(SIGNALS) as SignalName[];
  return names.find((name) => SIGNALS[name] === number) ?? null;
}
