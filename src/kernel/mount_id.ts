/** The ids of mounts, and questions that an id answers. */
import {
  AT_EMPTY_PATH,
  AT_HANDLE_FID,
  AT_HANDLE_MNT_ID_UNIQUE,
  AT_STATX_DONT_SYNC,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  LSMT_ROOT,
  STATMOUNT_BY_FD,
  STATMOUNT_MNT_BASIC,
  STATX_MNT_ID,
  STATX_MNT_ID_UNIQUE,
  STATX_TYPE,
} from "../sys/constants.ts";
import { statx, statxMount } from "../sys/file.ts";
import { nameToHandleAt } from "../sys/names.ts";
import {
  isErrno,
  lacks,
  type SyscallError,
  UnsupportedError,
} from "../sys/error.ts";
import { listmount, type Statmount, statmount } from "../sys/statmount.ts";
import { EACCES, EINVAL, ENOENT, ENOSYS, EPERM } from "../sys/errno.ts";
import { isDirectory, S_IFDIR, S_IFMT, UNASKED } from "../fd/open.ts";
import { lineOf, type MountinfoLine, readMountinfo } from "./mountinfo.ts";

/**
 * The id of the mount that a descriptor lies in: the unique id; before Linux
 * 6.8 the id that the kernel reuses.
 *
 * @throws {UnsupportedError} Before Linux 5.8.
 */
export function mountIdAt(fd: number): bigint {
  return mountId(fd, "", AT_EMPTY_PATH);
}

/**
 * The id of the mount that a path leads to.
 *
 * @throws {UnsupportedError} Before Linux 5.8.
 */
export function mountId(dirfd: number, path: string, flags: number): bigint {
  return statId(dirfd, path, flags).id;
}

function statId(dirfd: number, path: string, flags: number, more = 0) {
  const mask = STATX_MNT_ID | STATX_MNT_ID_UNIQUE | more;
  try {
    // The kernel knows the id without asking the file system's server: a server
    // that is gone must block nothing.
    const unasked = flags | AT_STATX_DONT_SYNC;
    const { mntId: id, mode } = statxMount(dirfd, path, unasked, mask);
    return { id: known(id), mode };
  } catch (error) {
    if (!isErrno(error, EACCES)) throw error;
    // A FUSE file system of another user refuses even root.
    return { id: idOfClosed(dirfd, path, flags, error), mode: undefined };
  }
}

/** @throws {UnsupportedError} Before Linux 5.8. */
function known<T>(id: T | undefined): T {
  if (id !== undefined) return id;
  throw new UnsupportedError(
    "This kernel does not tell mount ids: Linux 5.8 does",
  );
}

/**
 * The id of the mount that a path leads to, whose file system refuses statx(2).
 *
 * @param reason The error to throw if a directory on the path refuses, too, or
 * if the kernel lists only some of its mounts.
 */
function idOfClosed(
  dirfd: number,
  path: string,
  flags: number,
  reason: SyscallError,
): bigint {
  try {
    // name_to_handle_at(2) follows symlinks only if a flag asks for it.
    const follow = (flags & AT_SYMLINK_NOFOLLOW) === 0 ? AT_SYMLINK_FOLLOW : 0;
    const how = flags & AT_EMPTY_PATH | follow | AT_HANDLE_FID |
      AT_HANDLE_MNT_ID_UNIQUE;
    return nameToHandleAt(dirfd, path, how).mountId;
  } catch (error) {
    if (isErrno(error, EACCES)) throw reason;
    // Before Linux 6.12.
    const what = "name_to_handle_at, with AT_HANDLE_MNT_ID_UNIQUE";
    if (!lacks(what, error, EINVAL, ENOSYS, EPERM)) throw error;
  }
  const { mntId } = statx(dirfd, path, flags | UNASKED, 0);
  const id = uniqueIdOf(known(mntId));
  if (id === undefined) throw reason;
  return id;
}

/**
 * The unique id of a mount, found by its id in the mount table. Before Linux
 * 6.8 a mount has only the latter. Undefined for a detached mount.
 */
function uniqueIdOf(tableId: bigint): bigint | undefined {
  try {
    return listmount(LSMT_ROOT).find((id) => {
      try {
        return BigInt(statmount(id, STATMOUNT_MNT_BASIC).mntIdOld!) === tableId;
      } catch (error) {
        if (isErrno(error, ENOENT)) return false;
        throw error;
      }
    });
  } catch (error) {
    if (lacks("listmount, for a unique id", error, ENOSYS)) return tableId;
    throw error;
  }
}

/**
 * The id of the mount that a descriptor lies in, as {@linkcode mountIdAt} tells
 * it; `isFile` is true unless the descriptor refers to a directory.
 *
 * @throws {UnsupportedError} Before Linux 5.8.
 */
