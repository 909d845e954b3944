/** The two ways to list mounts: by asking for each, and by the mount table. */
import {
  fromTable,
  type MountIds,
  type MountInfo,
  statmountTranslator,
} from "./mount_info.ts";
import { type MountinfoLine, parseMountinfo } from "./mountinfo.ts";
import { OwnedFd } from "./owned_fd.ts";
import { readFile } from "./read_file.ts";
import {
  AT_FDCWD,
  LSMT_ROOT,
  O_CLOEXEC,
  O_RDONLY,
  STATMOUNT_FS_SUBTYPE,
  STATMOUNT_FS_TYPE,
  STATMOUNT_MNT_BASIC,
  STATMOUNT_MNT_OPTS,
  STATMOUNT_MNT_POINT,
  STATMOUNT_MNT_ROOT,
  STATMOUNT_PROPAGATE_FROM,
  STATMOUNT_SB_BASIC,
  STATMOUNT_SB_SOURCE,
} from "./sys/constants.ts";
import { EACCES, EINVAL, ENOENT, ENOSYS, EPERM } from "./sys/errno.ts";
import { isErrno } from "./sys/error.ts";
import { listmount } from "./sys/listmount.ts";
import type { MountNamespaceOptions } from "./sys/mnt_id_req.ts";
import { openat2 } from "./sys/openat2.ts";
import { type Statmount, statmount } from "./sys/statmount.ts";

/**
 * Lists by listmount(2) and statmount(2).
 *
 * @returns null where the kernel can't tell all of it.
 */
export function listByStatmount(
  namespace: MountNamespaceOptions = {},
): MountInfo[] | null {
  return unlessUnknown(() =>
    askForAll(listmount(LSMT_ROOT, namespace), namespace)
  );
}

/** null where the kernel, or a seccomp filter, does not answer. */
export function unlessUnknown<T>(ask: () => T, ...others: number[]): T | null {
  try {
    return ask();
  } catch (error) {
    if (isErrno(error, ENOSYS, EPERM, ...others)) return null;
    throw error;
  }
}

const WANTED = STATMOUNT_SB_BASIC | STATMOUNT_MNT_BASIC | STATMOUNT_MNT_ROOT |
  STATMOUNT_MNT_POINT | STATMOUNT_FS_TYPE | STATMOUNT_FS_SUBTYPE |
  STATMOUNT_MNT_OPTS | STATMOUNT_SB_SOURCE | STATMOUNT_PROPAGATE_FROM;

/** Asks for mounts; null before Linux 6.13, which can't tell sources. */
export function askForAll(
  ids: bigint[],
  namespace: MountNamespaceOptions = {},
): MountInfo[] | null {
  const mounts: MountInfo[] = [];
  // Of an empty source the answer has nothing, whatever the kernel knows.
  let knowsSources = false;
  const translate = statmountTranslator();
  for (const id of ids) {
    const answer = askFor(id, namespace);
    if (answer?.mntPoint === undefined) continue;
    knowsSources ||= answer.sbSource !== undefined;
    mounts.push(translate(answer));
  }
  return knowsSources || mounts.length === 0 ? mounts : null;
}

function askFor(
  id: bigint,
  namespace: MountNamespaceOptions,
): Statmount | null {
  try {
    return statmount(id, WANTED, namespace);
  } catch (error) {
    if (isErrno(error, ENOENT)) return null;
    throw error;
  }
}

/**
 * Asks for a mount.
 *
 * @returns null when it is gone, undefined when this root does not show it.
 */
export function findMount(id: bigint): MountInfo | null | undefined {
  try {
    const answer = statmount(id, WANTED);
    return answer.mntPoint === undefined
      ? undefined
      : statmountTranslator()(answer);
  } catch (error) {
    if (isErrno(error, ENOENT)) return null;
    if (isErrno(error, EPERM)) return undefined;
    throw error;
  }
}

/** The directory that /proc has of this thread. */
export const THIS_THREAD = "/proc/thread-self";

/**
 * Lists by the mount table.
 *
 * @param process The directory that /proc has of the process.
 */
export function listByTable(process = THIS_THREAD): MountInfo[] {
  const table = readTable(process);
  const ids = uniqueIds(process);
  // Where nothing covers the root of another namespace, listmount(2) takes what
  // is mounted on it first for the root, and tells of nothing else.
  const [first] = table;
  const lacks = process !== THIS_THREAD && first && !ids?.has(first.id);
  return fromTable(table, lacks ? null : ids);
}

export function readTable(process = THIS_THREAD): MountinfoLine[] {
  return parseMountinfo(readFile(`${process}/mountinfo`));
}

/**
 * The unique ids by those of the table, null where there are none. Linux 6.8 has
 * them, before it can tell all the rest; of another process's mounts Linux 6.18.
 */
export function uniqueIds(
  process = THIS_THREAD,
): Map<number, MountIds> | null {
  if (process === THIS_THREAD) return unlessUnknown(askForIds);
  return unlessUnknown(
    () => {
      using namespace = openNamespace(process);
      return askForIds({ nsFd: namespace.fd });
    },
    EACCES,
    EINVAL,
  );
}

/** Opens a process's mount namespace. */
export function openNamespace(process: string): OwnedFd {
  const flags = O_RDONLY | O_CLOEXEC;
  return new OwnedFd(openat2(AT_FDCWD, `${process}/ns/mnt`, { flags }));
}

function askForIds(
  namespace: MountNamespaceOptions = {},
): Map<number, MountIds> {
  const ids = new Map<number, MountIds>();
  for (const id of listmount(LSMT_ROOT, namespace)) {
    try {
      const answer = statmount(id, STATMOUNT_MNT_BASIC, namespace);
      ids.set(answer.mntIdOld!, { id, parentId: answer.mntParentId! });
    } catch (error) {
      if (!isErrno(error, ENOENT)) throw error;
    }
  }
  return ids;
}
