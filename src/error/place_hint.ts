/** Hints where the kernel refuses a place: that is looked at. */
import type { At, MountPointName } from "./attempt.ts";
import {
  AT_EMPTY_PATH,
  AT_NO_AUTOMOUNT,
  AT_STATX_DONT_SYNC,
  AT_SYMLINK_NOFOLLOW,
  O_PATH,
  STATX_MNT_ID,
  STATX_MNT_ID_UNIQUE,
  STATX_NLINK,
  STATX_TYPE,
} from "../sys/constants.ts";
import { idInTableAt, isMounted, lineAt } from "../kernel/mount_id.ts";
import { privileges } from "../kernel/process.ts";
import { type Statx, statx } from "../sys/file.ts";
import {
  lineOf,
  type MountinfoLine,
  readMountinfo,
} from "../kernel/mountinfo.ts";
import { optionName } from "./option_name.ts";
import { quote } from "../base/text.ts";
import { knowsMountBeneath } from "../kernel/probe.ts";
import {
  open,
  pathOf,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  saysMountRoot,
} from "../fd/open.ts";

/** Explains EINVAL of umount2(2); undefined where nothing is found. */
export function unmountHint(point: MountPointName): string | undefined {
  const found = lookAt(pathTo(point), AT_SYMLINK_NOFOLLOW);
  if (!found.isRoot) {
    return found.type === S_IFLNK
      ? "It is a symlink, and unmounting follows none: name what it leads to"
      : "Nothing is mounted there";
  }
  if (isMounted(found.id) === false) return foreignHint("The mount", found);
  return privileges().initialUserNamespace ? undefined : LOCKED;
}

const LOCKED =
  "The mount came from a more privileged mount namespace, and is locked to the one that holds it: unmount it there, or cover it by another mount";

/** The way to what is mounted on a mount point, or to that itself. */
export function pathTo({ dirfd, name }: MountPointName): At {
  if (name !== ".") return { dirfd, path: name };
  // A descriptor leads below what was mounted over it, a name to the top.
  const path = pathOf(dirfd);
  return { dirfd, path: `../${path.slice(path.lastIndexOf("/") + 1)}` };
}

/**
 * Explains EINVAL, ENOENT, ENOTDIR or ELOOP of move_mount(2); undefined where
 * nothing is found.
 *
 * @param onto The mount point.
 * @param from The mount that is moved or attached.
 */
export function moveHint(onto: At, from?: At): string | undefined {
  const to = lookAt(onto);
  if (isMounted(to.id) === false) return foreignHint("The mount point", to);
  if (to.links === 0) return "The mount point was deleted";
  if (from === undefined) return undefined;
  const moved = lookAt(from);
  if ((moved.type === S_IFDIR) !== (to.type === S_IFDIR)) {
    return moved.type === S_IFDIR
      ? "A directory can't be mounted on a file: make the mount point a directory"
      : "A file can't be mounted on a directory: make the mount point a file";
  }
  // A detached one is in no table, and its holder no matter.
  if (isMounted(moved.id) === false) return undefined;
  if (!moved.isRoot) {
    return "Only a mount can be moved, and this is none: bind it";
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

/** Explains why nothing goes beneath a mount; undefined where nothing is found. */
export function beneathHint(top: At): string | undefined {
  if (knowsMountBeneath() === false) {
    return "This kernel puts no mount beneath another: Linux 6.5 does";
  }
  const found = lookAt(top);
  if (isMounted(found.id) === false) return undefined;
  return found.isRoot ? undefined : "Nothing is mounted there to go beneath";
}

/**
 * Explains EINVAL or ENOENT of mount_setattr(2), fspick(2) and statmount(2);
 * undefined where nothing is found.
 */
export function remountHint(at: At): string | undefined {
  const found = lookAt(at);
  if (isMounted(found.id) === false) return foreignHint("The mount", found);
  return found.isRoot ? undefined : "Nothing is mounted there";
}

/** Explains EINVAL of open_tree(2); undefined where nothing is found. */
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
  // Only a directory's descriptor is a source without a path.
  if (path === "") return undefined;
  using source = open(path, O_PATH, dirfd);
  const name = pathOf(source.fd);
  return INTERNAL.test(name)
    ? `It is ${
      quote(name)
    }, a pipe, socket or the like on a file system that the kernel has for itself: such can't be bound`
    : undefined;
}

/** The text that /proc shows for such a file in place of a path: `pipe:[4711]`. */
const INTERNAL = /^[^/]|^\/memfd:/;

/** Explains why a mount is not in this thread's mount namespace. */
function foreignHint(what: string, at: At): string {
  const id = idInTableAt(at.dirfd, at.path);
  // This thread has none of its mounts; the others of the process, and the first
  // process, may have another mount namespace.
  const elsewhere = ["self", "1"].some((pid) =>
    lineOf(readMountinfo(`/proc/${pid}`), id) !== undefined
  );
  return elsewhere
    ? `${what} is in another mount namespace than this thread, opened before an unshare or setns: open it again`
    : `${what} is in a mount that was lazily unmounted, or in another mount namespace: open it again`;
}

interface FoundAt extends At {
  /** The id of the mount that it is in. */
  id: bigint;
  /** The type of the file. */
  type: number;
  /** The number of its hard links. */
  links: number | undefined;
  /** True if it is the root of that mount. */
  isRoot: boolean;
}

function lookAt(at: At, flags = 0): FoundAt {
  const mask = STATX_TYPE | STATX_NLINK | STATX_MNT_ID | STATX_MNT_ID_UNIQUE;
  const found = ask(at, mask, flags);
  return {
    ...at,
    id: found.mntId!,
    type: found.mode! & S_IFMT,
    links: found.nlink,
    isRoot: saysMountRoot(found),
  };
}

/** Asks for what is known without a server, which may be gone. */
function ask({ dirfd, path }: At, mask: number, flags = 0): Statx {
  const empty = path === "" ? AT_EMPTY_PATH : 0;
  const known = AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
  return statx(dirfd, path, flags | empty | known, mask);
}

/** True if a mount is another one, or inside it. */
function isInside(
  table: readonly MountinfoLine[],
  mount: MountinfoLine | undefined,
  other: MountinfoLine | undefined,
): boolean {
  if (mount === undefined || mount === other) return mount !== undefined;
  // The mount of the root may be on itself.
  if (mount.parentId === mount.id) return false;
  return isInside(table, lineOf(table, mount.parentId), other);
}
