import { checkOptions, type OptionNames } from "../base/check.ts";
import {
  byteArray,
  flagNames,
  flags32,
  int32,
  octal,
  passString,
  quoteStart,
  settle,
  setUint64,
  tracer,
  uint32,
} from "./call.ts";
import { LITTLE_ENDIAN, OPEN_HOW, STATX } from "./layout.ts";
import { bindElsewhere, errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { isErrno } from "./error.ts";
import { ENOENT } from "./errno.ts";
import { quote } from "../base/text.ts";
import {
  AT_EMPTY_PATH,
  AT_NO_AUTOMOUNT,
  AT_STATX_DONT_SYNC,
  AT_STATX_FORCE_SYNC,
  AT_SYMLINK_NOFOLLOW,
  F_DUPFD,
  F_DUPFD_CLOEXEC,
  F_GETFD,
  FD_CLOEXEC,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  LOCK_UN,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_DSYNC,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDWR,
  O_SYNC,
  O_TMPFILE,
  O_TRUNC,
  O_WRONLY,
  RESOLVE_BENEATH,
  RESOLVE_CACHED,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  STATX_ATIME,
  STATX_BLOCKS,
  STATX_BTIME,
  STATX_CTIME,
  STATX_DIO_READ_ALIGN,
  STATX_DIOALIGN,
  STATX_GID,
  STATX_INO,
  STATX_MNT_ID,
  STATX_MNT_ID_UNIQUE,
  STATX_MODE,
  STATX_MTIME,
  STATX_NLINK,
  STATX_SIZE,
  STATX_SUBVOL,
  STATX_TYPE,
  STATX_UID,
  STATX_WRITE_ATOMIC,
} from "./constants.ts";

/** The flags, mode and limits of {@linkcode openat2}: `struct open_how`. */
export interface OpenHow {
  /** `O_*`. */
  flags: number | bigint;
  /**
   * The mode of a file that is created.
   *
   * @default {0}
   */
  mode?: number | bigint;
  /**
   * `RESOLVE_*`.
   *
   * @default {0}
   */
  resolve?: number | bigint;
}

const HOW_NAMES: OptionNames<OpenHow> = {
  flags: true,
  mode: true,
  resolve: true,
};

/**
 * Opens a file, with limits on how its path is resolved.
 *
 * `int openat2(int dirfd, const char *path, const struct open_how *how, size_t size);`
 *
 * Since Linux 5.6; see openat2(2).
 *
 * @param dirfd The directory that a relative path starts at.
 * @param path The file's path.
 * @param how The flags, mode and limits.
 * @returns The descriptor. It is closed on exec only with `O_CLOEXEC`.
 * @throws {SyscallError} EXDEV when the path leaves what `RESOLVE_BENEATH` or
 * `RESOLVE_NO_XDEV` allow, ELOOP for a symlink under `RESOLVE_NO_SYMLINKS`,
 * EAGAIN when something was renamed or mounted meanwhile (try again).
 */
export function openat2(dirfd: number, path: string, how: OpenHow): number {
  return openUnless(0, dirfd, path, how);
}

/**
 * As {@linkcode openat2}, to find out if a file exists. It makes no error for
 * ENOENT, because that would take longer than the call.
 *
 * @returns The descriptor, -1 for ENOENT.
 * @throws {SyscallError} As {@linkcode openat2}, but not ENOENT.
 */
export function openat2IfThere(
  dirfd: number,
  path: string,
  how: OpenHow,
): number {
  try {
    return openUnless(ENOENT, dirfd, path, how);
  } catch (error) {
    // With a tracer, settle() reports the call and throws.
    if (isErrno(error, ENOENT)) return -1;
    throw error;
  }
}

/** @param expected The error number that is no failure, unless there is a tracer. */
function openUnless(
  expected: number,
  dirfd: number,
  path: string,
  how: OpenHow,
): number {
  dirfd = int32("dirfd", dirfd);
  checkOptions(how, HOW_NAMES);
  const { flags, mode = 0, resolve = 0 } = how;
  setUint64(openHowView, OPEN_HOW.flags, "flags", flags);
  setUint64(openHowView, OPEN_HOW.mode, "mode", mode);
  setUint64(openHowView, OPEN_HOW.resolve, "resolve", resolve);
  const bytes = passString("path", path);
  const fd = libc.openat2(NR.openat2, dirfd, bytes, openHow, SIZE);
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 && errno[0] === expected && !tracer) return fd;
  if (fd === -1 || tracer) {
    settle(fd, "openat2", [
      { fd: dirfd },
      quote(path),
      `{flags=${openFlagNames(flags)}, mode=${octal(mode)}, resolve=${
        flagNames(resolve, RESOLVE)
      }}`,
      String(OPEN_HOW.SIZE),
    ]);
  }
  return fd;
}

