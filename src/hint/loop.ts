/** What a person can do where a file could not be put behind a loop device. */
import type { SyscallError } from "../sys/error.ts";
import { quote } from "../sys/format.ts";

/**
 * Why opening the file, or what loop devices take, failed.
 *
 * @param image The file's path.
 * @param cause The failed call.
 */
export function loopHint(
  image: string,
  { syscall, code, message }: SyscallError,
): string | undefined {
  if (syscall === "ioctl") return ioctlHint(code);
  const path = /^openat2\(AT_FDCWD, (".*?"), \{flags=/.exec(message)?.[1];
  if (path === quote(image)) return imageHint(path, code, message);
  switch (code) {
    case "ENOENT":
    case "ENODEV":
    case "ENXIO":
      return path === '"/dev/loop-control"'
        ? "There are no loop devices: the kernel's module loop may have to be loaded (modprobe loop), or /dev lacks the node (mknod /dev/loop-control c 10 237)"
        : `There is no loop device ${path}: where the kernel has number N and /dev lacks the node, mknod /dev/loopN b 7 N makes it`;
    case "EACCES":
    case "EPERM":
      return `This process may not open ${path}: loop devices are for root outside any user namespace, and where a container was given them`;
  }
  return undefined;
}

function imageHint(
  image: string,
  code: string,
  message: string,
): string | undefined {
  const writes = message.includes("O_RDWR");
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return `The file ${image} does not exist`;
    case "EACCES":
    case "EPERM":
    case "EROFS":
    case "ETXTBSY":
      return writes
        ? `The file ${image} may not be written to: the option ro only reads it`
        : `The file ${image} may not be read by this process`;
    case "EISDIR":
      return NO_IMAGE;
  }
  return undefined;
}

const NO_IMAGE =
  "Only a regular file or a block device can be behind a loop device";

function ioctlHint(code: string): string | undefined {
  switch (code) {
    case "EBUSY":
      return "The loop device has a file already: the option loop without a value takes one that is free";
    case "ENOTTY":
      return "The option loop names what is no loop device";
    case "EINVAL":
      return NO_IMAGE;
  }
  return undefined;
}
