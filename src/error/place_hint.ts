/** Hints for a place that the kernel refuses, found by a look at that place. */
import type { At, MountPointName } from "./attempt.ts";
import { optionName } from "../program.ts";
import { AT_EMPTY_PATH, AT_NO_AUTOMOUNT, O_PATH } from "../sys/constants.ts";
import {
  idInTable,
  idInTableAt,
  isMounted,
  lineAt,
  mountId,
} from "../kernel/mount_id.ts";
import { placeOf, placeOfDescriptor } from "../kernel/place.ts";
import { privileges } from "../kernel/process.ts";
import { statx } from "../sys/file.ts";
import { readlinkat } from "../sys/names.ts";
import { isErrno } from "../sys/error.ts";
import { EINVAL } from "../sys/errno.ts";
import {
  lineOf,
  type MountinfoLine,
  readMountinfo,
} from "../kernel/mountinfo.ts";
import { quote } from "../base/text.ts";
import { knowsMountBeneath } from "../kernel/probe.ts";
import {
  isDeleted,
  isDirectory,
  isMountRoot,
  open,
  pathOf,
  saysMountRoot,
  UNASKED,
} from "../fd/open.ts";

/** Explains EINVAL of umount2(2); undefined if it finds nothing. */
export function unmountHint(point: MountPointName): string | undefined {
  const { dirfd, name } = point;
  using place = placeOf(point);
  const id = place.topmost();
  const isRoot = id !== place.below() || name === "." && isMountRoot(dirfd);
  if (!isRoot) {
    return isSymlink(point)
      ? "The name is a symlink, and unmounting follows no symlinks: name what it leads to"
      : NOT_MOUNTED;
  }
  const at = { dirfd, path: name === "." ? "" : name };
  if (isMounted(id) === false) return foreignHint("The mount", at);
  return privileges().initialUserNamespace ? undefined : LOCKED;
}

/** The hint for the unmount of something that is no mount. */
export const NOT_MOUNTED = "Nothing is mounted there";

function isSymlink({ dirfd, name }: MountPointName): boolean {
  try {
    readlinkat(dirfd, name);
    return true;
  } catch (error) {
    if (isErrno(error, EINVAL)) return false;
    throw error;
  }
}

const LOCKED =
  "The mount came from a more privileged mount namespace, and is locked to its parent mount: unmount it there, or cover it with another mount";

/** The id in the mount table of the topmost mount on a mount point. */
export function topmostInTable({ dirfd, name }: MountPointName): number {
  if (name !== ".") return idInTableAt(dirfd, name);
  if (isMountRoot(dirfd)) return idInTable(placeOfDescriptor(dirfd).topmost());
  // A descriptor refers to the directory below the mounts that cover it; a name
  // leads to the topmost mount.
  const path = pathOf(dirfd);
  return idInTableAt(dirfd, `../${path.slice(path.lastIndexOf("/") + 1)}`);
}

/**
 * Explains EINVAL, ENOENT, ENOTDIR or ELOOP of move_mount(2); undefined if it
 * finds nothing.
 *
 * @param onto The mount point, by its descriptor.
 * @param from The mount to move or attach, by its descriptor.
 */
export function moveHint(onto: At, from?: At): string | undefined {
  const movesDirectory = from !== undefined && isDirectory(from.dirfd);
  if (from !== undefined && movesDirectory !== isDirectory(onto.dirfd)) {
    return movesDirectory
      ? "A directory can't be mounted on a file: make the mount point a directory"
      : "A file can't be mounted on a directory: make the mount point a file";
  }
  const to = lookAt(onto);
  if (isMounted(to.id) === false) return foreignHint("The mount point", to);
  if (isDeleted(onto.dirfd)) return "The mount point was deleted";
  if (from === undefined) return undefined;
  const moved = lookAt(from);
  // A detached mount is in no table, and has no parent that could refuse.
  if (isMounted(moved.id) === false) return undefined;
  if (!moved.isRoot) {
    return "The source is not a mount, and only mounts can be moved: bind it";
  }
  const table = readMountinfo();
  const mount = lineAt(from.dirfd, from.path, table);
  const holder = lineOf(table, mount?.parentId);
  const newHolder = lineAt(onto.dirfd, onto.path, table);
  if (isInside(table, newHolder, mount)) {
    return "A mount can't be moved into itself";
  }
  if (holder?.shared !== undefined) {
    return `The mount that holds it is shared, and the kernel moves none out of such: make ${
      quote(holder.mountPoint)
    } private first (${optionName("makePrivate")})`;
  }
  const unbindable = table.find((line) =>
    line.unbindable && isInside(table, line, mount)
  );
  if (newHolder?.shared !== undefined && unbindable !== undefined) {
    return `An unbindable mount can't be moved to a shared one: make ${
      quote(unbindable.mountPoint)
    } private first`;
  }
  return privileges().initialUserNamespace ? undefined : LOCKED;
}

