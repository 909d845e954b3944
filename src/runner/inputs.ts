/**
 * How the files of an input root are kept from being changed. They are hard links
 * into the worker's cache: what one action wrote into them, all later ones would
 * read.
 */
import type { IdMap } from "../options/attributes.ts";
import { createUserNamespace, openIdmap } from "../mount/idmap.ts";
import { cloneTree } from "../mount/bindat.ts";
import { mountSetattr } from "../sys/mount.ts";
import { attempt } from "../error/error.ts";
import { fileSystemTypeAt } from "../kernel/superblock.ts";
import type { OwnedFd } from "../fd/owned_fd.ts";
import { statx } from "../sys/file.ts";
import { DT_DIR, DT_UNKNOWN, fchownat } from "../sys/names.ts";
import { EINVAL, EPERM } from "../sys/errno.ts";
import {
  AT_EMPTY_PATH,
  MOUNT_ATTR_NODEV,
  MS_PRIVATE,
  STATX_UID,
} from "../sys/constants.ts";
import { Descent, openIfDirectory, openToRead } from "./descent.ts";
import { changeThroughOverlay } from "./overlay.ts";
import { entriesOf } from "./remove.ts";
import { isErrno } from "../sys/error.ts";
import type { ServePlan } from "./options.ts";
import { StatusError } from "./status.ts";
import { MountError } from "../error/error.ts";

/**
 * The first of the ids that actions' ids are on disk: the command's root is this
 * user there.
 */
export const FIRST_ID = 70_000;

/** So many ids has a command. */
const IDS = 65_536;

/** The input roots and temporary directories of a server's actions. */
export class Inputs implements Disposable {
  readonly #plan: ServePlan;
  /** The id map, once it was needed. */
  #namespace: OwnedFd | null = null;

  constructor(plan: ServePlan) {
    this.#plan = plan;
  }

  /**
   * How the files of an input root are to be protected, null if nothing is to
   * be done.
   *
   * @param root The input root.
   * @throws {SyscallError | UnsupportedError}
   */
  protectionOf(root: OwnedFd): "idmap" | "overlay" | null {
    const { protectInputs, uid } = this.#plan;
    if (protectInputs === "none") return null;
    // Whoever owns the files, those that are changed are others.
    if (protectInputs === "overlay") return protectInputs;
    const areMapped = protectInputs === "idmap" ||
      // Of the worker's own file system no file can be written to.
      protectInputs === null && uid === 0 && !isFuse(root.fd);
    this.#checkOwner(root, areMapped);
    return areMapped ? "idmap" : null;
  }