/** Reused by each call, filled only after the caller's `how` was checked. */
const openHow = new Uint8Array(new ArrayBuffer(OPEN_HOW.SIZE));

const SIZE = BigInt(OPEN_HOW.SIZE);

const openHowView = new DataView(openHow.buffer);

const OPEN = {
  O_WRONLY,
  O_RDWR,
  O_TMPFILE,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_SYNC,
  O_DSYNC,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_TRUNC,
};

const RESOLVE = {
  RESOLVE_NO_XDEV,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
  RESOLVE_CACHED,
};

/** Names open flags; `O_RDONLY` is the access mode that has no bit. */
function openFlagNames(value: number | bigint): string {
  const flags = BigInt(value);
  const names = flagNames(flags, OPEN);
  const access = flags & BigInt(O_WRONLY | O_RDWR | O_PATH);
  if (access !== 0n) return names;
  return flags === 0n ? "O_RDONLY" : `O_RDONLY|${names}`;
}

/**
 * Closes a descriptor.
 *
 * `int close(int fd);`
 *
 * See close(2). The descriptor is closed even when an error is reported: never
 * close it again.
 *
 * @param fd The descriptor.
 * @throws {SyscallError} EBADF when it is not open.
 */
export function close(fd: number): void {
  fd = int32("fd", fd);
  const result = libc.close(NR.close, fd);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "close", [{ fd }]);
  }
}

/**
 * Closes a descriptor on another thread: a close that also unmounts waits for
 * the kernel (synchronize_rcu).
 *
 * `int close(int fd);`
 *
 * See close(2).
 *
 * @param fd The descriptor; no other code may use it any more.
 */
export async function closeElsewhere(fd: number): Promise<void> {
  fd = int32("fd", fd);
  const result = await bindElsewhere("close")(NR.close, fd);
  // Only that thread has the errno. EBADF alone leaves the descriptor's state
  // unchanged: then this call fails in the same way.
  if (result === -1) return close(fd);
  if (tracer) settle(result, "close", [{ fd }]);
}

/** Options of {@linkcode dup}. */
export interface DupOptions {
  /**
   * True if the new descriptor is close-on-exec.
   *
   * @default {true}
   */
  cloexec?: boolean;
  /**
   * The least number the new descriptor may have.
   *
   * @default {0}
   */
  min?: number;
}

const DUP_NAMES: OptionNames<DupOptions> = { cloexec: true, min: true };

/**
 * Makes another descriptor of the same open file (`F_DUPFD_CLOEXEC`, or
 * `F_DUPFD`).
 *
 * `int fcntl(int fd, int cmd, int arg);`
 *
 * See fcntl(2).
 *
 * @param fd The descriptor.
 * @param options Its close-on-exec flag, and its least number.
 * @returns The new descriptor.
 * @throws {SyscallError} EBADF when `fd` is not open, EINVAL for a `min` beyond
 * the limit, EMFILE when no number is free.
 */
export function dup(fd: number, options: DupOptions = {}): number {
  fd = int32("fd", fd);
  checkOptions(options, DUP_NAMES);
  const min = int32("min", options.min ?? 0);
  const cloexec = options.cloexec ?? true;
  const command = cloexec ? F_DUPFD_CLOEXEC : F_DUPFD;
  const copy = libc.fcntl(NR.fcntl, fd, command, min);
  if (copy === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (copy === -1 || tracer) {
    settle(copy, "fcntl", [
      { fd },
      cloexec ? "F_DUPFD_CLOEXEC" : "F_DUPFD",
      String(min),
    ]);
  }
  return copy;
}

/** include/uapi/asm-generic/fcntl.h */
export const F_SETFL = 4;

/**
 * Makes calls on an open file fail with EAGAIN if they would wait. Clears the
 * other status flags.
 *
 * `int fcntl(int fd, F_SETFL, O_NONBLOCK);`
 *
 * See fcntl(2).
 *
 * @param fd A descriptor of the file.
 * @throws {SyscallError} EBADF when `fd` is not open.
 */
export function setNonblocking(fd: number): void {
  fd = int32("fd", fd);
  const result = libc.fcntl(NR.fcntl, fd, F_SETFL, O_NONBLOCK);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "fcntl", [{ fd }, "F_SETFL", "O_NONBLOCK"]);
  }
}

