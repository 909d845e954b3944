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

/** More that is known of a failure, for {@linkcode MountError}. */
export interface MountErrorOptions {
  /** The kernel's messages on the context descriptor. */
  log?: string[];
  /** Words for the end of the message, where the kernel had none. */
  detail?: string;
  /** Advice for a person. */
  hint?: string;
  /** The holders of the mount that is busy. */
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
  /** The kernel's messages on the context descriptor, oldest first. */
  readonly log: string[];
  /** Advice for a person, where there is any. */
  readonly hint?: string;
  /**
   * The holders of the mount that is busy, as far as they were found within half a
   * second; only of an unmount that failed with EBUSY.
   */
  readonly holders?: readonly Holder[];
  /** The failed call with its arguments. */
  declare readonly cause: SyscallError;

  /**
   * Makes the error of a failed call.
   *
   * @param action The action that failed: `mount tmpfs on "proc"`.
   * @param target The target that the caller named.
   * @param cause The failed call.
   * @param options More that is known.
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
 * Does some work. When a system call fails, the error says what was attempted.
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
 * Makes the error that says what could not be done, of the call that failed.
 *
 * @param options Details that hold over those that are found by looking around.
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
