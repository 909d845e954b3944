import { attempt, MountError } from "../error/error.ts";
import { quote } from "../base/text.ts";
import {
  SEARCH_LIMIT,
  unmountCounting,
  unmountFlags,
  type UnmountOptions,
} from "./unmountat.ts";
import { isMounted } from "../kernel/mount_id.ts";
import { listBelow } from "../list/read.ts";
import type { MountInfo } from "../list/mount_info.ts";
import { openCover } from "../kernel/place.ts";
import { SyscallError } from "../sys/error.ts";
import { EBUSY, EPERM } from "../sys/errno.ts";

/**
 * Some of several mounts could not be unmounted. As a `MountError`, it
 * describes the first failure.
 */
export class UnmountAllError extends MountError {
  /** The class's name. */
  override readonly name = "UnmountAllError";
  /** Each failure; its `target` is relative to the directory. */
  readonly errors: readonly MountError[];
  /** The number of mounts that were unmounted. */
  readonly unmounted: number;

  /**
   * Makes the error of all failures.
   *
   * @param errors The failures, one at least.
   * @param unmounted The number of mounts that were unmounted.
   */
  constructor(errors: readonly MountError[], unmounted: number) {
    const { target, cause, hint, holders } = errors[0]!;
    super(
      `unmount ${errors.length} of ${errors.length + unmounted} mounts`,
      target,
      cause,
      {
        detail: errors.map(({ target, code }) => `${quote(target)} ${code}`)
          .join(", "),
        ...(hint === undefined ? {} : { hint }),
        ...(holders === undefined ? {} : { holders }),
      },
    );
    this.errors = errors;
    this.unmounted = unmounted;
  }
}

/** The result of {@linkcode unmountBelow}. */
export interface Unmounted {
  /** The targets of the mounts that were unmounted, relative, in order. */
  readonly unmounted: string[];
  /** A failure for each mount that is still there. */
  readonly failures: MountError[];
}

/** The most times that the mounts are listed: others may appear meanwhile. */
const MOST_ROUNDS = 10;

/**
 * Unmounts all mounts below a directory, and those put on it since it was
 * opened: the newest and deepest first, stacks included. After a failure, it
 * goes on with the others.
 *
 * @param fd The directory.
 * @param name Only mounts on this path beneath it, or below the path.
 * @param options The way to unmount each.
 * @param step A function that is called after each unmount.
 * @throws {MountError} When the mounts can't be listed.
 */
export function unmountBelow(
  fd: number,
  name: string | null,
  options: UnmountOptions,
  step = () => {},
): Unmounted {
  // A wrong option is an error even if nothing is mounted.
  unmountFlags(options);
  const single = { ...options, all: false };
  const unmounted: string[] = [];
  // Holders are searched for only in the last round. With `expire`, the first
  // round is the last: a second attempt of the same call must not expire a
  // mount.
  let last = options.expire === true;
  let foundNothing = false;
  for (let round = 1;; round++) {
    const before = unmounted.length;
    const failed: { id: bigint; error: MountError }[] = [];
    const failedTargets = new Map<string, MountError>();
    let searchLimit = last ? SEARCH_LIMIT : 0;
    let found: Covered[];
    try {
      found = mountsToTake(fd, name);
    } catch (error) {
      if (unmounted.length === 0 || !(error instanceof MountError)) throw error;
      return { unmounted, failures: [error] };
    }
    for (const covered of found) {
      const { id, target } = covered;
      // A mount that could not be unmounted has the same target, and covers it.
      const above = failedTargets.get(target);
      if (above !== undefined) {
        failed.push({ id, error: coveredError(above) });
        continue;
      }
      const start = performance.now();
      try {
        unmountOne(fd, covered, single, searchLimit);
        unmounted.push(target);
        step();
      } catch (error) {
        if (!(error instanceof MountError)) throw error;
        failed.push({ id, error });
        failedTargets.set(target, error);
        const spent = performance.now() - start;
        searchLimit = Math.max(0, Math.floor(searchLimit - spent));
      }
    }
    // A mount that failed may have been covered by one that is gone now.
    const progress = unmounted.length > before;
    const done = !progress && (last || failed.length === 0) &&
      // A directory that is moved away and back meanwhile hides its mounts.
      (found.length > 0 || foundNothing);
    foundNothing = found.length === 0;
    if (done || options.expire || round === MOST_ROUNDS) {
      const failures = failed.filter(({ id }) => isMounted(id) !== false)
        .map(({ error }) => error);
      return { unmounted, failures };
    }
    last = !progress;
  }
}

/** A mount to unmount. */
interface Covered {
  readonly id: bigint;
  /** Its mount point, relative to the directory. */
  readonly target: string;
  /** The mount on the directory itself that it lies in, null for none. */
  readonly cover: bigint | null;
}

/** The mounts in the directory's own mount, in the order to unmount them. */
function mountsToTake(fd: number, name: string | null): Covered[] {
  const { mounts, holder, path } = listBelow(fd);
  const start = path === "/" ? 1 : path.length + 1;
  const children = Map.groupBy(mounts, ({ parentId }) => parentId);
  const inside = (parent: bigint, cover: bigint | null): Covered[] =>
    (children.get(parent) ?? []).filter(({ id }) => id !== parent)
      .map(({ id, target }: MountInfo) => ({
        id,
        target: target === path ? "." : target.slice(start),
        cover,
      }));
  const found: Covered[] = [];
  // The oldest first, and a mount before the mounts inside it; then reversed. A
  // loop, because a stack may be deeper than calls can be nested.
  const left = inside(holder, null).reverse();
  for (let mount = left.pop(); mount !== undefined; mount = left.pop()) {
    found.push(mount);
    const cover = mount.target === "." ? mount.id : mount.cover;
    for (const child of inside(mount.id, cover).reverse()) left.push(child);
  }
  found.reverse();
  return name === null
    ? found
    : found.filter(({ target }) =>
      target === name || target.startsWith(`${name}/`)
    );
}

function unmountOne(
  fd: number,
  { target, cover }: Covered,
  options: UnmountOptions,
  searchLimit: number,
): void {
  if (cover === null || target === ".") {
    unmountCounting(fd, target, options, undefined, searchLimit);
    return;
  }
  using inside = attempt(
    { action: `unmount ${quote(target)}`, target },
    () => openCover(fd, cover),
  );
  unmountCounting(inside.fd, target, options, undefined, searchLimit);
}

/**
 * Makes the error of a mount that stays because the mount on top of it stays. A
 * process that may not unmount that one may not unmount this one, either.
 */
function coveredError({ target, cause, errno }: MountError): MountError {
  return new MountError(
    `unmount ${quote(target)}`,
    target,
    errno === EPERM
      ? cause
      : new SyscallError("umount2", EBUSY, [quote(target), "0"]),
    errno === EPERM ? {} : { detail: "another mount is on top of it" },
  );
}
