import { passString } from "./argument.ts";
import { quote } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Makes a mount the root of the calling thread's mount namespace.
 *
 * `int pivot_root(const char *new_root, const char *put_old);`
 *
 * See pivot_root(2).
 *
 * @param newRoot The mount that becomes the root.
 * @param putOld Where the old root goes, at or below `newRoot`.
 * @throws {SyscallError} EINVAL when a mount involved is shared or `newRoot` is
 * no mount point, EBUSY when it is the root already, EPERM without
 * CAP_SYS_ADMIN.
 */
export function pivotRoot(newRoot: string, putOld: string): void {
  const root = passString("newRoot", newRoot);
  const old = passString("putOld", putOld, 1);
  const result = libc.pivot_root(NR.pivot_root, root, old);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "pivot_root", [quote(newRoot), quote(putOld)]);
  }
}
