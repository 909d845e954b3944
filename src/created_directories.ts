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
  readonly #created: { parent: number; name: string }[] = [];

  /**
   * Makes a directory and those that lead to it, where they are missing. Each
   * is opened by its name in the one before: what is made is made there.
   *
   * @param dirfd Where `path` starts; open until this object is disposed of.
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
    const names = path.split("/").filter((name) => name !== "");
    const absolute = path.startsWith("/");
    if (names.length !== 1 || absolute) {
      const existing = openUnlessMissing(dirfd, path, resolve);
      if (existing !== null) return existing;
    }
    let at = absolute
      ? this.#pass(openDirectoryAt(dirfd, "/", resolve))
      : dirfd;
    for (const name of names.slice(0, -1)) {
      at = this.#pass(this.#openOrMake(at, name, mode, resolve));
    }
    return this.#openOrMake(at, names.at(-1)!, mode, resolve);
  }

  #pass(directory: OwnedFd): number {
    this.#passed.push(directory);
    return directory.fd;
  }

  #openOrMake(
    parent: number,
    name: string,
    mode: number,
    resolve: number,
  ): OwnedFd {
    const existing = openUnlessMissing(parent, name, resolve);
    if (existing !== null) return existing;
    try {
      mkdirat(parent, name, mode);
      this.#created.push({ parent, name });
    } catch (error) {
      // Somebody was quicker, or a dangling symlink is there: opening tells.
      if (!isErrno(error, EEXIST)) throw error;
    }
    return openDirectoryAt(parent, name, resolve);
  }

  /** Leaves the directories where they are. */
  keep(): void {
    this.#created.length = 0;
  }

  /** Removes the directories, the last first, unless they were kept. */
  [Symbol.dispose](): void {
    for (const { parent, name } of this.#created.splice(0).reverse()) {
      try {
        unlinkat(parent, name, AT_REMOVEDIR);
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
