import { EBADF } from "../sys/errno.ts";
import { SyscallError } from "../sys/error.ts";
import { close, dup } from "../sys/file.ts";
import { refuseRevoked } from "../base/check.ts";

/** An object that has a descriptor: a `Directory`, a `MountTree`. */
export interface HasFd {
  /** The descriptor, borrowed. */
  readonly fd: number;
}

/** A descriptor that closes with the object that owns it. */
export class OwnedFd implements Disposable {
  #fd: number;
  readonly #owner: string;
  #watched = false;

  /**
   * @param fd The open descriptor; this object closes it.
   * @param owner The owner's name in a message, once it is closed.
   * @param scoped True if the function that makes this object always closes it.
   * Then nothing watches whether it is dropped.
   */
  constructor(fd: number, owner = "descriptor", scoped = false) {
    this.#fd = fd;
    this.#owner = owner;
    if (!scoped) this.closeWhenDropped();
  }

  /**
   * Also closes the descriptor when this object is garbage-collected without a
   * close. Called before a caller gets the object.
   */
  closeWhenDropped(): this {
    if (!this.#watched) dropped.register(this, this.fd, this);
    this.#watched = true;
    return this;
  }

  /** The descriptor's number, valid until it is closed. */
  get fd(): number {
    if (this.#fd === CLOSED) {
      throw new TypeError(`The ${this.#owner} is closed`);
    }
    return this.#fd;
  }

  get closed(): boolean {
    return this.#fd === CLOSED;
  }

  close(): void {
    if (this.#fd === CLOSED) return;
    closeForGood(this.release());
  }

  /** Gives up the descriptor without closing it: the caller closes it. */
  release(): number {
    const { fd } = this;
    this.#fd = CLOSED;
    if (this.#watched) dropped.unregister(this);
    return fd;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Closes a descriptor. Linux closes it even if close(2) fails, so other errors
 * don't matter. EBADF means that other code had closed it already.
 */
function closeForGood(fd: number): void {
  try {
    close(fd);
  } catch (error) {
    if (!(error instanceof SyscallError) || error.errno === EBADF) throw error;
  }
}

const CLOSED = -1;

/** Closes the descriptor of an object that was garbage-collected unclosed. */
const dropped = new FinalizationRegistry<number>(closeForGood);

/**
 * A descriptor that a child process inherits: it has no close-on-exec flag.
 * Close it as soon as the child was started.
 */
export class InheritableFd implements Disposable {
  readonly #fd: OwnedFd;

  /**
   * Copies a descriptor.
   *
   * @param fd The descriptor to copy.
   * @throws {SyscallError} EBADF, EMFILE.
   */
  constructor(fd: number) {
    this.#fd = new OwnedFd(
      dup(fd, { cloexec: false }),
      "inheritable descriptor",
    );
  }

  /** The descriptor's number, the same in the child. Throws once closed. */
  get fd(): number {
    return this.#fd.fd;
  }

  /** Closes the descriptor; a second time does nothing. */
  close(): void {
    this.#fd.close();
  }

  /** Closes the descriptor. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * The descriptor that a caller's `dirfd` means.
 *
 * @throws {TypeError} If it is no descriptor: it is negative, no whole number,
 * or that of a closed handle.
 */
export function descriptorOf(dirfd: number | HasFd): number {
  if (typeof dirfd === "object") refuseRevoked("A directory", dirfd);
  const fd = typeof dirfd === "number" ? dirfd : dirfd?.fd;
  if (!Number.isInteger(fd) || fd < 0 || fd > 0x7fff_ffff) {
    throw new TypeError(
      `A directory must be an open descriptor or a Directory: received ${
        typeof fd === "number" ? fd : `a value of type ${typeof dirfd}`
      }`,
    );
  }
  // Deno's foreign calls take no negative zero.
  return fd + 0;
}

/** The path in /proc of the file that a descriptor refers to. */
export function procPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}
