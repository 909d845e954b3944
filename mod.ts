/**
 * Mounts and unmounts file systems relative to a directory file descriptor,
 * with Linux's new mount API.
 *
 * A directory is opened once; from then on its descriptor counts, even if its
 * path changes. Targets are resolved beneath it, through no symlink, so that
 * the directory's content, which may be hostile, misleads nothing.
 *
 * Needs Linux 5.8 or later, the permission `--allow-ffi` (or
 * `--allow-ffi=PATH` with the path of the C library), and CAP_SYS_ADMIN in the
 * user namespace of the mount namespace. Importing needs none of them.
 *
 * @example Mount /proc into a directory for as long as a block lasts
 * ```ts
 * import { Directory } from "@meroton/mountat";
 * import { assert } from "@std/assert";
 *
 * const path = Deno.makeTempDirSync();
 * using root = Directory.open(path);
 * {
 *   using _proc = root.mount("proc", {
 *     type: "proc",
 *     source: "proc",
 *     options: "nosuid,nodev,noexec",
 *     mkdir: true,
 *   });
 *   assert(Deno.statSync(`${path}/proc/self`).isDirectory);
 * } // Here it is unmounted.
 * ```
 *
 * @module
 */
import { merged } from "./src/merged.ts";
import "./src/late.ts";

export {
  AppliedMounts,
  applyMounts,
  type ApplyOptions,
  type PassedOver,
} from "./src/mount/apply.ts";
export type {
  AttributeOptions,
  IdMap,
  IdMaps,
  NewAttributeOptions,
} from "./src/options/attributes.ts";
export { bindat } from "./src/mount/bindat.ts";
export type {
  BindOptions,
  BindSpec,
  FileSystemSpec,
  MountOptions,
  MountSpec,
  Recorder,
  SpecCommon,
} from "./src/options/spec.ts";
export { Directory } from "./src/directory.ts";
export type { MkdirOptions } from "./src/mount/mount_point.ts";
export { MountError, type MountErrorOptions } from "./src/error/error.ts";
export { type Features, features } from "./src/kernel/features.ts";
export type { Holder } from "./src/error/holders.ts";
export { listMounts, type ListMountsOptions } from "./src/list/list_mounts.ts";
export type { MountInfo } from "./src/list/mount_info.ts";
export { Mount, type MountOrigin } from "./src/mount/mount.ts";
export type {
  OptionsInput,
  ParameterValue,
} from "./src/options/mount_options.ts";
export { MountTree, type MountTreeOptions } from "./src/mount/tree.ts";
export { mountat } from "./src/mount/mountat.ts";
export { moveat, type MoveOptions } from "./src/mount/moveat.ts";
export { type HasFd, InheritableFd } from "./src/fd/owned_fd.ts";
export { remountat, type RemountOptions } from "./src/mount/remountat.ts";
export {
  type InputOption,
  type OutputOption,
  run,
  type Usage,
} from "./src/run/run.ts";
export type { RunOptions, RunResult } from "./src/run/options.ts";
export type { LimitName, LimitOption, LimitValue } from "./src/run/limits.ts";
export type { Capability } from "./src/run/capabilities.ts";
export type { Profile } from "./src/run/profile.ts";
export { SpecSyntaxError } from "./src/spec/malformed.ts";
export { MountRecord, type RecordOptions } from "./src/record/record.ts";
export {
  type IgnoredRecord,
  type LeftMount,
  type RecordedMount,
  sweep,
  type SweepOptions,
  type SweepResult,
} from "./src/record/sweep.ts";
export { SyscallError, UnsupportedError } from "./src/sys/error.ts";
export { trace } from "./src/sys/strace.ts";
export type { UnmountStrategy } from "./src/unmount/strategy.ts";
export { UnmountAllError } from "./src/unmount/unmount_all.ts";
export { unmountat, type UnmountOptions } from "./src/unmount/unmountat.ts";
export {
  type MountEvent,
  type MountWatch,
  watchMounts,
  type WatchMountsOptions,
} from "./src/list/watch_mounts.ts";

// Not awaited: a module that awaits can't be bundled as a script.
if (import.meta.main && !merged) start();

async function start(): Promise<never> {
  const { main } = await import("./cli.ts");
  const { runProgram } = await import("./src/program.ts");
  return await runProgram(import.meta.url, main);
}
