/**
 * Calls that take a name in a directory: they make, remove, rename and read
 * files there. `file.ts` has the calls on open files.
 */
import {
  cString,
  flagNames,
  flags32,
  int32,
  octal,
  passString,
  settle,
  tracer,
  uint32,
} from "./call.ts";
import { DIRENT64, FILE_HANDLE, LITTLE_ENDIAN } from "./layout.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { decodeText, quote } from "../base/text.ts";
import {
  AT_EMPTY_PATH,
  AT_HANDLE_CONNECTABLE,
  AT_HANDLE_FID,
  AT_HANDLE_MNT_ID_UNIQUE,
  AT_REMOVEDIR,
  AT_RENAME_EXCHANGE,
  AT_RENAME_NOREPLACE,
  AT_RENAME_WHITEOUT,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
} from "./constants.ts";
import type { StatxTimestamp } from "./file.ts";

/**
 * Reads the text of a symlink.
 *
 * `ssize_t readlinkat(int dirfd, const char *path, char *buf, int bufsiz);`
 *
 * See readlinkat(2). Bytes that are not UTF-8 become lone surrogates, and these
 * become the bytes again on their way back.
 *
 * @param dirfd The directory that a relative path starts at.
 * @param path The symlink.
 * @returns Its text.
 * @throws {SyscallError} EINVAL when it is no symlink.
 */
export function readlinkat(dirfd: number, path: string): string {
  dirfd = int32("dirfd", dirfd);
  const name = passString("path", path);
  const length = libc.readlinkat(
    NR.readlinkat,
    dirfd,
    name,
    linkBuffer,
    PATH_MAX,
  );
  if (length === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  // Decode before a tracer runs: it may read a link, which uses the same
  // memory.
  const text = decodeText(linkBuffer.subarray(0, Math.max(length, 0)));
  if (length === -1 || tracer) {
    settle(length, "readlinkat", [
      { fd: dirfd },
      quote(path),
      quote(text),
      String(PATH_MAX),
    ]);
  }
  return text;
}

const PATH_MAX = 4096;

/** Used again by each call, and read before the next. */
const linkBuffer = new Uint8Array(PATH_MAX);

/**
 * Makes a directory.
 *
 * `int mkdirat(int dirfd, const char *path, mode_t mode);`
 *
 * See mkdirat(2).
 *
 * @param dirfd The directory that a relative path starts at.
 * @param path The new directory. A symlink there is not followed.
 * @param mode Its permissions, less the process's umask.
 * @throws {SyscallError} EEXIST when there is something of that name.
 */
export function mkdirat(dirfd: number, path: string, mode: number): void {
  dirfd = int32("dirfd", dirfd);
  const bytes = passString("path", path);
  mode = uint32("mode", mode);
  const result = libc.mkdirat(NR.mkdirat, dirfd, bytes, mode);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "mkdirat", [{ fd: dirfd }, quote(path), octal(mode)]);
  }
}

/**
 * Removes a file, or with `AT_REMOVEDIR` an empty directory.
 *
 * `int unlinkat(int dirfd, const char *path, int flags);`
 *
 * See unlinkat(2).
 *
 * @param dirfd The directory that a relative path starts at.
 * @param path The file or directory. A symlink there is not followed.
 * @param flags `AT_REMOVEDIR` or 0.
 * @throws {SyscallError} EBUSY for a mount point, ENOTEMPTY for a directory
 * that is not empty.
 */
export function unlinkat(
  dirfd: number,
  path: string,
  flags: number = 0,
): void {
  dirfd = int32("dirfd", dirfd);
  const bytes = passString("path", path);
  const bits = flags32("flags", flags);
  const result = libc.unlinkat(NR.unlinkat, dirfd, bytes, bits);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "unlinkat", [
      { fd: dirfd },
      quote(path),
      flagNames(bits >>> 0, { AT_REMOVEDIR }),
    ]);
  }
}

