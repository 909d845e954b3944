import { checkOptions, type OptionNames } from "../base/check.ts";
import { attempt, MountError } from "../error/error.ts";
import {
  BOOT_ID,
  bootId,
  isRunning,
  openRecordDirectory,
  type RecordDirectory,
  thisNamespace,
  whereabouts,
} from "./store.ts";
import { quote } from "../base/text.ts";
import { flock, openat2, statx } from "../sys/file.ts";
import { unlinkat } from "../sys/names.ts";
import {
  AT_EMPTY_PATH,
  LOCK_EX,
  LOCK_NB,
  MNT_DETACH,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDONLY,
  STATX_BASIC_STATS,
  STATX_NLINK,
} from "../sys/constants.ts";
import { isRecordName, type Owner, parseRecord } from "./file.ts";
import { BENEATH, namesIn, readAll, S_IFMT, S_IFREG } from "../fd/open.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import { isErrno, SyscallError } from "../sys/error.ts";
import { EAGAIN, EBUSY, ENOENT } from "../sys/errno.ts";
import { type MountPlace, pathOfMount, placeOfMount } from "../kernel/place.ts";
import { isMounted } from "../kernel/mount_id.ts";
import {
  IS_ROOT,
  isProcessRoot,
  type Refusal,
  refuse,
  SEARCH_LIMIT,
  umountExplained,
} from "../unmount/unmountat.ts";
import { listmount } from "../sys/statmount.ts";
import { describeObstacle, findObstacle } from "../list/obstacle.ts";

/** Options of {@linkcode sweep}. */
export interface SweepOptions {
  /**
   * Changes nothing; tells what would be unmounted.
   *
   * @default {false}
   */
  dryRun?: boolean;
  /**
   * Unmounts mounts that are in use, too (`MNT_DETACH`), unless another mount
   * is inside.
   *
   * @default {false}
   */
  lazy?: boolean;
}

const SWEEP_NAMES: OptionNames<SweepOptions> = { dryRun: true, lazy: true };

/** A mount in a `MountRecord`. */
export interface RecordedMount {
  /** The kernel's unique id of the mount. */
  readonly id: bigint;
  /** Its path; if that is out of sight, the path that it was attached at. */
  readonly target: string;
  /** The process that made it. */
  readonly pid: number;
}

/** A recorded mount that is still there. */
export interface LeftMount extends RecordedMount {
  /**
   * The reason why it is left: the process that made it is alive, it is in another
   * mount namespace, it is outside this thread's root, or unmounting it failed.
   */
  readonly reason:
    | "owner alive"
    | "other namespace"
    | "out of sight"
    | "failed";
  /** The failure, if there was one. */
  readonly error?: MountError;
}

/** A file that has the name of a record, and was left alone. */
export interface IgnoredRecord {
  /** Its path. */
  readonly path: string;
  /** The reason, in words. */
  readonly reason: string;
}

/** The result of {@linkcode sweep}. */
export interface SweepResult {
  /** The mounts that were unmounted, or would be; the newest first. */
  readonly unmounted: RecordedMount[];
  /** The mounts that are still there. */
  readonly left: LeftMount[];
  /** Files that can't be trusted as records. */
  readonly ignored: IgnoredRecord[];
}

/**
 * Unmounts the mounts that processes recorded with a {@linkcode MountRecord},
 * and left when they died.
 *
 * A mount is found by its unique id, wherever it is now; its path is not used.
 * A mount stays while it is in use, or while a mount that is not swept covers
 * it. A recursive bind is unmounted with everything inside it. A process
 * counts as alive while its record is locked, or while a process with its id
 * and start time exists. Records without mounts are removed. One sweep waits
 * for another.
 *
 * Needs Linux 6.8, /proc, the permissions that `MountRecord.open` needs, and
 * CAP_SYS_ADMIN in the user namespace of the mount namespace.
 *
 * @example Unmount what was left
 * ```ts
 * import { sweep } from "@meroton/mountat";
 *
 * for (const { target, pid } of sweep({ dryRun: true }).unmounted) {
 *   console.log(`Process ${pid} left ${target}`);
 * }
 * ```
 *
 * @param options How to unmount.
 * @returns The mounts that were unmounted, and those that were left and why.
 * @throws {TypeError} For an unknown option.
 * @throws {MountError} If the directory of records can't be used: see
 * {@linkcode MountRecord.open}.
 * @throws {Deno.errors.NotCapable} Without a permission.
 */
export function sweep(options: SweepOptions = {}): SweepResult {
  return sweepCounting(options, () => {});
}

