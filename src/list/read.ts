/** The two ways to list mounts: by statmount(2), and by the mount table. */
import {
  listmount,
  type MountNamespaceOptions,
  type Statmount,
  statmount,
} from "../sys/statmount.ts";
import {
  fromTable,
  type MountIds,
  type MountInfo,
  statmountTranslator,
} from "./mount_info.ts";
import {
  LSMT_ROOT,
  O_PATH,
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
} from "../sys/constants.ts";
import { fallBack, isErrno, lacks, SyscallError } from "../sys/error.ts";
import { EACCES, EAGAIN, EINVAL, ENOENT, ENOSYS, EPERM } from "../sys/errno.ts";
import { readMountinfo, THIS_THREAD } from "../kernel/mountinfo.ts";
import { isDeleted, isMountRoot, open, pathOf } from "../fd/open.ts";
import { type OwnedFd, procPath } from "../fd/owned_fd.ts";
import type { Attempt } from "../error/attempt.ts";
import { attempt, explain } from "../error/error.ts";
import { quote } from "../base/text.ts";
import { idInTableAt, mountIdAt } from "../kernel/mount_id.ts";

/**
 * Lists mounts by listmount(2) and statmount(2).
 *
 * @returns null if the kernel can't tell everything.
 */
export function listByStatmount(
  namespace: MountNamespaceOptions = {},
): MountInfo[] | null {
  return unlessUnknown(() =>
    askForAll(listmount(LSMT_ROOT, namespace), namespace)
  );
}

/** Asks the kernel. Returns null if it or a seccomp filter refuses the call. */
export function unlessUnknown<T>(ask: () => T, ...others: number[]): T | null {
  try {
    return ask();
  } catch (error) {
    if (lacks("listmount", error, ENOSYS, EPERM, ...others)) return null;
    throw error;
  }
}

const WANTED = STATMOUNT_SB_BASIC | STATMOUNT_MNT_BASIC | STATMOUNT_MNT_ROOT |
  STATMOUNT_MNT_POINT | STATMOUNT_FS_TYPE | STATMOUNT_FS_SUBTYPE |
  STATMOUNT_MNT_OPTS | STATMOUNT_SB_SOURCE | STATMOUNT_PROPAGATE_FROM;

