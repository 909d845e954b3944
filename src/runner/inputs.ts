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
import { BENEATH } from "../fd/open.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import {
  DT_DIR,
  DT_UNKNOWN,
  fchownat,
  openat2,
  readDirectory,
  statx,
} from "../sys/file.ts";
import { isErrno } from "../sys/error.ts";
import { EINVAL, ELOOP, ENOENT, ENOTDIR, EXDEV } from "../sys/errno.ts";
import {
  AT_EMPTY_PATH,
  MOUNT_ATTR_NODEV,
  MS_PRIVATE,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  RESOLVE_NO_XDEV,
  STATX_UID,
} from "../sys/constants.ts";
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
   * Whether the files of an input root are to be protected by an id map.
   *
   * @param root The input root.
   * @throws {SyscallError | UnsupportedError}
   */
  areMapped(root: OwnedFd): boolean {
    const { protectInputs, uid } = this.#plan;
    if (protectInputs === "none") return false;
    const areMapped = protectInputs === "idmap" ||
      // Of the worker's own file system no file can be written to.
      protectInputs === null && uid === 0 && !isFuse(root.fd);
    this.#checkOwner(root, areMapped);
    return areMapped;
  }

  /**
   * Checks that the input files are another user's than the command: their owner
   * may change them, whatever their modes and maps.
   */
  #checkOwner(root: OwnedFd, areMapped: boolean): void {
    // Who makes an action's directory makes its files.
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
        : `The input files can't be protected: they belong to user ${owner}, whom commands run as; run commands as another user, or with protectInputs "none"`,
    );
  }

  /**
   * Gives the directories of an input root to the command, and binds it so that
   * its files are nobody's.
   *
   * @param root The input root.
   * @returns A detached mount of it.
   * @throws {MountError | StatusError} INTERNAL where the file system can't do it.
   */
  mapped(root: OwnedFd): OwnedFd {
    const clone = this.#clone(root);
    try {
      mountSetattr(clone.fd, "", AT_EMPTY_PATH, {
        attrSet: MOUNT_ATTR_NODEV,
        propagation: MS_PRIVATE,
      });
      this.give(root, true);
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
    this.#namespace ??= createUserNamespace({ uids: [map], gids: [map] });
    return this.#namespace.fd;
  }

  /**
   * Gives a directory to the command.
   *
   * @param directory The directory.
   * @param recursive Whether to give it those in it, too. Files stay whose they
   * are.
   * @throws {SyscallError}
   */
  give(directory: OwnedFd, recursive: boolean): void {
    const { uid, gid } = this.#plan;
    giveDirectories(directory.fd, FIRST_ID + uid, FIRST_ID + gid, recursive);
  }

  [Symbol.dispose](): void {
    this.#namespace?.close();
  }
}

/**
 * Changes the owner of a directory, and of those in it, in whatever depth. No
 * symlink is followed, and no mount crossed.
 */
function giveDirectories(
  root: number,
  uid: number,
  gid: number,
  recursive: boolean,
): void {
  using open = new DisposableStack();
  const stack = [openToRead(root, ".")];
  open.defer(() => stack.forEach((directory) => directory.close()));
  /** The names that wait, of each directory that is open. */
  const waiting: string[][] = [];
  for (;;) {
    const directory = stack.at(-1)!;
    if (waiting.length < stack.length) {
      fchownat(directory.fd, "", uid, gid, AT_EMPTY_PATH);
      waiting.push(recursive ? directoriesIn(directory.fd) : []);
    }
    const name = waiting.at(-1)!.pop();
    if (name !== undefined) {
      const inside = openIfDirectory(directory.fd, name);
      if (inside !== null) stack.push(inside);
      continue;
    }
    waiting.pop();
    stack.pop()!.close();
    if (stack.length === 0) return;
  }
}

function directoriesIn(fd: number): string[] {
  const names: string[] = [];
  for (;;) {
    const some = readDirectory(fd);
    if (some.length === 0) return names;
    for (const { name, type } of some) {
      if (type !== DT_DIR && type !== DT_UNKNOWN) continue;
      if (name !== "." && name !== "..") names.push(name);
    }
  }
}

function openToRead(dirfd: number, name: string): OwnedFd {
  return new OwnedFd(
    openat2(dirfd, name, {
      flags: O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
      resolve: BENEATH | RESOLVE_NO_XDEV,
    }),
    "directory",
    true,
  );
}

/** Opens a directory, unless it is none, is gone, or is a mount's root. */
function openIfDirectory(dirfd: number, name: string): OwnedFd | null {
  try {
    return openToRead(dirfd, name);
  } catch (error) {
    if (isErrno(error, ENOTDIR, ELOOP, ENOENT, EXDEV)) return null;
    throw error;
  }
}

function isFuse(fd: number): boolean {
  return /^fuse(\.|$)/.test(fileSystemTypeAt(fd));
}
