import {
  cString,
  flagNames,
  flags32,
  int32,
  passString,
  settle,
  setUint64,
  tracer,
  uint32,
  uint64,
} from "./call.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { quote } from "../base/text.ts";
import {
  AT_EMPTY_PATH,
  AT_NO_AUTOMOUNT,
  AT_RECURSIVE,
  AT_SYMLINK_NOFOLLOW,
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
  MOVE_MOUNT_BENEATH,
  MOVE_MOUNT_F_AUTOMOUNTS,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_F_SYMLINKS,
  MOVE_MOUNT_SET_GROUP,
  MOVE_MOUNT_T_AUTOMOUNTS,
  MOVE_MOUNT_T_EMPTY_PATH,
  MOVE_MOUNT_T_SYMLINKS,
  MS_BIND,
  MS_DIRSYNC,
  MS_LAZYTIME,
  MS_MOVE,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_NOSYMFOLLOW,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_RELATIME,
  MS_REMOUNT,
  MS_SHARED,
  MS_SILENT,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
  MS_UNBINDABLE,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  OPEN_TREE_NAMESPACE,
  UMOUNT_NOFOLLOW,
} from "./constants.ts";
import { LITTLE_ENDIAN, MOUNT_ATTR } from "./layout.ts";
import { checkOptions, type OptionNames } from "../base/check.ts";

/** The flags of move_mount(2), as it is printed. */
export const MOVE_MOUNT_FLAGS = {
  MOVE_MOUNT_F_SYMLINKS,
  MOVE_MOUNT_F_AUTOMOUNTS,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_SYMLINKS,
  MOVE_MOUNT_T_AUTOMOUNTS,
  MOVE_MOUNT_T_EMPTY_PATH,
  MOVE_MOUNT_SET_GROUP,
  MOVE_MOUNT_BENEATH,
};

const AT_FLAGS = {
  AT_EMPTY_PATH,
  AT_RECURSIVE,
  AT_NO_AUTOMOUNT,
  AT_SYMLINK_NOFOLLOW,
};

/** The flags of open_tree(2) and open_tree_attr(2), as they are printed. */
export const OPEN_TREE_FLAGS = {
  OPEN_TREE_CLONE,
  OPEN_TREE_NAMESPACE,
  OPEN_TREE_CLOEXEC,
  ...AT_FLAGS,
};

/** The flags of umount2(2), as it is printed. */
export const UMOUNT_FLAGS = {
  MNT_FORCE,
  MNT_DETACH,
  MNT_EXPIRE,
  UMOUNT_NOFOLLOW,
};

/**
 * Attaches a detached mount, or moves an attached one.
 *
 * `int move_mount(int from_dirfd, const char *from_path, int to_dirfd, const char *to_path, unsigned int flags);`
 *
 * Since Linux 5.2; see move_mount(2). Symlinks and `..` in the middle of a path
 * are followed out of the directory: resolve hostile paths with `openat2` and
 * give empty ones here.
 *
 * @param fromDirfd The directory that a relative `fromPath` starts at.
 * @param fromPath The mount; empty with `MOVE_MOUNT_F_EMPTY_PATH`.
 * @param toDirfd The directory that a relative `toPath` starts at.
 * @param toPath The mount point; empty with `MOVE_MOUNT_T_EMPTY_PATH`.
 * @param flags `MOVE_MOUNT_*`.
 * @throws {SyscallError} EINVAL when the mount's parent is shared, when a
 * directory meets a file, or across mount namespaces; ELOOP for a mount into
 * itself; ENOENT for a deleted mount point; EPERM without CAP_SYS_ADMIN.
 */
