import { flags32, int32 } from "./argument.ts";
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from "./constants.ts";
import { flagNames } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Moves the calling thread, and no other, into a namespace.
 *
 * `int setns(int fd, int nstype);`
 *
 * See setns(2).
 *
 * @param fd A descriptor of the namespace, from /proc/PID/ns, or a pidfd.
 * @param nstype The `CLONE_NEW*` it must be, or 0 for any.
 * @throws {SyscallError} EINVAL for a mount namespace while the thread shares
 * its working directory with another (call `unshare` with `CLONE_FS` before),
 * EPERM without CAP_SYS_ADMIN.
 */
export function setns(fd: number, nstype: number): void {
  fd = int32("fd", fd);
  const bits = flags32("nstype", nstype);
  const result = libc.setns(NR.setns, fd, bits);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "setns", [{ fd }, flagNames(bits >>> 0, NAMESPACES)]);
  }
}

const NAMESPACES = {
  CLONE_NEWTIME,
  CLONE_NEWNS,
  CLONE_NEWCGROUP,
  CLONE_NEWUTS,
  CLONE_NEWIPC,
  CLONE_NEWUSER,
  CLONE_NEWPID,
  CLONE_NEWNET,
};
