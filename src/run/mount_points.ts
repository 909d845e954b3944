/**
 * The directories and files that were made in a root to mount on, and the runs that
 * use them.
 *
 * rmdir(2) of a directory succeeds even if it is a mount point in another mount
 * namespace, and takes the mount away there. So each run holds a shared lock,
 * flock(2), on every directory that it has a mount point in. The last run of this
 * thread takes the exclusive lock, and removes the mount points that were made. If
 * it does not get the lock, runs of other processes use the directory, and the mount
 * points stay.
 */
import { OwnedFd, procPath } from "../fd/owned_fd.ts";
import { lockAlone, makeFile } from "../mount/mount_point.ts";
import {
  namesIn,
  open,
  openAt,
  openDirectoryAt,
  saysMountRoot,
} from "../fd/open.ts";
import {
  EACCES,
  EAGAIN,
  EDQUOT,
  EEXIST,
  EMLINK,
  ENOSPC,
  EOPNOTSUPP,
  EOVERFLOW,
  EPERM,
  EROFS,
} from "../sys/errno.ts";
import { isErrno, SyscallError } from "../sys/error.ts";
import { dup, flock, type Statx, statx } from "../sys/file.ts";
import { fchmodat, mkdirat, unlinkat } from "../sys/names.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_NO_AUTOMOUNT,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  LOCK_NB,
  LOCK_SH,
  O_DIRECTORY,
  O_RDONLY,
  STATX_INO,
  STATX_MODE,
  STATX_SIZE,
} from "../sys/constants.ts";

/** A file or directory that was made. */
interface Made {
  /** The directory that it was made in. */
  readonly parent: OwnedFd;
  readonly name: string;
  /** The file itself: while it is open, no other file gets its inode number. */
  readonly at: OwnedFd;
  readonly isFile: boolean;
}

/** A directory that runs of this thread have mount points in. */
interface Used {
  readonly key: string;
  /** The directory, locked; null if this user may not open it. */
  readonly lock: OwnedFd | null;
  /** The number of runs that use it. */
  users: number;
  readonly made: Made[];
}

/** The directories in use, by device and inode. */
const used = new Map<string, Used>();

/** The most tries to get a lock while another process holds it to remove something. */
const MOST_TRIES = 50;

/** The mount points of a run. */
export class MountPoints implements Disposable {
  /** The directories that it has mount points in, in order. */
  readonly #used = new Set<Used>();
  #kept = false;

