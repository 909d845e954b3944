import { int32 } from "./argument.ts";
import { EINTR } from "./errno.ts";
import { flagNames } from "./format.ts";
import { LITTLE_ENDIAN, POLLFD } from "./layout.ts";
import { bindElsewhere, errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { SIGSET_SIZE } from "./signals.ts";
import { tracer } from "./trace.ts";

// include/uapi/asm-generic/poll.h

/** There is something to read. */
export const POLLIN = 0x1;
/** Something happened that has precedence: of a mount table, it changed. */
export const POLLPRI = 0x2;
/** There is room to write. */
export const POLLOUT = 0x4;
/** An error; needs not be asked for. */
export const POLLERR = 0x8;
/** The other end is closed; needs not be asked for. */
export const POLLHUP = 0x10;

/** A descriptor to wait for: `struct pollfd`. */
export interface PollFd {
  /** The descriptor. */
  readonly fd: number;
  /** `POLL*`: what to wait for. */
  readonly events: number;
}

/** `struct timespec` of no time at all. */
const NO_TIME = new Uint8Array(new ArrayBuffer(16));

/**
 * Waits on another thread until something can be had from one of some
 * descriptors, which must stay open until then.
 *
 * `int ppoll(struct pollfd *fds, nfds_t nfds, const struct timespec *tmo_p, const sigset_t *sigmask);`
 *
 * See poll(2).
 *
 * @param fds The descriptors.
 * @returns What can be had from each: `POLL*`.
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
    // A signal ended it, or only that thread has its errno: ask on this one.
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