  /**
   * Checks that the input files are another user's than the command: their owner
   * may change them, whatever their modes and maps.
   */
  #checkOwner(root: OwnedFd, areMapped: boolean): void {
    // The user who made an action's directory made its files, too.
    const { uid: owner } = statx(root.fd, "..", 0, STATX_UID);
    const inside = areMapped ? owner! - FIRST_ID : owner!;
    const isOwner = areMapped
      ? inside >= 0 && inside < IDS
      : inside === this.#plan.uid && !isFuse(root.fd);
    if (!isOwner) return;
    throw new StatusError(
      "INTERNAL",
      areMapped
        ? `The input files can't be protected: they belong to user ${owner}, and users ${FIRST_ID} to ${
          FIRST_ID + IDS - 1
        } are the commands'; run the worker as another user`
        : `The input files can't be protected: they belong to user ${owner}, whom commands run as; run commands as another user, or with protectInputs "overlay"`,
    );
  }

  /**
   * Gives the directories of an input root to the command, and binds it so that
   * its files are nobody's.
   *
   * @param root The input root.
   * @returns A detached mount of it.
   * @throws {MountError | StatusError} INTERNAL if the file system can't do it.
   */
  mapped(root: OwnedFd): OwnedFd {
    const clone = this.#clone(root);
    try {
      mountSetattr(clone.fd, "", AT_EMPTY_PATH, {
        attrSet: MOUNT_ATTR_NODEV,
        propagation: MS_PRIVATE,
      });
      this.#give(root, true);
      return clone;
    } catch (error) {
      clone.close();
      throw error;
    }
  }

  #clone(root: OwnedFd): OwnedFd {
    try {
      return attempt(
        { action: "bind the input root with an id map", target: "." },
        () => cloneTree(root.fd, "", 0, openIdmap(this.idmap)),
      );
    } catch (error) {
      if (!(error instanceof MountError && error.errno === EINVAL)) throw error;
      throw new StatusError(
        "INTERNAL",
        `The input files can't be protected: ${
          fileSystemTypeAt(root.fd)
        } has no id maps (${error.message}); run commands as another user than root, or with protectInputs "none"`,
        { cause: error },
      );
    }
  }

  /** A user namespace with the id map. */
  get idmap(): number {
    const map: IdMap = { inside: FIRST_ID, outside: 0, length: IDS };
    try {
      this.#namespace ??= createUserNamespace({ uids: [map], gids: [map] });
    } catch (error) {
      if (!isErrno(error, EPERM)) throw error;
      throw new StatusError(
        "INTERNAL",
        `The input files can't be protected: an id map with root in it takes CAP_SETUID, CAP_SETGID and CAP_SETFCAP (${
          (error as Error).message
        })`,
        { cause: error },
      );
    }
    return this.#namespace.fd;
  }

  /**
   * Runs a command that sees an input root through an overlay, and merges its
   * changes into that.
   *
   * @param root The input root.
   * @param holder The directory above it.
   * @param run Runs the command with the mount that it gets as the root.
   * @param signal Its reason is thrown once it is aborted.
   * @returns What `run` returned.
   * @throws What `run` throws: nothing has changed then.
   * @throws {MountError | SyscallError | UnsupportedError | Error} What can't be
   * made, or merged.
   */
  async overlaid<T>(
    root: OwnedFd,
    holder: OwnedFd,
    run: (overlay: OwnedFd) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    this.#give(root, true);
    return await changeThroughOverlay(root, holder, run, signal);
  }

  /**
   * Gives an action's temporary directory to the command.
   *
   * @throws {SyscallError}
   */
  giveTemporary(directory: OwnedFd): void {
    this.#give(directory, false);
  }

  /**
   * Gives a directory to the command.
   *
   * @param directory The directory.
   * @param recursive True to give it those in it, too. Files stay whose they
   * are.
   * @throws {SyscallError}
   */
  #give(directory: OwnedFd, recursive: boolean): void {
    const { uid, gid, protectInputs } = this.#plan;
    const isOverlaid = protectInputs === "overlay";
    // Without an id map root may write to any directory.
    if (isOverlaid && uid === 0) return;
    const first = isOverlaid ? 0 : FIRST_ID;
    const { fd } = directory;
    if (recursive) giveDirectories(fd, first + uid, first + gid);
    else fchownat(fd, "", first + uid, first + gid, AT_EMPTY_PATH);
  }

  [Symbol.dispose](): void {
    this.#namespace?.close();
  }
}

/**
 * Changes the owner of a directory, and of those in it, in whatever depth. No
 * symlink is followed, and no mount crossed.
 */
function giveDirectories(root: number, uid: number, gid: number): void {
  using way = new Descent();
  /** The names that wait, of each directory on the way. */
  const waiting: string[][] = [];
  way.enter(openToRead(root, "."));
  while (way.depth > 0) {
    if (waiting.length < way.depth) {
      fchownat(way.fd, "", uid, gid, AT_EMPTY_PATH);
      waiting.push(directoriesIn(way.fd));
    }
    const name = waiting.at(-1)!.pop();
    if (name === undefined) {
      waiting.pop();
      way.leave();
      continue;
    }
    const inside = openIfDirectory(way.fd, name);
    if (inside !== null) way.enter(inside);
  }
}

function directoriesIn(fd: number): string[] {
  const names: string[] = [];
  for (let some; (some = entriesOf(fd)) !== null;) {
    for (const { name, type } of some) {
      if (type === DT_DIR || type === DT_UNKNOWN) names.push(name);
    }
  }
  return names;
}

function isFuse(fd: number): boolean {
  return /^fuse(\.|$)/.test(fileSystemTypeAt(fd));
}
