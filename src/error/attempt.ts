import { AT_FDCWD } from "../sys/constants.ts";
import type { Parameter } from "../options/mount_options.ts";
import type { Holder } from "./holders.ts";

/** An attempt, for messages and to find out why it failed. */
export interface Attempt {
  /**
   * As it follows "Cannot": `mount tmpfs on "proc"`. Of what is done often, a
   * function that makes it once it is wanted.
   */
  readonly action: string | (() => string);
  /** The target that the caller named. */
  readonly target: string;
  /** The file system's type, where one is mounted. */
  readonly type?: string;
  /** The source that is mounted, where one was given. */
  readonly source?: string;
  /** The file that a loop device is to show, while that is set up. */
  readonly image?: string;
  /** True if the target, and what leads to it, were to be made. */
  readonly mkdir?: boolean;
  /** True if no mount point can be made there: in /proc and /sys. */
  readonly inFixed?: boolean;
  /** True if the path is the caller's, and may lead through symlinks. */
  readonly follows?: boolean;
  /** True if a command is to start there. */
  readonly starts?: boolean;
  /** The parameters of the file system that were set, the last one perhaps not. */
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
  /** The mount that is to be unmounted, where that is not the topmost there. */
  readonly mountId?: bigint;
  /** The milliseconds to look for its holders; with 0 nothing is looked at. */
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
  /** True if the directory is the root of the path, and of its symlinks. */
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

/** The look-up of a path of the caller's, which may lead through symlinks. */
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
  /** A name in it; `.` is the directory itself, and what is mounted on it. */
  readonly name: string;
}

/** Things known of a failure beside the failed call. */
export interface Advice {
  /** Advice for a person. */
  readonly hint?: string;
  /** The holders of the mount that is busy. */
  readonly holders?: readonly Holder[];
}