/** {@linkcode sweep}, which calls `step` after each unmount. */
export function sweepCounting(
  options: SweepOptions,
  step: () => void,
): SweepResult {
  checkOptions(options, SWEEP_NAMES);
  const directory = openRecordDirectory(false);
  if (directory === null) return { unmounted: [], left: [], ignored: [] };
  const { path, fd } = directory;
  using _ = fd;
  return attempt(
    { action: `sweep ${quote(path)}`, target: path },
    () => new Sweep(directory, options, step).run(),
  );
}

/** A recorded mount that is still there. */
interface FoundMount extends RecordedMount {
  /** True if the mounts inside it are unmounted with it. */
  readonly whole: boolean;
  /** The record's name. */
  readonly record: string;
  /** The reason why it stays; null if it is to be unmounted. */
  readonly reason: LeftMount["reason"] | null;
}

function rank({ reason }: FoundMount): number {
  return reason === "owner alive" ? 1 : 0;
}

class Sweep {
  readonly #directory: RecordDirectory;
  readonly #options: SweepOptions;
  readonly #step: () => void;
  readonly #result: SweepResult = { unmounted: [], left: [], ignored: [] };
  readonly #here = thisNamespace();
  readonly #bootId = attempt(
    { action: `read ${quote(BOOT_ID)}`, target: BOOT_ID },
    bootId,
  );
  /** The mounts that were unmounted, or would be. */
  readonly #gone = new Set<bigint>();
  /** The milliseconds left to search for holders, of all mounts together. */
  #searchLimit = 0;

  constructor(
    directory: RecordDirectory,
    options: SweepOptions,
    step: () => void,
  ) {
    this.#directory = directory;
    this.#options = options;
    this.#step = step;
  }

  run(): SweepResult {
    // Another sweep's lock on a record would look like its owner's.
    flock(this.#directory.fd.fd, LOCK_EX);
    const found = this.#names().flatMap((name) => this.#read(name));
    // Ids count up: a mount inside another is newer. If several records have a
    // mount, a living owner decides.
    found.sort((a, b) =>
      a.id === b.id ? rank(b) - rank(a) : a.id < b.id ? 1 : -1
    );
    this.#takeAll(found.filter(({ id }, i) => id !== found[i - 1]?.id));
    const finished = new Set(found.map(({ record }) => record));
    for (const { id, record } of found) {
      if (!this.#gone.has(id)) finished.delete(record);
    }
    for (const name of finished) this.#remove(name);
    return this.#result;
  }

  /** Unmounts what it can, in rounds: a mount may be in the way of another. */
  #takeAll(mounts: readonly FoundMount[]): void {
    // Holders are searched for only once no further mount can be unmounted.
    for (let last = false;;) {
      this.#searchLimit = last ? SEARCH_LIMIT : 0;
      const left = mounts.flatMap((mount) => this.#take(mount) ?? []);
      const progress = left.length < mounts.length;
      if (left.length === 0 || last && !progress) {
        this.#result.left.push(...left);
        return;
      }
      const ids = new Set(left.map(({ id }) => id));
      mounts = mounts.filter(({ id }) => ids.has(id));
      last = !progress;
    }
  }

  #names(): string[] {
    return namesIn(this.#directory.fd.fd).filter(isRecordName);
  }

  /** Reads a record, and finds those of its mounts that are still there. */
  #read(name: string): FoundMount[] {
    using file = this.#open(name);
    if (file === null) return [];
    const locked = isLocked(file.fd);
    // The owner removed the file, then its lock. It has another file, or none.
    if (linksOf(file.fd) === 0) return [];
    const text = readAll(file.fd);
    const { owner, entries } = parseRecord(text);
    if (owner === null && text.includes("\n")) {
      this.#ignore(name, "it is no record");
      return [];
    }
    const found: FoundMount[] = [];
    // An owner that was killed at once wrote at most a part of the first line.
    const alive = locked || owner !== null && this.#isAlive(owner);
    if (owner !== null && owner.bootId === this.#bootId) {
      for (const entry of entries) {
        const where = whereabouts(entry, this.#here);
        if (where === "gone") continue;
        const reason = alive ? "owner alive" : where === "here" ? null : where;
        const { id, target, whole } = entry;
        const { pid } = owner;
        found.push({ id, target, pid, record: name, reason, whole });
      }
    }
    // The lock that is held here keeps a new owner from using the file.
    if (!alive && found.length === 0) this.#remove(name);
    return found;
  }

  #isAlive(owner: Owner): boolean {
    return owner.bootId === this.#bootId && isRunning(owner);
  }

  /** Opens a record. Returns null if it is gone or can't be trusted. */
  #open(name: string): OwnedFd | null {
    // A FIFO must not be waited for.
    const flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC;
    const { fd, uid } = this.#directory;
    let file: OwnedFd | undefined;
    try {
      file = new OwnedFd(openat2(fd.fd, name, { flags, resolve: BENEATH }));
      const reason = whyDistrusted(file.fd, uid);
      if (reason === null) return file;
      this.#ignore(name, reason);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      if (error.errno !== ENOENT) this.#ignore(name, error.message);
    }
    file?.close();
    return null;
  }

  #ignore(name: string, reason: string): void {
    const path = `${this.#directory.path}/${name}`;
    this.#result.ignored.push({ path, reason });
  }

  /** Unmounts a mount, unless it has a reason to stay. null if it is gone. */
  #take({ id, target, pid, reason, whole }: FoundMount): LeftMount | null {
    const { dryRun = false, lazy = false } = this.#options;
    if (reason !== null) {
      return { id, target: pathOfMount(id) ?? target, pid, reason };
    }
    // The lazy unmount of another mount unmounted this one, too.
    if (isMounted(id) === false) {
      this.#gone.add(id);
      return null;
    }
    const path = pathOfMount(id);
    if (path === null) return { id, target, pid, reason: "out of sight" };
    const start = performance.now();
    try {
      const how = { whole, lazy, dryRun };
      unmountRecorded(id, path, how, this.#gone, this.#searchLimit);
      this.#result.unmounted.push({ id, target: path, pid });
      this.#gone.add(id);
      this.#step();
      return null;
    } catch (error) {
      if (!(error instanceof MountError)) throw error;
      const spent = Math.ceil(performance.now() - start);
      this.#searchLimit = Math.max(0, this.#searchLimit - spent);
      return { id, target: path, pid, reason: "failed", error };
    }
  }

  #remove(name: string): void {
    if (this.#options.dryRun) return;
    try {
      unlinkat(this.#directory.fd.fd, name);
    } catch (error) {
      if (!isErrno(error, ENOENT)) throw error;
    }
  }
}

