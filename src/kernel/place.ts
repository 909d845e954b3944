/** Places of mounts: what umount2(2) must be given to take one and no other. */
import { isUniqueId, mountId, mountIdAt } from "./mount_id.ts";
import {
  AT_FDCWD,
  AT_NO_AUTOMOUNT,
  AT_SYMLINK_NOFOLLOW,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  STATMOUNT_MNT_BASIC,
  STATMOUNT_MNT_POINT,
} from "../sys/constants.ts";
import type { OwnedFd } from "../fd/owned_fd.ts";
import { isErrno, lacks, SyscallError } from "../sys/error.ts";
import {
  EAGAIN,
  EINVAL,
  ENAMETOOLONG,
  ENOENT,
  ENOSYS,
  EPERM,
} from "../sys/errno.ts";
import { listmount, statmount } from "../sys/statmount.ts";
import { lineOf, readMountinfo } from "./mountinfo.ts";
import {
  isMountRoot,
  MOST_ATTEMPTS,
  openDirectoryAt,
  pathOf,
} from "../fd/open.ts";
import { quote } from "../base/text.ts";

/** A mount point, as a name in a directory. */
export interface MountPlace extends Disposable {
  /** The directory. */
  readonly dirfd: number;
  /** The name; `.` is the directory itself, opened before it was mounted on. */
  readonly name: string;
  /** The id of the topmost mount there; if there is none, the same as `below`. */
  topmost(): bigint;
  /** The id of the mount that the mount point lies in. */
  below(): bigint;
}

/** The place of a name in a directory, or, by the name `.`, of that itself. */
export function placeOf(
  { dirfd, name }: Pick<MountPlace, "dirfd" | "name">,
): MountPlace {
  return name === "." ? placeOfDescriptor(dirfd) : placeOfName(dirfd, name);
}

/**
 * The place that a descriptor of a directory leads to, whatever was renamed.
 *
 * @param fd A descriptor of the mount point, opened before it was mounted on.
 * @param id The id of the mount that most likely is topmost there.
 */
export function placeOfDescriptor(fd: number, id?: bigint): MountPlace {
  return {
    dirfd: fd,
    name: ".",
    topmost: () => topmostMountId(fd, id),
    below: () => mountIdAt(fd),
    [Symbol.dispose]() {},
  };
}

/**
 * The place of a name in a directory. A mount point can't be renamed by those
 * who see the mount; what leads to it can.
 *
 * @param dirfd A descriptor of the directory, which stays open.
 * @param name The mount point, a file's too.
 */
export function placeOfName(dirfd: number, name: string): MountPlace {
  return {
    dirfd,
    name,
    topmost: () => mountIdUnlessMissing(dirfd, name) ?? mountIdAt(dirfd),
    below: () => mountIdAt(dirfd),
    [Symbol.dispose]() {},
  };
}

/**
 * The place of a mount, by its id.
 *
 * @returns The place, null when the mount is gone or can't be seen from here.
 */
export function placeOfMount(id: bigint): MountPlace | null {
  const path = pathOfMount(id);
  if (path === null) return null;
  const end = path.lastIndexOf("/");
  const holder = openDirectoryUnlessMissing(path.slice(0, end + 1));
  if (holder === null) return null;
  return {
    ...placeOfName(holder.fd, path.slice(end + 1) || "."),
    [Symbol.dispose]: () => holder.close(),
  };
}

function topmostMountId(fd: number, expected?: bigint): bigint {
  if (isMountRoot(fd)) {
    // To look up ".." is to look into its file system, which may let nobody in,
    // or never answer.
    const id = topmostOn(mountIdAt(fd));
    if (id !== null) return id;
  }
  // A descriptor leads below what was mounted over it. Only a look-up by name
  // crosses mounts, and the name may change between asking for it and using it.
  let name = nameOf(fd, expected);
  for (let attempt = 1; name !== null; attempt++) {
    const id = mountIdUnlessMissing(fd, `../${name}`);
    if (id === expected) return id ?? mountIdAt(fd);
    const nameAfter = nameOf(fd, expected);
    if (nameAfter === name || attempt === MOST_ATTEMPTS) {
      return id ?? mountIdAt(fd);
    }
    name = nameAfter;
  }
  return mountIdAt(fd);
}

/**
 * The topmost of what is mounted on the root of a mount, or that mount itself;
 * null where the kernel does not tell the mounts on a mount.
 */
function topmostOn(id: bigint): bigint | null {
  try {
    for (let top = id;;) {
      const cover = coverOf(top);
      if (cover === undefined) return top;
      top = cover;
    }
  } catch (error) {
    // On a mount that is in no mount tree, nothing could be unmounted.
    if (isErrno(error, ENOENT, EINVAL)) return id;
    const what = "statmount, for what covers a root";
    if (!lacks(what, error, ENOSYS, EPERM)) throw error;
    return isUniqueId(id) ? null : topmostInTable(id);
  }
}