export function moveMount(
  fromDirfd: number,
  fromPath: string,
  toDirfd: number,
  toPath: string,
  flags: number = 0,
): void {
  fromDirfd = int32("fromDirfd", fromDirfd);
  const from = passString("fromPath", fromPath);
  toDirfd = int32("toDirfd", toDirfd);
  const to = passString("toPath", toPath, 1);
  flags = uint32("flags", flags);
  const result = libc.move_mount(
    NR.move_mount,
    fromDirfd,
    from,
    toDirfd,
    to,
    flags,
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "move_mount", [
      { fd: fromDirfd },
      quote(fromPath),
      { fd: toDirfd },
      quote(toPath),
      flagNames(flags, MOVE_MOUNT_FLAGS),
    ]);
  }
}

/**
 * Opens the file at a path. With `OPEN_TREE_CLONE` it opens a detached copy of
 * the mount there: a close before the copy was attached removes the copy. With
 * `OPEN_TREE_NAMESPACE` (since Linux 7.0) the copy is on top of a new mount
 * namespace, and the descriptor is the namespace's: setns(2) enters it, and its
 * root is the copy.
 *
 * `int open_tree(int dirfd, const char *path, unsigned int flags);`
 *
 * Since Linux 5.2; see open_tree(2).
 *
 * @param dirfd The directory that a relative path starts at.
 * @param path The mount's root, or a directory or file in it.
 * @param flags `OPEN_TREE_*` and `AT_*`.
 * @returns The descriptor.
 * @throws {SyscallError} EPERM for a copy without CAP_SYS_ADMIN; EINVAL for a
 * copy of an unbindable mount or of a mount in another namespace, and for an
 * unknown flag; with `OPEN_TREE_NAMESPACE` ENOTDIR for a file.
 */
export function openTree(
  dirfd: number,
  path: string,
  flags: number = OPEN_TREE_CLOEXEC,
): number {
  dirfd = int32("dirfd", dirfd);
  const bytes = passString("path", path);
  flags = uint32("flags", flags);
  const fd = libc.open_tree(NR.open_tree, dirfd, bytes, flags);
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 || tracer) {
    settle(fd, "open_tree", [
      { fd: dirfd },
      quote(path),
      flagNames(flags, OPEN_TREE_FLAGS),
    ]);
  }
  return fd;
}

/**
 * Opens the file at a path as `openTree` does, and changes attributes. With
 * `OPEN_TREE_CLONE` it changes those of the detached copy, which may also get
 * another id map than the mount has, or none. Otherwise it changes those of the
 * mount itself.
 *
 * `int open_tree_attr(int dirfd, const char *path, unsigned int flags, struct mount_attr *attr, size_t size);`
 *
 * Since Linux 6.15; see open_tree_attr(2).
 *
 * @param dirfd The directory that a relative path starts at.
 * @param path The mount's root, or a directory or file in it.
 * @param flags `OPEN_TREE_*` and `AT_*`; with `AT_RECURSIVE` the changes apply
 * to the mounts below, too.
 * @param attr The changes; without them the kernel gets none.
 * @returns The descriptor. It is closed on exec only with `OPEN_TREE_CLOEXEC`.
 * @throws {SyscallError} As `openTree` and `mountSetattr`.
 */
export function openTreeAttr(
  dirfd: number,
  path: string,
  flags: number,
  attr?: MountAttr,
): number {
  dirfd = int32("dirfd", dirfd);
  flags = uint32("flags", flags);
  const struct = attr === undefined ? undefined : mountAttr(attr);
  const bytes = passString("path", path);
  const size = struct === undefined ? 0 : MOUNT_ATTR.SIZE;
  const fd = libc.open_tree_attr(
    NR.open_tree_attr,
    dirfd,
    bytes,
    flags,
    struct?.buffer ?? null,
    BigInt(size),
  );
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 || tracer) {
    settle(fd, "open_tree_attr", [
      { fd: dirfd },
      quote(path),
      flagNames(flags, OPEN_TREE_FLAGS),
      struct?.format() ?? "NULL",
      String(size),
    ]);
  }
  return fd;
}

