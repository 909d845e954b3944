import type { Recorder } from "../options/spec.ts";
import { checkOptions, type OptionNames } from "../base/check.ts";
import { createMount, type Mount } from "./mount.ts";
import { descriptorOf, type HasFd, type OwnedFd } from "../fd/owned_fd.ts";
import { parseBeneath, parseMkdir, parseTarget } from "../options/target.ts";
import { quote } from "../base/text.ts";
import { attempt, explain } from "../error/error.ts";
import { isMountRoot, openAt, openDirectoryAt } from "../fd/open.ts";
import {
  closeMountPoint,
  CreatedPaths,
  type MountPoint,
  openByName,
  openMountPoint,
} from "./mount_point.ts";
import { identify, mountIdAt } from "../kernel/mount_id.ts";
import { type Attempt, lookupOf } from "../error/attempt.ts";
import { attach, placesOf } from "./attach.ts";
import { isErrno, SyscallError } from "../sys/error.ts";
import { EINVAL, ELOOP } from "../sys/errno.ts";
import { listMounts } from "../list/list_mounts.ts";
import type { MountInfo } from "../list/mount_info.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  MNT_DETACH,
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
} from "../sys/constants.ts";
import { mountSetattr } from "../sys/mount.ts";
import { cloneTree } from "./bindat.ts";
import { umountByStrategy } from "../unmount/strategy.ts";

/** Options of {@linkcode moveat}. */
export interface MoveOptions {
  /**
   * Makes the mount that holds the moved one private, where it is shared: then
   * the mount itself moves, and what else is mounted there is propagated no
   * more. When the move fails all the same, it is shared again, but in a peer
   * group of its own, which receives from the former peers.
   *
   * @default {false}
   */
  makePrivate?: boolean;
  /**
   * Makes the new mount point where it is missing, as `bindat` does.
   *
   * @default {false}
   */
  mkdir?: boolean | number;
  /**
   * Puts the mount beneath the topmost one on the new mount point, as `mountat`
   * does. No copy takes its place then: in a shared mount it stays, EINVAL.
   *
   * @default {false}
   */
  beneath?: boolean;
  /**
   * Records the copy, where one takes the mount's place: it has another id than
   * the mount, which may be in a record. What moves itself keeps its id.
   *
   * @default {null}
   */
  record?: Recorder | null;
}

const MOVE_NAMES: OptionNames<MoveOptions> = {
  makePrivate: true,
  mkdir: true,
  beneath: true,
  record: true,
};

/**
 * Moves a mount, with all that is mounted inside it, from one place to another,
 * each relative to a directory.
 *
 * The kernel moves no mount out of a shared one (EINVAL; `/` is shared on any
 * machine run by systemd). There a copy is attached at the new place and the
 * original unmounted: what has files open in it keeps them. With something
 * mounted inside, the original's copies in peers of the holder (other mount
 * namespaces, say) stay where they were. The handle's `made` tells which it was,
 * "moved" or "cloned".
 *
 * Needs Linux 5.8, the permission `--allow-ffi`, and CAP_SYS_ADMIN in the user
 * namespace of the mount namespace. See move_mount(2), open_tree(2).
 *
 * @example Move a mount
 * ```ts
 * import { Directory, moveat } from "@meroton/mountat";
 * import { assert } from "@std/assert";
 *
 * using root = Directory.open(Deno.makeTempDirSync());
 * using mount = root.mount("here", { type: "tmpfs", mkdir: true });
 * mount.keep();
 * using moved = moveat(root, "here", root, "there", { mkdir: true });
 * assert(moved.mounted);
 * ```
 *
 * @param fromDirfd The directory that the mount is in.
 * @param fromTarget The mount point, relative to `fromDirfd`.
 * @param toDirfd The directory that it goes to.
 * @param toTarget The new mount point, relative to `toDirfd`.
 * @param options How to move.
 * @returns The mount at its new place; it is unmounted when the handle is
 * disposed of.
 * @throws {TypeError} For a wrong argument; before any system call.
 * @throws {MountError} EINVAL when nothing is mounted there, it is locked, or a
 * file meets a directory; ENOTDIR for a directory that meets a file; ELOOP for a
 * move into itself, for one out of a shared mount onto the root of a peer of what
 * is moved, and for a symlink in a target; EXDEV for a target that leaves its
 * directory; ENOENT; EPERM without the capability. The mount is then where it
 * was, and nowhere else.
 * @throws {UnsupportedError} Where the system or kernel can't do it.
 */
export function moveat(
  fromDirfd: number | HasFd,
  fromTarget: string,
  toDirfd: number | HasFd,
  toTarget: string,
  options: MoveOptions = {},
): Mount {
  const fromDirectory = descriptorOf(fromDirfd);
  const from = parseTarget(fromTarget);
  const toDirectory = descriptorOf(toDirfd);
  const to = parseTarget(toTarget);
  checkOptions(options, MOVE_NAMES);
  const mode = parseMkdir(options.mkdir);
  const beneath = parseBeneath(options.beneath, to);
  const attempted = {
    action: `move ${quote(fromTarget)} to ${quote(toTarget)}`,
    target: fromTarget,
  };
  return attempt(attempted, () => {
    using original = attempt(
      { ...attempted, ...lookupOf(fromDirectory, from.path) },
      () => openAt(fromDirectory, from.path),
    );
    using created = new CreatedPaths();
    const { isFile } = identify(original.fd);
    const mountPoint = attempt(
      {
        ...attempted,
        ...lookupOf(toDirectory, to.path, "destination"),
        mkdir: mode !== null,
      },
      () =>
        beneath
          ? openByName(toDirectory, to)
          : openMountPoint(created, toDirectory, to, isFile, mode),
    );
    try {
      const mount = attempt(
        { ...attempted, ...placesOf(original, mountPoint.at) },
        () => moveOrClone(original, mountPoint, toTarget, attempted, options),
      );
      created.keep();
      return mount;
    } catch (error) {
      closeMountPoint(mountPoint);
      throw error;
    }
  });
}

