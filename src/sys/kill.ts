import { int32 } from "./argument.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/** Ends a process, which can't catch it: include/uapi/asm-generic/signal.h. */
export const SIGKILL = 9;

/**
 * Sends a signal to a process.
 *
 * `int kill(pid_t pid, int sig);`
 *
 * See kill(2).
 *
 * @param pid The process.
 * @param signal The signal's number.
 * @throws {SyscallError} ESRCH when there is no such process, EPERM.
 */
export function kill(pid: number, signal: number): void {
  pid = int32("pid", pid);
  signal = int32("signal", signal);
  const result = libc.kill(NR.kill, pid, signal);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "kill", [String(pid), String(signal)]);
  }
}
