import { cString, int32 } from "./argument.ts";
import { quote } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Makes a symbolic link.
 *
 * `int symlinkat(const char *target, int newdirfd, const char *linkpath);`
 *
 * See symlinkat(2).
 *
 * @param target What the link says.
 * @param dirfd Where a relative path starts.
 * @param path The new link.
 * @throws {SyscallError} EEXIST when there is something of that name.
 */
export function symlinkat(target: string, dirfd: number, path: string): void {
  const content = cString("target", target);
  dirfd = int32("dirfd", dirfd);
  const name = cString("path", path);
  const result = libc.symlinkat(NR.symlinkat, content, dirfd, name);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "symlinkat", [quote(target), { fd: dirfd }, quote(path)]);
  }
}
