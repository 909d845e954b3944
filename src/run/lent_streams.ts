/**
 * Files that are lent to a command's user. `/dev/stdout` and `/dev/fd/1` open the
 * descriptor's file anew. For that, the pipe, terminal or file must belong to the
 * command's user; but it belongs to the user who started this process.
 */
import { OwnedFd, procPath } from "../fd/owned_fd.ts";
import { S_IFMT, S_IFREG } from "../fd/open.ts";
import { dup, statx } from "../sys/file.ts";
import { fchmodat, fchownat } from "../sys/names.ts";
import { isTerminal } from "../sys/process.ts";
import { SyscallError } from "../sys/error.ts";
import type { Stream } from "./streams.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  STATX_INO,
  STATX_MODE,
  STATX_TYPE,
  STATX_UID,
} from "../sys/constants.ts";

/** A file that is lent. */
interface Lent {
  readonly fd: OwnedFd;
  readonly to: number;
  /** The user that the file belonged to before. */
  readonly owner: number;
  readonly mode: number;
  /** The number of commands that have the file. */
  users: number;
}

/** The files that are lent, by device and inode. */
const lent = new Map<string, Lent>();

/** The files that are lent to a command's user, until this is disposed of. */
export class LentStreams implements Disposable {
  readonly #taken: { key: string; file: Lent }[] = [];

  /**
   * @param input The stream that it reads. A file that it may only read keeps its
   * owner.
   * @param outputs The streams that it writes to.
   * @param user The user that it runs as.
   */
  constructor(input: Stream, outputs: readonly Stream[], user: number) {
    for (const stream of outputs) this.#lend(stream, user, true);
    this.#lend(input, user, false);
  }

  #lend({ fd, isPipe }: Stream, to: number, isOutput: boolean): void {
    // A pipe need not be given back, and another descriptor would keep it open.
    if (isPipe) return void giveTo(fd, to);
    const mask = STATX_TYPE | STATX_MODE | STATX_UID | STATX_INO;
    const found = statx(fd, "", AT_EMPTY_PATH, mask);
    const { uid: owner, devMajor, devMinor, ino } = found;
    const type = found.mode! & S_IFMT;
    const mode = found.mode! & 0o7777;
    const key = `${devMajor}:${devMinor}:${ino}`;
    const known = lent.get(key);
    const isLendable = type === S_IFIFO ||
      (type === S_IFREG ? isOutput : isTerminal(fd));
    if (!isLendable || known === undefined && owner === to) return;
    // A file is lent to one user at a time.
    if (known !== undefined && known.to !== to) return;
    const file = known ??
      { fd: new OwnedFd(dup(fd)), to, owner: owner!, mode, users: 0 };
    if (known === undefined) {
      if (!giveTo(fd, to)) return file.fd.close();
      lent.set(key, file);
    }
    file.users++;
    this.#taken.push({ key, file });
  }

  /** Gives back the files that no other command has. */
  [Symbol.dispose](): void {
    for (const { key, file } of this.#taken.splice(0)) {
      if (--file.users > 0) continue;
      lent.delete(key);
      giveBack(file);
    }
  }
}

/** @returns False in a user namespace, or on a file system without owners. */
function giveTo(fd: number, user: number): boolean {
  try {
    fchownat(fd, "", user, SAME, AT_EMPTY_PATH);
    return true;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return false;
  }
}

function giveBack({ fd, to, owner, mode }: Lent): void {
  using _ = fd;
  try {
    const mask = STATX_MODE | STATX_UID;
    const found = statx(fd.fd, "", AT_EMPTY_PATH, mask);
    // Somebody else has given it to another user.
    if (found.uid !== to) return;
    giveTo(fd.fd, owner);
    if ((found.mode! & 0o7777) !== mode) {
      fchmodat(AT_FDCWD, procPath(fd.fd), mode);
    }
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
  }
}

// inode(7)
const S_IFIFO = 0o010000;

/** The id that leaves a file's group as it is: chown(2). */
const SAME = 0xffff_ffff;
