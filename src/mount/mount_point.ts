import { lookupOf } from "../error/attempt.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import { parseMode, parseTarget, type Target } from "../options/target.ts";
import { BENEATH, open, openAt, openDirectoryAt } from "../fd/open.ts";
import { dup, flock, openat2 } from "../sys/file.ts";
import { mkdirat, unlinkat } from "../sys/names.ts";
import {
  AT_REMOVEDIR,
  LOCK_EX,
  LOCK_NB,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_RDONLY,
} from "../sys/constants.ts";
import { walkInRoot } from "../fd/walk.ts";
import { isErrno, SyscallError } from "../sys/error.ts";
import { EAGAIN, EEXIST, ENOENT } from "../sys/errno.ts";
import { checkOptions, type OptionNames } from "../base/check.ts";
import { quote } from "../base/text.ts";
import { attempt } from "../error/error.ts";

/** A mount point, opened before it is mounted on. */
export interface MountPoint {
  /** The file or directory that a mount is attached to. */
  readonly at: OwnedFd;
  /** The directory in which it is found again: itself, or its parent. */
  readonly holder: OwnedFd;
  /** Its name there; `.` for the directory itself. */
  readonly name: string;
}

/**
 * Opens the mount point for a mount, or makes it.
 *
 * @param created The list that takes what is made.
 * @param dirfd The directory that the target starts at.
 * @param target The mount point.
 * @param isFile True if the mount's root is a file, false for a directory.
 * @param mode The permissions to make it with; null if it must exist.
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
 * Opens a mount point, or the root of the topmost mount on it. Later, its name
 * leads to it again.
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

/**
 * Opens the mount point for a mount, or makes it. Symlinks are followed as if
 * the directory were the root. If a symlink dangles, its target is made.
 *
 * @param isFile True if the mount's root is a file, false for a directory.
 * @throws {SyscallError} What openat2(2) and mkdirat(2) answer.
 */
export function openMountPointInRoot(
  created: CreatedPaths,
  dirfd: number,
  { target, mode, beneath }: {
    readonly target: Target;
    readonly mode: number | null;
    readonly beneath: boolean;
  },
  isFile: boolean,
): MountPoint {
  const make = mode === null || beneath
    ? null
    : (holder: OwnedFd, name: string, isLast: boolean) => {
      created.makeMissing(holder.fd, name, mode, isFile, isLast);
      return null;
    };
  const place = walkInRoot(dirfd, target.path, make);
  if (isFile || beneath) return place;
  const { at, holder } = place;
  if (holder !== at) holder.close();
  return { at, holder: at, name: "." };
}

/** Closes the descriptors of a mount point. */
export function closeMountPoint({ at, holder }: MountPoint): void {
  at.close();
  holder.close();
}

/** A directory's permissions, from a file's: users who may read may search. */
function searchable(mode: number): number {
  return mode | (mode & 0o444) >> 2;
}

/** A file or directory that was made and could not be removed. */
export interface LeftPath {
  /** The directory that it is in, open until the `CreatedPaths` are disposed of. */
  readonly parent: number;
  readonly name: string;
  readonly cause: SyscallError;
}

/**
 * The directories and files that were made as mount points. Disposing of the
 * object removes them, unless {@linkcode CreatedPaths.keep} was called.
 */
export class CreatedPaths implements Disposable {
  /** The directories on the paths, open until `keep` or disposal. */
  readonly #passed: OwnedFd[] = [];
  readonly #created: { parent: number; name: string; flags: number }[] = [];

  /**
   * Makes a directory and its parents, if they are missing. Each is made and
   * opened by its name in the one before.
   *
   * @param dirfd The directory that `path` starts at; it stays open until this
   * object is disposed of.
   * @param path The directory.
   * @param mode The permissions of each directory that is made, less umask.
   * @param resolve `RESOLVE_*`; by default the path stays beneath `dirfd`.
   * @returns The directory, which the caller closes.
   * @throws {SyscallError} What openat2(2) and mkdirat(2) answer. What was made
   * by then is removed when this object is disposed of.
   */
  makeDirectory(
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
    for (let i = 0;; i++) {
      // ".." must be resolved with all names before it: alone, it leads out.
      const opened = names[i] === ".."
        ? openDirectoryAt(dirfd, pathOf(names, i, absolute), resolve)
        : this.#openOrMake(at, names[i]!, mode, resolve);
      if (i === names.length - 1) return opened;
      at = this.#pass(opened);
    }
  }

  /**
   * Makes a directory in another. Nothing of its name may exist there.
   *
   * @throws {SyscallError} What mkdirat(2) answers.
   */
  makeNewDirectory(dirfd: number, name: string, mode: number): void {
    const parent = this.#pass(new OwnedFd(dup(dirfd)));
    mkdirat(parent, name, mode);
    this.#created.push({ parent, name, flags: AT_REMOVEDIR });
  }

  /**
   * Makes an empty file in a directory, if it is missing.
   *
   * @param dirfd The directory.
   * @param name The file.
   * @param mode Its permissions, less umask.
   * @returns The file, which the caller closes.
   * @throws {SyscallError} What openat2(2) answers.
   */
  makeFile(dirfd: number, name: string, mode: number): OwnedFd {
    this.makeMissing(dirfd, name, mode, true, true);
    return openAt(dirfd, name);
  }

