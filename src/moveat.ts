import { openAt, openDirectoryAt } from "./beneath.ts";
import { attach, cloneTree } from "./bindat.ts";
import { CreatedPaths } from "./created_paths.ts";
import type { Directory } from "./directory.ts";
import { descriptorOf } from "./dirfd.ts";
import { attempt } from "./error.ts";
import { listMounts, type MountInfo } from "./list_mounts.ts";
import { createMount, type Mount } from "./mount.ts";
import { mountIdAt } from "./mount_id.ts";
import {
  closeMountPoint,
  type MountPoint,
  openMountPoint,
} from "./mount_point.ts";
import { parseMkdir } from "./mountat.ts";
import type { OwnedFd } from "./owned_fd.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  MNT_DETACH,
  MS_PRIVATE,
  STATX_ATTR_MOUNT_ROOT,
} from "./sys/constants.ts";
import { EINVAL } from "./sys/errno.ts";
import { isErrno, SyscallError } from "./sys/error.ts";
import { quote } from "./sys/format.ts";
import { mountSetattr } from "./sys/mount_setattr.ts";
import { statx } from "./sys/statx.ts";
import { umount2 } from "./sys/umount2.ts";
import { parseTarget } from "./target.ts";
import { procPath } from "./dirfd.ts";

/** Options of {@linkcode moveat}. */
export interface MoveOptions {
  /**
   * Makes the mount that holds the moved one private first, where it is shared:
   * then the mount itself moves, and what else is mounted there is propagated
   * no more.
   *
   * @default {false}
   */
  makePrivate?: boolean;
  /**
   * Makes the new mount point where it is missing, as `bindat` does.
   *
   * @default {false}
   */
  mkdir?: boolean | number;
}

/**
 * Moves a mount, with all that is mounted inside it, from one place to another,
 * each relative to a directory.
 *
 * The kernel moves no mount out of a shared one (EINVAL; `/` is shared on any
 * machine run by systemd). There a copy is attached at the new place and the
 * original unmounted: what has files open in it keeps them. The handle's `made`
 * tells which it was, "moved" or "cloned".
 *
 * Needs Linux 5.8, the permission
 * `--allow-ffi`, and CAP_SYS_ADMIN in the user namespace of the mount namespace.
 * See move_mount(2), open_tree(2).
 *
 * @example Move a mount
 * ```ts
 * import { Directory, moveat } from "@meroton/mountat";
 * import { assert } from "@std/assert";
 *
 * using root = Directory.open(Deno.makeTempDirSync());
 * using mount = root.mount("here", { type: "tmpfs", mkdir: true });
 * mount.keep();
 * using moved = moveat(root, "here", root, "there", { mkdir: true });
 * assert(moved.mounted);
 * ```
 *
 * @param fromDirfd The directory that the mount is in.
 * @param fromTarget The mount point, relative to `fromDirfd`.
 * @param toDirfd The directory that it goes to.
 * @param toTarget The new mount point, relative to `toDirfd`.
 * @param options How to move.
 * @returns The mount at its new place; it is unmounted when the handle is
 * disposed of.
 * @throws {TypeError} For a wrong argument; before any system call.
 * @throws {MountError} EINVAL when nothing is mounted there, it is locked, or a
 * directory meets a file; ELOOP for a move into itself or a symlink in a
 * target; EXDEV for a target that leaves its directory; ENOENT; EPERM without
 * the capability. The mount is then where it was, and nowhere else.
 * @throws {UnsupportedError} Where the system or kernel can't do it.
 */
export function moveat(
  fromDirfd: number | Directory,
  fromTarget: string,
  toDirfd: number | Directory,
  toTarget: string,
  options: MoveOptions = {},
): Mount {
  const fromDirectory = descriptorOf(fromDirfd);
  const from = parseTarget(fromTarget);
  const toDirectory = descriptorOf(toDirfd);
  const to = parseTarget(toTarget);
  const mode = parseMkdir(options.mkdir);
  const attempted = {
    action: `move ${quote(fromTarget)} to ${quote(toTarget)}`,
    target: fromTarget,
  };
  return attempt(attempted, () => {
    using original = openAt(fromDirectory, from.path);
    using created = new CreatedPaths();
    const mountPoint = openMountPoint(created, toDirectory, to, original, mode);
    try {
      const places = {
        from: { dirfd: original.fd, path: "" },
        onto: { dirfd: mountPoint.at.fd, path: "" },
      };
      const mount = attempt(
        { ...attempted, ...places },
        () => moveOrClone(original, mountPoint, toTarget, options),
      );
      created.keep();
      return mount;
    } catch (error) {
      closeMountPoint(mountPoint);
      throw error;
    }
  });
}

function moveOrClone(
  original: OwnedFd,
  mountPoint: MountPoint,
  target: string,
  { makePrivate = false }: MoveOptions,
): Mount {
  if (makePrivate) makeHolderPrivate(original.fd);
  try {
    attach(original, mountPoint.at);
  } catch (error) {
    if (!isErrno(error, EINVAL) || !isMountRoot(original.fd)) throw error;
    if (!isHolderShared(original.fd)) throw error;
    return replaceByClone(original, mountPoint, target);
  }
  return createMount(mountIdAt(original.fd), target, mountPoint, "moved");
}

function replaceByClone(
  original: OwnedFd,
  mountPoint: MountPoint,
  target: string,
): Mount {
  using clone = cloneTree(original.fd, "", AT_RECURSIVE);
  const id = mountIdAt(clone.fd);
  attach(clone, mountPoint.at);
  try {
    // Lazily, as a move does: whoever uses it goes on undisturbed.
    umount2(procPath(original.fd), MNT_DETACH);
  } catch (error) {
    umount2(procPath(clone.fd), MNT_DETACH);
    throw error;
  }
  return createMount(id, target, mountPoint, "cloned");
}

function isMountRoot(fd: number): boolean {
  const { attributes } = statx(fd, "", AT_EMPTY_PATH, 0);
  return (attributes & BigInt(STATX_ATTR_MOUNT_ROOT)) !== 0n;
}

/** Whether the mount that holds another is shared: then that can't be moved. */
function isHolderShared(fd: number): boolean {
  return holderOf(fd)?.propagation === "shared";
}

function makeHolderPrivate(fd: number): void {
  const mount = holderOf(fd);
  if (mount?.propagation !== "shared") return;
  using holder = openDirectoryAt(AT_FDCWD, mount.target, 0);
  if (mountIdAt(holder.fd) !== mount.id) {
    // Its root is not seen from here: the kernel takes no other way to it.
    throw new SyscallError("mount_setattr", EINVAL, [quote(mount.target)]);
  }
  mountSetattr(holder.fd, "", AT_EMPTY_PATH, { propagation: MS_PRIVATE });
}

/** The mount that the mount of a descriptor is on. */
function holderOf(fd: number): MountInfo | undefined {
  const id = mountIdAt(fd);
  const table = listMounts();
  const parentId = table.find((mount) => mount.id === id)?.parentId;
  return table.find((mount) => mount.id === parentId);
}
