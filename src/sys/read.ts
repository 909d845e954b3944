import { byteArray, int32 } from "./argument.ts";
import { quoteStart } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Reads from a descriptor.
 *
 * `ssize_t read(int fd, void *buf, size_t count);`
 *
 * See read(2).
 *
 * @param fd The descriptor.
 * @param buffer Where to read to, and how much at the most.
 * @returns How many bytes were read, 0 at the end.
 * @throws {SyscallError} As read(2) lists them.
 */
export function read(fd: number, buffer: Uint8Array): number {
  fd = int32("fd", fd);
  // What lies in shared memory is copied, there and back.
  const bytes = byteArray("buffer", buffer);
  const count = libc.read(NR.read, fd, bytes, BigInt(bytes.length));
  if (count === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (count === -1 || tracer) {
    settle(count, "read", [
      { fd },
      count === -1 ? "…" : quoteStart(bytes.subarray(0, count)),
      String(bytes.length),
    ]);
  }
  if (bytes !== buffer) buffer.set(bytes.subarray(0, count));
  return count;
}