/**
 * Renames a file or directory. It atomically replaces a file, or an empty
 * directory, that has the new name.
 *
 * `int renameat2(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, unsigned int flags);`
 *
 * See renameat2(2).
 *
 * @param olddirfd The directory that a relative `oldpath` starts at.
 * @param oldpath The file. A symlink there is not followed.
 * @param newdirfd The directory that a relative `newpath` starts at.
 * @param newpath Its new name. A symlink there is not followed.
 * @param flags `AT_RENAME_*`.
 * @throws {SyscallError} EISDIR if a file would replace a directory, ENOTDIR if
 * a directory would replace a file, ENOTEMPTY or EEXIST for a directory that is
 * not empty, EXDEV if the two are on different mounts.
 */
export function renameat2(
  olddirfd: number,
  oldpath: string,
  newdirfd: number,
  newpath: string,
  flags: number = 0,
): void {
  olddirfd = int32("olddirfd", olddirfd);
  const from = passString("oldpath", oldpath);
  newdirfd = int32("newdirfd", newdirfd);
  const to = passString("newpath", newpath, 1);
  flags = uint32("flags", flags);
  const result = libc.renameat2(
    NR.renameat2,
    olddirfd,
    from,
    newdirfd,
    to,
    flags,
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "renameat2", [
      { fd: olddirfd },
      quote(oldpath),
      { fd: newdirfd },
      quote(newpath),
      flagNames(flags, {
        RENAME_NOREPLACE: AT_RENAME_NOREPLACE,
        RENAME_EXCHANGE: AT_RENAME_EXCHANGE,
        RENAME_WHITEOUT: AT_RENAME_WHITEOUT,
      }),
    ]);
  }
}

/**
 * Makes a symbolic link.
 *
 * `int symlinkat(const char *target, int newdirfd, const char *linkpath);`
 *
 * See symlinkat(2).
 *
 * @param target The text of the link.
 * @param dirfd The directory that a relative path starts at.
 * @param path The new link.
 * @throws {SyscallError} EEXIST when there is something of that name.
 */
export function symlinkat(target: string, dirfd: number, path: string): void {
  const content = cString("target", target);
  dirfd = int32("dirfd", dirfd);
  const name = cString("path", path);
  const result = libc.symlinkat(NR.symlinkat, content, dirfd, name);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "symlinkat", [quote(target), { fd: dirfd }, quote(path)]);
  }
}

/**
 * Makes a device node.
 *
 * `int mknodat(int dirfd, const char *path, mode_t mode, dev_t dev);`
 *
 * See mknodat(2).
 *
 * @param dirfd Where a relative path starts.
 * @param path The new node.
 * @param mode Its type and permissions, less the umask.
 * @param device Its number: makedev(3), with a minor number below 256.
 * @throws {SyscallError} EPERM without CAP_MKNOD in the first user namespace, or
 * if the control group allows no such device.
 */
export function mknodat(
  dirfd: number,
  path: string,
  mode: number,
  device: number,
): void {
  dirfd = int32("dirfd", dirfd);
  const bytes = passString("path", path);
  mode = uint32("mode", mode);
  device = uint32("device", device);
  const result = libc.mknodat(NR.mknodat, dirfd, bytes, mode, device);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "mknodat", [
      { fd: dirfd },
      quote(path),
      octal(mode),
      `0x${device.toString(16)}`,
    ]);
  }
}

/**
 * Changes the permissions of a file.
 *
 * `int fchmodat(int dirfd, const char *path, mode_t mode);`
 *
 * See fchmodat(2).
 *
 * @param dirfd The directory that a relative path starts at.
 * @param path The file. A symlink there is followed.
 * @param mode Its permissions.
 * @throws {SyscallError} EPERM when it is another user's.
 */
export function fchmodat(dirfd: number, path: string, mode: number): void {
  dirfd = int32("dirfd", dirfd);
  const bytes = passString("path", path);
  mode = uint32("mode", mode);
  const result = libc.fchmodat(NR.fchmodat, dirfd, bytes, mode);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "fchmodat", [{ fd: dirfd }, quote(path), octal(mode)]);
  }
}

