import {
  AT_FDCWD,
  FSCONFIG_CMD_CREATE,
  FSCONFIG_CMD_CREATE_EXCL,
  FSCONFIG_CMD_RECONFIGURE,
  FSCONFIG_SET_BINARY,
  FSCONFIG_SET_FD,
  FSCONFIG_SET_FLAG,
  FSCONFIG_SET_PATH,
  FSCONFIG_SET_PATH_EMPTY,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSMOUNT_NAMESPACE,
  FSOPEN_CLOEXEC,
  FSPICK_CLOEXEC,
  FSPICK_EMPTY_PATH,
  FSPICK_NO_AUTOMOUNT,
  FSPICK_SYMLINK_NOFOLLOW,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
} from "./constants.ts";
import {
  byteArray,
  flagNames,
  int32,
  passString,
  settle,
  tracer,
  uint32,
} from "./call.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { decodeText, quote } from "../base/text.ts";
import { type Argument, SyscallError } from "./error.ts";
import { read } from "./file.ts";
import { EMSGSIZE, ENODATA } from "./errno.ts";

/**
 * Opens a context in which a new file system is configured.
 *
 * `int fsopen(const char *fsname, unsigned int flags);`
 *
 * Since Linux 5.2; see fsopen(2).
 *
 * @param fstype The file system's name, as in /proc/filesystems.
 * @param flags `FSOPEN_CLOEXEC` or 0.
 * @returns The context's descriptor.
 * @throws {SyscallError} EPERM without CAP_SYS_ADMIN in the user namespace of
 * the mount namespace, ENODEV for a type that the kernel does not know.
 */
export function fsopen(
  fstype: string,
  flags: number = FSOPEN_CLOEXEC,
): number {
  const name = passString("fstype", fstype);
  flags = uint32("flags", flags);
  const fd = libc.fsopen(NR.fsopen, name, flags);
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 || tracer) {
    settle(fd, "fsopen", [quote(fstype), flagNames(flags, { FSOPEN_CLOEXEC })]);
  }
  return fd;
}

/**
 * fsconfig(2), a function for each command.
 *
 * `int fsconfig(int fd, unsigned int cmd, const char *key, const void *value, int aux);`
 *
 * Since Linux 5.2. A key and a string value have at most 255 bytes each: EINVAL
 * otherwise. All functions throw {@linkcode SyscallError}: EINVAL for a
 * parameter that the file system refuses (`readLog` has its reason), EBUSY when
 * the context is past the stage of the command.
 */

/**
 * Sets a parameter that takes no value (`FSCONFIG_SET_FLAG`).
 *
 * @param fd The context's descriptor.
 * @param key The parameter's name.
 * @throws {SyscallError} EINVAL when the file system does not know it.
 */
export function fsconfigSetFlag(fd: number, key: string): void {
  fsconfig(fd, FSCONFIG_SET_FLAG, key, null, 0, null);
}

/**
 * Sets a parameter to a string (`FSCONFIG_SET_STRING`).
 *
 * @param fd The context's descriptor.
 * @param key The parameter's name.
 * @param value The value.
 * @throws {SyscallError} EINVAL when the file system refuses it.
 */
export function fsconfigSetString(
  fd: number,
  key: string,
  value: string,
): void {
  const bytes = passString("value", value, 1);
  fsconfig(fd, FSCONFIG_SET_STRING, key, bytes, 0, value);
}

/**
 * Sets a parameter to bytes (`FSCONFIG_SET_BINARY`).
 *
 * @param fd The context's descriptor.
 * @param key The parameter's name.
 * @param value The value, at most 1 MiB.
 * @throws {SyscallError} EINVAL when the file system refuses it.
 */
export function fsconfigSetBinary(
  fd: number,
  key: string,
  value: Uint8Array,
): void {
  const bytes = byteArray("value", value);
  fsconfig(fd, FSCONFIG_SET_BINARY, key, bytes, bytes.length, value);
}

/**
 * Sets a parameter to the file at a path (`FSCONFIG_SET_PATH`).
 *
 * @param fd The context's descriptor.
 * @param key The parameter's name.
 * @param path The file's path.
 * @param dirfd The directory that a relative path starts at.
 * @throws {SyscallError} EINVAL when the file system refuses it.
 */
export function fsconfigSetPath(
  fd: number,
  key: string,
  path: string,
  dirfd: number = AT_FDCWD,
): void {
  const bytes = passString("path", path, 1);
  dirfd = int32("dirfd", dirfd);
  fsconfig(fd, FSCONFIG_SET_PATH, key, bytes, dirfd, path);
}

