/** What became of those that a record tells of: its owner, its mounts. */
import { privileges } from "./privileges.ts";
import { isMounted, mountId } from "./mount_id.ts";
import { readFile } from "./read_file.ts";
import type { Entry, MountNamespace, Owner } from "./record_file.ts";
import {
  AT_FDCWD,
  AT_NO_AUTOMOUNT,
  STATMOUNT_MNT_NS_ID,
  STATX_INO,
} from "./sys/constants.ts";
import { EINVAL, ENOENT, ENOSYS, EPERM, ESRCH } from "./sys/errno.ts";
import { isErrno } from "./sys/error.ts";
import { statmount } from "./sys/statmount.ts";
import { statx } from "./sys/statx.ts";

/** This process, as the owner of a record. */
export function thisProcess(): Owner {
  const { pid, startTime } = parseStat(readFile("/proc/self/stat"));
  return { pid, startTime, bootId: bootId() };
}

/** Where the kernel tells which boot this is: random(4). */
export const BOOT_ID = "/proc/sys/kernel/random/boot_id";

/** Which boot this is. */
export function bootId(): string {
  return readFile(BOOT_ID).trimEnd();
}

/**
 * Whether a process of this boot runs: one that has its number later is
 * another. In another PID namespace than its own it can't be found.
 */
export function isRunning({ pid, startTime }: Owner): boolean {
  try {
    const stat = parseStat(readFile(`/proc/${pid}/stat`));
    return stat.startTime === startTime && !/[ZX]/.test(stat.state);
  } catch (error) {
    if (isErrno(error, ENOENT, ESRCH)) return false;
    throw error;
  }
}

/** Parses what proc_pid_stat(5) tells: the command may hold anything. */
function parseStat(
  text: string,
): { pid: number; state: string; startTime: number } {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return {
    pid: parseInt(text),
    state: fields[0]!,
    // The 22nd field; the state is the third.
    startTime: Number(fields[19]),
  };
}

/** The mount namespace of this thread. */
export function thisNamespace(): MountNamespace {
  const path = "/proc/thread-self/ns/mnt";
  return {
    inode: statx(AT_FDCWD, path, 0, STATX_INO).ino!,
    id: namespaceId(),
  };
}

function namespaceId(): bigint | undefined {
  const root = mountId(AT_FDCWD, "/", AT_NO_AUTOMOUNT);
  try {
    return statmount(root, STATMOUNT_MNT_NS_ID).mntNsId;
  } catch (error) {
    // Nor is it known where a seccomp filter hides the call.
    if (isErrno(error, ENOSYS, EPERM)) return undefined;
    throw error;
  }
}

/** Where a recorded mount is. */
export type Whereabouts = "here" | "gone" | "other namespace" | "out of sight";

/**
 * Finds a recorded mount.
 *
 * @param entry What was recorded of it.
 * @param here This thread's mount namespace.
 * @returns "gone" only where that is certain. "Out of sight" it is where no
 * question about it is answered.
 */
export function whereabouts(
  { id, namespace }: Entry,
  here: MountNamespace,
): Whereabouts {
  const mounted = isMounted(id);
  if (mounted === null) return "out of sight";
  if (mounted) return "here";
  // The number is another's only once its namespace is no more.
  if (namespace.inode === here.inode) return "gone";
  return isIn(id, namespace) ? "other namespace" : "gone";
}

/** Whether another mount namespace may have a mount. */
function isIn(id: bigint, namespace: MountNamespace): boolean {
  if (namespace.id === undefined) return true;
  try {
    statmount(id, 0, { nsId: namespace.id });
    return true;
  } catch (error) {
    // Linux 6.17 and before answers the same to who may not ask.
    if (isErrno(error, ENOENT)) return !mayAskAboutAll();
    if (isErrno(error, EINVAL, EPERM)) return true;
    throw error;
  }
}

function mayAskAboutAll(): boolean {
  const { sysAdmin, initialUserNamespace } = privileges();
  return sysAdmin && initialUserNamespace;
}
