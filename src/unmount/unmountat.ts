/**
 * Room `unmount`: Taking mounts away: one, a stack, all below.
 */
import {
  type Attempt,
  lookupOf,
  type MountPointName,
} from "../error/attempt.ts";
import {
  isStrategy,
  MountLookupError,
  umountByStrategy,
  type UnmountStrategy,
} from "./strategy.ts";
import type { describeObstacle, findObstacle } from "../list/obstacle.ts";
import { SyscallError } from "../sys/error.ts";
import { mountId } from "../kernel/mount_id.ts";
import { checkOptions, type OptionNames, received } from "../base/check.ts";
import { descriptorOf, type HasFd } from "../fd/owned_fd.ts";
import { parseTarget } from "../options/target.ts";
import { quote } from "../base/text.ts";
import { attempt, explain } from "../error/error.ts";
import { isMountRoot, openDirectoryAt } from "../fd/open.ts";
import { type MountPlace, placeOf } from "../kernel/place.ts";
import {
  AT_FDCWD,
  AT_NO_AUTOMOUNT,
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
} from "../sys/constants.ts";
import { EBUSY } from "../sys/errno.ts";

/** Options of {@linkcode unmountat}. */
export interface UnmountOptions {
  /**
   * How the mount point is named to umount2(2), which takes only paths:
   *
   * - `procfd`: through the directory's descriptor in /proc/self/fd.
   * - `worker`: by name, on a thread whose working directory is the directory.
   *   It needs no /proc. The thread takes some 15 milliseconds to start, while
   *   the caller waits, and is reused as long as calls come.
   * - `subprocess`: by name, in a child that inherits the descriptor. It needs
   *   `--allow-run`, and /proc to start the child. A compiled program must be
   *   mountat itself.
   * - `mtab`: by the absolute path in the mount table. A process that can
   *   rename a directory on that path can misdirect the unmount: use this only
   *   for directories that nobody else changes.
   *
   * @default {"procfd", or "worker" if /proc is missing}
   */
  strategy?: UnmountStrategy;
  /**
   * Detaches the mount now; it ends when it is no longer in use (`MNT_DETACH`).
   *
   * @default {false}
   */
  lazy?: boolean;
  /**
   * Aborts pending requests of a network file system (`MNT_FORCE`).
   *
   * @default {false}
   */
  force?: boolean;
  /**
   * Unmounts the mount only if it was not used since the last call with this
   * option (`MNT_EXPIRE`). The first call fails with EAGAIN.
   *
   * @default {false}
   */
  expire?: boolean;
  /**
   * Unmounts the whole stack on the mount point, not only the topmost mount.
   *
   * @default {false}
   */
  all?: boolean;
}

const UNMOUNT_NAMES: OptionNames<UnmountOptions> = {
  strategy: true,
  lazy: true,
  force: true,
  expire: true,
  all: true,
};

/**
 * Unmounts the topmost mount on a target relative to a directory.
 *
 * The target is resolved beneath the directory through no symlink (openat2(2)),
 * and its last component is never followed (`UMOUNT_NOFOLLOW`). The working
 * directory stays as it is, and no process is started.
 *
 * Needs Linux 5.6, the permission `--allow-ffi`, and CAP_SYS_ADMIN in
 * the user namespace of the mount namespace.
 *
 * @example Unmount
 * ```ts
 * import { Directory, mountat, unmountat } from "@meroton/mountat";
 * import { assert } from "@std/assert";
 *
 * using root = Directory.open(Deno.makeTempDirSync());
 * using mount = mountat(root, "tmp", { type: "tmpfs", mkdir: true });
 * unmountat(root, "tmp");
 * assert(!mount.mounted);
 * ```
 *
 * @param dirfd The directory: a `Directory`, or an open descriptor.
 * @param target The mount point, relative to `dirfd`. `.` is the directory
 * itself, when it was opened before the mount was put on it.
 * @param options How to unmount, and whether to unmount the whole stack.
 * @throws {TypeError} For a wrong argument; before any system call.
 * @throws {MountError} EBUSY if it is in use, with the `holders` that were
 * found; EINVAL if nothing is mounted there; ELOOP for a symlink on the path;
 * EXDEV for a target that leaves the directory; ENOENT; EPERM without the
 * capability.
 * @throws {UnsupportedError} If the system or kernel can't do it.
 */