/**
 * Whether a descriptor is closed on exec: none that a process was started with
 * is.
 *
 * `int fcntl(int fd, F_GETFD);`
 *
 * See F_GETFD(2const).
 *
 * @param fd The descriptor.
 * @throws {SyscallError} EBADF when `fd` is not open.
 */
export function closesOnExec(fd: number): boolean {
  fd = int32("fd", fd);
  const flags = libc.fcntl(NR.fcntl, fd, F_GETFD, 0);
  if (flags === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (flags === -1 || tracer) settle(flags, "fcntl", [{ fd }, "F_GETFD"]);
  return (flags & FD_CLOEXEC) !== 0;
}

// include/uapi/linux/fcntl.h
export const F_GETPIPE_SZ = 1032;

/**
 * The most bytes that a pipe holds.
 *
 * `int fcntl(int fd, F_GETPIPE_SZ);`
 *
 * See F_GETPIPE_SZ(2const).
 *
 * @param fd An end of the pipe.
 * @throws {SyscallError} EBADF when it is no pipe.
 */
export function pipeSize(fd: number): number {
  fd = int32("fd", fd);
  const result = libc.fcntl(NR.fcntl, fd, F_GETPIPE_SZ, 0);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "fcntl", [{ fd }, "F_GETPIPE_SZ"]);
  }
  return result;
}

/**
 * Reads from a descriptor.
 *
 * `ssize_t read(int fd, void *buf, size_t count);`
 *
 * See read(2).
 *
 * @param fd The descriptor.
 * @param buffer The memory to read to; its length is the most that is read.
 * @returns The number of bytes read, 0 at the end.
 * @throws {SyscallError} As read(2) lists them.
 */
export function read(fd: number, buffer: Uint8Array): number {
  fd = int32("fd", fd);
  // byteArray() copies a buffer in shared memory; the result is copied back.
  const bytes = byteArray("buffer", buffer);
  const count = libc.read(NR.read, fd, bytes, BigInt(bytes.length));
  if (count === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (count === -1 || tracer) {
    settle(count, "read", [
      { fd },
      count === -1 ? "…" : quoteStart(bytes.subarray(0, count)),
      String(bytes.length),
    ]);
  }
  if (bytes !== buffer) buffer.set(bytes.subarray(0, count));
  return count;
}

/**
 * Writes to a descriptor.
 *
 * `ssize_t write(int fd, const void *buf, size_t count);`
 *
 * See write(2).
 *
 * @param fd The descriptor.
 * @param buffer The bytes to write.
 * @returns The number of bytes written, which may be fewer.
 * @throws {SyscallError} As write(2) lists them.
 */
export function write(fd: number, buffer: Uint8Array): number {
  fd = int32("fd", fd);
  const bytes = byteArray("buffer", buffer);
  const count = libc.write(NR.write, fd, bytes, BigInt(bytes.length));
  if (count === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (count === -1 || tracer) {
    settle(count, "write", [{ fd }, quoteStart(bytes), String(bytes.length)]);
  }
  return count;
}

/**
 * Writes to a descriptor on another thread, where the call may wait. The
 * descriptor must stay open until then.
 *
 * `ssize_t write(int fd, const void *buf, size_t count);`
 *
 * See write(2).
 *
 * @param fd The descriptor.
 * @param buffer The bytes to write; they must stay as they are until then.
 * @returns The number of bytes written, which may be fewer.
 * @throws {SyscallError} As write(2) lists them.
 */
export async function writeElsewhere(
  fd: number,
  buffer: Uint8Array,
): Promise<number> {
  fd = int32("fd", fd);
  const bytes = byteArray("buffer", buffer);
  const elsewhere = bindElsewhere("write");
  const count = await elsewhere(NR.write, fd, bytes, BigInt(bytes.length));
  // Only that thread has the errno: repeat the call here, to fail in the same
  // way.
  if (count === -1) return write(fd, bytes);
  if (tracer) {
    settle(count, "write", [{ fd }, quoteStart(bytes), String(bytes.length)]);
  }
  return count;
}

/**
 * Changes the working directory of the calling thread, and of every thread that
 * shares it: see `unshare` with `CLONE_FS`.
 *
 * `int fchdir(int fd);`
 *
 * See fchdir(2).
 *
 * @param fd The directory's descriptor.
 * @throws {SyscallError} ENOTDIR when it is no directory, EACCES without search
 * permission.
 */
export function fchdir(fd: number): void {
  fd = int32("fd", fd);
  const result = libc.fchdir(NR.fchdir, fd);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "fchdir", [{ fd }]);
  }
}

