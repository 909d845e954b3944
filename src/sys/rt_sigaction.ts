import { LITTLE_ENDIAN } from "./layout.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { type SignalName, SIGNALS, SIGSET_SIZE } from "./signals.ts";
import { tracer } from "./trace.ts";

// include/uapi/asm-generic/signal-defs.h
export const SIG_DFL = 0n;
export const SIG_IGN = 1n;
/** Bytes of the kernel's `struct sigaction`, the handler first. */
const SIGACTION_SIZE = 32;

/**
 * Makes a `struct sigaction`.
 *
 * @param handler {@linkcode SIG_DFL} or {@linkcode SIG_IGN}.
 */
export function sigaction(handler: bigint): Uint8Array<ArrayBuffer> {
  const action = new DataView(new ArrayBuffer(SIGACTION_SIZE));
  action.setBigUint64(0, handler, LITTLE_ENDIAN);
  return new Uint8Array(action.buffer);
}

/**
 * Gives a signal its default action again when this process ignores it, as it
 * does when who started it did.
 *
 * `int rt_sigaction(int signum, const struct sigaction *act, struct sigaction *oldact, size_t sigsetsize);`
 *
 * See sigaction(2).
 */
export function stopIgnoring(name: SignalName): void {
  const now = sigaction(SIG_DFL);
  rtSigaction(name, null, now);
  const handler = new DataView(now.buffer).getBigUint64(0, LITTLE_ENDIAN);
  if (handler === SIG_IGN) rtSigaction(name, sigaction(SIG_DFL), null);
}

/** Lets this process ignore a signal, and what it starts from now on. */
export function startIgnoring(name: SignalName): void {
  rtSigaction(name, sigaction(SIG_IGN), null);
}

function rtSigaction(
  name: SignalName,
  action: Uint8Array<ArrayBuffer> | null,
  before: Uint8Array<ArrayBuffer> | null,
): void {
  const result = libc.rt_sigaction(
    NR.rt_sigaction,
    SIGNALS[name],
    action,
    before,
    BigInt(SIGSET_SIZE),
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "rt_sigaction", [
      name,
      action === null ? "NULL" : action[0] === 1 ? "SIG_IGN" : "SIG_DFL",
      before === null ? "NULL" : "…",
      String(SIGSET_SIZE),
    ]);
  }
}
