import type { Target } from "../options/target.ts";
import { type Attempt, lookupOf } from "../error/attempt.ts";
import type { OwnedFd } from "../fd/owned_fd.ts";
import type { Recorder } from "../options/spec.ts";
import {
  closeMountPoint,
  CreatedPaths,
  type MountPoint,
  openByName,
  openMountPoint,
  openMountPointInRoot,
} from "./mount_point.ts";
import { attempt } from "../error/error.ts";
import { identify } from "../kernel/mount_id.ts";
import { createMount } from "./mount.ts";
import { moveMount } from "../sys/mount.ts";
import {
  MOVE_MOUNT_BENEATH,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
} from "../sys/constants.ts";

/** A mount to make. All that needs no system call is checked already. */
export interface MountPlan {
  /** The mount point. */
  readonly target: Target;
  /** The permissions to make the mount point with; null if it must exist. */
  readonly mode: number | null;
  /** True if the mount goes beneath the topmost mount on the mount point. */
  readonly beneath: boolean;
  /** True if symlinks in the target are followed inside the directory. */
  readonly inRoot: boolean;
  /** True if it brings mounts inside it along: an unmount takes all of them. */
  readonly whole: boolean;
  /** The attempt, for messages. */
  readonly attempted: Attempt;
  /**
   * Makes the mount, not attached yet. The caller closes the descriptor.
   *
   * @throws {SyscallError | MountError} What the kernel answers.
   */
  make(): OwnedFd;
  /**
   * Makes the changes that the kernel allows only once the mount is attached;
   * null if there are none.
   *
   * @throws {SyscallError} What the kernel answers.
   */
  readonly finish: ((mount: OwnedFd) => void) | null;
  /** The record; the mount is written in it before it is attached. */
  readonly record: Recorder | null;
}

/** A mount in its place. */
export interface AttachedMount {
  readonly id: bigint;
  readonly mountPoint: MountPoint;
  /** The files and directories made as mount points, to keep or to remove. */
  readonly created: CreatedPaths;
}

/**
 * Makes a mount and attaches it beneath a directory. A failure leaves nothing
 * behind.
 *
 * @param attachTo The function that attaches it.
 * @throws {MountError}
 */
export function attachBeneath(
  dirfd: number,
  plan: MountPlan,
  attachTo: typeof attach = attach,
): AttachedMount {
  const { target, beneath, attempted, finish, record } = plan;
  return attempt(attempted, () => {
    using mount = plan.make();
    const { id, isFile } = identify(mount.fd);
    const created = new CreatedPaths();
    let mountPoint: MountPoint | undefined;
    try {
      mountPoint = attempt(
        () => ({
          ...attempted,
          ...lookupOf(dirfd, target.path, "target", plan.inRoot),
        }),
        () =>
          plan.inRoot
            ? openMountPointInRoot(created, dirfd, plan, isFile)
            : beneath
            ? openByName(dirfd, target)
            : openMountPoint(created, dirfd, target, isFile, plan.mode),
      );
      const { at } = mountPoint;
      record?.add(id, at.fd, { whole: plan.whole });
      attempt(
        () => ({ ...attempted, ...placesOf(mount, at) }),
        () => attachTo(mount, at, beneath),
      );
      const attached = { id, mountPoint, created };
      finishOrUnmount(
        attempted,
        () => finish?.(mount),
        () =>
          createMount(id, target.path, attached.mountPoint, "mounted")
            .unmount({ lazy: true }),
      );
      return attached;
    } catch (error) {
      if (mountPoint !== undefined) closeMountPoint(mountPoint);
      created[Symbol.dispose]();
      throw error;
    }
  });
}

/**
 * Makes the last changes of an attached mount. If they fail, unmounts it.
 *
 * @throws {MountError} The failure of the changes.
 * @throws {SuppressedError} That failure and the unmount's, if both failed.
 */
export function finishOrUnmount(
  attempted: Attempt,
  finish: () => void,
  unmount: () => void,
): void {
  try {
    attempt(attempted, finish);
  } catch (error) {
    try {
      unmount();
    } catch (failure) {
      throw new SuppressedError(failure, error);
    }
    throw error;
  }
}

/** The arguments of move_mount(2), for the hint if it fails. */
export function placesOf(
  mount: OwnedFd,
  mountPoint: OwnedFd,
): Pick<Attempt, "from" | "onto"> {
  return {
    from: { dirfd: mount.fd, path: "" },
    onto: { dirfd: mountPoint.fd, path: "" },
  };
}

/**
 * Attaches a mount to its mount point.
 *
 * @param beneath True if it goes beneath the mount whose root `mountPoint` is.
 */
export function attach(
  mount: OwnedFd,
  mountPoint: OwnedFd,
  beneath = false,
): void {
  moveMount(
    mount.fd,
    "",
    mountPoint.fd,
    "",
    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH |
      (beneath ? MOVE_MOUNT_BENEATH : 0),
  );
}
