/**
 * Byte offsets in the kernel's structs, under the names of their fields. They
 * are the same on x86_64 and aarch64.
 */

/** The byte order of the kernel's structs: Deno's two Linux targets share it. */
export const LITTLE_ENDIAN = true;

/** `struct open_how`, include/uapi/linux/openat2.h. */
export const OPEN_HOW = {
  flags: 0,
  mode: 8,
  resolve: 16,
  SIZE: 24,
} as const;

/** `struct statx`, include/uapi/linux/stat.h; the kernel always fills all of it. */
export const STATX = {
  stx_mask: 0,
  stx_blksize: 4,
  stx_attributes: 8,
  stx_nlink: 16,
  stx_uid: 20,
  stx_gid: 24,
  stx_mode: 28,
  stx_ino: 32,
  stx_size: 40,
  stx_blocks: 48,
  stx_attributes_mask: 56,
  stx_atime: 64,
  stx_btime: 80,
  stx_ctime: 96,
  stx_mtime: 112,
  stx_rdev_major: 128,
  stx_rdev_minor: 132,
  stx_dev_major: 136,
  stx_dev_minor: 140,
  stx_mnt_id: 144,
  stx_dio_mem_align: 152,
  stx_dio_offset_align: 156,
  stx_subvol: 160,
  stx_atomic_write_unit_min: 168,
  stx_atomic_write_unit_max: 172,
  stx_atomic_write_segments_max: 176,
  stx_dio_read_offset_align: 180,
  stx_atomic_write_unit_max_opt: 184,
  SIZE: 256,
} as const;

/** `struct statx_timestamp`, include/uapi/linux/stat.h: what `stx_atime` and the like are. */
export const STATX_TIMESTAMP = {
  tv_sec: 0,
  tv_nsec: 8,
  SIZE: 16,
} as const;
