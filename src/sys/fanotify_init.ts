import { uint32 } from "./argument.ts";
import { flagNames } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

// include/uapi/linux/fanotify.h

/** Close the group's descriptor on exec. */
export const FAN_CLOEXEC = 0x1;
/** Reading answers EAGAIN where it would wait. */
export const FAN_NONBLOCK = 0x2;
/** Report mounts and unmounts; since Linux 6.15. */
export const FAN_REPORT_MNT = 0x4000;

/**
 * Makes a group of file system events.
 *
 * `int fanotify_init(unsigned int flags, unsigned int event_f_flags);`
 *
 * See fanotify_init(2).
 *
 * @param flags `FAN_*`.
 * @param eventFlags `O_*` of the descriptors that come with events.
 * @returns The group's descriptor.
 * @throws {SyscallError} EINVAL for an unknown flag, EPERM without CAP_SYS_ADMIN
 * for what needs it, ENOSYS where the kernel was built without.
 */
export function fanotifyInit(flags: number, eventFlags: number): number {
  flags = uint32("flags", flags);
  eventFlags = uint32("eventFlags", eventFlags);
  const fd = libc.fanotify_init(NR.fanotify_init, flags, eventFlags);
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 || tracer) {
    settle(fd, "fanotify_init", [
      flagNames(flags, { FAN_CLOEXEC, FAN_NONBLOCK, FAN_REPORT_MNT }),
      flagNames(eventFlags, {}),
    ]);
  }
  return fd;
}