function moveOrClone(
  original: OwnedFd,
  mountPoint: MountPoint,
  target: string,
  attempted: Attempt,
  { makePrivate = false, beneath = false, record = null }: MoveOptions,
): Mount {
  const id = mountIdAt(original.fd);
  try {
    attach(original, mountPoint.at, beneath);
    return createMount(id, target, mountPoint, "moved");
  } catch (error) {
    if (!isErrno(error, EINVAL) || !isMountRoot(original.fd)) throw error;
    const table = listMounts();
    const holder = holderOf(id, table);
    if (holder?.propagation !== "shared") throw error;
    if (beneath && !makePrivate) throw error;
    if (!makePrivate) {
      const inside = mountsInside(id, table);
      const onto = mountIdAt(mountPoint.at.fd);
      if (onto === id || inside.some((mount) => mount.id === onto)) {
        // The kernel says so where the holder is private. A copy would go with
        // the original.
        throw new SyscallError("move_mount", ELOOP, [{ fd: original.fd }]);
      }
      if (
        isRootOfPeer(mountPoint, [
          id,
          ...inside.map(({ id }) => id),
        ], table)
      ) {
        throw explain(
          attempted,
          new SyscallError("move_mount", ELOOP, [{ fd: original.fd }]),
          { detail: "what is mounted there is mounted on it, too" },
        );
      }
      const plan = { attempted, inside, record };
      return replaceByClone(original, mountPoint, target, plan);
    }
    moveOutOf(holder, original, mountPoint, attempted, beneath);
    return createMount(id, target, mountPoint, "moved");
  }
}

/**
 * Whether a mount point is the root of a peer of one of these mounts: a copy on it
 * would come onto that, too.
 */
function isRootOfPeer(
  { at }: MountPoint,
  ids: readonly bigint[],
  table: readonly MountInfo[],
): boolean {
  if (!isMountRoot(at.fd)) return false;
  const onto = mountIdAt(at.fd);
  const group = table.find(({ id }) => id === onto)?.peerGroup;
  return group !== undefined &&
    table.some((mount) => mount.peerGroup === group && ids.includes(mount.id));
}

/** Moves out of a shared mount, which is private from then on. */
function moveOutOf(
  holder: MountInfo,
  original: OwnedFd,
  mountPoint: MountPoint,
  attempted: Attempt,
  beneath: boolean,
): void {
  using root = openDirectoryAt(AT_FDCWD, holder.target, 0);
  if (mountIdAt(root.fd) !== holder.id) {
    // Its root is not seen from here: the kernel takes no other way to it.
    throw new SyscallError("mount_setattr", EINVAL, [quote(holder.target)]);
  }
  const make = (propagation: number) =>
    mountSetattr(root.fd, "", AT_EMPTY_PATH, { propagation });
  // Private at once, it could not receive again what it received.
  make(MS_SLAVE);
  try {
    attempt(
      { ...attempted, ...placesOf(original, mountPoint.at) },
      () => attach(original, mountPoint.at, beneath),
    );
  } catch (error) {
    make(MS_SHARED);
    throw error;
  }
  make(MS_PRIVATE);
}

function replaceByClone(
  original: OwnedFd,
  mountPoint: MountPoint,
  target: string,
  { attempted, inside, record }: {
    readonly attempted: Attempt;
    readonly inside: readonly MountInfo[];
    readonly record: Recorder | null;
  },
): Mount {
  const unbindable = inside.find((mount) => mount.propagation === "unbindable");
  if (unbindable !== undefined) {
    // The kernel would leave it out of the copy without a word.
    throw explain(
      attempted,
      new SyscallError("open_tree", EINVAL, [quote(unbindable.target)]),
      {
        detail: `${
          quote(unbindable.target)
        } inside it is unbindable, and the mount that holds it is shared`,
      },
    );
  }
  using clone = cloneTree(original.fd, "", AT_RECURSIVE);
  const id = mountIdAt(clone.fd);
  record?.add(id, mountPoint.at.fd, { whole: inside.length > 0 });
  attach(clone, mountPoint.at);
  try {
    // The copy, and other peers, would lose what is inside with the original.
    mountSetattr(original.fd, "", AT_EMPTY_PATH | AT_RECURSIVE, {
      propagation: MS_SLAVE,
    });
    // Lazily, as a move does: whoever uses it goes on undisturbed.
    umountByStrategy(undefined, original.fd, ".", MNT_DETACH);
  } catch (error) {
    try {
      const { holder, name } = mountPoint;
      umountByStrategy(undefined, holder.fd, name, MNT_DETACH);
    } catch {
      if (!(error instanceof SyscallError)) throw error;
      throw explain(attempted, error, {
        detail: `and a copy stays at ${quote(target)}`,
      });
    }
    throw error;
  }
  return createMount(id, target, mountPoint, "cloned");
}

/** The mount that a mount is on. */
function holderOf(
  id: bigint,
  table: readonly MountInfo[],
): MountInfo | undefined {
  const parentId = table.find((mount) => mount.id === id)?.parentId;
  return table.find((mount) => mount.id === parentId);
}

/** The mounts that are on a mount, and on those. */
function mountsInside(
  id: bigint,
  table: readonly MountInfo[],
): MountInfo[] {
  const children = Map.groupBy(table, ({ parentId }) => parentId);
  const inside = new Set(children.get(id));
  // What is added while the set is walked is walked, too.
  for (const mount of inside) {
    for (const child of children.get(mount.id) ?? []) inside.add(child);
  }
  return [...inside];
}
