/**
 * ioctl(2) on loop devices, a function for each operation; see loop(4).
 */
import { flagNames, int32, settle, tracer, uint32, uint64 } from "./call.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import {
  LO_FLAGS_AUTOCLEAR,
  LO_FLAGS_DIRECT_IO,
  LO_FLAGS_PARTSCAN,
  LO_FLAGS_READ_ONLY,
  LOOP_CONFIGURE,
  LOOP_CTL_GET_FREE,
} from "./constants.ts";
import { LITTLE_ENDIAN, LOOP_CONFIG, LOOP_INFO64 } from "./layout.ts";

/** The file behind a device, for {@linkcode loopConfigure}: `struct loop_config`. */
export interface LoopConfig {
  /** The file's descriptor; the device keeps the open file. */
  fd: number;
  /**
   * The size of the device's blocks; 0 leaves it to the kernel.
   *
   * @default {0}
   */
  blockSize?: number;
  /**
   * The offset in the file at which the device begins, in bytes.
   *
   * @default {0}
   */
  offset?: number | bigint;
  /**
   * The greatest size of the device, in bytes; 0 is all of the file.
   *
   * @default {0}
   */
  sizelimit?: number | bigint;
  /**
   * `LO_FLAGS_*`.
   *
   * @default {0}
   */
  flags?: number;
}

/**
 * Finds a loop device that has no file, or makes one.
 *
 * `int ioctl(int fd, LOOP_CTL_GET_FREE);`
 *
 * The device is not reserved: another process may configure it first.
 *
 * @param fd A descriptor of /dev/loop-control.
 * @returns The device's number, as in /dev/loopN.
 * @throws {SyscallError} ENOTTY if `fd` refers to another file, EBADF.
 */
export function loopCtlGetFree(fd: number): number {
  fd = int32("fd", fd);
  const number = libc.ioctl(NR.ioctl, fd, LOOP_CTL_GET_FREE, null);
  if (number === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (number === -1 || tracer) {
    settle(number, "ioctl", [{ fd }, "LOOP_CTL_GET_FREE"]);
  }
  return number;
}

const FLAGS = {
  LO_FLAGS_READ_ONLY,
  LO_FLAGS_AUTOCLEAR,
  LO_FLAGS_PARTSCAN,
  LO_FLAGS_DIRECT_IO,
};

/**
 * Puts a file behind a loop device, and sets all its properties at once.
 *
 * `int ioctl(int fd, LOOP_CONFIGURE, const struct loop_config *config);`
 *
 * Since Linux 5.8. If the device or the file was opened for reading only, the
 * device is read-only.
 *
 * @param fd The device's descriptor.
 * @param config The file, and how it is shown.
 * @throws {SyscallError} EBUSY if the device has a file already, EINVAL if the
 * file is neither a regular file nor a block device, ENOTTY if `fd` refers to
 * no loop device, EBADF.
 */
export function loopConfigure(fd: number, config: LoopConfig): void {
  fd = int32("fd", fd);
  const fileFd = int32("config.fd", config.fd);
  const blockSize = uint32("blockSize", config.blockSize ?? 0);
  const offset = uint64("offset", config.offset ?? 0);
  const sizelimit = uint64("sizelimit", config.sizelimit ?? 0);
  const flags = uint32("flags", config.flags ?? 0);
  const view = new DataView(new ArrayBuffer(LOOP_CONFIG.SIZE));
  view.setInt32(LOOP_CONFIG.fd, fileFd, LITTLE_ENDIAN);
  view.setUint32(LOOP_CONFIG.block_size, blockSize, LITTLE_ENDIAN);
  const info = new DataView(view.buffer, LOOP_CONFIG.info);
  info.setBigUint64(LOOP_INFO64.lo_offset, offset, LITTLE_ENDIAN);
  info.setBigUint64(LOOP_INFO64.lo_sizelimit, sizelimit, LITTLE_ENDIAN);
  info.setUint32(LOOP_INFO64.lo_flags, flags, LITTLE_ENDIAN);
  const buffer = new Uint8Array(view.buffer);
  const result = libc.ioctl(NR.ioctl, fd, LOOP_CONFIGURE, buffer);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "ioctl", [
      { fd },
      "LOOP_CONFIGURE",
      `{fd=${fileFd}, block_size=${blockSize}, info={lo_offset=${offset}, lo_sizelimit=${sizelimit}, lo_flags=${
        flagNames(flags, FLAGS)
      }, ...}}`,
    ]);
  }
}
