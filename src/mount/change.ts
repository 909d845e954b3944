/** Changes of a mount's attributes, before it is attached and after. */
import type {
  AttributeChange,
  ParsedOptions,
} from "../options/mount_options.ts";
import {
  AT_EMPTY_PATH,
  AT_RECURSIVE,
  MOUNT_ATTR__ATIME,
  MS_PRIVATE,
  MS_SHARED,
  MS_UNBINDABLE,
} from "../sys/constants.ts";
import { mountSetattr } from "../sys/mount.ts";
import type { OwnedFd } from "../fd/owned_fd.ts";

/** A change: first of all mounts of a tree, then of its root alone. */
export type MountChange = Pick<ParsedOptions, "own" | "recursive">;

/**
 * Changes a mount, or a tree of mounts.
 *
 * @param fd A descriptor of the mount's root.
 * @throws {SyscallError} What mount_setattr(2) answers.
 */
export function changeMount(fd: number, change: MountChange): void {
  changeAttributes(fd, AT_RECURSIVE, change.recursive);
  changeAttributes(fd, 0, change.own);
}

/**
 * Makes of a change one that the kernel takes, which knows the field of access
 * times alone: a negation, `atime` say, takes away its own value and no other.
 *
 * @param current The mount's attributes, undefined where they are not known: then
 * what is negated is taken for what there is.
 */
export function withWholeFields(
  change: AttributeChange,
  current?: number,
): AttributeChange {
  if (!negatesAccessTime(change)) return change;
  const { attrClr } = change;
  const applies = current === undefined ||
    (current & attrClr & MOUNT_ATTR__ATIME) !== 0;
  return {
    ...change,
    attrClr: applies
      ? attrClr | MOUNT_ATTR__ATIME
      : attrClr & ~MOUNT_ATTR__ATIME,
  };
}

/** True if what a change does to access times depends on what there is. */
export function negatesAccessTime({ attrClr }: AttributeChange): boolean {
  const negated = attrClr & MOUNT_ATTR__ATIME;
  return negated !== 0 && negated !== MOUNT_ATTR__ATIME;
}

/** Makes one call, where there is anything to change. */
export function changeAttributes(
  fd: number,
  flags: number,
  change: AttributeChange,
): void {
  if (!changes(change)) return;
  mountSetattr(fd, "", AT_EMPTY_PATH | flags, withWholeFields(change));
}

/** True if a change changes anything. */
export function changes(
  { attrSet, attrClr, propagation }: AttributeChange,
): boolean {
  return (attrSet | attrClr | propagation) !== 0;
}

/** The part of a change that is made before the mount is attached. */
export function beforeAttach({ own, recursive }: MountChange): MountChange {
  return { own: bindable(own), recursive: bindable(recursive) };
}

/** The kernel attaches nothing unbindable to a shared mount (EINVAL). */
export function bindable(change: AttributeChange): AttributeChange {
  return change.propagation === MS_UNBINDABLE
    ? { ...change, propagation: MS_PRIVATE }
    : change;
}

/**
 * The part of a change that is made once more after the mount was attached: the
 * kernel makes every mount shared that it attaches to a shared one.
 *
 * @returns null when that is nothing.
 */
export function afterAttach(
  { own, recursive }: MountChange,
): ((mount: OwnedFd) => void) | null {
  if ((own.propagation | recursive.propagation) === 0) return null;
  const lost = (change: AttributeChange) => ({
    attrSet: 0,
    attrClr: 0,
    propagation: change.propagation === MS_SHARED ? 0 : change.propagation,
  });
  const change = { own: lost(own), recursive: lost(recursive) };
  return changes(change.own) || changes(change.recursive)
    ? (mount) => changeMount(mount.fd, change)
    : null;
}

/**
 * A detached mount that something was done with.
 *
 * @throws What `change` throws; the mount is then gone.
 */
export function afterChange(mount: OwnedFd, change: () => void): OwnedFd {
  try {
    change();
    return mount;
  } catch (error) {
    mount.close();
    throw error;
  }
}

/**
 * Makes a detached copy private: of a shared mount it is a peer, in which what
 * is mounted in the original appears, and the other way round.
 *
 * @param flags `AT_RECURSIVE`, or 0 for the copy's root alone.
 * @param attrSet `MOUNT_ATTR_*` that it gets by the same call.
 * @returns The copy.
 * @throws {SyscallError} What mount_setattr(2) answers; the copy is then gone.
 */
export function makePrivate(
  clone: OwnedFd,
  flags: number,
  attrSet = 0,
): OwnedFd {
  const change = { attrSet, propagation: MS_PRIVATE };
  return afterChange(
    clone,
    () => mountSetattr(clone.fd, "", AT_EMPTY_PATH | flags, change),
  );
}
