/** Unmounts what is topmost on a mount point, and says why it could not. */
import {
  MountLookupError,
  umountByStrategy,
  type UnmountStrategy,
} from "./strategy.ts";
import type { Attempt, MountPointName } from "../error/attempt.ts";
import { attempt, explain } from "../error/error.ts";
import type { describeObstacle, findObstacle } from "../list/obstacle.ts";
import { SyscallError } from "../sys/error.ts";
import { quote } from "../base/text.ts";
import { mountId } from "../kernel/mount_id.ts";
import type { MountPlace } from "../kernel/place.ts";
import { isMountRoot } from "../fd/open.ts";
import { AT_FDCWD, AT_NO_AUTOMOUNT } from "../sys/constants.ts";

/**
 * Unmounts what is topmost on a mount point.
 *
 * @param attempted The attempt, for messages.
 * @param flags `MNT_*`.
 * @param strategy The way to name the mount point to the kernel.
 * @throws {MountError} It says what the mount table lacks, or who is in the way.
 */
export function umountExplained(
  attempted: Attempt,
  { dirfd, name }: MountPointName,
  flags: number,
  strategy?: UnmountStrategy,
): void {
  attempt({ ...attempted, unmounted: { dirfd, name } }, () => {
    try {
      umountByStrategy(strategy, dirfd, name, flags);
    } catch (error) {
      throw error instanceof MountLookupError
        ? explain(attempted, error, { detail: error.detail })
        : error;
    }
  });
}

/** The functions that look for what is in the way of a mount, and say it. */
interface Obstacles {
  readonly findObstacle: typeof findObstacle;
  readonly describeObstacle: typeof describeObstacle;
}

let given: Obstacles | null = null;

/** Has obstacles looked for, from now on. */
export function setObstacles(obstacles: Obstacles): void {
  given = obstacles;
}

/** The functions that look for obstacles: src/late.ts gives them. */
export function obstacles(): Obstacles {
  if (given === null) throw new Error("src/late.ts is not loaded yet");
  return given;
}

/** The milliseconds to look for who is in the way, of several mounts together. */
export const SEARCH_LIMIT = 500;

/** The reason not to unmount a mount, in words, and advice for a person. */
export interface Refusal {
  readonly detail: string;
  readonly hint?: string;
}

/**
 * Makes the error of an unmount that is not attempted, as if umount2(2) had been
 * asked and had refused.
 *
 * @param errno The error that it would answer.
 */
export function refuse(
  attempted: Attempt,
  errno: number,
  why: Refusal,
): Error {
  const { target } = attempted;
  const cause = new SyscallError("umount2", errno, [quote(target), "0"]);
  return explain(attempted, cause, why);
}

/**
 * umount2(2) would make its file system read-only instead, or, lazily, leave this
 * process and others with an empty one.
 */
export const IS_ROOT: Refusal = {
  detail: "it is the root of this process",
  hint:
    "Processes need a root: it can go once another is in its place (pivot_root(2))",
};

/** True if what would be unmounted at a place is the root of this process. */
export function isRootOfProcess(place: MountPlace): boolean {
  const id = place.topmost();
  // A plain directory only lies in its mount: there is nothing to unmount.
  const isMount = id !== place.below() ||
    place.name === "." && isMountRoot(place.dirfd);
  return isMount && isProcessRoot(id);
}

/** True if a mount is the root of this process. */
export function isProcessRoot(id: bigint): boolean {
  return id === mountId(AT_FDCWD, "/", AT_NO_AUTOMOUNT);
}