/**
 * Locks an open file, for as long as any descriptor of it is open.
 *
 * `int flock(int fd, int op);`
 *
 * See flock(2).
 *
 * @param fd The descriptor, not one of `O_PATH`.
 * @param operation `LOCK_SH`, `LOCK_EX` or `LOCK_UN`, with `LOCK_NB` to fail
 * if it would wait.
 * @throws {SyscallError} EAGAIN with `LOCK_NB` if another open file has a
 * conflicting lock.
 */
export function flock(fd: number, operation: number): void {
  fd = int32("fd", fd);
  operation = int32("operation", operation);
  const result = libc.flock(NR.flock, fd, operation);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "flock", [
      { fd },
      flagNames(operation >>> 0, { LOCK_SH, LOCK_EX, LOCK_UN, LOCK_NB }),
    ]);
  }
}

/**
 * Makes a pipe.
 *
 * `int pipe2(int pipefd[2], int flags);`
 *
 * See pipe(2).
 *
 * @param flags `O_*`.
 * @returns The end to read from, and the one to write to.
 * @throws {SyscallError} EMFILE, ENFILE.
 */
export function pipe2(
  flags: number = O_CLOEXEC,
): [reading: number, writing: number] {
  const bits = flags32("flags", flags);
  const ends = new Int32Array(new ArrayBuffer(8));
  const buffer = new Uint8Array(ends.buffer);
  const result = libc.pipe2(NR.pipe2, buffer, bits);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "pipe2", [
      result === -1 ? "…" : `[${ends.join(", ")}]`,
      flagNames(bits >>> 0, { O_CLOEXEC, O_NONBLOCK }),
    ]);
  }
  return [ends[0]!, ends[1]!];
}

// include/uapi/linux/memfd.h
export const MFD_CLOEXEC = 0x1;

export const MFD_ALLOW_SEALING = 0x2;

/** Since Linux 6.3. */
export const MFD_EXEC = 0x10;

/**
 * Makes a file in memory.
 *
 * `int memfd_create(const char *name, unsigned int flags);`
 *
 * See memfd_create(2).
 *
 * @param name The name that /proc shows.
 * @param flags `MFD_*`.
 * @returns Its descriptor, open to read and write.
 * @throws {SyscallError} EINVAL for a flag that the kernel does not know, EACCES
 * for `MFD_EXEC` if the sysctl vm.memfd_noexec forbids it.
 */
export function memfdCreate(name: string, flags: number): number {
  const bytes = passString("name", name);
  flags = uint32("flags", flags);
  const fd = libc.memfd_create(NR.memfd_create, bytes, flags);
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 || tracer) {
    settle(fd, "memfd_create", [
      quote(name),
      flagNames(flags, { MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_EXEC }),
    ]);
  }
  return fd;
}

// include/uapi/linux/fcntl.h
export const F_ADD_SEALS = 1033;

export const F_SEAL_SEAL = 0x1;

export const F_SEAL_SHRINK = 0x2;

export const F_SEAL_GROW = 0x4;

export const F_SEAL_WRITE = 0x8;

/** Since Linux 6.3. */
export const F_SEAL_EXEC = 0x20;

/**
 * Forbids changes of a file in memory permanently.
 *
 * `int fcntl(int fd, F_ADD_SEALS, int seals);`
 *
 * See F_ADD_SEALS(2const).
 *
 * @param fd The file.
 * @param seals `F_SEAL_*`.
 * @throws {SyscallError} EINVAL for a seal that the kernel does not know.
 */
export function addSeals(fd: number, seals: number): void {
  fd = int32("fd", fd);
  seals = flags32("seals", seals);
  const result = libc.fcntl(NR.fcntl, fd, F_ADD_SEALS, seals);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "fcntl", [
      { fd },
      "F_ADD_SEALS",
      flagNames(seals, {
        F_SEAL_SEAL,
        F_SEAL_SHRINK,
        F_SEAL_GROW,
        F_SEAL_WRITE,
        F_SEAL_EXEC,
      }),
    ]);
  }
}

/** A time stamp: `struct statx_timestamp`. */
export interface StatxTimestamp {
  /** Seconds since 1970-01-01 UTC. */
  sec: bigint;
  /** Nanoseconds after that second. */
  nsec: number;
}

