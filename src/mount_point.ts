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
  if (mode === null) return openByName(dirfd, target);
  const { parent, name } = target;
  const holder = created.makeDirectory(dirfd, parent, searchable(mode));
  try {
    return { at: created.makeFile(holder.fd, name, mode), holder, name };
  } catch (error) {
    holder.close();
    throw error;
  }
}

/**
 * Opens a mount point, or what is topmost on it, that can be found again by its
 * name.
 *
 * @throws {SyscallError} What openat2(2) answers.
 */
export function openByName(
  dirfd: number,
  { parent, name }: Target,
): MountPoint {
  const holder = openDirectoryAt(dirfd, parent);
  try {
    return { at: openAt(holder.fd, name), holder, name };
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
