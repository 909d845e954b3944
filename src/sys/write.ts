import { byteArray, int32 } from "./argument.ts";
import { quoteStart } from "./format.ts";
import { bindElsewhere, errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Writes to a descriptor.
 *
 * `ssize_t write(int fd, const void *buf, size_t count);`
 *
 * See write(2).
 *
 * @param fd The descriptor.
 * @param buffer What to write.
 * @returns How many bytes were written: they may be fewer.
 * @throws {SyscallError} As write(2) lists them.
 */
export function write(fd: number, buffer: Uint8Array): number {
  fd = int32("fd", fd);
  const bytes = byteArray("buffer", buffer);
  const count = libc.write(NR.write, fd, bytes, BigInt(bytes.length));
  if (count === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (count === -1 || tracer) {
    settle(count, "write", [{ fd }, quoteStart(bytes), String(bytes.length)]);
  }
  return count;
}

/**
 * Writes to a descriptor, which must stay open until then, on another thread:
 * there it may wait.
 *
 * `ssize_t write(int fd, const void *buf, size_t count);`
 *
 * See write(2).
 *
 * @param fd The descriptor.
 * @param buffer What to write; it must stay as it is until then.
 * @returns How many bytes were written: they may be fewer.
 * @throws {SyscallError} As write(2) lists them.
 */
export async function writeElsewhere(
  fd: number,
  buffer: Uint8Array,
): Promise<number> {
  fd = int32("fd", fd);
  const bytes = byteArray("buffer", buffer);
  const elsewhere = bindElsewhere("write");
  const count = await elsewhere(NR.write, fd, bytes, BigInt(bytes.length));
  // Only that thread has its errno: what failed there fails on this one, too.
  if (count === -1) return write(fd, bytes);
  if (tracer) {
    settle(count, "write", [{ fd }, quoteStart(bytes), String(bytes.length)]);
  }
  return count;
}
