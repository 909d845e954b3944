/** The search for mounts that keep another from being unmounted alone. */
import type { MountInfo } from "./mount_info.ts";
import { setTracer } from "../sys/call.ts";
import { isBelow, listMounts } from "./list_mounts.ts";
import { MountError } from "../error/error.ts";
import { UnsupportedError } from "../sys/error.ts";
import { quote } from "../base/text.ts";

/** Another mount that is in the way. */
export interface Obstacle {
  /**
   * Its place: on a directory that leads to the mount, on the mount itself, or
   * inside it.
   */
  readonly where: "above" | "on top" | "inside";
  /** The topmost of a stack. */
  readonly mount: MountInfo;
}

/**
 * Looks for a mount that is in the way of another. A path can't lead to a mount
 * that others cover.
 *
 * @param id The mount.
 * @param gone Mounts that are ignored.
 * @returns The first one on the way from the root, null if there is none, or
 * undefined if the mount is not in the list of all mounts.
 */
export function findObstacle(
  id: bigint,
  gone: ReadonlySet<bigint> = new Set(),
): Obstacle | null | undefined {
  // The search is no part of the attempt, so it is not traced.
  const tracer = setTracer(null);
  try {
    return obstacleIn(listMounts(), id, gone);
  } catch (error) {
    const failed = error instanceof MountError ||
      error instanceof UnsupportedError;
    if (!failed) throw error;
    return undefined;
  } finally {
    setTracer(tracer);
  }
}

/** Looks for an obstacle in a listing. */
function obstacleIn(
  mounts: readonly MountInfo[],
  id: bigint,
  gone: ReadonlySet<bigint>,
): Obstacle | null | undefined {
  const known = new Map(mounts.map((mount) => [mount.id, mount]));
  if (!known.has(id)) return undefined;
  const children = Map.groupBy(
    mounts.filter((mount) => !gone.has(mount.id)),
    ({ parentId }) => parentId,
  );
  // The mounts that the mount lies in, the outermost first, then the mount.
  const way: MountInfo[] = [];
  for (
    let mount = known.get(id);
    mount !== undefined && !way.includes(mount);
    mount = known.get(mount.parentId)
  ) way.unshift(mount);
  for (const [i, holder] of way.entries()) {
    const next = way[i + 1];
    for (const mount of children.get(holder.id) ?? []) {
      if (way.includes(mount)) continue;
      const { target } = mount;
      const covers = next === undefined
        ? target === holder.target
        : target !== next.target && isBelow(next.target, target);
      if (!covers) continue;
      const where = next === undefined ? "on top" : "above";
      return { where, mount: topmost(mount, children) };
    }
  }
  const inside = children.get(id)?.find((mount) => !way.includes(mount));
  return inside === undefined
    ? null
    : { where: "inside", mount: topmost(inside, children) };
}

function topmost(
  mount: MountInfo,
  children: ReadonlyMap<bigint, readonly MountInfo[]>,
): MountInfo {
  for (let next: MountInfo | undefined = mount; next !== undefined;) {
    mount = next;
    next = children.get(mount.id)?.find(({ target }) =>
      target === mount.target
    );
  }
  return mount;
}

/** Describes an obstacle in words, with advice for a person. */
export function describeObstacle(
  obstacle: Obstacle,
): { detail: string; hint: string } {
  const { target, type, source } = obstacle.mount;
  return {
    detail: whereIs(obstacle),
    hint: `Unmount what is on ${quote(target)} first, a ${quote(type)} from ${
      quote(source)
    }; unmounting lazily does not help`,
  };
}

function whereIs({ where, mount: { target } }: Obstacle): string {
  switch (where) {
    case "above":
      return `the mount on ${quote(target)} covers what leads to it`;
    case "on top":
      return "another mount is on top of it";
    case "inside":
      return "another mount is inside it";
  }
}