/**
 * Sets a parameter to the file that a descriptor refers to, as if by an empty
 * path (`FSCONFIG_SET_PATH_EMPTY`).
 *
 * @param fd The context's descriptor.
 * @param key The parameter's name.
 * @param dirfd The file's descriptor.
 * @throws {SyscallError} EINVAL when the file system refuses it.
 */
export function fsconfigSetPathEmpty(
  fd: number,
  key: string,
  dirfd: number,
): void {
  const bytes = passString("path", "", 1);
  dirfd = int32("dirfd", dirfd);
  fsconfig(fd, FSCONFIG_SET_PATH_EMPTY, key, bytes, dirfd, "");
}

/**
 * Sets a parameter to a descriptor (`FSCONFIG_SET_FD`).
 *
 * @param fd The context's descriptor.
 * @param key The parameter's name.
 * @param valueFd The descriptor that is the value.
 * @throws {SyscallError} EINVAL when the file system refuses it.
 */
export function fsconfigSetFd(
  fd: number,
  key: string,
  valueFd: number,
): void {
  valueFd = int32("valueFd", valueFd);
  fsconfig(fd, FSCONFIG_SET_FD, key, null, valueFd, null);
}

/**
 * Creates the file system, or takes an existing one that matches the parameters
 * (`FSCONFIG_CMD_CREATE`). If it fails, the context is of no more use.
 *
 * @param fd The context's descriptor.
 * @throws {SyscallError} EINVAL, EPERM, ENOENT… as the file system answers.
 */
export function fsconfigCreate(fd: number): void {
  fsconfig(fd, FSCONFIG_CMD_CREATE, null, null, 0, null);
}

/**
 * Creates the file system, and fails if an existing one would be reused
 * (`FSCONFIG_CMD_CREATE_EXCL`, since Linux 6.6).
 *
 * @param fd The context's descriptor.
 * @throws {SyscallError} EBUSY when there is one, EOPNOTSUPP on an older kernel.
 */
export function fsconfigCreateExclusive(fd: number): void {
  fsconfig(fd, FSCONFIG_CMD_CREATE_EXCL, null, null, 0, null);
}

/**
 * Applies the parameters to the file system of a context from `fspick`, or
 * from `fsopen` once `fsmount` was called (`FSCONFIG_CMD_RECONFIGURE`).
 *
 * @param fd The context's descriptor.
 * @throws {SyscallError} EINVAL, EPERM… as the file system answers.
 */
export function fsconfigReconfigure(fd: number): void {
  fsconfig(fd, FSCONFIG_CMD_RECONFIGURE, null, null, 0, null);
}

const COMMANDS: Readonly<Record<number, string>> = {
  [FSCONFIG_SET_FLAG]: "FSCONFIG_SET_FLAG",
  [FSCONFIG_SET_STRING]: "FSCONFIG_SET_STRING",
  [FSCONFIG_SET_BINARY]: "FSCONFIG_SET_BINARY",
  [FSCONFIG_SET_PATH]: "FSCONFIG_SET_PATH",
  [FSCONFIG_SET_PATH_EMPTY]: "FSCONFIG_SET_PATH_EMPTY",
  [FSCONFIG_SET_FD]: "FSCONFIG_SET_FD",
  [FSCONFIG_CMD_CREATE]: "FSCONFIG_CMD_CREATE",
  [FSCONFIG_CMD_CREATE_EXCL]: "FSCONFIG_CMD_CREATE_EXCL",
  [FSCONFIG_CMD_RECONFIGURE]: "FSCONFIG_CMD_RECONFIGURE",
};

function fsconfig(
  fd: number,
  command: number,
  key: string | null,
  value: Uint8Array<ArrayBuffer> | null,
  aux: number,
  shown: string | Uint8Array | null,
): void {
  fd = int32("fd", fd);
  const name = key === null ? null : passString("key", key);
  const result = libc.fsconfig(NR.fsconfig, fd, command, name, value, aux);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "fsconfig", [
      { fd },
      COMMANDS[command]!,
      quote(key),
      typeof shown === "string" || shown === null
        ? quote(shown)
        : hexadecimal(shown),
      auxArgument(command, aux),
    ]);
  }
}

function auxArgument(command: number, aux: number): Argument {
  return command === FSCONFIG_SET_FD || command === FSCONFIG_SET_PATH ||
      command === FSCONFIG_SET_PATH_EMPTY
    ? { fd: aux }
    : String(aux);
}

function hexadecimal(bytes: Uint8Array): string {
  const shown = Array.from(
    bytes.subarray(0, 32),
    (byte) => "\\x" + byte.toString(16).padStart(2, "0"),
  ).join("");
  return `"${shown}"${bytes.length > 32 ? "..." : ""}`;
}

