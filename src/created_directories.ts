import { BENEATH, openDirectoryAt } from "./beneath.ts";
import type { OwnedFd } from "./owned_fd.ts";
import { AT_REMOVEDIR } from "./sys/constants.ts";
import { EEXIST, ENOENT } from "./sys/errno.ts";
import { SyscallError } from "./sys/error.ts";
import { mkdirat } from "./sys/mkdirat.ts";
import { unlinkat } from "./sys/unlinkat.ts";

/**
 * The directories that were made on the way to a mount point. Disposed of
 * before {@linkcode CreatedDirectories.keep}, it removes them again.
 */
export class CreatedDirectories implements Disposable {
  /** The directories passed through, open until the end. */
  readonly #passed: OwnedFd[] = [];
  readonly #created: { parent: OwnedFd; name: string }[] = [];

  /**
   * Makes a directory and those that lead to it, where they are missing.
   *
   * @param dirfd Where `path` starts.
   * @param path The directory.
   * @param mode Its permissions and those of the ones on the way, less umask.
   * @param resolve `RESOLVE_*`; by default the path stays beneath `dirfd`.
   * @returns The directory, which the caller closes.
   * @throws {SyscallError} What openat2(2) and mkdirat(2) answer. What was made
   * by then is removed when this object is disposed of.
   */
  make(
    dirfd: number,
    path: string,
    mode: number,
    resolve: number = BENEATH,
  ): OwnedFd {
    const existing = openUnlessMissing(dirfd, path, resolve);
    if (existing !== null) return existing;
    const start = path.startsWith("/") ? "/" : ".";
    let directory = openDirectoryAt(dirfd, start, resolve);
    for (const name of path.split("/")) {
      if (name === "" || name === ".") continue;
      this.#passed.push(directory);
      directory = openUnlessMissing(directory.fd, name, resolve) ??
        this.#makeOne(directory, name, mode, resolve);
    }
    return directory;
  }

  #makeOne(
    parent: OwnedFd,
    name: string,
    mode: number,
    resolve: number,
  ): OwnedFd {
    try {
      mkdirat(parent.fd, name, mode);
      this.#created.push({ parent, name });
    } catch (error) {
      // Somebody was quicker, or a dangling symlink is there: opening tells.
      if (!isErrno(error, EEXIST)) throw error;
    }
    return openDirectoryAt(parent.fd, name, resolve);
  }

  /** Leaves the directories where they are. */
  keep(): void {
    this.#created.length = 0;
  }

  /** Removes the directories, the last first, unless they were kept. */
  [Symbol.dispose](): void {
    for (const { parent, name } of this.#created.splice(0).reverse()) {
      try {
        unlinkat(parent.fd, name, AT_REMOVEDIR);
      } catch (error) {
        // By now it holds something of somebody else's, or is gone: not ours
        // to remove, and no reason to hide what failed before.
        if (!(error instanceof SyscallError)) throw error;
      }
    }
    for (const directory of this.#passed.splice(0)) directory.close();
  }
}

function openUnlessMissing(
  dirfd: number,
  path: string,
  resolve: number,
): OwnedFd | null {
  try {
    return openDirectoryAt(dirfd, path, resolve);
  } catch (error) {
    if (isErrno(error, ENOENT)) return null;
    throw error;
  }
}

function isErrno(error: unknown, errno: number): boolean {
  return error instanceof SyscallError && error.errno === errno;
}
