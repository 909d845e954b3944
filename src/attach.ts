import { CreatedPaths } from "./created_paths.ts";
import { attempt } from "./error.ts";
import type { Attempt } from "./hint/hint.ts";
import { identify } from "./mount_id.ts";
import {
  closeMountPoint,
  type MountPoint,
  openMountPoint,
} from "./mount_point.ts";
import type { OwnedFd } from "./owned_fd.ts";
import {
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
} from "./sys/constants.ts";
import { moveMount } from "./sys/move_mount.ts";
import type { Target } from "./target.ts";

/** A mount to make, checked as far as its text goes. */
export interface MountPlan {
  /** Where it goes. */
  readonly target: Target;
  /** The permissions to make the mount point with, null where it must exist. */
  readonly mode: number | null;
  /** What is attempted, for messages. */
  readonly attempted: Attempt;
  /**
   * Makes the mount, attached to nothing yet: the caller closes it.
   *
   * @throws {SyscallError | MountError} What the kernel answers.
   */
  make(): OwnedFd;
}

/** A mount in its place. */
export interface AttachedMount {
  readonly id: bigint;
  readonly mountPoint: MountPoint;
  /** What was made as a mount point, which is neither kept nor removed yet. */
  readonly created: CreatedPaths;
}

/**
 * Makes a mount and attaches it beneath a directory, or, on failure, leaves
 * nothing of it.
 *
 * @param attachTo How to attach it.
 * @throws {MountError}
 */
export function attachBeneath(
  dirfd: number,
  { target, mode, attempted, make }: MountPlan,
  attachTo: typeof attach = attach,
): AttachedMount {
  return attempt(attempted, () => {
    using mount = make();
    const { id, isFile } = identify(mount.fd);
    const created = new CreatedPaths();
    let mountPoint: MountPoint | undefined;
    try {
      mountPoint = openMountPoint(created, dirfd, target, isFile, mode);
      const { at } = mountPoint;
      const places = {
        from: { dirfd: mount.fd, path: "" },
        onto: { dirfd: at.fd, path: "" },
      };
      attempt({ ...attempted, ...places }, () => attachTo(mount, at));
      return { id, mountPoint, created };
    } catch (error) {
      if (mountPoint !== undefined) closeMountPoint(mountPoint);
      created[Symbol.dispose]();
      throw error;
    }
  });
}

/** Attaches a mount to its mount point. */
export function attach(mount: OwnedFd, mountPoint: OwnedFd): void {
  moveMount(
    mount.fd,
    "",
    mountPoint.fd,
    "",
    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
  );
}
