/**
 * Mount trees: no path shows their mounts until the whole tree is attached. If
 * the process ends before that, they are gone.
 *
 * Needs Linux 5.12 or later, the permission `--allow-ffi`, and CAP_SYS_ADMIN in
 * the user namespace of the mount namespace.
 *
 * @example Let a tree of mounts appear at once
 * ```ts
 * import { Directory, MountTree } from "@meroton/mountat/tree";
 * import { assert } from "@std/assert";
 *
 * const path = Deno.makeTempDirSync();
 * using root = Directory.open(path);
 * using tree = MountTree.create({ type: "tmpfs" });
 * tree.mount("proc", { type: "proc", mkdir: true });
 * using _mounted = tree.attach(root);
 * assert(Deno.statSync(`${path}/proc/self`).isDirectory);
 * ```
 *
 * @module
 */
import "../late.ts";

export {
  AppliedMounts,
  applyMounts,
  type ApplyOptions,
  type PassedOver,
} from "./apply.ts";
export { type HasFd, InheritableFd } from "../fd/owned_fd.ts";
export { Directory } from "../directory.ts";
export type { AttributeOptions } from "../options/attributes.ts";
export type { MkdirOptions } from "../mount/mount_point.ts";
export { Mount, type MountOrigin } from "../mount/mount.ts";
export type { MoveOptions } from "../mount/moveat.ts";
export type { RemountOptions } from "../mount/remountat.ts";
export type { MountInfo } from "../list/mount_info.ts";
export type { UnmountStrategy } from "../unmount/strategy.ts";
export { UnmountAllError } from "../unmount/unmount_all.ts";
export type { UnmountOptions } from "../unmount/unmountat.ts";
export { MountTree, type MountTreeOptions } from "../mount/tree.ts";
export type {
  BindOptions,
  BindSpec,
  FileSystemSpec,
  MountOptions,
  MountSpec,
  Recorder,
  SpecCommon,
} from "../options/spec.ts";
export type {
  IdMap,
  IdMaps,
  NewAttributeOptions,
} from "../options/attributes.ts";
export type { OptionsInput, ParameterValue } from "../options/mount_options.ts";
export { MountError, type MountErrorOptions } from "../error/error.ts";
export type { Holder } from "../error/holders.ts";
export { SyscallError, UnsupportedError } from "../sys/error.ts";
