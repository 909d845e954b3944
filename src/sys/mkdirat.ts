import { int32, passString, uint32 } from "./argument.ts";
import { octal, quote } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Makes a directory.
 *
 * `int mkdirat(int dirfd, const char *path, mode_t mode);`
 *
 * See mkdirat(2).
 *
 * @param dirfd Where a relative path starts.
 * @param path The new directory. A symlink there is not followed.
 * @param mode Its permissions, less the process's umask.
 * @throws {SyscallError} EEXIST when there is something of that name.
 */
export function mkdirat(dirfd: number, path: string, mode: number): void {
  dirfd = int32("dirfd", dirfd);
  const bytes = passString("path", path);
  mode = uint32("mode", mode);
  const result = libc.mkdirat(NR.mkdirat, dirfd, bytes, mode);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "mkdirat", [{ fd: dirfd }, quote(path), octal(mode)]);
  }
}