/**
 * Opens a context in which the file system mounted at a path is reconfigured.
 *
 * `int fspick(int dirfd, const char *path, unsigned int flags);`
 *
 * Since Linux 5.2; see fspick(2). It picks up the file system, not the mount:
 * `fsmount` on it answers EBUSY.
 *
 * @param dirfd The directory that a relative path starts at.
 * @param path The root of the mount.
 * @param flags `FSPICK_*`.
 * @returns The context's descriptor.
 * @throws {SyscallError} EINVAL when the path is no mount's root, EPERM without
 * CAP_SYS_ADMIN in the user namespace of the mount namespace.
 */
export function fspick(
  dirfd: number,
  path: string,
  flags: number = FSPICK_CLOEXEC,
): number {
  dirfd = int32("dirfd", dirfd);
  const bytes = passString("path", path);
  flags = uint32("flags", flags);
  const fd = libc.fspick(NR.fspick, dirfd, bytes, flags);
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 || tracer) {
    settle(fd, "fspick", [
      { fd: dirfd },
      quote(path),
      flagNames(flags, {
        FSPICK_CLOEXEC,
        FSPICK_SYMLINK_NOFOLLOW,
        FSPICK_NO_AUTOMOUNT,
        FSPICK_EMPTY_PATH,
      }),
    ]);
  }
  return fd;
}

/**
 * Makes a detached mount of the file system that was created in a context.
 *
 * `int fsmount(int fsfd, unsigned int flags, unsigned int attr_flags);`
 *
 * Since Linux 5.2; see fsmount(2). While the descriptor is open, the mount is
 * busy. A close before `moveMount` attached the mount removes the mount.
 *
 * @param fd The context's descriptor.
 * @param flags `FSMOUNT_*`. With `FSMOUNT_NAMESPACE` (since Linux 7.1) the
 * mount is on top of a new mount namespace, and the descriptor is the
 * namespace's.
 * @param attrs `MOUNT_ATTR_*`: the mount's own attributes.
 * @returns The mount's descriptor.
 * @throws {SyscallError} EINVAL for an unknown flag, EPERM without
 * CAP_SYS_ADMIN, or if procfs or sysfs would reveal what other mounts cover.
 */
export function fsmount(
  fd: number,
  flags: number = FSMOUNT_CLOEXEC,
  attrs: number = 0,
): number {
  fd = int32("fd", fd);
  flags = uint32("flags", flags);
  attrs = uint32("attrs", attrs);
  const mountFd = libc.fsmount(NR.fsmount, fd, flags, attrs);
  if (mountFd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (mountFd === -1 || tracer) {
    settle(mountFd, "fsmount", [
      { fd },
      flagNames(flags, { FSMOUNT_CLOEXEC, FSMOUNT_NAMESPACE }),
      flagNames(attrs, ATTRIBUTES),
    ]);
  }
  return mountFd;
}

const ATTRIBUTES = {
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_STRICTATIME,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOSYMFOLLOW,
};

/** A message that the kernel left on a file system context. */
export interface LogMessage {
  /** The message's level. */
  level: "error" | "warning" | "info";
  /** The kernel's words: `tmpfs: Unknown parameter 'nosuch'`. */
  message: string;
}

/**
 * Reads the messages on a file system context, and so removes them. The kernel
 * keeps eight.
 *
 * Since Linux 5.2; see fsopen(2).
 *
 * @param fd The descriptor from `fsopen` or `fspick`.
 * @returns The messages, oldest first; none when there are none.
 * @throws {SyscallError} EBADF when it is not open, and what read(2) answers for
 * other files.
 */
export function readLog(fd: number): LogMessage[] {
  const messages: LogMessage[] = [];
  let buffer = new Uint8Array(1024);
  while (true) {
    try {
      const count = read(fd, buffer);
      // A context never answers 0. A file with an end is no context.
      if (count === 0) return messages;
      messages.push(parseMessage(decodeText(buffer.subarray(0, count))));
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      if (error.errno === ENODATA) return messages;
      if (error.errno !== EMSGSIZE || buffer.length >= MOST_BYTES) throw error;
      buffer = new Uint8Array(buffer.length * 4);
    }
  }
}

const MOST_BYTES = 1 << 20;

const LEVELS: Readonly<Record<string, LogMessage["level"]>> = {
  e: "error",
  w: "warning",
};

/** Parses one message: its level's letter, a space, the words, a newline. */
export function parseMessage(line: string): LogMessage {
  return {
    level: LEVELS[line[0] ?? ""] ?? "info",
    message: line.slice(2).replace(/\n$/, ""),
  };
}
