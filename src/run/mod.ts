/**
 * Runs commands in a root of their own, with a `/proc`, `/sys` and `/dev` that
 * only the command sees.
 *
 * Needs Linux 5.12 or later, glibc, the permission `--allow-ffi`, and
 * CAP_SYS_ADMIN in the user namespace of the mount namespace.
 *
 * @example Run a command in a directory that is its root
 * ```ts
 * import { Directory, run } from "@meroton/mountat/run";
 * import { assertEquals } from "@std/assert";
 *
 * using root = Directory.open("/");
 * const { code, stdout } = await run(root, ["cat", "/proc/1/comm"], {
 *   stdout: "piped",
 * });
 * assertEquals(code, 0);
 * console.log(new TextDecoder().decode(stdout));
 * ```
 *
 * @module
 */
import "../late.ts";

export { type InputOption, type OutputOption, run, type Usage } from "./run.ts";
export type { RunOptions, RunResult } from "./options.ts";
export type { LimitName, LimitOption, LimitValue } from "./limits.ts";
export type { Capability } from "./capabilities.ts";
export type { Profile } from "./profile.ts";
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
export type { PassedOver } from "../mount/apply.ts";
