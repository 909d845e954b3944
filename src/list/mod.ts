/**
 * Lists mounts, and watches them come, go and move.
 *
 * Needs the permission `--allow-ffi`, and `/proc` or Linux 6.8.
 *
 * @example List the mounts below a directory
 * ```ts
 * import { listMounts } from "@meroton/mountat/list";
 *
 * for (const { target, type } of listMounts({ below: "/dev" })) {
 *   console.log(target, type);
 * }
 * ```
 *
 * @module
 */
import "../late.ts";

export { listMounts, type ListMountsOptions } from "./list_mounts.ts";
export type { MountInfo } from "./mount_info.ts";
export {
  type MountEvent,
  type MountWatch,
  watchMounts,
  type WatchMountsOptions,
} from "./watch_mounts.ts";
export type { HasFd } from "../fd/owned_fd.ts";
export type { IdMap } from "../options/attributes.ts";
export { MountError, type MountErrorOptions } from "../error/error.ts";
export type { Holder } from "../error/holders.ts";
export { SyscallError, UnsupportedError } from "../sys/error.ts";