/**
 * The answer of {@linkcode statx}: the fields of `struct statx`. A field that
 * the answer's `mask` lacks is `undefined`.
 */
export interface Statx {
  /** The `STATX_*` bits of the fields that are there. */
  mask: number;
  /** The preferred block size for reading and writing. */
  blksize: number;
  /** `STATX_ATTR_*` that are set. */
  attributes: bigint;
  /** `STATX_ATTR_*` that the file system knows. */
  attributesMask: bigint;
  /** Number of hard links. */
  nlink: number | undefined;
  /** The owner. */
  uid: number | undefined;
  /** The group. */
  gid: number | undefined;
  /** Type (`STATX_TYPE`) and permissions (`STATX_MODE`). */
  mode: number | undefined;
  /** Inode number. */
  ino: bigint | undefined;
  /** Size in bytes. */
  size: bigint | undefined;
  /** Size on disk, in blocks of 512 bytes. */
  blocks: bigint | undefined;
  /** Last access. */
  atime: StatxTimestamp | undefined;
  /** Creation. */
  btime: StatxTimestamp | undefined;
  /** Last change of the inode. */
  ctime: StatxTimestamp | undefined;
  /** Last change of the content. */
  mtime: StatxTimestamp | undefined;
  /** The device's major number, of a device file. */
  rdevMajor: number;
  /** The device's minor number, of a device file. */
  rdevMinor: number;
  /** Major number of the device that holds the file. */
  devMajor: number;
  /** Minor number of the device that holds the file. */
  devMinor: number;
  /** The mount's id: unique with `STATX_MNT_ID_UNIQUE`, else the reused one. */
  mntId: bigint | undefined;
  /** Alignment of buffers for direct I/O. */
  dioMemAlign: number | undefined;
  /** Alignment of offsets for direct I/O. */
  dioOffsetAlign: number | undefined;
  /** Subvolume. */
  subvol: bigint | undefined;
  /** Least size of an atomic write. */
  atomicWriteUnitMin: number | undefined;
  /** Greatest size of an atomic write. */
  atomicWriteUnitMax: number | undefined;
  /** Most segments of an atomic write. */
  atomicWriteSegmentsMax: number | undefined;
  /** Alignment of offsets for direct reads. */
  dioReadOffsetAlign: number | undefined;
  /** Greatest size of an atomic write that is quick. */
  atomicWriteUnitMaxOpt: number | undefined;
}

/**
 * Asks for a file's metadata.
 *
 * `int statx(int dirfd, const char *path, unsigned int flags, unsigned int mask, struct statx *buf);`
 *
 * See statx(2). `STATX_MNT_ID` exists since Linux 5.8, `STATX_MNT_ID_UNIQUE`
 * since 6.8.
 *
 * @param dirfd The directory that a relative path starts at.
 * @param path The file; empty with `AT_EMPTY_PATH` for `dirfd` itself.
 * @param flags `AT_*`.
 * @param mask `STATX_*`: the fields to get.
 * @returns The kernel's answer.
 * @throws {SyscallError} ENOENT, ENOTDIR, ELOOP…
 */
export function statx(
  dirfd: number,
  path: string,
  flags: number,
  mask: number,
): Statx {
  return ask(dirfd, path, flags, mask, decode);
}

/**
 * As {@linkcode statx}, but decodes no more than the file's mount and type.
 *
 * @returns Both; `undefined` if the answer's mask lacks the bit.
 */
export function statxMount(
  dirfd: number,
  path: string,
  flags: number,
  mask: number,
): Pick<Statx, "mntId" | "mode"> {
  return ask(dirfd, path, flags, mask, decodeMount);
}

function ask<T>(
  dirfd: number,
  path: string,
  flags: number,
  mask: number,
  decode: () => T,
): T {
  dirfd = int32("dirfd", dirfd);
  const bytes = passString("path", path);
  flags = uint32("flags", flags);
  mask = uint32("mask", mask);
  const result = libc.statx(NR.statx, dirfd, bytes, flags, mask, statxBuffer);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  // Decode before a tracer runs: it may make calls that overwrite the buffer.
  const answer = decode();
  if (result === -1 || tracer) {
    settle(result, "statx", [
      { fd: dirfd },
      quote(path),
      flagNames(flags, {
        AT_EMPTY_PATH,
        AT_SYMLINK_NOFOLLOW,
        AT_NO_AUTOMOUNT,
        AT_STATX_FORCE_SYNC,
        AT_STATX_DONT_SYNC,
      }),
      flagNames(mask, MASKS),
      "…",
    ]);
  }
  return answer;
}

