import { int32 } from "./argument.ts";
import { O_NONBLOCK } from "./constants.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/** include/uapi/asm-generic/fcntl.h */
export const F_SETFL = 4;

/**
 * Lets nothing that is done with an open file wait: EAGAIN instead. It has none
 * of the other status flags then.
 *
 * `int fcntl(int fd, F_SETFL, O_NONBLOCK);`
 *
 * See fcntl(2).
 *
 * @param fd A descriptor of the file.
 * @throws {SyscallError} EBADF when `fd` is not open.
 */
export function setNonblocking(fd: number): void {
  fd = int32("fd", fd);
  const result = libc.fcntl(NR.fcntl, fd, F_SETFL, O_NONBLOCK);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "fcntl", [{ fd }, "F_SETFL", "O_NONBLOCK"]);
  }
}
