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

/** A change: `recursive` of all mounts of a tree, then `own` of its root. */
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
 * Turns a change into one that the kernel accepts. A negation such as `atime`
 * takes away one value of the field of access times. The kernel can only clear
 * the whole field.
 *
 * @param current The mount's attributes. If they are undefined, the mount is
 * assumed to have the negated value.
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

/** True if the effect on access times depends on the mount's attributes. */
export function negatesAccessTime({ attrClr }: AttributeChange): boolean {
  const negated = attrClr & MOUNT_ATTR__ATIME;
  return negated !== 0 && negated !== MOUNT_ATTR__ATIME;
}

/** Changes attributes by one call, if there is anything to change. */
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

/**
 * Replaces unbindable by private: the kernel attaches no unbindable mount to a
 * shared one (EINVAL).
 */
export function bindable(change: AttributeChange): AttributeChange {
  return change.propagation === MS_UNBINDABLE
    ? { ...change, propagation: MS_PRIVATE }
    : change;
}

/**
 * The part of a change that is repeated after the mount was attached: when the
 * kernel attaches a mount to a shared one, it makes the mount shared.
 *
 * @returns null if nothing is to be repeated.
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
 * Changes a detached mount, and returns it.
 *
 * @throws What `change` throws; the mount is closed then.
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
 * Makes a detached copy private. The copy of a shared mount is its peer: mounts
 * made inside one of them appear inside the other, too.
 *
 * @param flags `AT_RECURSIVE`, or 0 for the copy's root alone.
 * @param attrSet `MOUNT_ATTR_*` that the copy gets by the same call.
 * @returns The copy.
 * @throws {SyscallError} What mount_setattr(2) answers; the copy is closed.
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
