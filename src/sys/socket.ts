/** Sockets that pass descriptors between two processes: unix(7). */
import {
  byteArray,
  cString,
  flagNames,
  flags32,
  int32,
  quoteStart,
  settle,
  tracer,
} from "./call.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { CMSGHDR, IFREQ, IOVEC, LITTLE_ENDIAN, MSGHDR } from "./layout.ts";
import { addressOf } from "./thread.ts";

// include/linux/socket.h, include/linux/net.h
export const AF_UNIX = 1;

export const SOCK_DGRAM = 2;

export const SOCK_SEQPACKET = 5;

export const SOCK_CLOEXEC = 0x8_0000;

export const SOL_SOCKET = 1;

export const SCM_RIGHTS = 1;

export const MSG_DONTWAIT = 0x40;

export const MSG_NOSIGNAL = 0x4000;

export const MSG_CMSG_CLOEXEC = 0x4000_0000;

// include/uapi/linux/sockios.h, include/uapi/linux/if.h
export const SIOCSIFFLAGS = 0x8914;

export const IFF_UP = 1;

/**
 * Makes a `struct ifreq` that sets a network interface's flags: netdevice(7).
 * It is for ioctl(2) on a socket of the interface's network namespace.
 *
 * @param name The interface.
 * @param flags `IFF_*`.
 */
export function interfaceFlags(
  name: string,
  flags: number,
): Uint8Array<ArrayBuffer> {
  const request = new DataView(new ArrayBuffer(IFREQ.SIZE));
  new Uint8Array(request.buffer).set(cString("name", name));
  request.setUint16(IFREQ.ifr_flags, flags, LITTLE_ENDIAN);
  return new Uint8Array(request.buffer);
}

/** The most descriptors in a message: SCM_MAX_FD, include/net/scm.h. */
export const MOST_DESCRIPTORS = 253;

/**
 * Makes two connected sockets, closed on exec. Each receives what the other
 * sends, message by message.
 *
 * `int socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC, 0, int sv[2]);`
 *
 * See socketpair(2).
 *
 * @throws {SyscallError} EMFILE, ENFILE.
 */
export function socketpair(): [one: number, other: number] {
  const ends = new Int32Array(new ArrayBuffer(8));
  const buffer = new Uint8Array(ends.buffer);
  const type = SOCK_SEQPACKET | SOCK_CLOEXEC;
  const result = libc.socketpair(NR.socketpair, AF_UNIX, type, 0, buffer);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "socketpair", [
      "AF_UNIX",
      "SOCK_SEQPACKET|SOCK_CLOEXEC",
      "0",
      result === -1 ? "…" : `[${ends.join(", ")}]`,
    ]);
  }
  return [ends[0]!, ends[1]!];
}

const CONTROL = MSGHDR.SIZE + IOVEC.SIZE;

const memory = new Uint8Array(
  new ArrayBuffer(CONTROL + CMSGHDR.SIZE + MOST_DESCRIPTORS * 4 + 4),
);

const view = new DataView(memory.buffer);

/** Fills `memory` with a `struct msghdr` of one vector. */
function describe(bytes: Uint8Array<ArrayBuffer>, controlSize: number): void {
  const at = addressOf(memory);
  const set = (offset: number, value: bigint) =>
    view.setBigUint64(offset, value, LITTLE_ENDIAN);
  set(MSGHDR.msg_iov, at + BigInt(MSGHDR.SIZE));
  set(MSGHDR.msg_iovlen, 1n);
  set(MSGHDR.msg_control, controlSize === 0 ? 0n : at + BigInt(CONTROL));
  set(MSGHDR.msg_controllen, BigInt(controlSize));
  set(MSGHDR.SIZE + IOVEC.iov_base, addressOf(bytes));
  set(MSGHDR.SIZE + IOVEC.iov_len, BigInt(bytes.length));
}

