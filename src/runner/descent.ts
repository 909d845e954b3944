/** Ways down in trees that actions have made, of any depth and with any names. */
import { BENEATH } from "../fd/open.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import { openat2, statx } from "../sys/file.ts";
import { isErrno } from "../sys/error.ts";
import { ELOOP, ENOENT, ENOTDIR, EXDEV } from "../sys/errno.ts";
import {
  AT_EMPTY_PATH,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  STATX_INO,
} from "../sys/constants.ts";

/**
 * Opens a directory to read it: through no symlink, and on the same mount.
 *
 * @throws {SyscallError} ENOTDIR, ELOOP, ENOENT, EXDEV for a mount's root.
 */
export function openToRead(dirfd: number, name: string): OwnedFd {
  return openDirectory(dirfd, name, BENEATH | RESOLVE_NO_XDEV);
}

/**
 * Opens a directory as {@linkcode openToRead} does, unless it is none, is gone, or
 * is a mount's root.
 */
export function openIfDirectory(dirfd: number, name: string): OwnedFd | null {
  try {
    return openToRead(dirfd, name);
  } catch (error) {
    if (isErrno(error, ENOTDIR, ELOOP, ENOENT, EXDEV)) return null;
    throw error;
  }
}

function openDirectory(dirfd: number, name: string, resolve: number): OwnedFd {
  const flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  return new OwnedFd(
    openat2(dirfd, name, { flags, resolve }),
    "directory",
    true,
  );
}

/**
 * The directories from one down to another, each in the one before. Only few of
 * them are open at a time, so that a deep tree does not use up the descriptors.
 */
export class Descent implements Disposable {
  /** The directories that are open: the last ones. */
  readonly #open: OwnedFd[] = [];
  /** The identities of the directories that are closed: the first ones. */
  readonly #closed: string[] = [];

  /** The number of directories. */
  get depth(): number {
    return this.#closed.length + this.#open.length;
  }

  /** The descriptor of the last. */
  get fd(): number {
    return this.#open.at(-1)!.fd;
  }

  /** Goes down into a directory, which is closed once it is left. */
  enter(directory: OwnedFd): void {
    this.#open.push(directory);
    if (this.#open.length <= MOST_OPEN) return;
    const [first] = this.#open as [OwnedFd];
    this.#closed.push(identityOf(first.fd));
    first.close();
    this.#open.shift();
  }

  /**
   * Goes back up.
   *
   * @throws {SyscallError} What openat2(2) answers.
   * @throws {Error} If the directory above is another by now.
   */
  leave(): void {
    const left = this.#open.at(-1)!;
    if (this.#open.length === 1 && this.#closed.length > 0) {
      // The only name that it has here.
      const resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
        RESOLVE_NO_XDEV;
      const above = openDirectory(left.fd, "..", resolve);
      this.#open.unshift(above);
      if (identityOf(above.fd) !== this.#closed.pop()) {
        throw new Error("A directory was moved meanwhile");
      }
    }
    this.#open.pop();
    left.close();
  }

  [Symbol.dispose](): void {
    for (const directory of this.#open.splice(0)) directory.close();
  }
}

const MOST_OPEN = 32;

function identityOf(fd: number): string {
  const { devMajor, devMinor, ino } = statx(fd, "", AT_EMPTY_PATH, STATX_INO);
  return `${devMajor}:${devMinor}:${ino}`;
}
