/** Places of mounts: the names by which umount2(2) takes one and no other. */
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
  /** The name; `.` is the directory itself, opened before it was covered. */
  readonly name: string;
  /** The id of the topmost mount there; if there is none, the same as `below`. */
  topmost(): bigint;
  /** The id of the mount that the mount point lies in. */
  below(): bigint;
}

/** The place of a name in a directory; the name `.` is the directory itself. */
export function placeOf(
  { dirfd, name }: Pick<MountPlace, "dirfd" | "name">,
): MountPlace {
  return name === "." ? placeOfDescriptor(dirfd) : placeOfName(dirfd, name);
}

/**
 * The place that a directory's descriptor refers to, even after a rename.
 *
 * @param fd A descriptor of the mount point, opened before it was covered.
 * @param id The id of the mount that is probably topmost there.
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
 * The place of a name in a directory. A process that sees the mount can't
 * rename the mount point, but can rename a directory above it.
 *
 * @param dirfd A descriptor of the directory, which stays open.
 * @param name The mount point: a directory or a file.
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
 * @returns The place; null if the mount is gone or this thread can't see it.
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
    // Looking up ".." needs search permission, which a FUSE file system may
    // refuse, or never answer.
    const id = topmostOn(mountIdAt(fd));
    if (id !== null) return id;
  }
  // A descriptor refers to the directory below the mounts that cover it. Only
  // looking up a name crosses them. The name may change before it is used.
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
 * The topmost mount on the root of a mount, or that mount itself; null if the
 * kernel does not tell which mounts lie on a mount.
 */
function topmostOn(id: bigint): bigint | null {
  try {
    for (let top = id;;) {
      const cover = coverOf(top);
      if (cover === undefined) return top;
      top = cover;
    }
  } catch (error) {
    // The mount is in no mount tree: no mount on it could be unmounted.
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
 * A mount point's name. If /proc is missing or can't tell so long a path, the
 * name is taken from statmount(2).
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

/** The path of a mount's mount point; null if it is gone or unreachable. */
export function pathOfMount(id: bigint): string | null {
  try {
    // Before Linux 6.13 an unreachable mount has an empty mount point.
    return statmount(id, STATMOUNT_MNT_POINT).mntPoint || null;
  } catch (error) {
    if (isErrno(error, ENOENT)) return null;
    const what = "statmount, for the path of a mount";
    if (!lacks(what, error, ENOSYS, EPERM)) throw error;
    return isUniqueId(id) ? null : pathInTable(id);
  }
}

/**
 * The path in the mount table; before Linux 6.8 `id` is the id in that table.
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
    // The name was deleted: the kernel then unmounted what was mounted there.
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
 * Opens the root of the mount that covers a directory. A name looked up in the
 * directory would lead below that mount.
 *
 * @throws {SyscallError} EAGAIN if that mount covers the directory no longer.
 */
export function openCover(fd: number, id: bigint): OwnedFd {
  const name = pathOf(fd).split("/").at(-1)!;
  const path = `../${name}`;
  // The directory's file system may refuse the look-up of "..". The kernel's
  // path for the mount avoids it, but leads elsewhere if another mount covers a
  // part of it.
  const cover =
    (isMountRoot(fd) ? openRoot(AT_FDCWD, pathOfMount(id), id) : null) ??
      openRoot(fd, path, id);
  if (cover !== null) return cover;
  // The directory was renamed, or another mount covers it: the caller tries
  // again.
  throw new SyscallError("openat2", EAGAIN, [{ fd }, quote(path)]);
}

/** Opens the root of a mount; null if the path does not lead there. */
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
 * Opens the root of the topmost mount on a directory. If there is none, opens
 * the directory itself.
 *
 * @param fd A descriptor of the directory, opened before or after a mount
 * covered it.
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
