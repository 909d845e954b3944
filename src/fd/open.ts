/**
 * Room `fd`: Descriptors that close, and what is opened, read or made by one.
 * Throws `SyscallError`.
 */
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_NO_AUTOMOUNT,
  AT_STATX_DONT_SYNC,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  OPEN_TREE_CLOEXEC,
  RESOLVE_BENEATH,
  RESOLVE_CACHED,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  STATX_ATTR_MOUNT_ROOT,
  STATX_NLINK,
  STATX_TYPE,
} from "../sys/constants.ts";
import { OwnedFd, procPath } from "./owned_fd.ts";
import { openat2, openat2IfThere, read, statx } from "../sys/file.ts";
import { getdents64, readlinkat } from "../sys/names.ts";
import { openTree } from "../sys/mount.ts";
import { isErrno, lacks } from "../sys/error.ts";
import { EACCES, EAGAIN, EINVAL, ENOTDIR } from "../sys/errno.ts";
import { decodeText } from "../base/text.ts";

/** The path must stay beneath the directory, and lead through no link. */
export const BENEATH: number = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
  RESOLVE_NO_MAGICLINKS;

/** The bits of a mode that hold the file's type, and the types: inode(7). */
export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;

/**
 * Opens a path that this program or its caller chose. The path may lead through
 * symlinks.
 *
 * @param path The path.
 * @param flags `O_*`; the descriptor is close-on-exec in any case.
 * @param dirfd The directory that a relative path starts at.
 * @throws {SyscallError} What openat2(2) answers.
 */
export function open(
  path: string,
  flags: number,
  dirfd: number = AT_FDCWD,
): OwnedFd {
  return new OwnedFd(openat2(dirfd, path, { flags: flags | O_CLOEXEC }));
}

/**
 * Opens a directory as a place in the tree (`O_PATH`). That needs no permission
 * to read it.
 *
 * @param dirfd The directory that `path` starts at.
 * @param path The directory.
 * @param resolve `RESOLVE_*`; by default the path stays beneath `dirfd`.
 * @throws {SyscallError} ELOOP at a symlink, EXDEV if the path leaves `dirfd`,
 * ENOTDIR if a component is no directory, ENOENT, EACCES.
 */
export function openDirectoryAt(
  dirfd: number,
  path: string,
  resolve: number = BENEATH,
): OwnedFd {
  return path === "."
    ? openSelf(dirfd, resolve)
    : openAgain(dirfd, path, O_PATH | O_DIRECTORY, resolve);
}

/**
 * Opens a directory or file beneath a directory as a place in the tree.
 *
 * @throws {SyscallError} As {@linkcode openDirectoryAt}.
 */
export function openAt(dirfd: number, path: string): OwnedFd {
  return path === "."
    ? openSelf(dirfd, BENEATH)
    : openAgain(dirfd, path, O_PATH, BENEATH);
}

/**
 * Opens the file or directory of a name in a directory as a place in the tree,
 * if it exists.
 *
 * @param flags `O_*` besides `O_PATH`.
 * @returns Null for ENOENT.
 * @throws {SyscallError} As {@linkcode openDirectoryAt}, but not ENOENT.
 */
export function openIfThere(
  dirfd: number,
  name: string,
  flags = 0,
): OwnedFd | null {
  const how = { flags: O_PATH | O_CLOEXEC | flags, resolve: BENEATH };
  const fd = again(() => openat2IfThere(dirfd, name, how));
  return fd === -1 ? null : new OwnedFd(fd, "directory", true);
}

/**
 * Opens a path as a place in the tree as if a directory were the root. Follows
 * symlinks, but no magic links: those of a procfs lead out of any root.
 *
 * @param root The directory.
 * @param path The path, absolute or relative to it.
 * @param flags `O_*` besides `O_PATH`.
 * @throws {SyscallError} What openat2(2) answers.
 */
export function openInRoot(root: number, path: string, flags = 0): OwnedFd {
  const resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return openAgain(root, path, O_PATH | flags, resolve).closeWhenDropped();
}

/**
 * Opens the file or directory of a descriptor as a place in the tree. Looks up
 * nothing, so it does not ask the file system, whose server may be gone.
 *
 * @throws {SyscallError} EBADF, EMFILE.
 */