/** True if a record's owner, which may still be making it, has it locked. */
function isLocked(fd: number): boolean {
  try {
    flock(fd, LOCK_EX | LOCK_NB);
    return false;
  } catch (error) {
    if (isErrno(error, EAGAIN)) return true;
    throw error;
  }
}

function linksOf(fd: number): number {
  return statx(fd, "", AT_EMPTY_PATH, STATX_NLINK).nlink!;
}

/** The reason not to trust a file as this user's record, null if there is none. */
function whyDistrusted(fd: number, owner: number): string | null {
  const { mode, uid, nlink, size } = statx(
    fd,
    "",
    AT_EMPTY_PATH,
    STATX_BASIC_STATS,
  );
  if ((mode! & S_IFMT) !== S_IFREG) return "it is no regular file";
  if (uid !== owner) return "it is another user's";
  if ((mode! & 0o077) !== 0) return "it is not closed to others";
  if (nlink! > 1) return "it has another name";
  return size! > MOST_BYTES ? "it is too large" : null;
}

/** Room for more than the 100,000 mounts that /proc/sys/fs/mount-max allows. */
const MOST_BYTES = 64n << 20n;

/**
 * Unmounts a mount and no other, at the place where the kernel has it.
 *
 * @param gone Mounts that would be gone by now, in a dry run.
 * @throws {MountError} EBUSY if it is in use or another mount is in the way.
 */
function unmountRecorded(
  id: bigint,
  target: string,
  { whole, lazy, dryRun }: { whole: boolean; lazy: boolean; dryRun: boolean },
  gone: ReadonlySet<bigint>,
  searchLimit: number,
): void {
  const attempted = {
    action: `unmount ${quote(target)}`,
    target,
    mountId: id,
    searchLimit,
  };
  attempt(attempted, () => {
    using place = placeOfMount(id);
    const why = whyNotUnmounted(id, place, whole, dryRun ? gone : null);
    if (why !== null) {
      throw refuse({ ...attempted, searchLimit: 0 }, EBUSY, why);
    }
    if (!dryRun) {
      umountExplained(attempted, place!, lazy || whole ? MNT_DETACH : 0);
    }
  });
}

function whyNotUnmounted(
  id: bigint,
  place: MountPlace | null,
  whole: boolean,
  gone: ReadonlySet<bigint> | null,
): Refusal | null {
  if (isProcessRoot(id)) return IS_ROOT;
  const covered = place?.topmost() !== id;
  // A lazy unmount would take mounts inside it, too, even those of others.
  if (!covered && (whole || listmount(id, { count: 1 }).length === 0)) {
    return null;
  }
  const obstacle = findObstacle(id, gone ?? undefined);
  if (obstacle && !(whole && obstacle.where === "inside")) {
    return describeObstacle(obstacle);
  }
  return gone === null || obstacle === undefined
    ? { detail: "another mount is in the way" }
    : null;
}
