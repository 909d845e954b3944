import { byteArray, int32 } from "./argument.ts";
import { quoteStart } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
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
 * @param bytes What to write.
 * @returns How many bytes were written.
 * @throws {SyscallError} As write(2) lists them.
 */
export function write(fd: number, bytes: Uint8Array): number {
  fd = int32("fd", fd);
  const buffer = byteArray("bytes", bytes);
  const count = libc.write(NR.write, fd, buffer, buffer.length);
  if (count === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (count === -1 || tracer) {
    settle(count, "write", [
      { fd },
      quoteStart(buffer),
      String(buffer.length),
    ]);
  }
  return count;
}
