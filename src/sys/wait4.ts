import { flags32, int32 } from "./argument.ts";
import { flagNames } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/** Wait for children of every kind: include/uapi/linux/wait.h. */
export const __WALL = 0x40000000;

/**
 * Waits until a child has ended, and lets it go.
 *
 * `pid_t wait4(pid_t pid, int *wstatus, int options, struct rusage *rusage);`
 *
 * See wait4(2), waitpid(2).
 *
 * @param pid The child.
 * @param options `__WALL`, or 0.
 * @returns The child.
 * @throws {SyscallError} ECHILD when there is no such child, EINTR when a
 * signal came first.
 */
export function wait4(pid: number, options: number): number {
  pid = int32("pid", pid);
  const bits = flags32("options", options);
  const child = libc.wait4(NR.wait4, pid, null, bits, null);
  if (child === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (child === -1 || tracer) {
    settle(child, "wait4", [
      String(pid),
      "NULL",
      flagNames(bits >>> 0, { __WALL }),
      "NULL",
    ]);
  }
  return child;
}