/**
 * Changes the attributes and the propagation of a mount. With `AT_RECURSIVE`,
 * changes all mounts below it, too. If it fails, no mount is changed.
 *
 * `int mount_setattr(int dirfd, const char *path, unsigned int flags, struct mount_attr *attr, size_t size);`
 *
 * Since Linux 5.12; see mount_setattr(2).
 *
 * @param dirfd The directory that a relative path starts at.
 * @param path The mount's root; empty with `AT_EMPTY_PATH` for `dirfd` itself.
 * @param flags `AT_*`.
 * @param attr The changes.
 * @throws {SyscallError} EINVAL for a path that is no mount's root, an unknown
 * bit, a kind of access time of which `attrClr` lacks some bits, or an id map for
 * an attached mount or a file system that can't have one; EBUSY for a mount that
 * has files open to write and is to become read-only; EPERM without
 * CAP_SYS_ADMIN, for a locked attribute, or for a mount that has an id map.
 */
export function mountSetattr(
  dirfd: number,
  path: string,
  flags: number,
  attr: MountAttr,
): void {
  dirfd = int32("dirfd", dirfd);
  flags = uint32("flags", flags);
  const { buffer, format } = mountAttr(attr);
  const bytes = passString("path", path);
  const result = libc.mount_setattr(
    NR.mount_setattr,
    dirfd,
    bytes,
    flags,
    buffer,
    SIZE,
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "mount_setattr", [
      { fd: dirfd },
      quote(path),
      flagNames(flags, AT_FLAGS),
      format(),
      String(MOUNT_ATTR.SIZE),
    ]);
  }
}

const SIZE = BigInt(MOUNT_ATTR.SIZE);

/** Changes of a mount: `struct mount_attr`. */
export interface MountAttr {
  /**
   * `MOUNT_ATTR_*` to set.
   *
   * @default {0}
   */
  attrSet?: number | bigint;
  /**
   * `MOUNT_ATTR_*` to clear, before the others are set. To set a kind of access
   * time, clear all of `MOUNT_ATTR__ATIME`.
   *
   * @default {0}
   */
  attrClr?: number | bigint;
  /**
   * `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`; 0 changes
   * nothing.
   *
   * @default {0}
   */
  propagation?: number | bigint;
  /**
   * A descriptor of a user namespace: with `MOUNT_ATTR_IDMAP` the mount gets
   * its id maps.
   *
   * @default {0}
   */
  usernsFd?: number;
}

const ATTR_NAMES: OptionNames<MountAttr> = {
  attrSet: true,
  attrClr: true,
  propagation: true,
  usernsFd: true,
};

const ATTRIBUTES = {
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_STRICTATIME,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_NOSYMFOLLOW,
};

const PROPAGATION = { MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED };

/** Reused by each call. */
const buffer = new Uint8Array(new ArrayBuffer(MOUNT_ATTR.SIZE));

const view = new DataView(buffer.buffer);

/**
 * Encodes `struct mount_attr` for the very next call, and returns a function
 * that prints it.
 */
export function mountAttr(
  attr: MountAttr,
): { buffer: Uint8Array<ArrayBuffer>; format: () => string } {
  checkOptions(attr, ATTR_NAMES);
  const { attrSet = 0, attrClr = 0, propagation = 0, usernsFd = 0 } = attr;
  setUint64(view, MOUNT_ATTR.attr_set, "attrSet", attrSet);
  setUint64(view, MOUNT_ATTR.attr_clr, "attrClr", attrClr);
  setUint64(view, MOUNT_ATTR.propagation, "propagation", propagation);
  const low = int32("usernsFd", usernsFd);
  view.setInt32(MOUNT_ATTR.userns_fd, low, LITTLE_ENDIAN);
  // Extend the sign, as C converts an int to the field's type: -1 sets all
  // bits.
  view.setInt32(MOUNT_ATTR.userns_fd + 4, low >> 31, LITTLE_ENDIAN);
  return {
    buffer,
    format: () =>
      `{attr_set=${flagNames(attrSet, ATTRIBUTES)}, attr_clr=${
        flagNames(attrClr, ATTRIBUTES)
      }, propagation=${
        flagNames(propagation, PROPAGATION)
      }, userns_fd=${usernsFd}}`,
  };
}

