import { cString, int32, uint32, uint64 } from "./argument.ts";
import { flagNames, quote } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

// include/uapi/linux/fanotify.h

/** Add to what is marked. */
export const FAN_MARK_ADD = 0x1;
/** Mark a mount namespace; since Linux 6.15. */
export const FAN_MARK_MNTNS = 0x110;
/** A mount was attached; with `FAN_MNT_DETACH` it was moved. */
export const FAN_MNT_ATTACH = 0x1000000;
/** A mount was detached. */
export const FAN_MNT_DETACH = 0x2000000;

/**
 * Marks what a group is told of.
 *
 * `int fanotify_mark(int fanotify_fd, unsigned int flags, uint64_t mask, int dirfd, const char *path);`
 *
 * See fanotify_mark(2).
 *
 * @param fd The group.
 * @param flags `FAN_MARK_*`.
 * @param mask The events.
 * @param dirfd Where a relative path starts, or what is marked.
 * @param path What is marked, null for `dirfd` itself.
 * @throws {SyscallError} EPERM without CAP_SYS_ADMIN in the user namespace that
 * the group was made in, or in that of the mount namespace; EINVAL for what this
 * kernel does not know.
 */
export function fanotifyMark(
  fd: number,
  flags: number,
  mask: number | bigint,
  dirfd: number,
  path: string | null,
): void {
  fd = int32("fd", fd);
  flags = uint32("flags", flags);
  const events = uint64("mask", mask);
  dirfd = int32("dirfd", dirfd);
  const bytes = path === null ? null : cString("path", path);
  const result = libc.fanotify_mark(
    NR.fanotify_mark,
    fd,
    flags,
    events,
    dirfd,
    bytes,
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "fanotify_mark", [
      { fd },
      flagNames(flags, { FAN_MARK_MNTNS, FAN_MARK_ADD }),
      flagNames(events, { FAN_MNT_ATTACH, FAN_MNT_DETACH }),
      { fd: dirfd },
      quote(path),
    ]);
  }
}
