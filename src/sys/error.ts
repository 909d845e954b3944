import { errnoCode, errnoText } from "./errno.ts";
import { AT_FDCWD } from "./constants.ts";

/**
 * A system call that failed, printed as strace(1) prints it:
 * `move_mount(24, "", 22, "proc", MOVE_MOUNT_F_EMPTY_PATH): EINVAL (Invalid argument)`.
 *
 * @example Tell one error from another
 * ```ts
 * import { SyscallError, umount2 } from "@meroton/mountat/sys";
 *
 * try {
 *   umount2("/nowhere");
 * } catch (error) {
 *   if (!(error instanceof SyscallError && error.code === "ENOENT")) throw error;
 * }
 * ```
 */
export class SyscallError extends Error {
  /** The class's name. */
  override readonly name: string = "SyscallError";
  /** The kernel's name of the call: "fsconfig" for the whole family, "read" for `readLog`, "fcntl" for `dup`. */
  readonly syscall: string;
  /** The positive error number. */
  readonly errno: number;
  /**
   * The error's name in the kernel's headers; "E524", for example, if it has
   * none.
   */
  readonly code: string;

  /**
   * Makes the error of a failed call.
   *
   * @param syscall The kernel's name of the call.
   * @param errno The positive error number.
   * @param args The arguments, as strace would print them.
   */
  constructor(syscall: string, errno: number, args: readonly Argument[]) {
    const code = errnoCode(errno);
    const call = `${syscall}(${args.map(formatArgument).join(", ")})`;
    super(`${call}: ${code} (${errnoText(errno)})`);
    this.syscall = syscall;
    this.errno = errno;
    this.code = code;
  }
}

/**
 * This system can't do it: it is not Linux, the processor's system call numbers
 * are unknown, or the kernel lacks a call and there is no other way.
 */
export class UnsupportedError extends Error {
  /** The class's name. */
  override readonly name: string = "UnsupportedError";
}

/** True if an error is a system call that failed with one of these numbers. */
export function isErrno(
  error: unknown,
  ...numbers: number[]
): error is SyscallError {
  return error instanceof SyscallError && numbers.includes(error.errno);
}

/**
 * Features that a kernel may lack or a seccomp filter may hide, and for which
 * there is another way. tests/whole/fallbacks_test.ts has a test for each.
 */
export type Fallback =
  | "statmount, for attributes"
  | "statmount, for attributes of a source"
  | "statmount, for the id in the table"
  | "statmount, for the namespace"
  | "statmount, for the options of a file system"
  | "statmount, for the path of a mount"
  | "statmount, for the type of a file system"
  | "statmount, for what covers a root"
  | "statmount, for what is mounted"
  | "statmount, for what is topmost"
  | "statmount, with STATMOUNT_BY_FD"
  | "statmount, with STATMOUNT_SB_SOURCE"
  | "statmount, with an id of another namespace"
  | "listmount"
  | "listmount, for a unique id"
  | "name_to_handle_at, with AT_HANDLE_MNT_ID_UNIQUE"
  | "openat2, with RESOLVE_CACHED"
  | "memfd_create"
  | "memfd_create, with MFD_EXEC"
  | "fsconfig, with FSCONFIG_CMD_CREATE_EXCL"
  | "fsconfig, with FSCONFIG_SET_FD for a layer"
  | "fsconfig, with FSCONFIG_SET_FD for a number"
  | "fsconfig, of overlay"
  | "fsconfig, with lowerdir+"
  | "mount_setattr, for propagation"
  | "open_tree, of a detached mount"
  | "open_tree_attr"
  | "move_mount, into a detached mount"
  | "unshare, with UNSHARE_EMPTY_MNTNS"
  | "fanotify_init, with FAN_REPORT_MNT"
  | "makecontext"
  | "/proc, for unmounting"
  | "/proc, for the name of a mount point"
  | "/proc, for the children of a process";

let listener: ((missing: Fallback) => void) | null = null;

/** Sets a function to call at each fallback; returns the one set before. */
export function onFallback(next: typeof listener): typeof listener {
  const before = listener;
  listener = next;
  return before;
}

/** Reports that a feature is missing, and that the code takes another way. */
export function fallBack(missing: Fallback): void {
  listener?.(missing);
}

/** True if an error has one of these numbers: then the feature is missing. */
export function lacks(
  missing: Fallback,
  error: unknown,
  ...numbers: number[]
): error is SyscallError {
  if (!isErrno(error, ...numbers)) return false;
  fallBack(missing);
  return true;
}

/** A descriptor among a call's arguments; a tracer may show its file. */
export interface DescriptorArgument {
  /** The descriptor's number, or `AT_FDCWD`. */
  readonly fd: number;
}

/** An argument of a system call, as text or as a descriptor. */
export type Argument = string | DescriptorArgument;

/** Prints an argument as strace(1) does. */
export function formatArgument(argument: Argument): string {
  if (typeof argument === "string") return argument;
  return argument.fd === AT_FDCWD ? "AT_FDCWD" : String(argument.fd);
}