/**
 * Changes the owner of a file.
 *
 * `int fchownat(int dirfd, const char *path, uid_t owner, gid_t group, int flags);`
 *
 * See fchownat(2).
 *
 * @param dirfd Where a relative path starts; with `AT_EMPTY_PATH` and an empty
 * path the file itself.
 * @param path The file.
 * @param owner The user.
 * @param group The group.
 * @param flags `AT_EMPTY_PATH`, `AT_SYMLINK_NOFOLLOW` or 0.
 * @throws {SyscallError} EPERM without CAP_CHOWN.
 */
export function fchownat(
  dirfd: number,
  path: string,
  owner: number,
  group: number,
  flags: number = 0,
): void {
  dirfd = int32("dirfd", dirfd);
  const bytes = passString("path", path);
  owner = uint32("owner", owner);
  group = uint32("group", group);
  const bits = flags32("flags", flags);
  const result = libc.fchownat(NR.fchownat, dirfd, bytes, owner, group, bits);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "fchownat", [
      { fd: dirfd },
      quote(path),
      String(owner),
      String(group),
      flagNames(bits >>> 0, { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW }),
    ]);
  }
}

/**
 * Changes the times of a file's last access and last modification.
 *
 * `int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags);`
 *
 * See utimensat(2).
 *
 * @param dirfd Where a relative path starts; with `AT_EMPTY_PATH` and an empty
 * path the file itself.
 * @param path The file.
 * @param atime The time of the last access.
 * @param mtime The time of the last modification.
 * @param flags `AT_EMPTY_PATH`, `AT_SYMLINK_NOFOLLOW` or 0.
 * @throws {SyscallError} EPERM when it is another user's.
 */
export function utimensat(
  dirfd: number,
  path: string,
  atime: StatxTimestamp,
  mtime: StatxTimestamp,
  flags: number = 0,
): void {
  dirfd = int32("dirfd", dirfd);
  const times = new BigInt64Array(
    [atime.sec, BigInt(atime.nsec), mtime.sec, BigInt(mtime.nsec)],
  );
  const bytes = passString("path", path);
  const bits = flags32("flags", flags);
  const result = libc.utimensat(
    NR.utimensat,
    dirfd,
    bytes,
    new Uint8Array(times.buffer),
    bits,
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "utimensat", [
      { fd: dirfd },
      quote(path),
      `[${timeText(atime)}, ${timeText(mtime)}]`,
      flagNames(bits >>> 0, { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW }),
    ]);
  }
}

function timeText({ sec, nsec }: StatxTimestamp): string {
  return `{tv_sec=${sec}, tv_nsec=${nsec}}`;
}

/** Room for a thousand short names. */
const BUFFER_SIZE = 32768;

/**
 * Reads names of a directory, as many as one call gives.
 *
 * `ssize_t getdents64(int fd, void *dirp, size_t count);`
 *
 * See getdents(2).
 *
 * @param fd The directory's descriptor, opened for reading.
 * @returns The next names, `.` and `..` among them; none at the end.
 * @throws {SyscallError} ENOTDIR when it is no directory, ENOENT when it was
 * deleted, EBADF for one of `O_PATH`.
 */
export function getdents64(fd: number): string[] {
  return readDirectory(fd).map(({ name }) => name);
}

// dirent.h: only these types matter here.
export const DT_UNKNOWN = 0;

export const DT_CHR = 2;

export const DT_DIR = 4;

/** An entry of a directory. */
export interface DirectoryEntry {
  /** Its name. */
  readonly name: string;
  /** Its type, `DT_*`; `DT_UNKNOWN` if the file system does not tell. */
  readonly type: number;
}

/**
 * Reads names of a directory with their types, as {@linkcode getdents64} does.
 *
 * `ssize_t getdents64(int fd, void *dirp, size_t count);`
 *
 * See getdents(2).
 *
 * @param fd The directory's descriptor, opened for reading.
 * @returns The next entries, `.` and `..` among them; none at the end.
 * @throws {SyscallError} As {@linkcode getdents64}.
 */
