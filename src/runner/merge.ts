/**
 * Moves a command's changes from the upper layer of an overlay to the directory that
 * was its lower layer: see the kernel's Documentation/filesystems/overlayfs.rst.
 *
 * The command made everything in the upper layer. So names are used one at a time,
 * in directories that are open, through no symlink; and files are renamed, never
 * opened.
 */
import { type Statx, statx } from "../sys/file.ts";
import {
  type DirectoryEntry,
  DT_CHR,
  DT_DIR,
  DT_UNKNOWN,
  fchmodat,
  fchownat,
  renameat2,
  unlinkat,
  utimensat,
} from "../sys/names.ts";
import {
  fgetxattr,
  flistxattr,
  fremovexattr,
  fsetxattr,
  llistxattr,
  lremovexattr,
} from "../sys/xattr.ts";
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  STATX_ATIME,
  STATX_GID,
  STATX_MODE,
  STATX_MTIME,
  STATX_TYPE,
  STATX_UID,
} from "../sys/constants.ts";
import {
  EEXIST,
  EISDIR,
  ENODATA,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
} from "../sys/errno.ts";
import { isErrno } from "../sys/error.ts";
import { decodeText } from "../base/text.ts";
import { S_IFMT } from "../fd/open.ts";
import { type OwnedFd, procPath } from "../fd/owned_fd.ts";
import { Descent, openIfDirectory, openToRead } from "./descent.ts";
import { entriesOf, moveUp } from "./remove.ts";

/** The prefix of overlay's own extended attributes. */
const OWN = "trusted.overlay.";

/** The attribute of a directory that hides the one below it. */
export const OPAQUE: string = `${OWN}opaque`;

/** The attribute of a directory whose files may have attributes of overlay's. */
const IMPURE = `${OWN}impure`;

/**
 * The attribute of a directory that shows one of another name in the lower layer.
 * This overlay was not asked to make any.
 */
const REDIRECT = `${OWN}redirect`;

/** A directory of the upper layer, on the way down. */
interface Place {
  readonly name: string;
  /**
   * Its attributes before anything was taken out of it, if it changes a directory of
   * the lower layer; null if it is moved there itself.
   */
  readonly changes: Attributes | null;
  /** True if files in it may have attributes of overlay's. */
  readonly isImpure: boolean;
  /** The directories in it that are not merged yet. */
  readonly waiting: string[];
}

/**
 * Merges an upper layer into the lower one. Nobody may use the overlay any more.
 *
 * @param upper The upper layer, made without `redirect_dir` and `metacopy`. The
 * rest of it is of no use afterwards.
 * @param lower The lower layer.
 * @param discarded A directory on the same mount, for directories of the lower
 * layer that were removed.
 * @returns What does so, step by step.
 * @throws {SyscallError} What the calls answer: the lower layer has some of the
 * changes then.
 */
export function* mergeLayers(
  upper: OwnedFd,
  lower: OwnedFd,
  discarded: OwnedFd,
): Generator<void> {
  using merge = new Merge(discarded.fd);
  merge.begin(upper.fd, lower.fd);
  while (!merge.isDone) {
    yield* merge.takeFiles();
    merge.goOn();
  }
}

class Merge implements Disposable {
  readonly #places: Place[] = [];
  readonly #uppers = new Descent();
  /** The directories of the lower layer that the places change. */
  readonly #lowers = new Descent();
  readonly #discarded: number;
  #count = 0;

  constructor(discarded: number) {
    this.#discarded = discarded;
  }

  get isDone(): boolean {
    return this.#places.length === 0;
  }

  begin(upper: number, lower: number): void {
    this.#uppers.enter(openToRead(upper, "."));
    this.#lowers.enter(openToRead(lower, "."));
    this.#enter(".", flistxattr(this.#uppers.fd), true);
  }

