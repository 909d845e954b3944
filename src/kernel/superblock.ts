/** File systems that are mounted, and what the kernel shows of their options. */
import { SUPERBLOCK_FLAGS } from "../options/mount_options.ts";
import { lineAt, mountIdAt, statmountAt } from "./mount_id.ts";
import {
  type MountinfoLine,
  readMountinfo,
  splitOptions,
  THIS_THREAD,
} from "./mountinfo.ts";
import {
  AT_FDCWD,
  MS_RDONLY,
  STATMOUNT_FS_TYPE,
  STATMOUNT_MNT_OPTS,
  STATMOUNT_SB_BASIC,
  STATX_INO,
} from "../sys/constants.ts";
import { statmount } from "../sys/statmount.ts";
import { statx } from "../sys/file.ts";
import { lacks, SyscallError } from "../sys/error.ts";
import { ENOSYS, EPERM } from "../sys/errno.ts";

/** A file system that is mounted, as far as the kernel tells. */
export interface Superblock {
  /** Its type, without a subtype. */
  readonly type: string;
  /** True if nothing can be written to it, whatever its mounts say. */
  readonly readOnly: boolean;
  /** The options that it shows, except the flags of every file system. */
  readonly options: readonly string[];
}

/** A file system that a line of mountinfo shows. */
export interface ShownSuperblock extends Superblock {
  /** Those flags that every file system has, as words. */
  readonly flags: readonly string[];
}

/**
 * The file system of the mount whose root a descriptor is.
 *
 * @returns null if the kernel does not tell. Before Linux 6.11, or if a filter
 * hides statmount(2), /proc is needed.
 */
export function superblockAt(fd: number): Superblock | null {
  const mask = STATMOUNT_SB_BASIC | STATMOUNT_FS_TYPE | STATMOUNT_MNT_OPTS;
  let told: Superblock | null = null;
  try {
    const { sbFlags, fsType, mntOpts } = statmount(mountIdAt(fd), mask);
    told = {
      type: fsType!,
      readOnly: (sbFlags! & MS_RDONLY) !== 0,
      options: splitOptions(mntOpts ?? ""),
    };
    if (mntOpts !== undefined) return told;
  } catch (error) {
    const what = "statmount, for the options of a file system";
    if (!lacks(what, error, ENOSYS, EPERM)) throw error;
  }
  // It has no options, or statmount(2) does not tell them.
  const line = found(() => lineAt(fd, ""));
  return line === undefined ? told : superblockIn(line);
}

/** The type of the file system that a descriptor lies in. */
export function fileSystemTypeAt(fd: number): string {
  try {
    return statmountAt(fd, STATMOUNT_FS_TYPE).fsType!;
  } catch (error) {
    const what = "statmount, for the type of a file system";
    if (!lacks(what, error, ENOSYS)) throw error;
  }
  return lineAt(fd, "")!.type;
}

/**
 * The file system of a type that exists once in the system. It is found by one
 * of its mounts, which this thread or else the first process sees.
 *
 * @returns null if neither sees one.
 */
export function superblockOf(type: string): ShownSuperblock | null {
  for (const process of [THIS_THREAD, "/proc/1"]) {
    const line = found(() =>
      readMountinfo(process).find((line) => line.type === type)
    );
    if (line !== undefined) return superblockIn(line);
  }
  return null;
}

function found(
  look: () => MountinfoLine | undefined,
): MountinfoLine | undefined {
  try {
    return look();
  } catch (error) {
    // There is no /proc, or this process may not read the other's table.
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}

function superblockIn(
  { type, superOptions }: MountinfoLine,
): ShownSuperblock {
  const isFlag = (word: string) => SUPERBLOCK_FLAGS.includes(word);
  return {
    type: type.split(".", 1)[0]!,
    readOnly: superOptions.includes("ro"),
    options: superOptions.filter((word) => !isFlag(word)),
    flags: superOptions.filter(isFlag),
  };
}

/** The inode of the first cgroup namespace (PROC_CGROUP_INIT_INO). */
const FIRST_CGROUP_NAMESPACE = 0xefff_fffbn;

/** True unless this thread is known to be in a cgroup namespace of its own. */
export function mayBeInFirstCgroupNamespace(): boolean {
  try {
    const { ino } = statx(AT_FDCWD, `${THIS_THREAD}/ns/cgroup`, 0, STATX_INO);
    return ino === FIRST_CGROUP_NAMESPACE;
  } catch (error) {
    if (error instanceof SyscallError) return true;
    throw error;
  }
}