/** The mount on the root of a mount. */
function coverOf(id: bigint): bigint | undefined {
  const path = pathOfMount(id);
  return listmount(id).find((other) => {
    const mask = STATMOUNT_MNT_BASIC | STATMOUNT_MNT_POINT;
    const { mntParentId, mntPoint } = statmount(other, mask);
    return mntParentId === id && mntPoint === path;
  });
}

function topmostInTable(id: bigint): bigint {
  const table = readMountinfo();
  let top = lineOf(table, Number(id));
  for (let next = top; next !== undefined;) {
    const { id, mountPoint } = top = next;
    next = table.find((line) =>
      line.parentId === id && line.id !== id && line.mountPoint === mountPoint
    );
  }
  return BigInt(top?.id ?? id);
}

/**
 * A mount point's name: where /proc is missing, or the path too long for it,
 * what the kernel has for the mount.
 */
function nameOf(fd: number, id?: bigint): string | null {
  let path: string | null;
  try {
    path = pathOf(fd);
  } catch (error) {
    const what = "/proc, for the name of a mount point";
    if (!lacks(what, error, ENOENT, ENAMETOOLONG)) throw error;
    path = id === undefined ? null : pathOfMount(id);
  }
  return path === null ? null : path.slice(path.lastIndexOf("/") + 1);
}

/** The path of a mount's mount point, null when it is gone or out of sight. */
export function pathOfMount(id: bigint): string | null {
  try {
    // Before Linux 6.13 what is out of sight has an empty one.
    return statmount(id, STATMOUNT_MNT_POINT).mntPoint || null;
  } catch (error) {
    if (isErrno(error, ENOENT)) return null;
    const what = "statmount, for the path of a mount";
    if (!lacks(what, error, ENOSYS, EPERM)) throw error;
    return isUniqueId(id) ? null : pathInTable(id);
  }
}

/**
 * The path that the mount table has; before Linux 6.8 the id is the one there.
 *
 * @throws {SyscallError} ENOENT without /proc.
 */
function pathInTable(id: bigint): string | null {
  return lineOf(readMountinfo(), Number(id))?.mountPoint ?? null;
}

function mountIdUnlessMissing(dirfd: number, path: string): bigint | null {
  try {
    return mountId(dirfd, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT);
  } catch (error) {
    // Deleted: the kernel has taken off what was mounted there.
    if (isErrno(error, ENOENT)) return null;
    throw error;
  }
}

function openDirectoryUnlessMissing(path: string): OwnedFd | null {
  try {
    return openDirectoryAt(AT_FDCWD, path, 0);
  } catch (error) {
    if (isErrno(error, ENOENT)) return null;
    throw error;
  }
}

/**
 * Opens the root of the mount that covers a directory. Names beneath the
 * directory lead past it, to what it covers.
 *
 * @throws {SyscallError} EAGAIN when that mount is no longer what covers it.
 */
export function openCover(fd: number, id: bigint): OwnedFd {
  const name = pathOf(fd).split("/").at(-1)!;
  const path = `../${name}`;
  // The path that the kernel has leads there past the file system of the
  // directory, which may let nobody in; covered itself, it leads elsewhere.
  const cover =
    (isMountRoot(fd) ? openRoot(AT_FDCWD, pathOfMount(id), id) : null) ??
      openRoot(fd, path, id);
  if (cover !== null) return cover;
  // Renamed, or covered by another mount: another look sees it as it is.
  throw new SyscallError("openat2", EAGAIN, [{ fd }, quote(path)]);
}

/** Opens the root of a mount, null where the path does not lead there. */
function openRoot(
  dirfd: number,
  path: string | null,
  id: bigint,
): OwnedFd | null {
  if (path === null) return null;
  const root = openDirectoryAt(
    dirfd,
    path,
    RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
  ).closeWhenDropped();
  if (mountIdAt(root.fd) === id) return root;
  root.close();
  return null;
}

/**
 * Opens the root of the topmost mount on a directory, the directory itself where
 * there is none.
 *
 * @param fd A descriptor of the directory, opened before it was mounted on or
 * after.
 */
export function openTopmost(fd: number): OwnedFd {
  for (let attempt = 1;; attempt++) {
    const id = topmostMountId(fd);
    if (id === mountIdAt(fd)) return openDirectoryAt(fd, ".");
    try {
      return openCover(fd, id);
    } catch (error) {
      if (!isErrno(error, EAGAIN) || attempt === MOST_ATTEMPTS) throw error;
    }
  }
}
