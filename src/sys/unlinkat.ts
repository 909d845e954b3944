import { flags32, int32, passString } from "./argument.ts";
import { AT_REMOVEDIR } from "./constants.ts";
import { flagNames, quote } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Removes a file, or with `AT_REMOVEDIR` an empty directory.
 *
 * `int unlinkat(int dirfd, const char *path, int flags);`
 *
 * See unlinkat(2).
 *
 * @param dirfd Where a relative path starts.
 * @param path What to remove. A symlink there is not followed.
 * @param flags `AT_REMOVEDIR` or 0.
 * @throws {SyscallError} EBUSY for a mount point, ENOTEMPTY for a directory
 * that is not empty.
 */
export function unlinkat(
  dirfd: number,
  path: string,
  flags: number = 0,
): void {
  dirfd = int32("dirfd", dirfd);
  const bytes = passString("path", path);
  const bits = flags32("flags", flags);
  const result = libc.unlinkat(NR.unlinkat, dirfd, bytes, bits);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "unlinkat", [
      { fd: dirfd },
      quote(path),
      flagNames(bits >>> 0, { AT_REMOVEDIR }),
    ]);
  }
}