export function identify(fd: number): { id: bigint; isFile: boolean } {
  const { id, mode } = statId(fd, "", AT_EMPTY_PATH, STATX_TYPE);
  const isFile = mode === undefined
    ? !isDirectory(fd)
    : (mode & S_IFMT) !== S_IFDIR;
  return { id, isFile };
}

/**
 * True if a mount is in the mount tree that this thread sees. Null if nothing
 * tells that: a seccomp filter hides statmount(2), or both statmount(2) and
 * /proc are missing.
 */
export function isMounted(id: bigint): boolean | null {
  try {
    statmount(id, 0);
    return true;
  } catch (error) {
    if (isErrno(error, ENOENT)) return false;
    const what = "statmount, for what is mounted";
    if (!lacks(what, error, ENOSYS, EPERM)) throw error;
    if (isUniqueId(id)) return null;
    // Before Linux 6.8 this id is the id in the mount table.
    const table = tableUnlessMissing();
    return table && lineOf(table, Number(id)) !== undefined;
  }
}

/** This thread's mount table, null without /proc. */
function tableUnlessMissing(): MountinfoLine[] | null {
  try {
    return readMountinfo();
  } catch (error) {
    if (isErrno(error, ENOENT)) return null;
    throw error;
  }
}

/**
 * True if a mount lies directly on another, and nothing is mounted on it or
 * inside it. Asks the kernel by ids, because looking up a path would use the
 * mount.
 */
export function isTopmostOn(id: bigint, below: bigint): boolean {
  try {
    return statmount(id, STATMOUNT_MNT_BASIC).mntParentId === below &&
      listmount(id, { count: 1 }).length === 0;
  } catch (error) {
    if (isErrno(error, ENOENT, EINVAL)) return false;
    const what = "statmount, for what is topmost";
    if (!lacks(what, error, ENOSYS, EPERM)) throw error;
    return !isUniqueId(id) && isTopmostInTable(Number(id), Number(below));
  }
}

function isTopmostInTable(id: number, below: number): boolean {
  const table = tableUnlessMissing() ?? [];
  return lineOf(table, id)?.parentId === below &&
    !table.some(({ parentId }) => parentId === id);
}

/** Becomes false when statmount(2) refuses a descriptor: before Linux 7.0. */
let takesDescriptors = true;

/**
 * Describes the mount that a descriptor lies in, by one call if statmount(2)
 * takes descriptors. A descriptor also reaches mounts of other namespaces, and
 * lazily unmounted ones.
 *
 * @param fd The descriptor.
 * @param mask `STATMOUNT_*`: the fields to get.
 * @throws {SyscallError} As statmount(2): ENOENT for a detached mount, ENOSYS
 * before Linux 6.8.
 * @throws {UnsupportedError} Before Linux 5.8.
 */
export function statmountAt(fd: number, mask: number): Statmount {
  if (takesDescriptors) {
    try {
      return statmount(0n, mask, { nsFd: fd, flags: STATMOUNT_BY_FD });
    } catch (error) {
      const what = "statmount, with STATMOUNT_BY_FD";
      if (!lacks(what, error, EINVAL)) throw error;
      takesDescriptors = false;
    }
  }
  return statmount(mountIdAt(fd), mask);
}

/** The id that the mount table has for a mount. */
export function idInTable(id: bigint): number {
  try {
    return statmount(id, STATMOUNT_MNT_BASIC).mntIdOld!;
  } catch (error) {
    // Before Linux 6.8 a mount has no other id.
    const what = "statmount, for the id in the table";
    if (!lacks(what, error, ENOSYS)) throw error;
    return Number(id);
  }
}

/**
 * The id that the mount table has for the mount that a path leads to; an empty
 * path leads to the descriptor itself.
 */
export function idInTableAt(dirfd: number, path: string): number {
  const empty = path === "" ? AT_EMPTY_PATH : 0;
  return Number(known(statx(dirfd, path, UNASKED | empty, 0).mntId));
}

/**
 * The line of the mount table for the mount that a path leads to; an empty path
 * leads to the descriptor itself.
 *
 * @param table The table, by default this thread's.
 * @throws {SyscallError} ENOENT without /proc.
 */
export function lineAt(
  dirfd: number,
  path: string,
  table: readonly MountinfoLine[] = readMountinfo(),
): MountinfoLine | undefined {
  return lineOf(table, idInTableAt(dirfd, path));
}

/** True if the kernel never reuses this id; such ids exist since Linux 6.8. */
export function isUniqueId(id: bigint): boolean {
  // Smaller ids are those of the mount table.
  return id >= 1n << 31n;
}
