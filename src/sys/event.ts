import {
  cString,
  flagNames,
  int32,
  settle,
  tracer,
  uint32,
  uint64,
} from "./call.ts";
import { bindElsewhere, errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { quote } from "../base/text.ts";
import { read } from "./file.ts";
import { isErrno, UnsupportedError } from "./error.ts";
import { EAGAIN, EINTR } from "./errno.ts";
import {
  FANOTIFY_EVENT_INFO_HEADER,
  FANOTIFY_EVENT_INFO_MNT,
  FANOTIFY_EVENT_METADATA,
  LITTLE_ENDIAN,
  POLLFD,
  SIGSET_SIZE,
} from "./layout.ts";

// fanotify_init(2): include/uapi/linux/fanotify.h

/** Close the group's descriptor on exec. */
export const FAN_CLOEXEC = 0x1;

/** Reading answers EAGAIN if it would wait. */
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
 * for flags that need it, ENOSYS if the kernel was built without fanotify.
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

// fanotify_mark(2): include/uapi/linux/fanotify.h

/** Add a mark. */
export const FAN_MARK_ADD = 0x1;

/** Mark a mount namespace; since Linux 6.15. */
export const FAN_MARK_MNTNS = 0x110;

/** A mount was attached; with `FAN_MNT_DETACH` it was moved. */
export const FAN_MNT_ATTACH = 0x1000000;

/** A mount was detached. */
export const FAN_MNT_DETACH = 0x2000000;

/**
 * Marks a file, mount or namespace: the group receives its events.
 *
 * `int fanotify_mark(int fanotify_fd, unsigned int flags, uint64_t mask, int dirfd, const char *path);`
 *
 * See fanotify_mark(2).
 *
 * @param fd The group.
 * @param flags `FAN_MARK_*`.
 * @param mask The events.
 * @param dirfd The directory that a relative path starts at, or the file to mark.
 * @param path The file to mark, null for `dirfd` itself.
 * @throws {SyscallError} EPERM without CAP_SYS_ADMIN in the user namespace that
 * the group was made in, or in that of the mount namespace; EINVAL for a flag
 * or event that this kernel does not know.
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

// Events as read(2) returns them: include/uapi/linux/fanotify.h

/** Events were lost: the queue was full. */
export const FAN_Q_OVERFLOW = 0x4000;

/** The record of an event that names a mount; since Linux 6.15. */
export const FAN_EVENT_INFO_TYPE_MNT = 7;

/** The version of the events' layout. */
export const FANOTIFY_METADATA_VERSION = 3;

/** An event of a group made with `FAN_REPORT_MNT`. */
export interface FanotifyMountEvent {
  /** `FAN_MNT_ATTACH`, `FAN_MNT_DETACH`, `FAN_Q_OVERFLOW`. */
  mask: number;
  /** The mount's unique id; `undefined` if events were lost. */
  mntId: bigint | undefined;
}

const BUFFER_SIZE = 65536;

/**
 * Reads the queued events of a group made with `FAN_NONBLOCK`: as many as fit
 * into a buffer.
 *
 * @param fd The group.
 * @returns The events, the oldest first; none when nothing is queued.
 * @throws {SyscallError} As read(2) answers.
 * @throws {UnsupportedError} For events of another layout.
 */
export function readMountEvents(fd: number): FanotifyMountEvent[] {
  const buffer = new Uint8Array(new ArrayBuffer(BUFFER_SIZE));
  try {
    return decodeMountEvents(buffer.subarray(0, read(fd, buffer)));
  } catch (error) {
    if (isErrno(error, EAGAIN)) return [];
    throw error;
  }
}

/** Decodes the events that read(2) returned. */
export function decodeMountEvents(bytes: Uint8Array): FanotifyMountEvent[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const u8 = (offset: number) => view.getUint8(offset);
  const u16 = (offset: number) => view.getUint16(offset, LITTLE_ENDIAN);
  const u32 = (offset: number) => view.getUint32(offset, LITTLE_ENDIAN);
  const events: FanotifyMountEvent[] = [];
  for (let at = 0; at < bytes.length;) {
    if (u8(at + FANOTIFY_EVENT_METADATA.vers) !== FANOTIFY_METADATA_VERSION) {
      throw new UnsupportedError("This kernel's events have another layout");
    }
    const end = at + u32(at + FANOTIFY_EVENT_METADATA.event_len);
    // All named bits lie in the lower half.
    const mask = u32(at + FANOTIFY_EVENT_METADATA.mask);
    let mntId: bigint | undefined;
    at += u16(at + FANOTIFY_EVENT_METADATA.metadata_len);
    for (; at < end; at += u16(at + FANOTIFY_EVENT_INFO_HEADER.len)) {
      const type = u8(at + FANOTIFY_EVENT_INFO_HEADER.info_type);
      if (type !== FAN_EVENT_INFO_TYPE_MNT) continue;
      const offset = at + FANOTIFY_EVENT_INFO_MNT.mnt_id;
      mntId = view.getBigUint64(offset, LITTLE_ENDIAN);
    }
    events.push({ mask, mntId });
  }
  return events;
}

// ppoll(2): include/uapi/asm-generic/poll.h

/** There is something to read. */
export const POLLIN = 0x1;

/** An exceptional condition: for a mount table, it changed. */
export const POLLPRI = 0x2;

/** There is room to write. */
export const POLLOUT = 0x4;

/** An error; reported even if not requested. */
export const POLLERR = 0x8;

/** The other end is closed; reported even if not requested. */
export const POLLHUP = 0x10;

/** A descriptor to wait for: `struct pollfd`. */
export interface PollFd {
  /** The descriptor. */
  readonly fd: number;
  /** `POLL*`: what to wait for. */
  readonly events: number;
}

/** A `struct timespec` of zero seconds. */
const NO_TIME = new Uint8Array(new ArrayBuffer(16));

/**
 * Waits on another thread for an event on one of some descriptors, which must
 * stay open until then.
 *
 * `int ppoll(struct pollfd *fds, nfds_t nfds, const struct timespec *tmo_p, const sigset_t *sigmask);`
 *
 * See poll(2).
 *
 * @param fds The descriptors.
 * @returns The events of each: `POLL*`.
 * @throws {SyscallError} EINVAL for more descriptors than RLIMIT_NOFILE, ENOMEM.
 */
export async function ppoll(fds: readonly PollFd[]): Promise<number[]> {
  const view = new DataView(new ArrayBuffer(fds.length * POLLFD.SIZE));
  for (const [i, { fd, events }] of fds.entries()) {
    const at = i * POLLFD.SIZE;
    view.setInt32(at + POLLFD.fd, int32("fd", fd), LITTLE_ENDIAN);
    view.setInt16(at + POLLFD.events, events, LITTLE_ENDIAN);
  }
  const buffer = new Uint8Array(view.buffer);
  const revents = () =>
    fds.map((_, i) =>
      view.getInt16(i * POLLFD.SIZE + POLLFD.revents, LITTLE_ENDIAN)
    );
  const args = (timeout: string) => [
    `[${fds.map(formatPollFd).join(", ")}]`,
    String(fds.length),
    timeout,
    "NULL",
    String(SIGSET_SIZE),
  ];
  const elsewhere = bindElsewhere("ppoll");
  while (true) {
    let ready = await elsewhere(
      NR.ppoll,
      buffer,
      BigInt(fds.length),
      null,
      null,
      BigInt(SIGSET_SIZE),
    );
    if (tracer && ready > 0) settle(ready, "ppoll", args("NULL"));
    if (ready > 0) return revents();
    // The call was interrupted or failed. Only that thread has the errno:
    // repeat the call on this thread, without waiting.
    ready = libc.ppoll(
      NR.ppoll,
      buffer,
      BigInt(fds.length),
      NO_TIME,
      null,
      BigInt(SIGSET_SIZE),
    );
    if (ready === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
    if (ready === -1 && errno[0] === EINTR) continue;
    if (ready === -1 || tracer) {
      settle(ready, "ppoll", args("{tv_sec=0, tv_nsec=0}"));
    }
    if (ready > 0) return revents();
  }
}

function formatPollFd({ fd, events }: PollFd): string {
  const names = flagNames(events, {
    POLLIN,
    POLLPRI,
    POLLOUT,
    POLLERR,
    POLLHUP,
  });
  return `{fd=${fd}, events=${names}}`;
}
