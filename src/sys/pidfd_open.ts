import { int32, uint32 } from "./argument.ts";
import { flagNames } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Opens a descriptor of a process, which can be read from once it has ended.
 *
 * `int pidfd_open(pid_t pid, unsigned int flags);`
 *
 * Since Linux 5.3; see pidfd_open(2).
 *
 * @param pid The process.
 * @param flags `PIDFD_*`.
 * @returns The descriptor, closed on exec.
 * @throws {SyscallError} ESRCH where there is no such process.
 */
export function pidfdOpen(pid: number, flags: number = 0): number {
  pid = int32("pid", pid);
  flags = uint32("flags", flags);
  const fd = libc.pidfd_open(NR.pidfd_open, pid, flags);
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 || tracer) {
    settle(fd, "pidfd_open", [String(pid), flagNames(flags, {})]);
  }
  return fd;
}