/** Asks for mounts. null if the kernel tells no sources: before Linux 6.13. */
export function askForAll(
  ids: bigint[],
  namespace: MountNamespaceOptions = {},
): MountInfo[] | null {
  const mounts: MountInfo[] = [];
  // The answer omits an empty source, even if the kernel knows sources.
  let knowsSources = false;
  const translate = statmountTranslator();
  for (const id of ids) {
    const answer = askFor(id, namespace);
    if (answer?.mntPoint === undefined) continue;
    knowsSources ||= answer.sbSource !== undefined;
    mounts.push(translate(answer));
  }
  if (knowsSources || mounts.length === 0) return mounts;
  fallBack("statmount, with STATMOUNT_SB_SOURCE");
  return null;
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
 * @returns null if the mount is gone, undefined if this root does not show it.
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

/**
 * True if a mount is not in a process's mount namespace, not even outside the
 * process's root.
 *
 * @param process The process's directory in /proc.
 */
export function isGoneFrom(process: string, id: bigint): boolean {
  using namespace = openNamespace(process);
  try {
    statmount(id, STATMOUNT_MNT_BASIC, { nsFd: namespace.fd });
    return false;
  } catch (error) {
    if (isErrno(error, ENOENT)) return true;
    if (isErrno(error, EPERM)) return false;
    throw error;
  }
}

/**
 * Lists mounts by the mount table.
 *
 * @param process The process's directory in /proc.
 */
export function listByTable(process = THIS_THREAD): MountInfo[] {
  const table = readMountinfo(process);
  const ids = uniqueIds(process);
  // If nothing covers the root of another namespace, listmount(2) takes the
  // first mount on it for the root, and lists nothing else.
  const [first] = table;
  const lacks = process !== THIS_THREAD && first && !ids?.has(first.id);
  return fromTable(table, lacks ? null : ids);
}

/**
 * The unique ids, by the ids in the mount table. null if the kernel does not
 * tell them: before Linux 6.8, or 6.18 for the mounts of another process.
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
  return open(`${process}/ns/mnt`, O_RDONLY);
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

/** The attempt to list, for its errors. */
export function listing(what: string, target: string): Attempt {
  return { action: `list the mounts below ${what}`, target };
}

/** The mounts on a directory and below it. */
export interface Below {
  /** The directory's path, from this thread's root. */
  readonly path: string;
  /** The id of the mount that the directory lies in. */
  readonly holder: bigint;
  readonly mounts: MountInfo[];
}

/**
 * Lists the mounts on a directory and below it, by its descriptor. A mount is
 * on the directory if it has its path, whether it was made before or after the
 * directory was opened. Mounts over a directory that leads to it are left out.
 *
 * @throws {MountError} ENOENT for a directory that is in no mount of this mount
 * namespace.
 */
export function listBelow(
  fd: number,
  attempted: Attempt = listing("the directory", "."),
): Below {
  return attempt(attempted, () => {
    for (let attempt = 1; attempt <= MOST_RENAMES; attempt++) {
      const below = belowByStatmount(fd, attempted) ??
        belowByTable(fd, attempted);
      if (below !== RENAMED) return below;
    }
    throw explain(
      attempted,
      new SyscallError("readlinkat", EAGAIN, [quote(procPath(fd))]),
      { detail: "it is renamed all the time" },
    );
  });
}

const MOST_RENAMES = 100;

/** The directory's path changed while the mounts' paths were asked for. */
const RENAMED = "renamed";

/** A way to ask for mounts. */
interface Way {
  /** The id of the mount that a descriptor lies in. */
  holderOf(fd: number): bigint;
  /** The path and parent of a mount, null when this root does not show it. */
  place(id: bigint): ReachedPlace | null;
  /** A mount and all mounts inside it. Other mounts may be among them. */
  tree(id: bigint): MountInfo[] | null;
}

interface ReachedPlace {
  readonly target: string;
  readonly parentId: bigint;
}

/**
 * Lists the mounts on a directory and below it by listmount(2) and
 * statmount(2).
 *
 * @returns null if the kernel can't tell everything.
 */
export function belowByStatmount(
  fd: number,
  attempted: Attempt,
): Below | typeof RENAMED | null {
  return unlessUnknown(() => below(fd, attempted, () => statmountWay));
}

/** Lists the mounts on a directory and below it by the mount table. */
export function belowByTable(
  fd: number,
  attempted: Attempt,
): Below | typeof RENAMED {
  return below(fd, attempted, tableWay)!;
}

function below(
  fd: number,
  attempted: Attempt,
  find: () => Way,
): Below | typeof RENAMED | null {
  const isRoot = isMountRoot(fd);
  // The path of a mount's root is the mount point, even if the root was deleted
  // in its file system. Only /proc has the path of any other directory.
  const name = isRoot ? null : directoryPath(fd, attempted);
  const way = find();
  const holder = way.holderOf(fd);
  const place = placeOfHolder(way, holder, attempted);
  const path = name ?? place?.target ?? directoryPath(fd, attempted);
  // Nothing can be mounted below a directory that is deleted.
  if (!isRoot && isDeleted(fd)) return { path, holder, mounts: [] };
  const base = baseOf(way, holder, path);
  const tree = way.tree(base);
  if (tree === null) return null;
  const after = isRoot
    ? way.place(holder)?.target ?? path
    : directoryPath(fd, attempted);
  const mounts = select(tree, base, path);
  // The directory may have been elsewhere while the kernel told mounts' paths.
  const wasThere = mounts.every(({ target }) =>
    target === path || target.startsWith(prefixOf(path))
  );
  return after === path && wasThere ? { path, holder, mounts } : RENAMED;
}

function placeOfHolder(
  way: Way,
  holder: bigint,
  attempted: Attempt,
): ReachedPlace | null {
  try {
    return way.place(holder);
  } catch (error) {
    if (!isErrno(error, ENOENT)) throw error;
    throw explain(attempted, error, {
      detail:
        "it is in another mount namespace, in a tree that is not attached, or in a mount that was lazily unmounted",
    });
  }
}

/**
 * The mount that holds all mounts on a directory and below it: the one that the
 * directory lies in. If the directory is the root of a mount in a stack, it is
 * the lowest mount of the stack.
 */
function baseOf(way: Way, holder: bigint, path: string): bigint {
  let base = holder;
  let place = way.place(base);
  while (place?.target === path && place.parentId !== base) {
    const { parentId } = place;
    place = unlessUnknown(() => way.place(parentId), ENOENT);
    if (place?.target === path) base = parentId;
  }
  return base;
}

/** The mounts on a path of the base or below it, and the mounts inside. */
function select(
  tree: MountInfo[],
  base: bigint,
  path: string,
): MountInfo[] {
  const prefix = prefixOf(path);
  const starts = tree.filter(({ id, parentId, target }) =>
    id === base ? target === path : parentId === base &&
      (target === path || target.startsWith(prefix))
  );
  const chosen = new Set(starts);
  const children = Map.groupBy(tree, ({ parentId }) => parentId);
  // Elements that are added during the loop are visited, too.
  for (const { id } of chosen) {
    if (id === base) continue;
    for (const child of children.get(id) ?? []) chosen.add(child);
  }
  return tree.filter((mount) => chosen.has(mount));
}

/** The beginning of all paths below a path. */
function prefixOf(path: string): string {
  return path === "/" ? path : `${path}/`;
}

const statmountWay: Way = {
  holderOf: mountIdAt,
  place(id) {
    const { mntPoint, mntParentId } = statmount(
      id,
      STATMOUNT_MNT_BASIC | STATMOUNT_MNT_POINT,
    );
    return mntPoint === undefined
      ? null
      : { target: mntPoint, parentId: mntParentId! };
  },
  tree(id) {
    const inside = listmount(id);
    const after = inside.findIndex((other) => other > id);
    inside.splice(after === -1 ? inside.length : after, 0, id);
    return askForAll(inside);
  },
};

function tableWay(): Way {
  const table = readMountinfo();
  const ids = uniqueIds();
  const mounts = fromTable(table, ids);
  const holderOf = ids === null ? reusedMountIdAt : mountIdAt;
  return {
    holderOf,
    place(id) {
      const mount = mounts.find((mount) => mount.id === id);
      if (mount !== undefined) return mount;
      // If the root is no mount point, the table lacks the mount it lies in.
      if (id === mountOfRoot(holderOf)) return null;
      throw new SyscallError("statmount", ENOENT, [`{mnt_id=${id}}`]);
    },
    tree: () => mounts,
  };
}

function reusedMountIdAt(fd: number): bigint {
  return BigInt(idInTableAt(fd, ""));
}

function mountOfRoot(holderOf: (fd: number) => bigint): bigint {
  using root = open("/", O_PATH);
  return holderOf(root.fd);
}

/**
 * The path of a directory, from this thread's root.
 *
 * @throws {MountError} Without /proc.
 */
export function directoryPath(fd: number, attempted: Attempt): string {
  try {
    return pathOf(fd);
  } catch (error) {
    if (!isErrno(error, ENOENT)) throw error;
    throw explain(attempted, error, { detail: "/proc is missing" });
  }
}
