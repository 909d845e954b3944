import { int32, passString, uint32 } from "./argument.ts";
import {
  AT_EMPTY_PATH,
  AT_NO_AUTOMOUNT,
  AT_RECURSIVE,
  AT_SYMLINK_NOFOLLOW,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from "./constants.ts";
import { flagNames, quote } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Opens what is at a path, or with `OPEN_TREE_CLONE` a detached copy of the
 * mount there, which is gone when its descriptor is closed before it was
 * attached.
 *
 * `int open_tree(int dirfd, const char *path, unsigned int flags);`
 *
 * Since Linux 5.2; see open_tree(2).
 *
 * @param dirfd Where a relative path starts.
 * @param path What to open.
 * @param flags `OPEN_TREE_*` and `AT_*`.
 * @returns The descriptor.
 * @throws {SyscallError} EPERM for a copy without CAP_SYS_ADMIN, EINVAL for one
 * of an unbindable mount or of a mount in another namespace.
 */
export function openTree(
  dirfd: number,
  path: string,
  flags: number = OPEN_TREE_CLOEXEC,
): number {
  dirfd = int32("dirfd", dirfd);
  const bytes = passString("path", path);
  flags = uint32("flags", flags);
  const fd = libc.open_tree(NR.open_tree, dirfd, bytes, flags);
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 || tracer) {
    settle(fd, "open_tree", [
      { fd: dirfd },
      quote(path),
      flagNames(flags, {
        OPEN_TREE_CLONE,
        OPEN_TREE_CLOEXEC,
        AT_EMPTY_PATH,
        AT_RECURSIVE,
        AT_NO_AUTOMOUNT,
        AT_SYMLINK_NOFOLLOW,
      }),
    ]);
  }
  return fd;
}