/** Explains why no mount goes beneath another; undefined if unknown. */
export function beneathHint(top: At): string | undefined {
  if (knowsMountBeneath() === false) {
    return "This kernel can't put a mount beneath another: Linux 6.5 can";
  }
  const found = lookAt(top);
  if (isMounted(found.id) === false) return undefined;
  return found.isRoot
    ? undefined
    : "Nothing is mounted there to put the mount beneath";
}

/**
 * Explains EINVAL or ENOENT of mount_setattr(2), fspick(2) and statmount(2);
 * undefined if it finds nothing.
 */
export function remountHint(at: At): string | undefined {
  const found = lookAt(at);
  if (isMounted(found.id) === false) return foreignHint("The mount", found);
  return found.isRoot ? undefined : NOT_MOUNTED;
}

/** Explains EINVAL of open_tree(2); undefined if it finds nothing. */
export function cloneHint(source: At): string | undefined {
  const found = lookAt(source);
  if (isMounted(found.id) === false) {
    return internalHint(source) ?? foreignHint("What is to be bound", found);
  }
  if (lineAt(source.dirfd, source.path)?.unbindable) {
    return "The mount is unbindable: make it private first";
  }
  return privileges().initialUserNamespace
    ? undefined
    : `A mount inside it came from a more privileged mount namespace, and would show what it covers: bind them together (${
      optionName("recursive")
    })`;
}

/** Explains that a file is on a mount that no mount namespace can have. */
function internalHint({ dirfd, path }: At): string | undefined {
  // Without a path, the source is a directory's descriptor.
  if (path === "") return undefined;
  using source = open(path, O_PATH, dirfd);
  const name = pathOf(source.fd);
  return INTERNAL.test(name)
    ? `It is ${
      quote(name)
    }, a pipe, a socket or the like, on a file system internal to the kernel: it can't be bound`
    : undefined;
}

/** Matches what /proc shows in place of such a file's path: `pipe:[4711]`. */
const INTERNAL = /^[^/]|^\/memfd:/;

/** Explains why a mount is not in this thread's mount namespace. */
function foreignHint(what: string, at: At): string {
  const id = idInTableAt(at.dirfd, at.path);
  // This thread's mount namespace lacks the mount. The process's main thread,
  // or process 1, may be in another mount namespace.
  const elsewhere = ["self", "1"].some((pid) =>
    lineOf(readMountinfo(`/proc/${pid}`), id) !== undefined
  );
  return elsewhere
    ? `${what} is in another mount namespace than this thread's: it was opened before an unshare or setns; open it again`
    : `${what} is in a mount that was lazily unmounted, or in another mount namespace: open it again`;
}

interface FoundAt extends At {
  /** The id of the mount that it is in. */
  id: bigint;
  /** True if it is the root of that mount. */
  isRoot: boolean;
}

function lookAt(at: At): FoundAt {
  const { dirfd, path } = at;
  const flags = (path === "" ? AT_EMPTY_PATH : 0) | AT_NO_AUTOMOUNT;
  return {
    ...at,
    id: mountId(dirfd, path, flags),
    isRoot: saysMountRoot(statx(dirfd, path, flags | UNASKED, 0)),
  };
}

/** True if a mount is `other`, or inside it. */
function isInside(
  table: readonly MountinfoLine[],
  mount: MountinfoLine | undefined,
  other: MountinfoLine | undefined,
): boolean {
  if (mount === undefined || mount === other) return mount !== undefined;
  // The root mount may be its own parent.
  if (mount.parentId === mount.id) return false;
  return isInside(table, lineOf(table, mount.parentId), other);
}
