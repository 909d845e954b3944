import { AT_FDCWD } from "../sys/constants.ts";
import type { Parameter } from "../options/mount_options.ts";
import type { Holder } from "./holders.ts";

/** An attempted action: messages name it, and hints look at its parts. */
export interface Attempt {
  /**
   * The words after "Cannot": `mount tmpfs on "proc"`. A frequent action gives
   * a function, which is called only after a failure.
   */
  readonly action: string | (() => string);
  /** The target that the caller named. */
  readonly target: string;
  /** The type of the file system, if the action mounts one. */
  readonly type?: string;
  /** The source to mount, if the caller gave one. */
  readonly source?: string;
  /** The file behind a loop device, while the action sets that device up. */
  readonly image?: string;
  /** True if the action makes a missing target and its parent directories. */
  readonly mkdir?: boolean;
  /** True if the target is in /proc or /sys, which take no new mount points. */
  readonly inFixed?: boolean;
  /** True if the path is the caller's, and may lead through symlinks. */
  readonly follows?: boolean;
  /** True if a command starts in the target. */
  readonly starts?: boolean;
  /** The file system's parameters that were set; the last may have failed. */
  readonly parameters?: readonly Parameter[];
  /** The path that is looked up. */
  readonly lookup?: Lookup;
  /** The mount that open_tree(2) copies, or move_mount(2) moves or attaches. */
  readonly from?: At;
  /** The mount point that move_mount(2) is given. */
  readonly onto?: At;
  /** The mount's root that mount_setattr(2) and fspick(2) are given. */
  readonly remounted?: At;
  /** The mount point that umount2(2) is given. */
  readonly unmounted?: MountPointName;
  /** The mount to unmount, if it is not the topmost one there. */
  readonly mountId?: bigint;
  /** The milliseconds to search for its holders; 0 means no search. */
  readonly searchLimit?: number;
}

/** A place in the tree, for as long as its descriptor is open. */
export interface At {
  /** The directory that the path starts at. */
  readonly dirfd: number;
  /** A path, empty for the descriptor itself. */
  readonly path: string;
}

/** A path that a call looks up. */
export interface Lookup extends At {
  /** The path's owner in a message: "target", "source". */
  readonly whose: string;
  /** True if the path may lead through symlinks. */
  readonly follows: boolean;
  /** True if the directory serves as the root for the path and its symlinks. */
  readonly inRoot?: boolean;
}

/** The look-up of a target, which follows no symlink unless it is in a root. */
export function lookupOf(
  dirfd: number,
  path: string,
  whose: "target" | "destination" = "target",
  inRoot = false,
): Pick<Attempt, "lookup"> {
  return { lookup: { dirfd, path, whose, follows: inRoot, inRoot } };
}

/** The look-up of a caller's path, which may lead through symlinks. */
export function lookupOfCaller(
  path: string,
  whose: Lookup["whose"],
  dirfd: number = AT_FDCWD,
): Pick<Attempt, "lookup"> {
  return { lookup: { dirfd, path, whose, follows: true } };
}

/** A mount point, as umount2(2) is given it. */
export interface MountPointName {
  /** The directory. */
  readonly dirfd: number;
  /** A name in it; `.` is the directory itself with the mounts on it. */
  readonly name: string;
}

/** What a {@linkcode MountError} tells beside the failed call. */
export interface Advice {
  /** Advice for a person. */
  readonly hint?: string;
  /** The holders of the mount that is busy. */
  readonly holders?: readonly Holder[];
}
