/**
 * Room `error`: `MountError` and what it says: what was attempted, hints, who
 * holds a mount.
 */
import type { Holder } from "./holders.ts";
import { SyscallError, UnsupportedError } from "../sys/error.ts";
import { errnoText } from "../sys/errno.ts";
import { printable } from "../base/text.ts";
import type { Advice, Attempt } from "./attempt.ts";

/** Details of a failure, for {@linkcode MountError}. */
export interface MountErrorOptions {
  /** The kernel's messages on the context descriptor. */
  log?: string[];
  /** The end of the message, if the kernel logged nothing. */
  detail?: string;
  /** Advice for a person. */
  hint?: string;
  /** The holders of the mount that is busy. */
  holders?: readonly Holder[];
}

/**
 * The failure of a mount, an unmount or a mount point: `Cannot mount tmpfs on
 * "proc": fsconfig: EINVAL (Invalid argument): tmpfs: Unknown parameter
 * 'nosuch'`.
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
  /** Advice for a person, if there is any. */
  readonly hint?: string;
  /**
   * The processes and mounts that keep the mount busy, if an unmount failed with
   * EBUSY: those that were found within half a second.
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
    // A type, an option and the kernel's log may hold any characters.
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
 * @param attempted The attempt. Frequent work gives a function, which is called
 * only after a failure.
 * @throws {MountError} For a {@linkcode SyscallError} that `work` threw.
 * @throws {UnsupportedError} If that was ENOSYS.
 */
export function attempt<T>(
  attempted: Attempt | (() => Attempt),
  work: () => T,
): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const made = typeof attempted === "function" ? attempted() : attempted;
    throw explain(made, error);
  }
}

/** A function that finds out what a person can do about a failure. */
type Adviser = (attempted: Attempt, cause: SyscallError) => Advice;

let adviser: Adviser | null = null;

/** Sets the function that explains failures from now on. */
export function setAdviser(advise: Adviser): void {
  adviser = advise;
}

/** A failure that happened before an adviser was set. */
export class Unexplained extends Error {
  /** The class's name. */
  override readonly name = "Unexplained";
  /** The attempt. */
  readonly attempted: Attempt;
  /** The failed call. */
  declare readonly cause: SyscallError;
  /** Details that override those that the adviser finds. */
  readonly options: ExplainOptions;

  constructor(
    attempted: Attempt,
    cause: SyscallError,
    options: ExplainOptions,
  ) {
    super(cause.message, { cause });
    this.attempted = attempted;
    this.options = options;
  }
}

type ExplainOptions = Omit<MountErrorOptions, "holders">;

/**
 * Makes an error of a failed call, which says what was attempted.
 *
 * @param options Details that override those that the adviser finds.
 */
export function explain(
  attempted: Attempt,
  cause: SyscallError,
  options: ExplainOptions = {},
): MountError | UnsupportedError | Unexplained {
  if (adviser === null) return new Unexplained(attempted, cause, options);
  const advice = adviser(attempted, cause);
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

/**
 * Explains a failure that happened before an adviser was set.
 *
 * @param error The failure; any error but {@linkcode Unexplained} is returned.
 * @param dirfd A directory on the mount that holds the mount point. The mount
 * point's own descriptor is closed by now.
 */
export function explainLate(error: unknown, dirfd?: number): unknown {
  if (!(error instanceof Unexplained)) return error;
  const { attempted: { from: _, onto, ...attempted }, cause, options } = error;
  return explain(
    onto === undefined || dirfd === undefined
      ? attempted
      : { ...attempted, onto: { dirfd, path: "" } },
    cause,
    options,
  );
}
