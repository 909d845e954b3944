import { int32, passString, uint32 } from "./argument.ts";
import {
  MOVE_MOUNT_BENEATH,
  MOVE_MOUNT_F_AUTOMOUNTS,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_F_SYMLINKS,
  MOVE_MOUNT_SET_GROUP,
  MOVE_MOUNT_T_AUTOMOUNTS,
  MOVE_MOUNT_T_EMPTY_PATH,
  MOVE_MOUNT_T_SYMLINKS,
} from "./constants.ts";
import { flagNames, quote } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Attaches a detached mount, or moves one from place to place.
 *
 * `int move_mount(int from_dirfd, const char *from_path, int to_dirfd, const char *to_path, unsigned int flags);`
 *
 * Since Linux 5.2; see move_mount(2). Symlinks and `..` in the middle of a path
 * are followed out of the directory: resolve hostile paths with `openat2` and
 * give empty ones here.
 *
 * @param fromDirfd Where a relative `fromPath` starts.
 * @param fromPath The mount; empty with `MOVE_MOUNT_F_EMPTY_PATH`.
 * @param toDirfd Where a relative `toPath` starts.
 * @param toPath The mount point; empty with `MOVE_MOUNT_T_EMPTY_PATH`.
 * @param flags `MOVE_MOUNT_*`.
 * @throws {SyscallError} EINVAL when the mount's parent is shared, when a
 * directory meets a file, or across mount namespaces; ELOOP for a mount into
 * itself; ENOENT for a deleted mount point; EPERM without CAP_SYS_ADMIN.
 */
export function moveMount(
  fromDirfd: number,
  fromPath: string,
  toDirfd: number,
  toPath: string,
  flags: number = 0,
): void {
  fromDirfd = int32("fromDirfd", fromDirfd);
  const from = passString("fromPath", fromPath);
  toDirfd = int32("toDirfd", toDirfd);
  const to = passString("toPath", toPath, 1);
  flags = uint32("flags", flags);
  const result = libc.move_mount(
    NR.move_mount,
    fromDirfd,
    from,
    toDirfd,
    to,
    flags,
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "move_mount", [
      { fd: fromDirfd },
      quote(fromPath),
      { fd: toDirfd },
      quote(toPath),
      flagNames(flags, {
        MOVE_MOUNT_F_SYMLINKS,
        MOVE_MOUNT_F_AUTOMOUNTS,
        MOVE_MOUNT_F_EMPTY_PATH,
        MOVE_MOUNT_T_SYMLINKS,
        MOVE_MOUNT_T_AUTOMOUNTS,
        MOVE_MOUNT_T_EMPTY_PATH,
        MOVE_MOUNT_SET_GROUP,
        MOVE_MOUNT_BENEATH,
      }),
    ]);
  }
}