  #enter(name: string, xattrs: readonly string[], changes: boolean): void {
    this.#places.push({
      name,
      changes: changes ? attributesOf(this.#uppers.fd) : null,
      isImpure: xattrs.includes(IMPURE),
      waiting: [],
    });
  }

  /** Takes what is no directory from the place, and has the rest wait. */
  *takeFiles(): Generator<void> {
    const { changes, isImpure, waiting } = this.#places.at(-1)!;
    const { fd } = this.#uppers;
    for (let some; (some = entriesOf(fd)) !== null;) {
      for (const entry of some) {
        const { name } = entry;
        const type = typeOf(fd, entry);
        if (type === DT_DIR) waiting.push(name);
        else if (type === DT_CHR && isWhiteout(fd, name)) {
          if (changes !== null) this.#remove(name);
          else unlinkat(fd, name);
        } else {
          if (isImpure) cleanFile(fd, name);
          if (changes !== null) this.#move(name);
        }
      }
      yield;
    }
  }

  /** Goes on to the next place that waits, once this one was seen to. */
  goOn(): void {
    while (!this.isDone) {
      const name = this.#places.at(-1)!.waiting.pop();
      if (name !== undefined) {
        this.#goDown(name);
        return;
      }
      this.#leave();
    }
  }

  #goDown(name: string): void {
    const above = this.#places.at(-1)!;
    this.#uppers.enter(openToRead(this.#uppers.fd, name));
    const { fd } = this.#uppers;
    const xattrs = flistxattr(fd);
    const lower = above.changes === null || isOpaque(fd, xattrs)
      ? null
      : openIfDirectory(this.#lowers.fd, name);
    if (lower !== null) this.#lowers.enter(lower);
    else {
      for (const xattr of xattrs.filter(isOwn)) fremovexattr(fd, xattr);
    }
    this.#enter(name, xattrs, lower !== null);
  }

  #leave(): void {
    const { name, changes } = this.#places.pop()!;
    if (changes !== null) {
      copyAttributes(this.#uppers.fd, this.#lowers.fd, changes);
      this.#lowers.leave();
      this.#uppers.leave();
      return;
    }
    this.#uppers.leave();
    // A directory that is moved itself takes its content along.
    if (this.#places.at(-1)!.changes !== null) this.#move(name);
  }

  /** Moves a file, or a directory that changes none, to the lower layer. */
  #move(name: string): void {
    const [from, to] = [this.#uppers.fd, this.#lowers.fd];
    try {
      renameat2(from, name, to, name);
    } catch (error) {
      if (!isErrno(error, EISDIR, ENOTDIR, ENOTEMPTY, EEXIST)) throw error;
      this.#remove(name);
      renameat2(from, name, to, name);
    }
  }

  /** Removes what the lower layer has, if anything. */
  #remove(name: string): void {
    const { fd } = this.#lowers;
    try {
      unlinkat(fd, name);
    } catch (error) {
      if (isErrno(error, ENOENT)) return;
      if (!isErrno(error, EISDIR)) throw error;
      this.#count = moveUp(fd, name, this.#discarded, this.#count);
    }
  }

  [Symbol.dispose](): void {
    this.#uppers[Symbol.dispose]();
    this.#lowers[Symbol.dispose]();
  }
}

function typeOf(dirfd: number, { name, type }: DirectoryEntry): number {
  if (type !== DT_UNKNOWN) return type;
  const { mode } = statx(dirfd, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE);
  // As dirent.h has it: IFTODT().
  return (mode! & S_IFMT) >> 12;
}

function isWhiteout(dirfd: number, name: string): boolean {
  const { rdevMajor, rdevMinor } = statx(
    dirfd,
    name,
    AT_SYMLINK_NOFOLLOW,
    STATX_TYPE,
  );
  return rdevMajor === 0 && rdevMinor === 0;
}

function isOpaque(fd: number, xattrs: readonly string[]): boolean {
  if (xattrs.includes(REDIRECT)) {
    throw new Error(`A directory of the upper layer has ${REDIRECT}`);
  }
  if (!xattrs.includes(OPAQUE)) return false;
  const value = decodeText(fgetxattr(fd, OPAQUE));
  // "x" is for layers that were not made by an overlay.
  if (value === "y") return true;
  throw new Error(`A directory of the upper layer has ${OPAQUE}=${value}`);
}

function isOwn(xattr: string): boolean {
  return xattr.startsWith(OWN);
}

/**
 * Takes overlay's own attributes from a file. The calls that take a descriptor and
 * a name came with Linux 6.13 only.
 */
function cleanFile(dirfd: number, name: string): void {
  const path = `${procPath(dirfd)}/${name}`;
  for (const xattr of llistxattr(path).filter(isOwn)) {
    lremovexattr(path, xattr);
  }
}

/** The attributes of a directory, other than its extended ones. */
type Attributes = Required<
  { [Name in typeof ATTRIBUTES[number]]: NonNullable<Statx[Name]> }
>;

const ATTRIBUTES = ["mode", "uid", "gid", "atime", "mtime"] as const;

function attributesOf(fd: number): Attributes {
  const mask = STATX_MODE | STATX_UID | STATX_GID | STATX_ATIME | STATX_MTIME;
  return statx(fd, "", AT_EMPTY_PATH, mask) as Attributes;
}

/**
 * Makes a directory's attributes those of another.
 *
 * @param from The other, open to be read.
 * @param to The directory, open to be read.
 * @param attributes What the other was before.
 * @throws {SyscallError} What the calls answer.
 */
export function copyAttributes(
  from: number,
  to: number,
  attributes: Attributes = attributesOf(from),
): void {
  const { mode, uid, gid, atime, mtime } = attributes;
  const is = attributesOf(to);
  const isGiven = uid !== is.uid || gid !== is.gid;
  if (isGiven) fchownat(to, "", uid, gid, AT_EMPTY_PATH);
  // An access control list changes the mode, too.
  const changed = copyExtended(from, to);
  if (isGiven || changed || mode !== is.mode) fchmodat(to, ".", mode & 0o7777);
  utimensat(to, "", atime, mtime, AT_EMPTY_PATH);
}

/** @returns True if that has changed anything. */
function copyExtended(from: number, to: number): boolean {
  const wanted = flistxattr(from).filter((name) => !isOwn(name));
  const found = flistxattr(to).filter((name) => !isOwn(name));
  let changed = false;
  for (const name of found) {
    if (wanted.includes(name)) continue;
    try {
      fremovexattr(to, name);
    } catch (error) {
      // On xfs an access control list has two names: it is gone with the first.
      if (!isErrno(error, ENODATA)) throw error;
    }
    changed = true;
  }
  for (const name of wanted) {
    const value = fgetxattr(from, name);
    const isSame = found.includes(name) &&
      decodeText(fgetxattr(to, name)) === decodeText(value);
    if (isSame) continue;
    fsetxattr(to, name, value);
    changed = true;
  }
  return changed;
}
