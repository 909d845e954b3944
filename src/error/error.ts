/**
 * Room `error`: `MountError` and what it says: what was attempted, hints, who
 * holds a mount.
 */
import type { Holder } from "./holders.ts";
import { SyscallError, UnsupportedError } from "../sys/error.ts";
import { errnoText } from "../sys/errno.ts";
import { printable } from "../base/text.ts";
import type { Attempt } from "./attempt.ts";
import { adviceOn } from "./hint.ts";

/** What more is known of a failure, for {@linkcode MountError}. */
export interface MountErrorOptions {
  /** What the kernel said on the context descriptor. */
  log?: string[];
  /** Words for the end of the message, where the kernel had none. */
  detail?: string;
  /** What to do about it. */
  hint?: string;
  /** Who holds the mount that is busy. */
  holders?: readonly Holder[];
}

/**
 * A mount, unmount or mount point that failed:
 * `Cannot mount tmpfs on "proc": fsconfig: EINVAL (Invalid argument): tmpfs: Unknown parameter 'nosuch'`.
 */
export class MountError extends Error {
  /** The class's name. */
  override readonly name: string = "MountError";
  /** The error's name, like "EINVAL". */
  readonly code: string;
  /** The positive error number. */
  readonly errno: number;
  /** The system call that failed. */
  readonly syscall: string;
  /** The target that the caller named. */
  readonly target: string;
  /** What the kernel said on the context descriptor, oldest first. */
  readonly log: string[];
  /** What to do about it, where that is known. */
  readonly hint?: string;
  /**
   * Who holds the mount that is busy, as far as that was found within half a
   * second; only of an unmount that failed with EBUSY.
   */
  readonly holders?: readonly Holder[];
  /** The failed call with its arguments. */
  declare readonly cause: SyscallError;

  /**
   * Makes the error of a failed call.
   *
   * @param action What could not be done: `mount tmpfs on "proc"`.
   * @param target The target that the caller named.
   * @param cause The failed call.
   * @param options What more is known.
   */
  constructor(
    action: string,
    target: string,
    cause: SyscallError,
    options: MountErrorOptions = {},
  ) {
    const { log = [], detail, hint, holders } = options;
    const { syscall, code, errno } = cause;
    const words = [
      `Cannot ${action}`,
      syscall,
      `${code} (${errnoText(errno)})`,
    ];
    if (log.length > 0) words.push(log.join("; "));
    else if (detail !== undefined) words.push(detail);
    // A type, an option and what the kernel says of it may hold anything.
    super(printable(words.join(": ")), { cause });
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
    this.target = target;
    this.log = log;
    if (hint !== undefined) this.hint = printable(hint);
    if (holders !== undefined) this.holders = holders;
  }
}

/**
 * Does a thing, and says what it was when a system call of it failed.
 *
 * @throws {MountError} For a {@linkcode SyscallError} that `work` threw.
 * @throws {UnsupportedError} Where that was ENOSYS.
 */
export function attempt<T>(attempted: Attempt, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof SyscallError ? explain(attempted, error) : error;
  }
}

/**
 * Makes of a failed call the error that says what could not be done.
 *
 * @param options What is known better than by looking around.
 */
export function explain(
  attempted: Attempt,
  cause: SyscallError,
  options: Omit<MountErrorOptions, "holders"> = {},
): MountError | UnsupportedError {
  const advice = adviceOn(attempted, cause);
  const { action, target } = attempted;
  const done = typeof action === "string" ? action : action();
  if (cause.code === "ENOSYS") {
    return new UnsupportedError(
      printable(`Cannot ${done}: ${cause.syscall}: ${advice.hint}`),
      { cause },
    );
  }
  return new MountError(done, target, cause, { ...advice, ...options });
}
