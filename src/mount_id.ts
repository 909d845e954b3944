/** Who a mount is: its id, and whether that is still in the tree. */
import { readFile } from "./read_file.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_NO_AUTOMOUNT,
  AT_SYMLINK_NOFOLLOW,
  STATX_MNT_ID,
  STATX_MNT_ID_UNIQUE,
} from "./sys/constants.ts";
import { ENOENT, ENOSYS } from "./sys/errno.ts";
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
 * @throws {SyscallError} ENOENT where /proc is missing.
 */
export function topmostMountId(fd: number, expected: bigint): bigint {
  // A descriptor leads below what was mounted over it. Only a look-up by name
  // crosses mounts, and the name may change between asking for it and using it.
  let name = nameOf(fd);
  for (let attempt = 1;; attempt++) {
    const id = mountIdUnlessMissing(fd, `../${name}`);
    if (id === expected) return id;
    const nameAfter = nameOf(fd);
    if (nameAfter === name || attempt === MOST_ATTEMPTS) {
      return id ?? mountIdAt(fd);
    }
    name = nameAfter;
  }
}

const MOST_ATTEMPTS = 1000;

function nameOf(fd: number): string {
  return readlinkat(AT_FDCWD, `/proc/self/fd/${fd}`).split("/").at(-1)!;
}

function mountIdUnlessMissing(fd: number, path: string): bigint | null {
  try {
    return mountId(fd, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT);
  } catch (error) {
    // Deleted: the kernel has taken off what was mounted there.
    if (error instanceof SyscallError && error.errno === ENOENT) return null;
    throw error;
  }
}

function mountId(dirfd: number, path: string, flags: number): bigint {
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
