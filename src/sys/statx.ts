import { int32, passString, uint32 } from "./argument.ts";
import {
  AT_EMPTY_PATH,
  AT_NO_AUTOMOUNT,
  AT_STATX_DONT_SYNC,
  AT_STATX_FORCE_SYNC,
  AT_SYMLINK_NOFOLLOW,
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
import { flagNames, quote } from "./format.ts";
import { LITTLE_ENDIAN, STATX } from "./layout.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/** A time stamp: `struct statx_timestamp`. */
export interface StatxTimestamp {
  /** Seconds since 1970-01-01 UTC. */
  sec: bigint;
  /** Nanoseconds after that second. */
  nsec: number;
}

/**
 * What {@linkcode statx} found: the fields of `struct statx`. One that the
 * answer's `mask` lacks is `undefined`.
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
 * See statx(2). `STATX_MNT_ID` is there since Linux 5.8, `STATX_MNT_ID_UNIQUE`
 * since 6.8.
 *
 * @param dirfd Where a relative path starts.
 * @param path The file; empty with `AT_EMPTY_PATH` for `dirfd` itself.
 * @param flags `AT_*`.
 * @param mask `STATX_*`: what is wanted.
 * @returns What the kernel knows of it.
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
 * @returns `undefined` where the answer's mask lacks the bit.
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
  const result = libc.statx(NR.statx, dirfd, bytes, flags, mask, buffer);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  // Before a tracer is told, which may make calls of its own.
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

/** Used again by each call, and read before the next. */
const buffer = new Uint8Array(new ArrayBuffer(STATX.SIZE));
const view = new DataView(buffer.buffer);

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
  return view.getUint32(offset, LITTLE_ENDIAN);
}

function u64(offset: number): bigint {
  return view.getBigUint64(offset, LITTLE_ENDIAN);
}

function time(offset: number): StatxTimestamp {
  return {
    sec: view.getBigInt64(offset, LITTLE_ENDIAN),
    nsec: u32(offset + 8),
  };
}

/** A field, where the answer has one of these bits. */
function when<T>(
  bits: number,
  read: (offset: number) => T,
  offset: number,
): T | undefined {
  return (u32(STATX.stx_mask) & bits) !== 0 ? read(offset) : undefined;
}

function mode(offset: number): number {
  return view.getUint16(offset, LITTLE_ENDIAN);
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
