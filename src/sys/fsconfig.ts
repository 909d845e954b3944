import { byteArray, int32, passString } from "./argument.ts";
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
} from "./constants.ts";
import { type Argument, quote } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * fsconfig(2), a function for each command.
 *
 * `int fsconfig(int fd, unsigned int cmd, const char *key, const void *value, int aux);`
 *
 * Since Linux 5.2. A key and a string value hold 255 bytes each at the most:
 * EINVAL otherwise. All throw {@linkcode SyscallError}: EINVAL for a parameter
 * that the file system refuses (`readLog` has its reason), EBUSY when the
 * context is past the stage of the command.
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
 * @param dirfd Where a relative path starts.
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
 * Creates the file system, or finds the one that matches the parameters
 * (`FSCONFIG_CMD_CREATE`). A context whose creation failed is of no more use.
 *
 * @param fd The context's descriptor.
 * @throws {SyscallError} EINVAL, EPERM, ENOENT… as the file system answers.
 */
export function fsconfigCreate(fd: number): void {
  fsconfig(fd, FSCONFIG_CMD_CREATE, null, null, 0, null);
}

/**
 * Creates the file system, and fails where an existing one would be reused
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
