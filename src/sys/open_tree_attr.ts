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
import { MOUNT_ATTR } from "./layout.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { type MountAttr, mountAttr } from "./mount_attr.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Opens what is at a path as `openTree` does, with attributes: of the detached
 * copy with `OPEN_TREE_CLONE`, which may also get another id map than the mount
 * has or none, else of the mount itself.
 *
 * `int open_tree_attr(int dirfd, const char *path, unsigned int flags, struct mount_attr *attr, size_t size);`
 *
 * Since Linux 6.15; see open_tree_attr(2).
 *
 * @param dirfd Where a relative path starts.
 * @param path What to open.
 * @param flags `OPEN_TREE_*` and `AT_*`; with `AT_RECURSIVE` the attributes are
 * those of the mounts below, too.
 * @param attr What to change; without it the kernel is given none.
 * @returns The descriptor. It is closed on exec only with `OPEN_TREE_CLOEXEC`.
 * @throws {SyscallError} As `openTree` and `mountSetattr`.
 */
export function openTreeAttr(
  dirfd: number,
  path: string,
  flags: number,
  attr?: MountAttr,
): number {
  dirfd = int32("dirfd", dirfd);
  flags = uint32("flags", flags);
  const struct = attr === undefined ? undefined : mountAttr(attr);
  const bytes = passString("path", path);
  const size = struct === undefined ? 0 : MOUNT_ATTR.SIZE;
  const fd = libc.open_tree_attr(
    NR.open_tree_attr,
    dirfd,
    bytes,
    flags,
    struct?.buffer ?? null,
    BigInt(size),
  );
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 || tracer) {
    settle(fd, "open_tree_attr", [
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
      struct?.format() ?? "NULL",
      String(size),
    ]);
  }
  return fd;
}