export function readDirectory(fd: number): DirectoryEntry[] {
  fd = int32("fd", fd);
  const length = libc.getdents64(
    NR.getdents64,
    fd,
    direntBuffer,
    BigInt(BUFFER_SIZE),
  );
  if (length === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  // Decode before a tracer runs: it may make calls that overwrite the buffer.
  const entries: DirectoryEntry[] = [];
  for (let at = 0; at < length;) {
    const start = at + DIRENT64.d_name;
    const end = direntBuffer.indexOf(0, start);
    entries.push({
      name: decodeText(direntBuffer.subarray(start, end)),
      type: direntView.getUint8(at + DIRENT64.d_type),
    });
    at += direntView.getUint16(at + DIRENT64.d_reclen, LITTLE_ENDIAN);
  }
  if (length === -1 || tracer) {
    settle(length, "getdents64", [{ fd }, "…", String(BUFFER_SIZE)]);
  }
  return entries;
}

/** Used again by each call, and read before the next. */
const direntBuffer = new Uint8Array(new ArrayBuffer(BUFFER_SIZE));

const direntView = new DataView(direntBuffer.buffer);

/** The result of {@linkcode nameToHandleAt}. */
export interface FileHandle {
  /** The handle's type, which the file system chose. */
  type: number;
  /** The handle itself. */
  bytes: Uint8Array<ArrayBuffer>;
  /** The mount's id: unique with `AT_HANDLE_MNT_ID_UNIQUE`, else the reused one. */
  mountId: bigint;
}

/** No handle is larger: MAX_HANDLE_SZ of include/linux/exportfs.h. */
const MAX_HANDLE_SIZE = 128;

/**
 * Gets the handle that identifies a file in its file system, and the id of its
 * mount. The file's own permissions do not matter, and the kernel asks no
 * server.
 *
 * `int name_to_handle_at(int dirfd, const char *path, struct file_handle *handle, int *mount_id, int flags);`
 *
 * See name_to_handle_at(2). `AT_HANDLE_FID` exists since Linux 6.5, and
 * `AT_HANDLE_MNT_ID_UNIQUE` since 6.12.
 *
 * @param dirfd Where a relative path starts.
 * @param path The file; empty with `AT_EMPTY_PATH` for `dirfd` itself.
 * @param flags `AT_*`. A symlink is only followed with `AT_SYMLINK_FOLLOW`.
 * @returns The handle, and the mount's id.
 * @throws {SyscallError} EOPNOTSUPP if the file system makes no handles,
 * EINVAL for a flag that the kernel does not know.
 */
export function nameToHandleAt(
  dirfd: number,
  path: string,
  flags: number,
): FileHandle {
  dirfd = int32("dirfd", dirfd);
  const name = passString("path", path);
  const bits = flags32("flags", flags);
  const buffer = new ArrayBuffer(FILE_HANDLE.SIZE + MAX_HANDLE_SIZE);
  const handle = new Uint8Array(buffer);
  const view = new DataView(buffer);
  view.setUint32(FILE_HANDLE.handle_bytes, MAX_HANDLE_SIZE, LITTLE_ENDIAN);
  const unique = (bits & AT_HANDLE_MNT_ID_UNIQUE) !== 0;
  const id = new DataView(new ArrayBuffer(8));
  const result = libc.name_to_handle_at(
    NR.name_to_handle_at,
    dirfd,
    name,
    handle,
    new Uint8Array(id.buffer),
    bits,
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "name_to_handle_at", [
      { fd: dirfd },
      quote(path),
      "…",
      "…",
      flagNames(bits >>> 0, {
        AT_EMPTY_PATH,
        AT_SYMLINK_FOLLOW,
        AT_HANDLE_FID,
        AT_HANDLE_CONNECTABLE,
        AT_HANDLE_MNT_ID_UNIQUE,
      }),
    ]);
  }
  const length = view.getUint32(FILE_HANDLE.handle_bytes, LITTLE_ENDIAN);
  return {
    type: view.getInt32(FILE_HANDLE.handle_type, LITTLE_ENDIAN),
    bytes: handle.slice(FILE_HANDLE.SIZE, FILE_HANDLE.SIZE + length),
    mountId: unique
      ? id.getBigUint64(0, LITTLE_ENDIAN)
      : BigInt(id.getInt32(0, LITTLE_ENDIAN)),
  };
}
