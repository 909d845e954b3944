import { descriptorOf, procPath } from "./dirfd.ts";
import type { Directory } from "./directory.ts";
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
import { EAGAIN, EINVAL, ENOENT, ESRCH } from "./sys/errno.ts";
import { isErrno, SyscallError, UnsupportedError } from "./sys/error.ts";
import { quote } from "./sys/format.ts";
import { listmount } from "./sys/listmount.ts";
import { openat2 } from "./sys/openat2.ts";
import { checkOptions, type OptionNames } from "./sys/options.ts";
import { readlinkat } from "./sys/readlinkat.ts";
import { statmount } from "./sys/statmount.ts";
import { statx } from "./sys/statx.ts";
import {
  askForAll,
  listByStatmount,
  listByTable,
  readTable,
  uniqueIds,
  unlessUnknown,
} from "./ways_to_list.ts";

/** Options of {@linkcode listMounts}. */
export interface ListMountsOptions {
  /**
   * Only what is mounted on this directory and below it: a path, which is the
   * caller's and may hold symlinks, or a `Directory`, whatever its path has
   * become. With `namespace` it is an absolute path there, and only compared.
   *
   * @default {undefined}, all that the root shows
   */
  below?: string | Directory;
  /**
   * Whose mounts: with a number, those that the process with this id sees from
   * its root; their ids are unique since Linux 6.18, and with CAP_SYS_ADMIN
   * there. With a bigint those of the mount namespace that has this id
   * (`mntNsId` of statmount(2)): since Linux 6.13, and only with CAP_SYS_ADMIN
   * in the user namespace that owns it. What an initramfs left beneath the root
   * is among them.
   *
   * @default {undefined}, this thread's
   */
  namespace?: number | bigint;
}

const LIST_NAMES: OptionNames<ListMountsOptions> = {
  below: true,
  namespace: true,
};

/**
 * Lists mounts, in the order of the mount table: since Linux 6.8 from the
 * oldest to the newest. Those that others cover are listed, too.
 *
 * The kernel is asked for each mount alone (listmount(2) and statmount(2)), and
 * with `below` only for those of a part of the tree; where it can't tell all of
 * this, before Linux 6.13, /proc/thread-self/mountinfo is read. A mount that
 * vanishes meanwhile is left out.
 *
 * Needs the permission `--allow-ffi`, and /proc before Linux 6.13 and for what
 * is below a directory, unless that is the root of a mount.
 *
 * @example Find what is mounted below a directory
 * ```ts
 * import { Directory, listMounts } from "@meroton/mountat";
 * import { assertEquals } from "@std/assert";
 *
 * const path = Deno.makeTempDirSync();
 * using root = Directory.open(path);
 * using _tmp = root.mount("tmp", { type: "tmpfs", mkdir: true });
 * const [mount] = listMounts({ below: path });
 * assertEquals([mount?.target, mount?.type], [`${path}/tmp`, "tmpfs"]);
 * ```
 *
 * @param options Which mounts.
 * @returns The mounts.
 * @throws {TypeError} For a path that is empty or has a NUL, or with `namespace`
 * is not absolute, for a namespace that is neither number nor bigint, and for an
 * unknown option.
 * @throws {RangeError} For a number that is no process id.
 * @throws {MountError} ENOENT, ENOTDIR, ELOOP or EACCES for a path that can't be
 * opened; ENOENT for a directory that is in no mount of this mount namespace,
 * for a process or namespace that is not there, or without /proc; EAGAIN for a
 * directory that is renamed all the time.
 * @throws {UnsupportedError} For a namespace by its id, before Linux 6.13.
 */
export function listMounts(options: ListMountsOptions = {}): MountInfo[] {
  checkOptions(options, LIST_NAMES);
  const { below, namespace } = options;
  if (namespace !== undefined) return listElsewhere(namespace, below);
  if (below === undefined) {
    return attempt(
      { action: "list the mounts", target: "/" },
      () => listByStatmount() ?? listByTable(),
    );
  }
  return withDirectory(
    below,
    (fd, attempted) => listBelow(fd, attempted).mounts,
  );
}

