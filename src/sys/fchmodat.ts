import { int32, passString, uint32 } from "./argument.ts";
import { octal, quote } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Changes the permissions of a file.
 *
 * `int fchmodat(int dirfd, const char *path, mode_t mode);`
 *
 * See fchmodat(2).
 *
 * @param dirfd Where a relative path starts.
 * @param path The file. A symlink there is followed.
 * @param mode Its permissions.
 * @throws {SyscallError} EPERM when it is another user's.
 */
export function fchmodat(dirfd: number, path: string, mode: number): void {
  dirfd = int32("dirfd", dirfd);
  const bytes = passString("path", path);
  mode = uint32("mode", mode);
  const result = libc.fchmodat(NR.fchmodat, dirfd, bytes, mode);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "fchmodat", [{ fd: dirfd }, quote(path), octal(mode)]);
  }
}
