import { openAt, openDirectoryAt } from "./beneath.ts";
import type { CreatedPaths } from "./created_paths.ts";
import type { OwnedFd } from "./owned_fd.ts";
import { AT_EMPTY_PATH, STATX_TYPE } from "./sys/constants.ts";
import { statx } from "./sys/statx.ts";
import type { Target } from "./target.ts";

/** A mount point, opened before it is mounted on. */
export interface MountPoint {
  /** What a mount is attached to. */
  readonly at: OwnedFd;
  /** The directory that it can be found in again: itself, or a file's. */
  readonly holder: OwnedFd;
  /** Its name there; `.` for the directory itself. */
  readonly name: string;
}

/**
 * Opens the mount point for a mount, or makes it.
 *
 * @param created What was made is noted here.
 * @param dirfd Where the target starts.
 * @param target The mount point.
 * @param mount The mount: a file goes on a file, a directory on a directory.
 * @param mode The permissions to make it with, null where it must exist.
 * @throws {SyscallError} What openat2(2) and mkdirat(2) answer.
 */
export function openMountPoint(
  created: CreatedPaths,
  dirfd: number,
  target: Target,
  mount: OwnedFd,
  mode: number | null,
): MountPoint {
  if (!isFile(mount.fd)) {
    const at = mode === null
      ? openAt(dirfd, target.path)
      : created.makeDirectory(dirfd, target.path, mode);
    return { at, holder: at, name: "." };
  }
  const { parent, name } = target;
  const holder = mode === null
    ? openDirectoryAt(dirfd, parent)
    : created.makeDirectory(dirfd, parent, searchable(mode));
  try {
    const at = mode === null
      ? openAt(holder.fd, name)
      : created.makeFile(holder.fd, name, mode);
    return { at, holder, name };
  } catch (error) {
    holder.close();
    throw error;
  }
}

/** Closes what is open of a mount point. */
export function closeMountPoint({ at, holder }: MountPoint): void {
  at.close();
  holder.close();
}

/** A file's permissions, for a directory: who may read it may search it. */
function searchable(mode: number): number {
  return mode | (mode & 0o444) >> 2;
}

function isFile(fd: number): boolean {
  const { mode } = statx(fd, "", AT_EMPTY_PATH, STATX_TYPE);
  // inode(7)
  return (mode! & 0o170000) !== 0o040000;
}
