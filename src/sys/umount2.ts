import { flags32, passString } from "./argument.ts";
import {
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  UMOUNT_NOFOLLOW,
} from "./constants.ts";
import { flagNames, quote } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Unmounts the topmost mount at a path.
 *
 * `int umount2(const char *target, int flags);`
 *
 * See umount(2). Without `UMOUNT_NOFOLLOW` a final symlink is followed.
 *
 * @param path The mount point.
 * @param flags `MNT_FORCE`, `MNT_DETACH`, `MNT_EXPIRE`, `UMOUNT_NOFOLLOW`.
 * @throws {SyscallError} EBUSY while it is in use (a working directory, an open
 * file, the descriptor from `fsmount`, a mount inside it), EINVAL when it is no
 * mount point, EAGAIN at the first call with `MNT_EXPIRE`, EPERM without
 * CAP_SYS_ADMIN.
 */
export function umount2(path: string, flags: number = 0): void {
  const bytes = passString("path", path);
  const bits = flags32("flags", flags);
  const result = libc.umount2(NR.umount2, bytes, bits);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "umount2", [
      quote(path),
      flagNames(bits >>> 0, {
        MNT_FORCE,
        MNT_DETACH,
        MNT_EXPIRE,
        UMOUNT_NOFOLLOW,
      }),
    ]);
  }
}
