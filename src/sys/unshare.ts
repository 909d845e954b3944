import { uint64 } from "./argument.ts";
import {
  CLONE_FS,
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
 * Gives the calling thread, and no other, namespaces or a working directory of
 * its own.
 *
 * `int unshare(unsigned long flags);`
 *
 * See unshare(2). After `CLONE_NEWNS` Deno's synchronous file functions see the
 * new mount namespace, its asynchronous ones run on other threads and don't.
 *
 * @param flags `CLONE_NEW*`, `CLONE_FS`.
 * @throws {SyscallError} EPERM without CAP_SYS_ADMIN, EINVAL for
 * `CLONE_NEWUSER` in a process with several threads.
 */
export function unshare(flags: number | bigint): void {
  const bits = uint64("flags", flags);
  const result = libc.unshare(NR.unshare, bits);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "unshare", [flagNames(bits, NAMESPACES)]);
  }
}

const NAMESPACES = {
  CLONE_FS,
  CLONE_NEWTIME,
  CLONE_NEWNS,
  CLONE_NEWCGROUP,
  CLONE_NEWUTS,
  CLONE_NEWIPC,
  CLONE_NEWUSER,
  CLONE_NEWPID,
  CLONE_NEWNET,
};
