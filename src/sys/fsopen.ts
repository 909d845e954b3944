import { passString, uint32 } from "./argument.ts";
import { FSOPEN_CLOEXEC } from "./constants.ts";
import { flagNames, quote } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Opens a context in which a new file system is configured.
 *
 * `int fsopen(const char *fsname, unsigned int flags);`
 *
 * Since Linux 5.2; see fsopen(2).
 *
 * @param fstype The file system's name, as in /proc/filesystems.
 * @param flags `FSOPEN_CLOEXEC` or 0.
 * @returns The context's descriptor.
 * @throws {SyscallError} EPERM without CAP_SYS_ADMIN in the user namespace of
 * the mount namespace, ENODEV for a type that the kernel does not know.
 */
export function fsopen(
  fstype: string,
  flags: number = FSOPEN_CLOEXEC,
): number {
  const name = passString("fstype", fstype);
  flags = uint32("flags", flags);
  const fd = libc.fsopen(NR.fsopen, name, flags);
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 || tracer) {
    settle(fd, "fsopen", [quote(fstype), flagNames(flags, { FSOPEN_CLOEXEC })]);
  }
  return fd;
}
