/** Changes of mounts, as a watch makes them of events and of listings. */
import type { MountInfo } from "./mount_info.ts";
import { isUniqueId } from "../kernel/mount_id.ts";

/** A change of the mount tree, as `watchMounts` tells of it. */
export interface MountEvent {
  /** The kind of change. */
  kind: "mount" | "unmount" | "move";
  /** The mount's id, as in {@linkcode MountInfo}. */
  id: bigint;
  /**
   * The mount: after a mount or move as it is when the event is looked at, after
   * an unmount as it was last seen. null of one that was gone before the kernel
   * could be asked for more than its id.
   */
  mount: MountInfo | null;
  /** The mount before a move. */
  from?: MountInfo;
}

/**
 * A mount by its id: null when it is gone, undefined when this root does not
 * show it.
 */
export type Find = (id: bigint) => MountInfo | null | undefined;

/** The mounts that a watch knows of. */
export class KnownMounts {
  /** null for one of which no more than the id is known. */
  #mounts: Map<bigint, MountInfo | null>;

  constructor(mounts: readonly MountInfo[]) {
    this.#mounts = byId(mounts);
  }

  /** A mount was attached. What a listing had already is no news. */
  attached(id: bigint, find: Find): MountEvent[] {
    if (this.#mounts.has(id)) return [];
    const mount = find(id);
    if (mount === undefined) return [];
    this.#mounts.set(id, mount);
    return [{ kind: "mount", id, mount }];
  }

  /** A mount was moved. */
  moved(id: bigint, find: Find, list: () => MountInfo[]): MountEvent[] {
    const from = this.#mounts.get(id);
    const mount = find(id);
    // That it is gone meanwhile is an event to come.
    if (mount === null && from === undefined) return this.attached(id, find);
    if (mount === null || mount === from) return [];
    // It came into sight or left it, with all that is in it.
    if (from === undefined || from === null || mount === undefined) {
      return this.compare(list());
    }
    this.#mounts.set(id, mount);
    if (mount.target === from.target && mount.parentId === from.parentId) {
      return [];
    }
    this.#rebase(from, mount);
    return [{ kind: "move", id, mount, from }];
  }

  /** Moves the mounts inside a mount that was moved along with it. */
  #rebase(from: MountInfo, to: MountInfo): void {
    const moved = new Set([to.id]);
    // One that was moved before may be in a younger one.
    for (const parent of moved) {
      for (const [id, mount] of this.#mounts) {
        if (mount?.parentId !== parent || moved.has(id)) continue;
        moved.add(id);
        // One that was asked for since has its new path.
        if (!mount.target.startsWith(`${from.target}/`)) continue;
        const target = to.target + mount.target.slice(from.target.length);
        this.#mounts.set(id, { ...mount, target });
      }
    }
  }

  /** A mount was detached. */
  detached(id: bigint): MountEvent[] {
    const mount = this.#mounts.get(id);
    if (mount === undefined) return [];
    this.#mounts.delete(id);
    return [{ kind: "unmount", id, mount }];
  }

  /**
   * The changes that a listing shows: first the mounts that are gone, the newest
   * first, then all others in the listing's order.
   */
  compare(mounts: readonly MountInfo[]): MountEvent[] {
    const before = this.#mounts;
    const after = this.#mounts = byId(mounts);
    const unmounts: MountEvent[] = [];
    for (const [id, mount] of before) {
      const next = after.get(id);
      if (next === undefined || isAnother(mount, next)) {
        unmounts.push({ kind: "unmount", id, mount });
      }
    }
    const others: MountEvent[] = [];
    for (const mount of mounts) {
      const { id } = mount;
      const known = before.get(id);
      if (known === undefined || isAnother(known, mount)) {
        others.push({ kind: "mount", id, mount });
      } else if (known !== null && wasMoved(known, mount, before, after)) {
        others.push({ kind: "move", id, mount, from: known });
      }
    }
    return [...unmounts.reverse(), ...others];
  }
}

function byId(mounts: readonly MountInfo[]): Map<bigint, MountInfo> {
  return new Map(mounts.map((mount) => [mount.id, mount]));
}

/** True if an id that is reused was given to another mount meanwhile. */
function isAnother(before: MountInfo | null, after: MountInfo): boolean {
  return before !== null && !isUniqueId(before.id) &&
    (before.deviceNumber !== after.deviceNumber || before.root !== after.root);
}

/** True if a mount was moved itself, and not one that it is in. */
function wasMoved(
  before: MountInfo,
  after: MountInfo,
  mountsBefore: ReadonlyMap<bigint, MountInfo | null>,
  mountsAfter: ReadonlyMap<bigint, MountInfo | null>,
): boolean {
  // Another parent alone was put beneath it.
  if (before.target === after.target) return false;
  return before.parentId !== after.parentId ||
    pathInParent(before, mountsBefore) !== pathInParent(after, mountsAfter);
}

function pathInParent(
  { target, parentId }: MountInfo,
  mounts: ReadonlyMap<bigint, MountInfo | null>,
): string {
  const above = mounts.get(parentId)?.target ?? "";
  return target.slice(above === "/" ? 0 : above.length);
}
