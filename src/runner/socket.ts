/**
 * The socket that a server listens on. Whoever can connect to it can run commands
 * with the runner's rights: its directory guards it.
 */
import { dirname } from "@std/path/posix/dirname";
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  LOCK_EX,
  LOCK_NB,
  LOCK_UN,
  O_DIRECTORY,
  O_PATH,
  STATX_GID,
  STATX_INO,
  STATX_MODE,
  STATX_TYPE,
  STATX_UID,
} from "../sys/constants.ts";
import { flock, statx } from "../sys/file.ts";
import { unlinkat } from "../sys/names.ts";
import { isErrno } from "../sys/error.ts";
import { EAGAIN, ENOENT } from "../sys/errno.ts";
import { open, S_IFMT } from "../fd/open.ts";
import { type OwnedFd, procPath } from "../fd/owned_fd.ts";
import { attempt } from "../error/error.ts";
import { quote } from "../base/text.ts";

// inode(7)
const S_IFSOCK = 0o140000;
const S_ISVTX = 0o1000;
const S_IWGRP = 0o020;
const S_IWOTH = 0o002;

/** The milliseconds to wait for another server that is starting. */
const MOST_LOCKED = 5000;

/** A socket that can't be listened on. */
export class SocketError extends Error {
  /** The class's name. */
  override readonly name = "SocketError";
}

/** The path of a socket, reserved until the socket is there. */
export class SocketPlace implements Disposable {
  /**
   * The path to listen at. Closing a listener removes whatever is at its path by
   * then. So it listens at a temporary path, and the socket is moved to its place
   * afterwards.
   */
  readonly path: string;
  readonly #directory: OwnedFd;
  readonly #name: string;
  readonly #place: string;
  /** The socket's name until it is moved. */
  readonly #temporary: string;
  /** The socket's inode, once it is in its place. */
  #ino: bigint | undefined;

  /**
   * @param index The socket's number among those of this server.
   * @throws {MountError} When the directory can't be opened.
   * @throws {SocketError} When strangers may write to it, or to one above it.
   */
  constructor(path: string, index: number) {
    this.#temporary = `.${Deno.pid}-${index}`;
    const directory = dirname(path);
    this.#place = path;
    this.#name = path.slice(path.lastIndexOf("/") + 1);
    this.path = `${directory}/${this.#temporary}`;
    const attempted = {
      action: `listen in ${quote(directory)}`,
      target: directory,
      follows: true,
    };
    this.#directory = attempt(attempted, () => open(directory, O_DIRECTORY));
    try {
      checkGuard(directory);
    } catch (error) {
      this.#directory.close();
      throw error;
    }
  }

  /**
   * Waits until no other server is starting here, then checks that nobody listens
   * at the place.
   *
   * @throws {SocketError} If somebody does, if something else than a socket is
   * there, or if another process keeps the directory locked.
   */
  async check(): Promise<void> {
    await this.#lock();
    // Another process with this process's id may have left a socket.
    if (this.#look(this.#temporary) !== null) {
      unlinkat(this.#directory.fd, this.#temporary);
    }
    const found = this.#look(this.#name);
    if (found === null) return;
    if ((found.mode! & S_IFMT) !== S_IFSOCK) {
      throw new SocketError(`${quote(this.#place)} is there, and is no socket`);
    }
    if (await isServed(`${procPath(this.#directory.fd)}/${this.#name}`)) {
      throw new SocketError(
        `${quote(this.#place)} is served already`,
      );
    }
  }

  /** Whoever may read the directory can lock it, and never unlock it. */
  async #lock(): Promise<void> {
    const begin = performance.now();
    for (;;) {
      try {
        return flock(this.#directory.fd, LOCK_EX | LOCK_NB);
      } catch (error) {
        if (!isErrno(error, EAGAIN)) throw error;
      }
      if (performance.now() - begin > MOST_LOCKED) {
        throw new SocketError(
          `${
            quote(dirname(this.#place))
          } is locked by another process: flock(2)`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Puts the socket in its place, instead of one that nobody serves. */
  take(): void {
    const { ino } = this.#look(this.#temporary)!;
    Deno.renameSync(this.path, this.#place);
    this.#ino = ino;
    flock(this.#directory.fd, LOCK_UN);
  }

  #look(name: string) {
    try {
      return statx(
        this.#directory.fd,
        name,
        AT_SYMLINK_NOFOLLOW,
        STATX_TYPE | STATX_INO,
      );
    } catch (error) {
      if (isErrno(error, ENOENT)) return null;
      throw error;
    }
  }

  /** Removes the socket, unless another has taken its place. */
  [Symbol.dispose](): void {
    if (this.#directory.closed) return;
    using _ = this.#directory;
    if (this.#ino === undefined) return;
    if (this.#look(this.#name)?.ino !== this.#ino) return;
    unlinkat(this.#directory.fd, this.#name);
  }
}

async function isServed(path: string): Promise<boolean> {
  try {
    using _ = await Deno.connect({ transport: "unix", path });
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return false;
    throw error;
  }
}

/**
 * Checks that strangers can put nothing in a socket's place: neither in its
 * directory, nor by renaming one above it.
 */
function checkGuard(path: string): void {
  // The path may have symlinks: the kernel goes up from the directory it leads to.
  let above = "";
  for (;;) {
    using directory = open(`${path}/${above}`, O_PATH | O_DIRECTORY);
    const { uid, gid, mode, ino } = statx(
      directory.fd,
      "",
      AT_EMPTY_PATH,
      STATX_UID | STATX_GID | STATX_MODE | STATX_INO,
    );
    const owned = uid === 0 || uid === Deno.uid();
    const strangers = (gid === 0 ? 0 : S_IWGRP) | S_IWOTH;
    // In a sticky one they can't rename what is not theirs.
    const sticky = above !== "" && (mode! & S_ISVTX) !== 0;
    if (!owned || (mode! & strangers) !== 0 && !sticky) {
      throw new SocketError(
        `Others than root may write to ${
          quote(`${path}/${above}`.replace(/\/$/, ""))
        }, and so put a socket of theirs in the place of the runner's: chmod go-w, or listen in another directory`,
      );
    }
    above += "../";
    using next = open(`${path}/${above}`, O_PATH | O_DIRECTORY);
    const upper = statx(next.fd, "", AT_EMPTY_PATH, STATX_INO);
    if (upper.ino === ino) return;
  }
}
