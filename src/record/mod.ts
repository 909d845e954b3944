/**
 * Records of mounts, so that a later process can unmount what a killed one
 * left.
 *
 * Needs Linux 6.8 or later, `/proc`, and the permissions `--allow-ffi` and
 * `--allow-write=/run/mountat`.
 *
 * @example Unmount what dead processes left
 * ```ts
 * import { sweep } from "@meroton/mountat/record";
 *
 * const { unmounted } = sweep();
 * console.log(`${unmounted.length} mounts were left`);
 * ```
 *
 * @module
 */
import "../late.ts";

export { MountRecord, type RecordOptions } from "./record.ts";
export {
  type IgnoredRecord,
  type LeftMount,
  type RecordedMount,
  sweep,
  type SweepOptions,
  type SweepResult,
} from "./sweep.ts";
export type { Recorder } from "../options/spec.ts";
export { MountError, type MountErrorOptions } from "../error/error.ts";
export type { Holder } from "../error/holders.ts";
export { SyscallError, UnsupportedError } from "../sys/error.ts";
