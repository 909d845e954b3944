import type { BindOptions } from "../bindat.ts";
import type { Directory } from "../directory.ts";
import type { MountOptions } from "../mountat.ts";
import type { OptionNames } from "../sys/options.ts";

/** A mount to make beneath a root: of a new file system, or a bind. */
export type MountSpec = FileSystemSpec | BindSpec;

/** What every {@linkcode MountSpec} has. */
export interface SpecCommon {
  /** Where to mount, relative to the root: `dev/pts`; `.` is the root itself. */
  target: string;
  /**
   * A failure to mount this is passed over (fstab's `nofail`).
   *
   * @default {false}
   */
  optional?: boolean;
  /** Where this is written, for messages: `mounts[3]`, `line 7`. */
  place?: string;
}

/** The names of {@linkcode SpecCommon}. */
export const SPEC_NAMES: OptionNames<SpecCommon> = {
  target: true,
  optional: true,
  place: true,
};

/** A new file system to mount. */
export interface FileSystemSpec extends MountOptions, SpecCommon {}

/** A directory or file to show at a second place. */
export interface BindSpec extends BindOptions, SpecCommon {
  /** Tells it from a file system. */
  type: "bind";
  /** What to bind: a path from the root of this process, not of the mounts. */
  source: string | URL | Directory;
}
