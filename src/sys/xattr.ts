/** Extended attributes of files: xattr(7). */
import {
  byteArray,
  flags32,
  int32,
  passString,
  settle,
  tracer,
} from "./call.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { decodeText, quote } from "../base/text.ts";

/** The most bytes of a value or a list: XATTR_SIZE_MAX, XATTR_LIST_MAX. */
const MOST_BYTES = 65536;

/** Reused by each call, and read before the next. */
const buffer = new Uint8Array(MOST_BYTES);

/**
 * Reads an extended attribute.
 *
 * `ssize_t fgetxattr(int fd, const char *name, void *value, size_t size);`
 *
 * See getxattr(2).
 *
 * @param fd The file, not one opened with `O_PATH`.
 * @param name The attribute, like `user.comment`.
 * @returns Its value.
 * @throws {SyscallError} ENODATA if there is no such attribute, EOPNOTSUPP if
 * the file system has no attributes.
 */
export function fgetxattr(fd: number, name: string): Uint8Array<ArrayBuffer> {
  fd = int32("fd", fd);
  const bytes = passString("name", name);
  const length = libc.fgetxattr(
    NR.fgetxattr,
    fd,
    bytes,
    buffer,
    BigInt(MOST_BYTES),
  );
  if (length === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  const value = buffer.slice(0, Math.max(length, 0));
  if (length === -1 || tracer) {
    settle(length, "fgetxattr", [
      { fd },
      quote(name),
      "…",
      String(MOST_BYTES),
    ]);
  }
  return value;
}

/**
 * Lists the extended attributes that this process may see.
 *
 * `ssize_t flistxattr(int fd, char *list, size_t size);`
 *
 * See listxattr(2).
 *
 * @param fd The file, not one opened with `O_PATH`.
 * @returns Their names.
 * @throws {SyscallError} EOPNOTSUPP where the file system has none.
 */
export function flistxattr(fd: number): string[] {
  fd = int32("fd", fd);
  const length = libc.flistxattr(NR.flistxattr, fd, buffer, BigInt(MOST_BYTES));
  if (length === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  const names = namesOf(length);
  if (length === -1 || tracer) {
    settle(length, "flistxattr", [{ fd }, "…", String(MOST_BYTES)]);
  }
  return names;
}

/**
 * Lists the extended attributes of the file at a path, as {@linkcode
 * flistxattr} does. A symlink there is not followed.
 *
 * `ssize_t llistxattr(const char *path, char *list, size_t size);`
 *
 * See listxattr(2).
 *
 * @param path The file.
 * @returns Their names.
 * @throws {SyscallError} EOPNOTSUPP where the file system has none.
 */
export function llistxattr(path: string): string[] {
  const bytes = passString("path", path);
  const length = libc.llistxattr(
    NR.llistxattr,
    bytes,
    buffer,
    BigInt(MOST_BYTES),
  );
  if (length === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  const names = namesOf(length);
  if (length === -1 || tracer) {
    settle(length, "llistxattr", [quote(path), "…", String(MOST_BYTES)]);
  }
  return names;
}

function namesOf(length: number): string[] {
  if (length <= 0) return [];
  // Each name ends in a NUL.
  return decodeText(buffer.subarray(0, length - 1)).split("\0");
}

/**
 * Sets an extended attribute.
 *
 * `int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);`
 *
 * See setxattr(2).
 *
 * @param fd The file, not one opened with `O_PATH`.
 * @param name The attribute.
 * @param value Its value.
 * @param flags `XATTR_CREATE`, `XATTR_REPLACE` or 0.
 * @throws {SyscallError} EPERM, EOPNOTSUPP, ENOSPC.
 */
export function fsetxattr(
  fd: number,
  name: string,
  value: Uint8Array,
  flags: number = 0,
): void {
  fd = int32("fd", fd);
  const bytes = passString("name", name);
  const given = byteArray("value", value);
  const bits = flags32("flags", flags);
  const result = libc.fsetxattr(
    NR.fsetxattr,
    fd,
    bytes,
    given,
    BigInt(given.length),
    bits,
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "fsetxattr", [
      { fd },
      quote(name),
      "…",
      String(given.length),
      String(bits),
    ]);
  }
}

/**
 * Removes an extended attribute.
 *
 * `int fremovexattr(int fd, const char *name);`
 *
 * See removexattr(2).
 *
 * @param fd The file, not one opened with `O_PATH`.
 * @param name The attribute.
 * @throws {SyscallError} ENODATA when there is none, EPERM.
 */
export function fremovexattr(fd: number, name: string): void {
  fd = int32("fd", fd);
  const bytes = passString("name", name);
  const result = libc.fremovexattr(NR.fremovexattr, fd, bytes);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "fremovexattr", [{ fd }, quote(name)]);
  }
}

/**
 * Removes an extended attribute of the file at a path. A symlink there is not
 * followed.
 *
 * `int lremovexattr(const char *path, const char *name);`
 *
 * See removexattr(2).
 *
 * @param path The file.
 * @param name The attribute.
 * @throws {SyscallError} ENODATA when there is none, EPERM.
 */
export function lremovexattr(path: string, name: string): void {
  const file = passString("path", path);
  const attribute = passString("name", name, 1);
  const result = libc.lremovexattr(NR.lremovexattr, file, attribute);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "lremovexattr", [quote(path), quote(name)]);
  }
}