  /**
   * Keeps other runs from removing the mount points in a directory.
   *
   * @returns False if another process has it locked.
   * @throws {SyscallError} What openat2(2) and statx(2) answer.
   */
  use(directory: number): boolean {
    const key = keyOf(look(directory));
    let entry = used.get(key);
    if (entry === undefined) {
      const lock = lockShared(directory);
      if (lock === "taken") return false;
      entry = { key, lock, users: 0, made: [] };
      used.set(key, entry);
    }
    if (this.#used.has(entry)) return true;
    entry.users++;
    this.#used.add(entry);
    return true;
  }

  /**
   * Makes a directory or an empty file to mount on, in a directory that is used.
   *
   * @returns The directory or file, see {@linkcode letPass}; or why it was not made.
   * @throws {SyscallError} What mkdirat(2) and openat2(2) answer.
   */
  make(directory: number, name: string, isFile: boolean): OwnedFd | NotMade {
    const entry = used.get(keyOf(look(directory)))!;
    using owned = new DisposableStack();
    const parent = owned.use(new OwnedFd(dup(directory)));
    const notMade = tryToMake(directory, name, isFile);
    if (notMade !== null) return notMade;
    const at = owned.use(
      isFile ? openAt(directory, name) : openDirectoryAt(directory, name),
    );
    entry.made.push({ parent, name, at: at.closeWhenDropped(), isFile });
    owned.move();
    return at;
  }

  /** Keeps the mount points: other processes may go on using them. */
  keep(): void {
    this.#kept = true;
  }

  /** Removes the mount points that no run uses any more, the last first. */
  [Symbol.dispose](): void {
    for (const entry of [...this.#used].toReversed()) {
      if (this.#kept) forget(entry);
      if (--entry.users > 0) continue;
      used.delete(entry.key);
      using _ = entry.lock;
      const { lock, made } = entry;
      if (lock !== null && made.length > 0 && lockAlone(lock.fd) === true) {
        for (const one of made.toReversed()) remove(one);
      }
      forget(entry);
    }
    this.#used.clear();
  }
}

/** Why nothing was made: the name is taken, or nothing can be made there. */
export type NotMade = "exists" | "unwritable";

/** The errors that mean that nothing can be made in a directory. */
const UNWRITABLE = [
  EACCES,
  EDQUOT,
  EMLINK,
  ENOSPC,
  EOPNOTSUPP,
  EOVERFLOW,
  EPERM,
  EROFS,
];

/**
 * Makes a directory or an empty file.
 *
 * @returns Null if it was made.
 * @throws {SyscallError} What mkdirat(2) answers.
 */
export function tryToMake(
  directory: number,
  name: string,
  isFile: boolean,
): NotMade | null {
  try {
    if (isFile) makeFile(directory, name);
    else mkdirat(directory, name, 0o755);
    return null;
  } catch (error) {
    if (isErrno(error, EEXIST)) return "exists";
    if (isErrno(error, ...UNWRITABLE)) return "unwritable";
    throw error;
  }
}

function forget({ made }: Used): void {
  for (const { parent, at } of made.splice(0)) {
    parent.close();
    at.close();
  }
}

/** Removes a mount point that was made, if it is still the same, and empty. */
function remove({ parent, name, at, isFile }: Made): void {
  try {
    const flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    const own = statx(at.fd, "", AT_EMPTY_PATH, STATX_INO | STATX_SIZE);
    const found = statx(parent.fd, name, flags, STATX_INO);
    // A tree that failed to become a command's root still has its mounts.
    const isOurs = saysMountRoot(found) || keyOf(found) === keyOf(own);
    if (!isOurs || isFile && own.size !== 0n) return;
    unlinkat(parent.fd, name, isFile ? 0 : AT_REMOVEDIR);
  } catch (error) {
    // The mount point is gone or not empty, or this process's mount namespace has
    // a mount there.
    if (!(error instanceof SyscallError)) throw error;
  }
}

function look(fd: number): Statx {
  return statx(fd, "", AT_EMPTY_PATH, STATX_INO);
}

/** A key for a file: its device and inode. */
function keyOf({ devMajor, devMinor, ino }: Statx): string {
  return `${devMajor}:${devMinor}:${ino}`;
}

/** @returns Null if this user may not read the directory. */
function lockShared(directory: number): OwnedFd | null | "taken" {
  let lock: OwnedFd;
  try {
    lock = open(".", O_RDONLY | O_DIRECTORY, directory);
  } catch (error) {
    if (isErrno(error, EACCES, EPERM)) return null;
    throw error;
  }
  for (let left = MOST_TRIES;; left--) {
    try {
      flock(lock.fd, LOCK_SH | LOCK_NB);
      return lock;
    } catch (error) {
      if (isErrno(error, EAGAIN) && left > 0) {
        Atomics.wait(NEVER, 0, 0, 1);
        continue;
      }
      lock.close();
      if (!(error instanceof SyscallError)) throw error;
      // A file system without locks: nobody else locks the directory, either.
      return isErrno(error, EAGAIN) ? "taken" : null;
    }
  }
}

/** Memory that nobody notifies: waiting on it is a sleep. */
const NEVER = new Int32Array(new SharedArrayBuffer(4));

/**
 * Gives a new directory the permissions that the umask took away, so that every user
 * may pass it.
 *
 * @throws {SyscallError}
 */
export function letPass(directory: OwnedFd): void {
  const { mode } = statx(directory.fd, "", AT_EMPTY_PATH, STATX_MODE);
  if ((mode! & 0o755) === 0o755) return;
  // Somebody may have replaced it: opening an empty directory reveals nothing.
  using readable = open(".", O_RDONLY | O_DIRECTORY, directory.fd);
  if (namesIn(readable.fd).length > 0) return;
  // The name may lead to another directory by now, and fchmod(2) takes no O_PATH
  // descriptor.
  fchmodat(AT_FDCWD, procPath(directory.fd), 0o755);
}