  /**
   * Makes a missing component of a path.
   *
   * @param dirfd The directory that it is missing in.
   * @param mode The permissions of the path's last component, less umask.
   * @param isFile True if the last component is a file, false for a directory.
   * @param isLast True if `name` is the last component.
   * @throws {SyscallError} What openat2(2) and mkdirat(2) answer.
   */
  makeMissing(
    dirfd: number,
    name: string,
    mode: number,
    isFile: boolean,
    isLast: boolean,
  ): void {
    // The caller may close its descriptor before `remove` is called.
    const parent = this.#pass(new OwnedFd(dup(dirfd)));
    const isDirectory = !isFile || !isLast;
    try {
      if (!isDirectory) makeFile(parent, name, mode);
      else mkdirat(parent, name, isFile ? searchable(mode) : mode);
      const flags = isDirectory ? AT_REMOVEDIR : 0;
      this.#created.push({ parent, name, flags });
    } catch (error) {
      // It exists already: opening it tells what it is.
      if (!isErrno(error, EEXIST)) throw error;
    }
  }

  #pass(passed: OwnedFd): number {
    this.#passed.push(passed.closeWhenDropped());
    return passed.fd;
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
      this.#created.push({ parent, name, flags: AT_REMOVEDIR });
    } catch (error) {
      // Another process was quicker, or a dangling symlink is there: opening
      // tells.
      if (!isErrno(error, EEXIST)) throw error;
    }
    return openDirectoryAt(parent, name, resolve);
  }

  /** Leaves the directories and files where they are. */
  keep(): void {
    this.#created.length = 0;
    this.#closePassed();
  }

  /**
   * Removes the directories and files, the last first.
   *
   * @returns Those that could not be removed, for example because another
   * process has put something into them.
   */
  remove(): LeftPath[] {
    const left: LeftPath[] = [];
    for (const { parent, name, flags } of this.#created.splice(0).reverse()) {
      using lock = openToLock(parent);
      // A command may have something mounted on it, in another mount namespace.
      // Removing the mount point would unmount that.
      if (lock !== null && lockAlone(lock.fd) === false) continue;
      try {
        unlinkat(parent, name, flags);
      } catch (error) {
        if (isErrno(error, ENOENT)) continue;
        if (!(error instanceof SyscallError)) throw error;
        left.push({ parent, name, cause: error });
      }
    }
    return left;
  }

  /** Removes the directories and files, unless they were kept. */
  [Symbol.dispose](): void {
    // A failed removal must not hide an earlier error.
    this.remove();
    this.#closePassed();
  }

  #closePassed(): void {
    for (const passed of this.#passed.splice(0)) passed.close();
  }
}

function pathOf(names: string[], last: number, absolute: boolean): string {
  return (absolute ? "/" : "") + names.slice(0, last + 1).join("/");
}

/**
 * Takes the exclusive lock on an open directory: flock(2). It fails while
 * commands of {@linkcode run} have something mounted there.
 *
 * @returns False if others have it locked, null if it can't be locked at all.
 */
export function lockAlone(directory: number): boolean | null {
  try {
    flock(directory, LOCK_EX | LOCK_NB);
    return true;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return isErrno(error, EAGAIN) ? false : null;
  }
}

function openToLock(directory: number): OwnedFd | null {
  try {
    return open(".", O_RDONLY | O_DIRECTORY, directory);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return null;
  }
}

/** Makes an empty file. Nothing of its name may exist. */
export function makeFile(dirfd: number, name: string, mode = 0o644): void {
  const flags = O_CREAT | O_EXCL | O_CLOEXEC;
  new OwnedFd(openat2(dirfd, name, { flags, mode, resolve: BENEATH })).close();
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

const MKDIR_NAMES: OptionNames<MkdirOptions> = { mode: true, recursive: true };

/**
 * Makes a directory beneath another, through no symlink. A failure leaves
 * nothing behind.
 *
 * @returns The directories that were made, to keep or to remove.
 * @throws {TypeError | RangeError | MountError}
 */
export function makeDirectory(
  dirfd: number,
  path: string,
  options: MkdirOptions,
): CreatedPaths {
  const target = parseTarget(path);
  checkOptions(options, MKDIR_NAMES);
  const { mode = 0o777, recursive = false } = options;
  parseMode(mode);
  const attempted = {
    action: `create directory ${quote(path)}`,
    target: path,
    ...lookupOf(dirfd, target.path),
  };
  return attempt(attempted, () => {
    const created = new CreatedPaths();
    try {
      if (recursive) {
        created.makeDirectory(dirfd, target.path, mode).close();
      } else {
        using parent = openDirectoryAt(dirfd, target.parent);
        created.makeNewDirectory(parent.fd, target.name, mode);
      }
      return created;
    } catch (error) {
      created[Symbol.dispose]();
      throw error;
    }
  });
}

/** Options of {@linkcode Directory.mkdir}. */
export interface MkdirOptions {
  /**
   * The permissions, less the process's umask.
   *
   * @default {0o777}
   */
  mode?: number;
  /**
   * Makes parent directories, too, and accepts a directory that exists.
   *
   * @default {false}
   */
  recursive?: boolean;
}
