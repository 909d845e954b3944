import { openAt, openDirectoryAt } from "./beneath.ts";
import type { CreatedPaths } from "./created_paths.ts";
import type { OwnedFd } from "./owned_fd.ts";
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
 * @param isFile Whether a file is to go on it, and not a directory.
 * @param mode The permissions to make it with, null where it must exist.
 * @throws {SyscallError} What openat2(2) and mkdirat(2) answer.
 */
export function openMountPoint(
  created: CreatedPaths,
  dirfd: number,
  target: Target,
  isFile: boolean,
  mode: number | null,
): MountPoint {
  if (!isFile) {
    const at = mode === null
      ? openDirectoryAt(dirfd, target.path)
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
