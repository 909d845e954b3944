import { int32 } from "./argument.ts";
import { LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN } from "./constants.ts";
import { flagNames } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Locks an open file, for as long as any descriptor of it is open.
 *
 * `int flock(int fd, int op);`
 *
 * See flock(2).
 *
 * @param fd The descriptor, not one of `O_PATH`.
 * @param operation `LOCK_SH`, `LOCK_EX` or `LOCK_UN`, with `LOCK_NB` to fail
 * where it would wait.
 * @throws {SyscallError} EAGAIN with `LOCK_NB` when another open file has a lock
 * that is in the way.
 */
export function flock(fd: number, operation: number): void {
  fd = int32("fd", fd);
  operation = int32("operation", operation);
  const result = libc.flock(NR.flock, fd, operation);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "flock", [
      { fd },
      flagNames(operation >>> 0, { LOCK_SH, LOCK_EX, LOCK_UN, LOCK_NB }),
    ]);
  }
}
