import {
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from "./sys/constants.ts";
import { EAGAIN } from "./sys/errno.ts";
import { isErrno } from "./sys/error.ts";
import { openat2 } from "./sys/openat2.ts";
import { OwnedFd } from "./owned_fd.ts";

/** Beneath the directory, through no link of any kind. */
export const BENEATH: number = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
  RESOLVE_NO_MAGICLINKS;

/**
 * Opens a directory as a place in the tree (`O_PATH`): neither read nor
 * written, and no permission to read it is needed.
 *
 * @param dirfd Where `path` starts.
 * @param path The directory.
 * @param resolve `RESOLVE_*`; by default the path stays beneath `dirfd`.
 * @throws {SyscallError} ELOOP at a symlink, EXDEV where the path leaves
 * `dirfd`, ENOTDIR where something is no directory, ENOENT, EACCES.
 */
export function openDirectoryAt(
  dirfd: number,
  path: string,
  resolve: number = BENEATH,
): OwnedFd {
  return open(dirfd, path, O_PATH | O_DIRECTORY | O_CLOEXEC, resolve);
}

/**
 * Opens a directory or file beneath a directory as a place in the tree.
 *
 * @throws {SyscallError} As {@linkcode openDirectoryAt}.
 */
export function openAt(dirfd: number, path: string): OwnedFd {
  return open(dirfd, path, O_PATH | O_CLOEXEC, BENEATH);
}

function open(
  dirfd: number,
  path: string,
  flags: number,
  resolve: number,
): OwnedFd {
  for (let attempt = 1;; attempt++) {
    try {
      const fd = openat2(dirfd, path, { flags, resolve });
      return new OwnedFd(fd, "directory", true);
    } catch (error) {
      // A `..` was looked up while something, anywhere, was renamed or mounted:
      // the kernel can't tell whether it left the directory (openat2(2)).
      if (!isErrno(error, EAGAIN) || attempt === MOST_ATTEMPTS) throw error;
    }
  }
}

const MOST_ATTEMPTS = 1000;
