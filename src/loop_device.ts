import { attempt } from "./error.ts";
import type { Attempt } from "./hint/hint.ts";
import type { LoopOptions } from "./loop_options.ts";
import { OwnedFd } from "./owned_fd.ts";
import {
  AT_FDCWD,
  LO_FLAGS_AUTOCLEAR,
  LO_FLAGS_READ_ONLY,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
} from "./sys/constants.ts";
import { EBUSY, ENXIO } from "./sys/errno.ts";
import { isErrno } from "./sys/error.ts";
import { loopConfigure, loopCtlGetFree } from "./sys/ioctl_loop.ts";
import { openat2 } from "./sys/openat2.ts";

/** What a loop device is to show. */
export interface LoopImage extends LoopOptions {
  /** The path of the file. */
  readonly image: string;
}

/** A loop device, which lets go of its file when nothing has it open any more. */
export interface LoopDevice extends Disposable {
  /** Its path. */
  readonly path: string;
}

/**
 * Puts a file behind a loop device (loop(4)). A mount of the device keeps it;
 * when neither that nor this object is left, the killed process's included, the
 * kernel takes the device down.
 *
 * @param loop The file, and how it is shown.
 * @param readOnly Whether the file is only read.
 * @param attempted What it is for.
 * @throws {MountError} What openat2(2) and ioctl(2) answer.
 */
export function attachLoopDevice(
  { image, device, offset, sizelimit }: LoopImage,
  readOnly: boolean,
  attempted: Attempt,
): LoopDevice {
  const access = readOnly ? O_RDONLY : O_RDWR;
  const flags = LO_FLAGS_AUTOCLEAR | (readOnly ? LO_FLAGS_READ_ONLY : 0);
  return attempt({ ...attempted, image }, () => {
    // A FIFO is not waited for: it is refused like all that is no file or device.
    using file = open(image, access | O_NONBLOCK);
    for (let tries = 1;; tries++) {
      const path = device ?? freeDevice();
      try {
        using configured = open(path, access | O_NONBLOCK);
        const config = { fd: file.fd, offset, sizelimit, flags };
        loopConfigure(configured.fd, config);
        // A kernel that lets nobody write to mounted devices
        // (CONFIG_BLK_DEV_WRITE_MOUNTED) mounts none that is open for writing.
        const held = open(path, O_RDONLY | O_NONBLOCK);
        return { path, [Symbol.dispose]: () => held.close() };
      } catch (error) {
        // Somebody was quicker: the device has a file, or just lost one.
        const taken = device === undefined && isErrno(error, EBUSY, ENXIO);
        if (!taken || tries === MOST_TRIES) throw error;
      }
    }
  });
}

const MOST_TRIES = 1000;

function freeDevice(): string {
  using control = open("/dev/loop-control", O_RDWR);
  return `/dev/loop${loopCtlGetFree(control.fd)}`;
}

function open(path: string, flags: number): OwnedFd {
  return new OwnedFd(openat2(AT_FDCWD, path, { flags: flags | O_CLOEXEC }));
}
