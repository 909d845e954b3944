/** Lists what is mounted on a directory and below it, by its descriptor. */
import { procPath } from "./dirfd.ts";
import { attempt, explain } from "./error.ts";
import type { Attempt } from "./hint/hint.ts";
import { mountIdAt } from "./mount_id.ts";
import { fromTable, type MountInfo } from "./mount_info.ts";
import { OwnedFd } from "./owned_fd.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_CLOEXEC,
  O_PATH,
  STATMOUNT_MNT_BASIC,
  STATMOUNT_MNT_POINT,
  STATX_ATTR_MOUNT_ROOT,
  STATX_MNT_ID,
  STATX_NLINK,
} from "./sys/constants.ts";
import { EAGAIN, ENOENT } from "./sys/errno.ts";
import { isErrno, SyscallError } from "./sys/error.ts";
import { quote } from "./sys/format.ts";
import { listmount } from "./sys/listmount.ts";
import { openat2 } from "./sys/openat2.ts";
import { readlinkat } from "./sys/readlinkat.ts";
import { statmount } from "./sys/statmount.ts";
import { statx } from "./sys/statx.ts";
import {
  askForAll,
  readTable,
  uniqueIds,
  unlessUnknown,
} from "./ways_to_list.ts";

/** What is attempted, for what goes wrong with it. */
export function listing(what: string, target: string): Attempt {
  return { action: `list the mounts below ${what}`, target };
}

/** What is mounted on a directory and below it. */
export interface Below {
  /** The directory's path, from this thread's root. */
  readonly path: string;
  /** The id of the mount that the directory lies in. */
  readonly holder: bigint;
  readonly mounts: MountInfo[];
}

/**
 * Lists what is mounted on a directory and below it, by its descriptor. On it
 * are all mounts that have its path, whether it was opened before or after; not
 * below it is what is mounted over a directory that leads to it.
 *
 * @throws {MountError} ENOENT for a directory that is in no mount of this mount
 * namespace.
 */
export function listBelow(
  fd: number,
  attempted: Attempt = listing("the directory", "."),
): Below {
  return attempt(attempted, () => {
    for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt++) {
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

const MOST_ATTEMPTS = 100;

/** The directory's path changed while the mounts' paths were asked for. */
const RENAMED = "renamed";

/** A way to ask for mounts. */
interface Way {
  /** The id of the mount that a descriptor lies in. */
  holderOf(fd: number): bigint;
  /** Where a mount is, or null when this root does not show it. */
  place(id: bigint): Place | null;
  /** A mount with all that is mounted in it; there may be others among them. */
  tree(id: bigint): MountInfo[] | null;
}

interface Place {
  readonly target: string;
  readonly parentId: bigint;
}

/**
 * Lists by listmount(2) and statmount(2) what is at and below a directory.
 *
 * @returns null where the kernel can't tell all of it.
 */
export function belowByStatmount(
  fd: number,
  attempted: Attempt,
): Below | typeof RENAMED | null {
  return unlessUnknown(() => below(fd, attempted, () => statmountWay));
}

/** Lists by the mount table what is at and below a directory. */
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
  const { attributes, nlink } = statx(fd, "", AT_EMPTY_PATH, STATX_NLINK);
  const isRoot = (attributes & BigInt(STATX_ATTR_MOUNT_ROOT)) !== 0n;
  // Of a mount's root, which may be deleted where it comes from, the mount
  // point is the path; for any other directory only /proc has it.
  const name = isRoot ? null : pathOf(fd, attempted);
  const way = find();
  const holder = way.holderOf(fd);
  const place = placeOfHolder(way, holder, attempted);
  const path = name ?? place?.target ?? pathOf(fd, attempted);
  // Nothing can be mounted below a directory that is deleted.
  if (!isRoot && nlink === 0) return { path, holder, mounts: [] };
  const base = baseOf(way, holder, path);
  const tree = way.tree(base);
  if (tree === null) return null;
  const after = isRoot
    ? way.place(holder)?.target ?? path
    : pathOf(fd, attempted);
  if (after !== path) return RENAMED;
  return { path, holder, mounts: select(tree, base, path) };
}

function placeOfHolder(
  way: Way,
  holder: bigint,
  attempted: Attempt,
): Place | null {
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
 * The mount in which are all that are on a directory and below it: the one that
 * the directory lies in, or the lowest of a stack whose root it is.
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

/** What of a tree is on a path and below it, through the base's own directories. */
function select(
  tree: MountInfo[],
  base: bigint,
  path: string,
): MountInfo[] {
  const prefix = path === "/" ? path : `${path}/`;
  const starts = tree.filter(({ id, parentId, target }) =>
    id === base ? target === path : parentId === base &&
      (target === path || target.startsWith(prefix))
  );
  const chosen = new Set(starts);
  const children = Map.groupBy(tree, ({ parentId }) => parentId);
  // What is added while the set is walked is walked, too.
  for (const { id } of chosen) {
    if (id === base) continue;
    for (const child of children.get(id) ?? []) chosen.add(child);
  }
  return tree.filter((mount) => chosen.has(mount));
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
  const table = readTable();
  const ids = uniqueIds();
  const mounts = fromTable(table, ids);
  const holderOf = ids === null ? reusedMountIdAt : mountIdAt;
  return {
    holderOf,
    place(id) {
      const mount = mounts.find((mount) => mount.id === id);
      if (mount !== undefined) return mount;
      // A root that is no mount point lies in a mount that the table lacks.
      if (id === mountOfRoot(holderOf)) return null;
      throw new SyscallError("statmount", ENOENT, [`{mnt_id=${id}}`]);
    },
    tree: () => mounts,
  };
}

function reusedMountIdAt(fd: number): bigint {
  const { mntId } = statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID);
  return mntId ?? mountIdAt(fd);
}

function mountOfRoot(holderOf: (fd: number) => bigint): bigint {
  using root = new OwnedFd(
    openat2(AT_FDCWD, "/", { flags: O_PATH | O_CLOEXEC }),
  );
  return holderOf(root.fd);
}

/**
 * The path of a directory, from this thread's root.
 *
 * @throws {MountError} Without /proc.
 */
export function pathOf(fd: number, attempted: Attempt): string {
  try {
    return readlinkat(AT_FDCWD, procPath(fd));
  } catch (error) {
    if (!isErrno(error, ENOENT)) throw error;
    throw explain(attempted, error, { detail: "/proc is missing" });
  }
}
