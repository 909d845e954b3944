/**
 * Reads lists of mounts: the `mounts` of an OCI runtime configuration, and
 * fstab(5). It is pure code: it mounts nothing, needs no permission, and runs
 * in any JavaScript engine.
 *
 * An entry that can't be done as it is written is a {@linkcode SpecSyntaxError}
 * with its line and column: no entry gets less than it asks for.
 *
 * @example Say where a text is wrong
 * ```ts
 * import { parseFstab, SpecSyntaxError } from "@meroton/mountat/spec";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const error = assertThrows(
 *   () => parseFstab("tmpfs /tmp tmpfs size=1m,remount"),
 *   SpecSyntaxError,
 * );
 * assertEquals([error.line, error.column], [1, 26]);
 * ```
 *
 * @module
 */
export type { HasFd } from "../fd/owned_fd.ts";
export type { IdMap, IdMaps } from "../options/attributes.ts";
export type {
  BindSpec,
  FileSystemSpec,
  MountSpec,
  Recorder,
  SpecCommon,
} from "../options/spec.ts";
export { parseFstab, type ParseFstabOptions } from "./fstab.ts";
export { parseOciMounts, type ParseOciMountsOptions } from "./oci.ts";
export { SpecSyntaxError } from "./malformed.ts";
