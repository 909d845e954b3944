import { int32, uint32 } from "./argument.ts";
import {
  FSMOUNT_CLOEXEC,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
} from "./constants.ts";
import { flagNames } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Makes a detached mount of the file system that was created in a context.
 *
 * `int fsmount(int fsfd, unsigned int flags, unsigned int attr_flags);`
 *
 * Since Linux 5.2; see fsmount(2). While the descriptor is open, the mount is
 * busy; closed before `moveMount` attached it, the mount is gone.
 *
 * @param fd The context's descriptor.
 * @param flags `FSMOUNT_CLOEXEC` or 0.
 * @param attrs `MOUNT_ATTR_*`: the mount's own attributes.
 * @returns The mount's descriptor.
 * @throws {SyscallError} EINVAL for an unknown flag, EPERM without
 * CAP_SYS_ADMIN, or where procfs or sysfs would reveal what is mounted over.
 */
export function fsmount(
  fd: number,
  flags: number = FSMOUNT_CLOEXEC,
  attrs: number = 0,
): number {
  fd = int32("fd", fd);
  flags = uint32("flags", flags);
  attrs = uint32("attrs", attrs);
  const mountFd = libc.fsmount(NR.fsmount, fd, flags, attrs);
  if (mountFd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (mountFd === -1 || tracer) {
    settle(mountFd, "fsmount", [
      { fd },
      flagNames(flags, { FSMOUNT_CLOEXEC }),
      flagNames(attrs, ATTRIBUTES),
    ]);
  }
  return mountFd;
}

const ATTRIBUTES = {
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_STRICTATIME,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOSYMFOLLOW,
};
