import {
  AT_FDCWD,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from "../sys/constants.ts";
import { OwnedFd } from "./owned_fd.ts";
import { openat2, read } from "../sys/file.ts";
import { isErrno } from "../sys/error.ts";
import { EAGAIN } from "../sys/errno.ts";
import { decodeText } from "../base/text.ts";

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

/**
 * Reads a file by system calls: without a permission to read, and in the mount
 * namespace of the calling thread.
 *
 * @throws {SyscallError} What openat2(2) and read(2) answer.
 */
export function readFile(path: string): string {
  using file = new OwnedFd(
    openat2(AT_FDCWD, path, { flags: O_RDONLY | O_CLOEXEC }),
  );
  return readAll(file.fd);
}

/**
 * Reads to the end of an open file.
 *
 * @throws {SyscallError} What read(2) answers.
 */
export function readAll(fd: number): string {
  let buffer = new Uint8Array(16384);
  let length = 0;
  while (true) {
    const count = read(fd, buffer.subarray(length));
    if (count === 0) return decodeText(buffer.subarray(0, length));
    length += count;
    if (length === buffer.length) {
      const larger = new Uint8Array(buffer.length * 2);
      larger.set(buffer);
      buffer = larger;
    }
  }
}
