/**
 * The system calls, one function each: thin, exact, and stateless. Every
 * argument goes to the kernel as it is. An argument that can't be passed on is
 * a `TypeError` or `RangeError`; if the kernel refuses, that is a {@linkcode
 * SyscallError}.
 *
 * Text is UTF-8. A byte from the kernel that is not UTF-8 becomes the lone
 * surrogate U+DC80…U+DCFF with the byte in its low eight bits, and that becomes
 * the byte again on its way back.
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
export { cloneSleeping } from "./spawn.ts";
export {
  close,
  dup,
  type DupOptions,
  fchdir,
  flock,
  openat2,
  type OpenHow,
  pipe2,
  read,
  type Statx,
  statx,
  type StatxTimestamp,
  write,
} from "./file.ts";
export {
  type FileHandle,
  mkdirat,
  nameToHandleAt,
  readlinkat,
  unlinkat,
} from "./names.ts";
export {
  type Argument,
  type DescriptorArgument,
  SyscallError,
  UnsupportedError,
} from "./error.ts";
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
  fsmount,
  fsopen,
  fspick,
  type LogMessage,
  readLog,
} from "./fscontext.ts";
export { type LoopConfig, loopConfigure, loopCtlGetFree } from "./loop.ts";
export { kill, pidfdOpen, setns, SIGKILL, unshare } from "./process.ts";
export {
  listmount,
  type ListmountOptions,
  type MountNamespaceOptions,
  type Statmount,
  statmount,
  type StatmountOptions,
} from "./statmount.ts";
export {
  mount,
  type MountAttr,
  mountSetattr,
  moveMount,
  openTree,
  openTreeAttr,
  pivotRoot,
  umount2,
} from "./mount.ts";
export { setTracer, type TracedCall, type Tracer } from "./call.ts";

export * from "./constants.ts";