/** Reused by each call; decoded before the next. */
const statxBuffer = new Uint8Array(new ArrayBuffer(STATX.SIZE));

const statxView = new DataView(statxBuffer.buffer);

const MASKS = {
  STATX_TYPE,
  STATX_MODE,
  STATX_NLINK,
  STATX_UID,
  STATX_GID,
  STATX_ATIME,
  STATX_MTIME,
  STATX_CTIME,
  STATX_INO,
  STATX_SIZE,
  STATX_BLOCKS,
  STATX_BTIME,
  STATX_MNT_ID,
  STATX_DIOALIGN,
  STATX_MNT_ID_UNIQUE,
  STATX_SUBVOL,
  STATX_WRITE_ATOMIC,
  STATX_DIO_READ_ALIGN,
};

function u32(offset: number): number {
  return statxView.getUint32(offset, LITTLE_ENDIAN);
}

function u64(offset: number): bigint {
  return statxView.getBigUint64(offset, LITTLE_ENDIAN);
}

function time(offset: number): StatxTimestamp {
  return {
    sec: statxView.getBigInt64(offset, LITTLE_ENDIAN),
    nsec: u32(offset + 8),
  };
}

/** Reads a field if the answer's mask has one of these bits. */
function when<T>(
  bits: number,
  read: (offset: number) => T,
  offset: number,
): T | undefined {
  return (u32(STATX.stx_mask) & bits) !== 0 ? read(offset) : undefined;
}

function mode(offset: number): number {
  return statxView.getUint16(offset, LITTLE_ENDIAN);
}

function decodeMount(): Pick<Statx, "mntId" | "mode"> {
  return {
    mntId: when(STATX_MNT_ID | STATX_MNT_ID_UNIQUE, u64, STATX.stx_mnt_id),
    mode: when(STATX_TYPE | STATX_MODE, mode, STATX.stx_mode),
  };
}

function decode(): Statx {
  return {
    ...decodeMount(),
    mask: u32(STATX.stx_mask),
    blksize: u32(STATX.stx_blksize),
    attributes: u64(STATX.stx_attributes),
    attributesMask: u64(STATX.stx_attributes_mask),
    nlink: when(STATX_NLINK, u32, STATX.stx_nlink),
    uid: when(STATX_UID, u32, STATX.stx_uid),
    gid: when(STATX_GID, u32, STATX.stx_gid),
    ino: when(STATX_INO, u64, STATX.stx_ino),
    size: when(STATX_SIZE, u64, STATX.stx_size),
    blocks: when(STATX_BLOCKS, u64, STATX.stx_blocks),
    atime: when(STATX_ATIME, time, STATX.stx_atime),
    btime: when(STATX_BTIME, time, STATX.stx_btime),
    ctime: when(STATX_CTIME, time, STATX.stx_ctime),
    mtime: when(STATX_MTIME, time, STATX.stx_mtime),
    rdevMajor: u32(STATX.stx_rdev_major),
    rdevMinor: u32(STATX.stx_rdev_minor),
    devMajor: u32(STATX.stx_dev_major),
    devMinor: u32(STATX.stx_dev_minor),
    dioMemAlign: when(STATX_DIOALIGN, u32, STATX.stx_dio_mem_align),
    dioOffsetAlign: when(STATX_DIOALIGN, u32, STATX.stx_dio_offset_align),
    subvol: when(STATX_SUBVOL, u64, STATX.stx_subvol),
    atomicWriteUnitMin: when(
      STATX_WRITE_ATOMIC,
      u32,
      STATX.stx_atomic_write_unit_min,
    ),
    atomicWriteUnitMax: when(
      STATX_WRITE_ATOMIC,
      u32,
      STATX.stx_atomic_write_unit_max,
    ),
    atomicWriteSegmentsMax: when(
      STATX_WRITE_ATOMIC,
      u32,
      STATX.stx_atomic_write_segments_max,
    ),
    dioReadOffsetAlign: when(
      STATX_DIO_READ_ALIGN,
      u32,
      STATX.stx_dio_read_offset_align,
    ),
    atomicWriteUnitMaxOpt: when(
      STATX_WRITE_ATOMIC,
      u32,
      STATX.stx_atomic_write_unit_max_opt,
    ),
  };
}
