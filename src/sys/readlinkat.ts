import { int32, passString } from "./argument.ts";
import { quote } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { decodeText } from "./text.ts";
import { tracer } from "./trace.ts";

/**
 * Reads where a symlink leads.
 *
 * `ssize_t readlinkat(int dirfd, const char *path, char *buf, int bufsiz);`
 *
 * See readlinkat(2). Bytes that are no UTF-8 come as lone surrogates, and
 * survive the way back.
 *
 * @param dirfd Where a relative path starts.
 * @param path The symlink.
 * @returns Its text.
 * @throws {SyscallError} EINVAL when it is no symlink.
 */
export function readlinkat(dirfd: number, path: string): string {
  dirfd = int32("dirfd", dirfd);
  const name = passString("path", path);
  const length = libc.readlinkat(
    NR.readlinkat,
    dirfd,
    name,
    buffer,
    PATH_MAX,
  );
  if (length === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  // A tracer may read a link itself.
  const text = decodeText(buffer.subarray(0, Math.max(length, 0)));
  if (length === -1 || tracer) {
    settle(length, "readlinkat", [
      { fd: dirfd },
      quote(path),
      quote(text),
      String(PATH_MAX),
    ]);
  }
  return text;
}

const PATH_MAX = 4096;

/** Used again by each call, and read before the next. */
const buffer = new Uint8Array(PATH_MAX);
