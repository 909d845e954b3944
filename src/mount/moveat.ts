import { parseRecorder, type Recorder } from "../options/spec.ts";
import { checkOptions, type OptionNames } from "../base/check.ts";
import { createMount, type Mount } from "./mount.ts";
import { descriptorOf, type HasFd, type OwnedFd } from "../fd/owned_fd.ts";
import { parseBeneath, parseMkdir, parseTarget } from "../options/target.ts";
import { quote } from "../base/text.ts";
import { attempt, explain, MountError } from "../error/error.ts";
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
import { EBUSY, EINVAL, ELOOP } from "../sys/errno.ts";
import { listMounts } from "../list/list_mounts.ts";
import type { MountInfo } from "../list/mount_info.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  MNT_DETACH,
  MNT_EXPIRE,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_SET_GROUP,
  MOVE_MOUNT_T_EMPTY_PATH,
  MS_PRIVATE,
  MS_SLAVE,
} from "../sys/constants.ts";
import { mountSetattr, moveMount } from "../sys/mount.ts";
import { cloneTree } from "./bindat.ts";
import { umountByStrategy } from "../unmount/strategy.ts";

/** Options of {@linkcode moveat}. */
export interface MoveOptions {
  /**
   * Makes the parent mount private if it is shared, so that the mount itself
   * moves. From then on, the parent's other mounts are not propagated, either.
   * If the move still fails, the parent gets its peers back (since Linux 5.15;
   * before, it stays private).
   *
   * @default {false}
   */
  makePrivate?: boolean;
  /**
   * Makes the new mount point if it is missing, as `bindat` does.
   *
   * @default {false}
   */
  mkdir?: boolean | number;
  /**
   * Puts the mount beneath the topmost one on the new mount point, as `mountat`
   * does. It is never copied then: out of a shared mount, the answer is EINVAL.
   *
   * @default {false}
   */
  beneath?: boolean;
  /**
   * Records the copy, if one takes the mount's place: the copy has another id
   * than the mount, which may be recorded already. A mount that moves keeps its
   * id.
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
 * The kernel moves no mount out of a shared mount (EINVAL; systemd makes `/`
 * shared). In that case a copy is attached at the new place and the original is
 * unmounted; processes keep the files that they have open in it. If something
 * is mounted inside, copies of the original in peers of its parent mount (other
 * mount namespaces, for example) stay. The handle's `made` tells which it was,
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
 * @param options Options of the move.
 * @returns The mount at its new place; it is unmounted when the handle is
 * disposed of.
 * @throws {TypeError} For a wrong argument; before any system call.
 * @throws {MountError} EINVAL if nothing is mounted there, if the mount is locked,
 * or for a file on a directory; ENOTDIR for a directory on a file; ELOOP for a move
 * into itself, for a move out of a shared mount onto the root of a peer of the moved
 * mount, and for a symlink in a target; EXDEV for a target that leaves its
 * directory; ENOENT; EPERM without the capability. The mount is then where it
 * was, and nowhere else.
 * @throws {UnsupportedError} If the system or kernel can't do it.
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
  parseRecorder(options.record);
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
        () =>
          moveOrClone(
            original,
            mountPoint,
            toTarget,
            attempted,
            options,
            // The mount point beneath the mount, once the mount has moved.
            () => openAt(fromDirectory, from.path),
          ),
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
  openPlace: () => OwnedFd,
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
    attempt(
      { ...attempted, unmounted: { dirfd: original.fd, name: "." } },
      () => checkMovable(original),
    );
    if (!makePrivate) {
      const inside = mountsInside(id, table);
      const onto = mountIdAt(mountPoint.at.fd);
      if (onto === id || inside.some((mount) => mount.id === onto)) {
        // The kernel answers this if the holder is private. A copy would be
        // unmounted with the original.
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
      const mount = table.find((mount) => mount.id === id)!;
      const plan = { attempted, mount, inside, record };
      return replaceByClone(original, mountPoint, target, plan);
    }
    moveOutOf(holder, original, mountPoint, attempted, { beneath, openPlace });
    return createMount(id, target, mountPoint, "moved");
  }
}

/**
 * True if a mount point is the root of a peer of one of these mounts: a copy
 * attached there would propagate to that mount.
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

/**
 * Fails if the kernel would refuse to take a mount from its place, for example
 * because it is locked to its holder.
 *
 * @throws {SyscallError} What umount2(2) answers.
 */
function checkMovable(original: OwnedFd): void {
  try {
    // The kernel checks whether the mount may be unmounted, then whether it is
    // in use. This descriptor uses it, so EBUSY means that it may.
    umountByStrategy(undefined, original.fd, ".", MNT_EXPIRE);
  } catch (error) {
    if (!isErrno(error, EBUSY)) throw error;
  }
}

/**
 * Moves a mount out of a shared holder, which is private from then on. After a
 * failure, the mount is where it was, and the holder has its peers again.
 */
function moveOutOf(
  holder: MountInfo,
  original: OwnedFd,
  mountPoint: MountPoint,
  attempted: Attempt,
  { beneath, openPlace }: { beneath: boolean; openPlace: () => OwnedFd },
): void {
  using root = openDirectoryAt(AT_FDCWD, holder.target, 0);
  if (mountIdAt(root.fd) !== holder.id) {
    // The path leads to another mount, and nothing else to the holder's root.
    throw new SyscallError("mount_setattr", EINVAL, [quote(holder.target)]);
  }
  // A peer of the holder, from which it gets its group back after a failure.
  using peer = cloneTree(root.fd, "", 0);
  const make = (propagation: number) =>
    mountSetattr(root.fd, "", AT_EMPTY_PATH, { propagation });
  // If it became private at once, it could not receive again what it received.
  make(MS_SLAVE);
  try {
    attempt(
      { ...attempted, ...placesOf(original, mountPoint.at) },
      () => attach(original, mountPoint.at, beneath),
    );
    try {
      make(MS_PRIVATE);
    } catch (error) {
      using place = openPlace();
      attach(original, place);
      throw error;
    }
  } catch (error) {
    undo(error, attempted, [{
      step: () => joinGroup(peer.fd, root.fd),
      failed: `and ${quote(holder.target)} has lost its peers`,
    }]);
  }
}

/** A step to undo after a failure, and what to report if it fails, too. */
interface UndoStep {
  readonly step: () => void;
  readonly failed: string;
}

/**
 * Undoes what was done before a failure, and throws the failure.
 *
 * @throws {MountError} For the failure, with what could not be undone.
 */
function undo(
  failure: unknown,
  attempted: Attempt,
  steps: readonly UndoStep[],
): never {
  const left = steps.filter(({ step }) => {
    try {
      step();
      return false;
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      return true;
    }
  });
  if (left.length === 0) throw failure;
  const cause = failure instanceof MountError ? failure.cause : failure;
  if (!(cause instanceof SyscallError)) throw failure;
  const detail = left.map(({ failed }) => failed).join(", ");
  throw explain(attempted, cause, { detail });
}

function replaceByClone(
  original: OwnedFd,
  mountPoint: MountPoint,
  target: string,
  { attempted, mount, inside, record }: {
    readonly attempted: Attempt;
    readonly mount: MountInfo;
    readonly inside: readonly MountInfo[];
    readonly record: Recorder | null;
  },
): Mount {
  const unbindable = inside.find((mount) => mount.propagation === "unbindable");
  if (unbindable !== undefined) {
    // The kernel would silently leave this mount out of the copy.
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
  const propagate = ({ fd }: OwnedFd, propagation: number) =>
    mountSetattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, { propagation });
  // Otherwise, unmounting the original would unmount the mounts inside its
  // peers, the copy included.
  propagate(original, MS_SLAVE);
  const giveBack: UndoStep = {
    step: () => joinGroups(clone.fd, original.fd, [mount, ...inside]),
    failed: "and it has lost its peers",
  };
  try {
    attach(clone, mountPoint.at);
  } catch (error) {
    undo(error, attempted, [giveBack]);
  }
  try {
    // Lazily: as in a move, processes that use the mount are not disturbed.
    umountByStrategy(undefined, original.fd, ".", MNT_DETACH);
  } catch (error) {
    const takeBack: UndoStep = {
      step: () => {
        // Otherwise, unmounting the copy would unmount the mounts inside the
        // original and its peers. Copies in the holder's peers stay.
        propagate(clone, MS_PRIVATE);
        const { holder, name } = mountPoint;
        umountByStrategy(undefined, holder.fd, name, MNT_DETACH);
      },
      failed: `and a copy stays at ${quote(target)}`,
    };
    undo(error, attempted, [giveBack, takeBack]);
  }
  return createMount(id, target, mountPoint, "cloned");
}

/** The mount that holds a mount: its parent. */
function holderOf(
  id: bigint,
  table: readonly MountInfo[],
): MountInfo | undefined {
  const parentId = table.find((mount) => mount.id === id)?.parentId;
  return table.find((mount) => mount.id === parentId);
}

/** The mounts inside a mount, at every depth. */
function mountsInside(
  id: bigint,
  table: readonly MountInfo[],
): MountInfo[] {
  const children = Map.groupBy(table, ({ parentId }) => parentId);
  const inside = new Set(children.get(id));
  // Elements that are added during the loop are visited, too.
  for (const mount of inside) {
    for (const child of children.get(mount.id) ?? []) inside.add(child);
  }
  return [...inside];
}

/**
 * Gives a mount the peers and the master that another mount of the same file
 * system has (`MOVE_MOUNT_SET_GROUP`).
 *
 * @param from A descriptor of the root of the mount that has them.
 * @param to A descriptor of the root of the mount that gets them.
 * @throws {SyscallError} EINVAL before Linux 5.15.
 */
export function joinGroup(from: number, to: number): void {
  // The kernel gives a group only to a mount that has none.
  mountSetattr(to, "", AT_EMPTY_PATH, { propagation: MS_PRIVATE });
  const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH |
    MOVE_MOUNT_SET_GROUP;
  moveMount(from, "", to, "", flags);
}

/**
 * Gives the mounts of a tree back the groups that their copies have.
 *
 * @param copy A descriptor of the copy's root.
 * @param root A descriptor of the tree's root.
 * @param mounts The mounts of the tree as they were, its root first.
 * @throws {SyscallError} The first failure, once all mounts were tried.
 */
export function joinGroups(
  copy: number,
  root: number,
  mounts: readonly MountInfo[],
): void {
  const [top] = mounts;
  let failure: unknown;
  for (const { id, target, propagation } of mounts) {
    if (propagation === "private" || propagation === "unbindable") continue;
    const path = target === top!.target
      ? "."
      : target.slice(top!.target.length).replace(/^\//, "");
    try {
      using from = openAt(copy, path);
      using to = openAt(root, path);
      // A mount that another one covers can't be reached.
      if (mountIdAt(to.fd) === id) joinGroup(from.fd, to.fd);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
}