export function unmountat(
  dirfd: number | HasFd,
  target: string,
  options: UnmountOptions = {},
): void {
  unmountCounting(descriptorOf(dirfd), target, options);
}

/**
 * {@linkcode unmountat}, which calls `step` after each unmount.
 *
 * @param searchLimit The milliseconds to search for holders.
 */
export function unmountCounting(
  directory: number,
  target: string,
  options: UnmountOptions,
  step: () => void = () => {},
  searchLimit?: number,
): void {
  const { path, parent, name } = parseTarget(target);
  if (name === "..") {
    throw new TypeError(`Cannot unmount "${target}": it must end in a name`);
  }
  const flags = unmountFlags(options);
  const { strategy } = options;
  const attempted = {
    action: () => `unmount ${quote(target)}`,
    target,
    ...lookupOf(directory, path),
    ...(searchLimit === undefined ? {} : { searchLimit }),
  };
  attempt(attempted, () => {
    // For a name in the directory itself, the directory's descriptor serves.
    using holder = parent === "." ? null : openDirectoryAt(directory, parent);
    const dirfd = holder?.fd ?? directory;
    using place = placeOf({ dirfd, name });
    const unmount = () => {
      if (name === "." && isRootOfProcess(place)) {
        throw refuse(attempted, EBUSY, IS_ROOT);
      }
      try {
        umountExplained(attempted, place, flags, strategy);
      } catch (error) {
        // If the descriptor is not a directory's, say that.
        if (holder === null && name !== ".") {
          openDirectoryAt(directory, parent).close();
        }
        throw error;
      }
      step();
    };
    unmount();
    if (!options.all) return;
    // Not the mount that holds the mount point: that was not asked for.
    while (place.topmost() !== place.below()) unmount();
  });
}

/**
 * The `MNT_*` flags of some options.
 *
 * @throws {TypeError} For an unknown option or strategy.
 */
export function unmountFlags(options: UnmountOptions): number {
  checkOptions(options, UNMOUNT_NAMES);
  const { strategy, lazy, force, expire } = options;
  if (
    strategy !== undefined &&
    !(typeof strategy === "string" && isStrategy(strategy))
  ) {
    throw new TypeError(
      `There is no strategy ${received(strategy)} to unmount by`,
    );
  }
  return (lazy ? MNT_DETACH : 0) | (force ? MNT_FORCE : 0) |
    (expire ? MNT_EXPIRE : 0);
}

/**
 * Unmounts the topmost mount on a mount point.
 *
 * @param attempted The attempt, for messages.
 * @param flags `MNT_*`.
 * @param strategy The way to name the mount point to the kernel.
 * @throws {MountError} It says what the mount table lacks, or what is in the
 * way.
 */
export function umountExplained(
  attempted: Attempt,
  { dirfd, name }: MountPointName,
  flags: number,
  strategy?: UnmountStrategy,
): void {
  attempt(() => ({ ...attempted, unmounted: { dirfd, name } }), () => {
    try {
      umountByStrategy(strategy, dirfd, name, flags);
    } catch (error) {
      throw error instanceof MountLookupError
        ? explain(attempted, error, { detail: error.detail })
        : error;
    }
  });
}

/** The functions that find and describe mounts in the way of an unmount. */
interface Obstacles {
  readonly findObstacle: typeof findObstacle;
  readonly describeObstacle: typeof describeObstacle;
}

let given: Obstacles | null = null;

/** Gives the functions that look for obstacles. */
export function setObstacles(obstacles: Obstacles): void {
  given = obstacles;
}

/** The functions that look for obstacles: src/late.ts gives them. */
export function obstacles(): Obstacles {
  if (given === null) throw new Error("src/late.ts is not loaded yet");
  return given;
}

/** The milliseconds to search for holders, of several mounts together. */
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
 * If it is the root, umount2(2) makes its file system read-only instead.
 * Lazily, it leaves this process and others with an empty root.
 */
export const IS_ROOT: Refusal = {
  detail: "it is the root of this process",
  hint:
    "Processes need a root: it can go once another is in its place (pivot_root(2))",
};

/** True if the mount to unmount at a place is the root of this process. */
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