/**
 * The path of a directory, from this thread's root.
 *
 * @throws {TypeError} For a path that is empty or has a NUL.
 * @throws {MountError} When it can't be opened, or there is no /proc.
 */
export function pathOfDirectory(directory: string | Directory): string {
  return withDirectory(
    directory,
    (fd, attempted) => attempt(attempted, () => pathOf(fd, attempted)),
  );
}

function withDirectory<T>(
  directory: string | Directory,
  use: (fd: number, attempted: Attempt) => T,
): T {
  if (typeof directory !== "string") {
    return use(descriptorOf(directory), listing("the directory", "."));
  }
  if (directory === "") {
    throw new TypeError("The directory's path must be given");
  }
  const attempted = listing(quote(directory), directory);
  return attempt(attempted, () => {
    using place = new OwnedFd(
      openat2(AT_FDCWD, directory, { flags: O_PATH | O_CLOEXEC }),
    );
    return use(place.fd, attempted);
  });
}

function listElsewhere(
  namespace: number | bigint,
  below: string | Directory = "/",
): MountInfo[] {
  const path = absolutePath(below);
  const mounts = typeof namespace === "bigint"
    ? listNamespace(namespace)
    : listProcess(namespace);
  return mounts.filter(({ target }) => isBelow(target, path));
}

/**
 * Checks the path of a directory in another mount namespace.
 *
 * @throws {TypeError} When it is not absolute.
 */
export function absolutePath(path: string | Directory): string {
  if (typeof path === "string" && path.startsWith("/")) return path;
  throw new TypeError(
    "A directory in another mount namespace must be an absolute path",
  );
}

/** Whether a path is at or below another, as their text says. */
export function isBelow(path: string, directory: string): boolean {
  const prefix = directory.replace(/\/*$/, "/");
  return `${path}/`.startsWith(prefix);
}

function listNamespace(nsId: bigint): MountInfo[] {
  if (nsId <= 0n) throw new RangeError(`No mount namespace has the id ${nsId}`);
  const mounts = attempt(
    { action: `list the mounts of mount namespace ${nsId}`, target: "/" },
    () => listByStatmount({ nsId }),
  );
  if (mounts !== null) return mounts;
  throw new UnsupportedError(
    "Cannot list the mounts of a mount namespace by its id: Linux 6.13 does",
  );
}

/**
 * What opening or reading a process's mount table answers once there is none:
 * EINVAL while it has ended and was not waited for.
 */
export const NO_PROCESS = [ENOENT, ESRCH, EINVAL];

/** What that means. */
export const NOT_THERE = "it is not there";

/**
 * Lists the mounts that a process sees.
 *
 * @throws {MountError} ENOENT where there is no such process.
 */
function listProcess(pid: number): MountInfo[] {
  const attempted = {
    action: `list the mounts of process ${processId(pid)}`,
    target: "/",
  };
  return attempt(attempted, () => {
    try {
      return listByTable(`/proc/${pid}`);
    } catch (error) {
      if (!isErrno(error, ...NO_PROCESS)) throw error;
      throw explain(attempted, error, { detail: NOT_THERE });
    }
  });
}

/**
 * Checks a process id.
 *
 * @throws {TypeError} When it is no number.
 * @throws {RangeError} When no process can have it.
 */
export function processId(pid: number): number {
  if (typeof pid !== "number") {
    throw new TypeError(
      `The namespace must be a process id or a namespace's: received a value of type ${typeof pid}`,
    );
  }
  if (Number.isInteger(pid) && pid > 0 && pid <= 0x7fff_ffff) return pid;
  throw new RangeError(`No process has the id ${pid}`);
}

function listing(what: string, target: string): Attempt {
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

function pathOf(fd: number, attempted: Attempt): string {
  try {
    return readlinkat(AT_FDCWD, procPath(fd));
  } catch (error) {
    if (!isErrno(error, ENOENT)) throw error;
    throw explain(attempted, error, { detail: "/proc is missing" });
  }
}
