/** Probes: calls that tell by their errors what the kernel and this thread can do. */
import { moveMount } from "../sys/mount.ts";
import { refusedClone3 } from "../sys/process.ts";
import {
  AT_FDCWD,
  CLONE_EMPTY_MNTNS,
  CLONE_NEWNS,
  MOVE_MOUNT_BENEATH,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
} from "../sys/constants.ts";
import { SyscallError } from "../sys/error.ts";
import { fsconfigCreate, fsmount, fsopen, fspick } from "../sys/fscontext.ts";
import { readlinkat } from "../sys/names.ts";
import { EINVAL } from "../sys/errno.ts";
import { OwnedFd } from "../fd/owned_fd.ts";

/** No call knows this flag: each refuses it before it looks at the rest. */
export const UNKNOWN_FLAG = 0x8000_0000;

/** No process may have so many descriptors. */
export const NOT_OPEN = 0x7fff_ffff;

/**
 * True if the kernel can put a mount beneath another. The answer is undefined
 * if this thread lacks the capability to try it.
 */
export function knowsMountBeneath(): boolean | undefined {
  return knowsFlag(() =>
    moveMount(NOT_OPEN, "x", NOT_OPEN, "x", MOVE_MOUNT_BENEATH)
  );
}

/**
 * True if the kernel knows a flag of a call.
 *
 * @param call Makes the call with the flag, and with a descriptor that is not
 * open. The kernel refuses an unknown flag before it looks at the descriptor.
 * @param last The error of the call if the kernel knows the flag.
 */
export function knowsFlag(
  call: () => void,
  last = "EBADF",
): boolean | undefined {
  const code = errorOf(call);
  if (code === last) return true;
  return code === "EINVAL" || code === "ENOSYS" ? false : undefined;
}

/**
 * True if a mount namespace can start empty. Tries clone3(2): unshare(2) would
 * change this thread.
 */
export function makesEmptyNamespaces(): boolean | undefined {
  const flags = CLONE_EMPTY_MNTNS | BigInt(CLONE_NEWNS);
  return knowsFlag(() => refusedClone3(flags), "EFAULT");
}

/**
 * True if this thread may mount. These calls check the capability before they look
 * at their flags.
 */
export function mayMount(): boolean | undefined {
  const code = [
    () => fsopen("", UNKNOWN_FLAG),
    () => fspick(NOT_OPEN, "", UNKNOWN_FLAG),
    refusedMove,
  ].map(errorOf).find((code) => code !== "ENOSYS");
  return code === undefined ? undefined : code !== "EPERM";
}

/** True if there is a /proc that has this process. */
export function hasProc(): boolean {
  // readlinkat(2) answers EINVAL for a directory. A filter may hide statx(2).
  // Other errors say nothing of /proc: the code that needs /proc reports them.
  const code = errorOf(() => readlinkat(AT_FDCWD, "/proc/self/fd"));
  return code !== "ENOENT" && code !== "ENOTDIR";
}

/**
 * True if the kernel attaches mounts inside a detached mount. The answer is
 * undefined if this thread can't try it.
 */
export function attachesToDetached(): boolean | undefined {
  using outer = detachedTmpfs();
  using inner = detachedTmpfs();
  const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  try {
    moveMount(inner.fd, "", outer.fd, "", flags);
    return true;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return error.errno === EINVAL ? false : undefined;
  }
}

/** Makes a detached tmpfs, which the kernel unmounts when it is closed. */
export function detachedTmpfs(): OwnedFd {
  using context = new OwnedFd(fsopen("tmpfs"));
  fsconfigCreate(context.fd);
  return new OwnedFd(fsmount(context.fd));
}

/** The name of the error that a call fails with; undefined if it succeeds. */
export function errorOf(call: () => void): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    if (error instanceof SyscallError) return error.code;
    throw error;
  }
}

/** A move_mount(2) that every kernel refuses. */
export function refusedMove(): void {
  moveMount(NOT_OPEN, "", NOT_OPEN, "", UNKNOWN_FLAG);
}
