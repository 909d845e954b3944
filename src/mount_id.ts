/** Who a mount is: its id, and whether that is still in the tree. */
import { readFile } from "./read_file.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_NO_AUTOMOUNT,
  AT_SYMLINK_NOFOLLOW,
  STATMOUNT_MNT_POINT,
  STATX_MNT_ID,
  STATX_MNT_ID_UNIQUE,
} from "./sys/constants.ts";
import { ENOENT, ENOSYS, ENOTDIR } from "./sys/errno.ts";
import { SyscallError, UnsupportedError } from "./sys/error.ts";
import { readlinkat } from "./sys/readlinkat.ts";
import { statmount } from "./sys/statmount.ts";
import { statx } from "./sys/statx.ts";

/**
 * The id of the mount that a descriptor lies in: the unique one, before Linux
 * 6.8 the one that is reused.
 *
 * @throws {UnsupportedError} Before Linux 5.8.
 */
export function mountIdAt(fd: number): bigint {
  return mountId(fd, "", AT_EMPTY_PATH);
}

/**
 * The id of the topmost mount on a mount point: of the mount that the mount
 * point lies in, when there is none on it.
 *
 * @param fd A descriptor of the mount point, opened before it was mounted on.
 * @param expected The id that most likely is the answer.
 */
export function topmostMountId(fd: number, expected: bigint): bigint {
  // A descriptor leads below what was mounted over it. Only a look-up by name
  // crosses mounts, and the name may change between asking for it and using it.
  let path = pathOf(fd, expected);
  for (let attempt = 1; path !== null; attempt++) {
    const id = mountIdByName(fd, path);
    if (id === expected) return id;
    const pathAfter = pathOf(fd, expected);
    if (pathAfter === path || attempt === MOST_ATTEMPTS) {
      return id ?? mountIdAt(fd);
    }
    path = pathAfter;
  }
  return mountIdAt(fd);
}

const MOST_ATTEMPTS = 1000;

/**
 * The path of a mount point.
 *
 * @param fd A descriptor of it.
 * @param id A mount on it, which the kernel is asked about where /proc is
 * missing.
 * @returns The path, null when it can't be told.
 */
export function pathOf(fd: number, id: bigint): string | null {
  try {
    return readlinkat(AT_FDCWD, `/proc/self/fd/${fd}`);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  try {
    return statmount(id, STATMOUNT_MNT_POINT).mntPoint ?? null;
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function mountIdByName(fd: number, path: string): bigint | null {
  const flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
  const name = path.slice(path.lastIndexOf("/") + 1);
  try {
    return mountId(fd, `../${name}`, flags);
  } catch (error) {
    // Deleted: the kernel has taken off what was mounted there.
    if (isMissing(error)) return null;
    if (!(error instanceof SyscallError && error.errno === ENOTDIR)) {
      throw error;
    }
  }
  // From a file no name leads on.
  try {
    return mountId(AT_FDCWD, path, flags);
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof SyscallError && error.errno === ENOENT;
}

/**
 * The id of the mount that a path leads to.
 *
 * @throws {UnsupportedError} Before Linux 5.8.
 */
export function mountId(dirfd: number, path: string, flags: number): bigint {
  const mask = STATX_MNT_ID | STATX_MNT_ID_UNIQUE;
  const { mntId } = statx(dirfd, path, flags, mask);
  if (mntId === undefined) {
    throw new UnsupportedError(
      "This kernel tells no mount ids: Linux 5.8 does",
    );
  }
  return mntId;
}

/** Whether a mount is in the mount tree that this thread sees. */
export function isMounted(id: bigint): boolean {
  try {
    statmount(id, 0);
    return true;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    if (error.errno === ENOENT) return false;
    if (error.errno !== ENOSYS) throw error;
    // Before Linux 6.8 the id is the one in the table.
    return `\n${readFile("/proc/thread-self/mountinfo")}`.includes(`\n${id} `);
  }
}