/**
 * Unmounts the topmost mount at a path.
 *
 * `int umount2(const char *target, int flags);`
 *
 * See umount(2). Without `UMOUNT_NOFOLLOW` a final symlink is followed.
 *
 * @param path The mount point.
 * @param flags `MNT_FORCE`, `MNT_DETACH`, `MNT_EXPIRE`, `UMOUNT_NOFOLLOW`.
 * @throws {SyscallError} EBUSY while it is in use (a working directory, an open
 * file, the descriptor from `fsmount`, a mount inside it), EINVAL when it is no
 * mount point, EAGAIN at the first call with `MNT_EXPIRE`, EPERM without
 * CAP_SYS_ADMIN.
 */
export function umount2(path: string, flags: number = 0): void {
  const bytes = passString("path", path);
  const bits = flags32("flags", flags);
  const result = libc.umount2(NR.umount2, bytes, bits);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "umount2", [
      quote(path),
      flagNames(bits >>> 0, UMOUNT_FLAGS),
    ]);
  }
}

/**
 * Mounts a file system by paths: the old call.
 *
 * `int mount(const char *source, const char *target, const char *fstype, unsigned long flags, const void *data);`
 *
 * See mount(2). It follows symlinks in `target`, and its data holds one page.
 *
 * @param source The device, directory or name, or null.
 * @param target The mount point.
 * @param fstype The file system's name, or null.
 * @param flags `MS_*`.
 * @param data The file system's options, or null.
 * @throws {SyscallError} As mount(2) lists them.
 */
export function mount(
  source: string | null,
  target: string,
  fstype: string | null,
  flags: number | bigint,
  data: string | null,
): void {
  const sourceBytes = source === null ? null : cString("source", source);
  const targetBytes = cString("target", target);
  const fstypeBytes = fstype === null ? null : cString("fstype", fstype);
  const bits = uint64("flags", flags);
  const dataBytes = data === null ? null : cString("data", data);
  const result = libc.mount(
    NR.mount,
    sourceBytes,
    targetBytes,
    fstypeBytes,
    bits,
    dataBytes,
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "mount", [
      quote(source),
      quote(target),
      quote(fstype),
      flagNames(bits, MOUNT_FLAGS),
      quote(data),
    ]);
  }
}

/** The flags of mount(2), by name. */
export const MOUNT_FLAGS = {
  MS_RDONLY,
  MS_NOSUID,
  MS_NODEV,
  MS_NOEXEC,
  MS_SYNCHRONOUS,
  MS_REMOUNT,
  MS_DIRSYNC,
  MS_NOSYMFOLLOW,
  MS_NOATIME,
  MS_NODIRATIME,
  MS_BIND,
  MS_MOVE,
  MS_REC,
  MS_SILENT,
  MS_UNBINDABLE,
  MS_PRIVATE,
  MS_SLAVE,
  MS_SHARED,
  MS_RELATIME,
  MS_STRICTATIME,
  MS_LAZYTIME,
};

/**
 * Makes a mount the root of the calling thread's mount namespace.
 *
 * `int pivot_root(const char *new_root, const char *put_old);`
 *
 * See pivot_root(2).
 *
 * @param newRoot The mount that becomes the root.
 * @param putOld The mount point of the old root, at or below `newRoot`.
 * @throws {SyscallError} EINVAL when a mount involved is shared or `newRoot` is
 * no mount point, EBUSY when it is the root already, EPERM without
 * CAP_SYS_ADMIN.
 */
export function pivotRoot(newRoot: string, putOld: string): void {
  const root = passString("newRoot", newRoot);
  const old = passString("putOld", putOld, 1);
  const result = libc.pivot_root(NR.pivot_root, root, old);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "pivot_root", [quote(newRoot), quote(putOld)]);
  }
}