/**
 * Sends a message, with descriptors.
 *
 * `ssize_t sendmsg(int sockfd, const struct msghdr *msg, int flags);`
 *
 * See sendmsg(2), unix(7).
 *
 * @param fd The socket.
 * @param message The message.
 * @param descriptors Up to 253; the other side gets copies.
 * @param flags `MSG_DONTWAIT`; `MSG_NOSIGNAL` is added.
 * @throws {SyscallError} EPIPE if the other side is closed, EBADF, EINVAL for
 * more descriptors, ETOOMANYREFS if too many are in transit.
 */
export function sendmsg(
  fd: number,
  message: Uint8Array,
  descriptors: readonly number[] = [],
  flags: number = 0,
): void {
  fd = int32("fd", fd);
  flags = flags32("flags", flags) | MSG_NOSIGNAL;
  const bytes = byteArray("message", message);
  const fds = descriptors.map((descriptor) => int32("descriptor", descriptor));
  if (fds.length > MOST_DESCRIPTORS) {
    throw new RangeError(
      `A message has ${MOST_DESCRIPTORS} descriptors at most`,
    );
  }
  const length = CMSGHDR.SIZE + fds.length * 4;
  describe(bytes, fds.length === 0 ? 0 : length);
  view.setBigUint64(CONTROL + CMSGHDR.cmsg_len, BigInt(length), LITTLE_ENDIAN);
  view.setInt32(CONTROL + CMSGHDR.cmsg_level, SOL_SOCKET, LITTLE_ENDIAN);
  view.setInt32(CONTROL + CMSGHDR.cmsg_type, SCM_RIGHTS, LITTLE_ENDIAN);
  fds.forEach((descriptor, i) =>
    view.setInt32(CONTROL + CMSGHDR.SIZE + i * 4, descriptor, LITTLE_ENDIAN)
  );
  const result = libc.sendmsg(NR.sendmsg, fd, memory, flags);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "sendmsg", [
      { fd },
      `{${quoteStart(bytes)}, [${fds.join(", ")}]}`,
      flagNames(flags, { MSG_DONTWAIT, MSG_NOSIGNAL }),
    ]);
  }
}

/**
 * Receives a message, with descriptors, which are closed on exec.
 *
 * `ssize_t recvmsg(int sockfd, struct msghdr *msg, int flags);`
 *
 * See recvmsg(2), unix(7).
 *
 * @param fd The socket.
 * @param buffer The memory to receive the message.
 * @param flags `MSG_DONTWAIT`; `MSG_CMSG_CLOEXEC` is added.
 * @returns The message's length, 0 at the end, and the descriptors.
 * @throws {SyscallError} EAGAIN, ECONNRESET.
 */
export function recvmsg(
  fd: number,
  buffer: Uint8Array<ArrayBuffer>,
  flags: number = 0,
): { count: number; descriptors: number[] } {
  fd = int32("fd", fd);
  flags = flags32("flags", flags) | MSG_CMSG_CLOEXEC;
  describe(buffer, memory.length - CONTROL);
  const count = libc.recvmsg(NR.recvmsg, fd, memory, flags);
  if (count === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  const descriptors: number[] = [];
  const controlSize = view.getBigUint64(MSGHDR.msg_controllen, LITTLE_ENDIAN);
  if (count !== -1 && controlSize >= CMSGHDR.SIZE) {
    const length = view.getBigUint64(CONTROL + CMSGHDR.cmsg_len, LITTLE_ENDIAN);
    for (let at = CMSGHDR.SIZE; at < Number(length); at += 4) {
      descriptors.push(view.getInt32(CONTROL + at, LITTLE_ENDIAN));
    }
  }
  if (count === -1 || tracer) {
    settle(count, "recvmsg", [
      { fd },
      count === -1
        ? "…"
        : `{${quoteStart(buffer.subarray(0, count))}, [${
          descriptors.join(", ")
        }]}`,
      flagNames(flags, { MSG_DONTWAIT, MSG_CMSG_CLOEXEC }),
    ]);
  }
  return { count, descriptors };
}
