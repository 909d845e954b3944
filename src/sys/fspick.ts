import { int32, passString, uint32 } from "./argument.ts";
import {
  FSPICK_CLOEXEC,
  FSPICK_EMPTY_PATH,
  FSPICK_NO_AUTOMOUNT,
  FSPICK_SYMLINK_NOFOLLOW,
} from "./constants.ts";
import { flagNames, quote } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Opens a context in which the file system mounted at a path is reconfigured.
 *
 * `int fspick(int dirfd, const char *path, unsigned int flags);`
 *
 * Since Linux 5.2; see fspick(2). It picks up the file system, not the mount:
 * `fsmount` on it answers EBUSY.
 *
 * @param dirfd Where a relative path starts.
 * @param path The root of the mount.
 * @param flags `FSPICK_*`.
 * @returns The context's descriptor.
 * @throws {SyscallError} EINVAL when the path is no mount's root, EPERM without
 * CAP_SYS_ADMIN in the user namespace of the mount namespace.
 */
export function fspick(
  dirfd: number,
  path: string,
  flags: number = FSPICK_CLOEXEC,
): number {
  dirfd = int32("dirfd", dirfd);
  const bytes = passString("path", path);
  flags = uint32("flags", flags);
  const fd = libc.fspick(NR.fspick, dirfd, bytes, flags);
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 || tracer) {
    settle(fd, "fspick", [
      { fd: dirfd },
      quote(path),
      flagNames(flags, {
        FSPICK_CLOEXEC,
        FSPICK_SYMLINK_NOFOLLOW,
        FSPICK_NO_AUTOMOUNT,
        FSPICK_EMPTY_PATH,
      }),
    ]);
  }
  return fd;
}
