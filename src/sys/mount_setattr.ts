import { int32, passString, uint32 } from "./argument.ts";
import {
  AT_EMPTY_PATH,
  AT_NO_AUTOMOUNT,
  AT_RECURSIVE,
  AT_SYMLINK_NOFOLLOW,
} from "./constants.ts";
import { flagNames, quote } from "./format.ts";
import { MOUNT_ATTR } from "./layout.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { type MountAttr, mountAttr } from "./mount_attr.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Changes the attributes and the propagation of a mount, with `AT_RECURSIVE`
 * of all mounts below it too: of all or, when it fails, of none.
 *
 * `int mount_setattr(int dirfd, const char *path, unsigned int flags, struct mount_attr *attr, size_t size);`
 *
 * Since Linux 5.12; see mount_setattr(2).
 *
 * @param dirfd Where a relative path starts.
 * @param path The mount's root; empty with `AT_EMPTY_PATH` for `dirfd` itself.
 * @param flags `AT_*`.
 * @param attr What to change.
 * @throws {SyscallError} EINVAL for a path that is no mount's root, an unknown
 * bit, a kind of access time of which `attrClr` lacks some bits, or an id map for
 * an attached mount or a file system that can't have one; EBUSY for a mount that
 * has files open to write and is to become read-only; EPERM without
 * CAP_SYS_ADMIN, for a locked attribute, or for a mount that has an id map.
 */
export function mountSetattr(
  dirfd: number,
  path: string,
  flags: number,
  attr: MountAttr,
): void {
  dirfd = int32("dirfd", dirfd);
  flags = uint32("flags", flags);
  const { buffer, format } = mountAttr(attr);
  const bytes = passString("path", path);
  const result = libc.mount_setattr(
    NR.mount_setattr,
    dirfd,
    bytes,
    flags,
    buffer,
    SIZE,
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "mount_setattr", [
      { fd: dirfd },
      quote(path),
      flagNames(flags, {
        AT_EMPTY_PATH,
        AT_RECURSIVE,
        AT_NO_AUTOMOUNT,
        AT_SYMLINK_NOFOLLOW,
      }),
      format(),
      String(MOUNT_ATTR.SIZE),
    ]);
  }
}

const SIZE = BigInt(MOUNT_ATTR.SIZE);