export function openItself(fd: number): OwnedFd {
  const opened = openTree(fd, "", OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
  return new OwnedFd(opened, "directory", true);
}

/**
 * True if a descriptor refers to a directory; does not ask its file system.
 *
 * @throws {SyscallError} EBADF.
 */
export function isDirectory(fd: number): boolean {
  try {
    openDirectoryAt(fd, ".", 0).close();
    return true;
  } catch (error) {
    if (isErrno(error, ENOTDIR)) return false;
    throw error;
  }
}

/**
 * Opens a directory itself. Looking up "." needs search permission, which a
 * FUSE file system may refuse, or never answer.
 */
function openSelf(dirfd: number, resolve: number): OwnedFd {
  const flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  try {
    // With RESOLVE_CACHED the call fails if it would have to wait.
    const how = { flags, resolve: resolve | RESOLVE_CACHED };
    return new OwnedFd(openat2(dirfd, ".", how), "directory", true);
  } catch (error) {
    // The descriptor of a file does not get here: it fails with ENOTDIR.
    if (isErrno(error, EAGAIN, EACCES)) return openItself(dirfd);
    // RESOLVE_CACHED came with Linux 5.12.
    if (!lacks("openat2, with RESOLVE_CACHED", error, EINVAL)) throw error;
    return openAgain(dirfd, ".", O_PATH | O_DIRECTORY, resolve);
  }
}

/**
 * Opens a file beneath a directory to read or write it.
 *
 * @param flags `O_*`; the descriptor is close-on-exec in any case.
 * @param mode The mode of a file that is created, less this process's umask.
 * @throws {SyscallError} As {@linkcode openDirectoryAt}.
 */
export function openBeneath(
  dirfd: number,
  path: string,
  flags: number,
  mode = 0,
): OwnedFd {
  return openAgain(dirfd, path, flags, BENEATH, mode);
}

function openAgain(
  dirfd: number,
  path: string,
  flags: number,
  resolve: number,
  mode = 0,
): OwnedFd {
  const how = { flags: flags | O_CLOEXEC, mode, resolve };
  const fd = again(() => openat2(dirfd, path, how));
  return new OwnedFd(fd, "directory", true);
}

/** Opens a path; retries if the kernel can't tell whether it stays inside. */
function again(open: () => number): number {
  for (let attempt = 1;; attempt++) {
    try {
      return open();
    } catch (error) {
      // During the look-up of a `..`, another process renamed or mounted
      // something, anywhere. The kernel can't tell whether the path left the
      // directory (openat2(2)).
      if (!isErrno(error, EAGAIN) || attempt === MOST_ATTEMPTS) throw error;
    }
  }
}

/** The most attempts if other processes interfere, as by renaming. */
export const MOST_ATTEMPTS = 1000;

/**
 * The path that /proc shows for the file that a descriptor refers to.
 *
 * @throws {SyscallError} ENOENT without /proc, ENAMETOOLONG.
 */
export function pathOf(fd: number): string {
  return readlinkat(AT_FDCWD, procPath(fd));
}

/**
 * Reads a file by system calls: without Deno's permission to read, and in the
 * mount namespace of the calling thread.
 *
 * @param most The most bytes that the file may have. A caller's file needs a
 * limit: a device has no end.
 * @throws {SyscallError} What openat2(2) and read(2) answer.
 * @throws {RangeError} If the file has more.
 */
export function readFile(path: string, most = Infinity): string {
  using file = open(path, O_RDONLY);
  return readAll(file.fd, most);
}

/**
 * Reads to the end of an open file.
 *
 * @throws {SyscallError} What read(2) answers.
 * @throws {RangeError} If the file has more than `most` bytes.
 */
export function readAll(fd: number, most = Infinity): string {
  let buffer = new Uint8Array(16384);
  let length = 0;
  while (true) {
    const count = read(fd, buffer.subarray(length));
    if (count === 0) return decodeText(buffer.subarray(0, length));
    length += count;
    if (length > most) {
      throw new RangeError(`There are more than ${most} bytes`);
    }
    if (length === buffer.length) {
      const larger = new Uint8Array(buffer.length * 2);
      larger.set(buffer);
      buffer = larger;
    }
  }
}

/**
 * Reads the names in a directory, in its order, without `.` and `..`.
 *
 * @param fd The directory, opened for reading; reading starts at its offset.
 * @throws {SyscallError} What getdents64(2) answers.
 */
export function namesIn(fd: number): string[] {
  const names: string[] = [];
  while (true) {
    const some = getdents64(fd);
    if (some.length === 0) {
      return names.filter((name) => name !== "." && name !== "..");
    }
    names.push(...some);
  }
}

/**
 * The type of the file that a descriptor refers to, `S_IF*`; does not ask its
 * file system. If that refuses access (FUSE of another user), everything but a
 * directory counts as a regular file.
 *
 * @throws {SyscallError} What statx(2) answers.
 */
export function typeOf(fd: number): number {
  try {
    return statx(fd, "", AT_EMPTY_PATH | UNASKED, STATX_TYPE).mode! & S_IFMT;
  } catch (error) {
    if (!isErrno(error, EACCES)) throw error;
    return isDirectory(fd) ? S_IFDIR : S_IFREG;
  }
}

/**
 * True if the file of a descriptor was deleted, as far as the kernel knows
 * without asking a server.
 *
 * @throws {SyscallError} What statx(2) answers.
 */
export function isDeleted(fd: number): boolean {
  try {
    return statx(fd, "", AT_EMPTY_PATH | UNASKED, STATX_NLINK).nlink === 0;
  } catch (error) {
    // The file system refuses access: only its root can have been opened.
    if (isErrno(error, EACCES)) return false;
    throw error;
  }
}

/**
 * True if a descriptor refers to a mount's root.
 *
 * @throws {SyscallError} What statx(2) answers.
 */
export function isMountRoot(fd: number): boolean {
  return saysMountRoot(statx(fd, "", AT_EMPTY_PATH | UNASKED, 0));
}

/**
 * Flags for statx(2): the kernel tells what it knows by itself, and asks no
 * server, which may be gone. With mask 0 it tells the mount's id in the mount
 * table, and whether the file is the mount's root, even if the file system
 * refuses this process access.
 */
export const UNASKED: number = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;

/** True if statx(2) says of a file that it is a mount's root. */
export function saysMountRoot(
  { attributes }: { readonly attributes: bigint },
): boolean {
  return (attributes & BigInt(STATX_ATTR_MOUNT_ROOT)) !== 0n;
}
