/**
 * The system calls, one function each: thin, exact, and without memory. Every
 * argument goes to the kernel as it is; what can't be passed on is a
 * `TypeError` or `RangeError`, what the kernel refuses a {@linkcode SyscallError}.
 *
 * Text is UTF-8. A byte from the kernel that is none becomes the lone surrogate
 * U+DC80…U+DCFF with the byte in its low eight bits, and is that byte again on
 * its way back.
 *
 * Needs Linux on x86_64 or aarch64 and the permission `--allow-ffi`, or
 * `--allow-ffi=PATH` with the path of the C library. Importing needs nothing.
 *
 * @example Mount a tmpfs
 * ```ts
 * import {
 *   AT_FDCWD,
 *   close,
 *   fsconfigCreate,
 *   fsconfigSetString,
 *   fsmount,
 *   fsopen,
 *   MOUNT_ATTR_NODEV,
 *   MOVE_MOUNT_F_EMPTY_PATH,
 *   moveMount,
 *   umount2,
 * } from "@meroton/mountat/sys";
 *
 * const path = Deno.makeTempDirSync();
 * const fs = fsopen("tmpfs");
 * fsconfigSetString(fs, "size", "1m");
 * fsconfigCreate(fs);
 * const mount = fsmount(fs, undefined, MOUNT_ATTR_NODEV);
 * moveMount(mount, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH);
 * close(mount);
 * close(fs);
 * umount2(path);
 * ```
 *
 * @module
 */
export * from "./constants.ts";
export { cloneSleeping } from "./clone_sleeping.ts";
export { close } from "./close.ts";
export { dup, type DupOptions } from "./dup.ts";
export { SyscallError, UnsupportedError } from "./error.ts";
export { fchdir } from "./fchdir.ts";
export { flock } from "./flock.ts";
export type { Argument, DescriptorArgument } from "./format.ts";
export {
  fsconfigCreate,
  fsconfigCreateExclusive,
  fsconfigReconfigure,
  fsconfigSetBinary,
  fsconfigSetFd,
  fsconfigSetFlag,
  fsconfigSetPath,
  fsconfigSetPathEmpty,
  fsconfigSetString,
} from "./fsconfig.ts";
export { fsmount } from "./fsmount.ts";
export { fsopen } from "./fsopen.ts";
export { fspick } from "./fspick.ts";
export {
  type LoopConfig,
  loopConfigure,
  loopCtlGetFree,
} from "./ioctl_loop.ts";
export { kill, SIGKILL } from "./kill.ts";
export { listmount, type ListmountOptions } from "./listmount.ts";
export { mkdirat } from "./mkdirat.ts";
export type { MountNamespaceOptions } from "./mnt_id_req.ts";
export { mount } from "./mount.ts";
export type { MountAttr } from "./mount_attr.ts";
export { mountSetattr } from "./mount_setattr.ts";
export { moveMount } from "./move_mount.ts";
export { openTree } from "./open_tree.ts";
export { openTreeAttr } from "./open_tree_attr.ts";
export { openat2, type OpenHow } from "./openat2.ts";
export { pidfdOpen } from "./pidfd_open.ts";
export { pipe2 } from "./pipe2.ts";
export { pivotRoot } from "./pivot_root.ts";
export { read } from "./read.ts";
export { type LogMessage, readLog } from "./read_log.ts";
export { readlinkat } from "./readlinkat.ts";
export { setns } from "./setns.ts";
export {
  type Statmount,
  statmount,
  type StatmountOptions,
} from "./statmount.ts";
export { type Statx, statx, type StatxTimestamp } from "./statx.ts";
export { setTracer, type TracedCall, type Tracer } from "./trace.ts";
export { umount2 } from "./umount2.ts";
export { unlinkat } from "./unlinkat.ts";
export { unshare } from "./unshare.ts";
export { write } from "./write.ts";
