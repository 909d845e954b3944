import { MOVE_MOUNT_BENEATH } from "./sys/constants.ts";
import { SyscallError } from "./sys/error.ts";
import { moveMount } from "./sys/move_mount.ts";

/** No process may have so many descriptors. */
const NOT_OPEN = 0x7fff_ffff;

/**
 * Whether the kernel puts a mount beneath another: undefined where that can't be
 * told, without the capability.
 */
export function knowsMountBeneath(): boolean | undefined {
  try {
    moveMount(NOT_OPEN, "x", NOT_OPEN, "x", MOVE_MOUNT_BENEATH);
    return undefined;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    // An unknown flag is refused before the descriptors are looked at.
    if (error.code === "EBADF") return true;
    return ["EINVAL", "ENOSYS"].includes(error.code) ? false : undefined;
  }
}
