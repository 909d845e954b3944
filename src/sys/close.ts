import { int32 } from "./argument.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Closes a descriptor.
 *
 * `int close(int fd);`
 *
 * See close(2). The descriptor is closed even when an error is reported: never
 * close it again.
 *
 * @param fd The descriptor.
 * @throws {SyscallError} EBADF when it is not open.
 */
export function close(fd: number): void {
  fd = int32("fd", fd);
  const result = libc.close(NR.close, fd);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "close", [{ fd }]);
  }
}
