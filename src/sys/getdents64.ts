import { int32 } from "./argument.ts";
import { DIRENT64, LITTLE_ENDIAN } from "./layout.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { decodeText } from "./text.ts";
import { tracer } from "./trace.ts";

/** Room for a thousand short names. */
const BUFFER_SIZE = 32768;

/**
 * Reads names of a directory, as many as one call gives.
 *
 * `ssize_t getdents64(int fd, void *dirp, size_t count);`
 *
 * See getdents(2).
 *
 * @param fd The directory's descriptor, opened for reading.
 * @returns The next names, `.` and `..` among them; none at the end.
 * @throws {SyscallError} ENOTDIR when it is no directory, ENOENT when it was
 * deleted, EBADF for one of `O_PATH`.
 */
export function getdents64(fd: number): string[] {
  fd = int32("fd", fd);
  const view = new DataView(new ArrayBuffer(BUFFER_SIZE));
  const buffer = new Uint8Array(view.buffer);
  const length = libc.getdents64(
    NR.getdents64,
    fd,
    buffer,
    BigInt(BUFFER_SIZE),
  );
  if (length === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (length === -1 || tracer) {
    settle(length, "getdents64", [{ fd }, "…", String(BUFFER_SIZE)]);
  }
  const names: string[] = [];
  for (let at = 0; at < length;) {
    const start = at + DIRENT64.d_name;
    const end = buffer.indexOf(0, start);
    names.push(decodeText(buffer.subarray(start, end)));
    at += view.getUint16(at + DIRENT64.d_reclen, LITTLE_ENDIAN);
  }
  return names;
}
