import { int32 } from "./argument.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Makes a directory the working directory: of every thread that shares it with
 * the calling one, see `unshare` with `CLONE_FS`.
 *
 * `int fchdir(int fd);`
 *
 * See fchdir(2).
 *
 * @param fd The directory's descriptor.
 * @throws {SyscallError} ENOTDIR when it is no directory, EACCES without search
 * permission.
 */
export function fchdir(fd: number): void {
  fd = int32("fd", fd);
  const result = libc.fchdir(NR.fchdir, fd);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "fchdir", [{ fd }]);
  }
}
