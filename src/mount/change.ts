/** Changes of a mount's attributes, before it is attached and after. */
import type {
  AttributeChange,
  ParsedOptions,
} from "../options/mount_options.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  CLONE_NEWUSER,
  MOUNT_ATTR_IDMAP,
  MS_PRIVATE,
  MS_SHARED,
  MS_UNBINDABLE,
  O_NOCTTY,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
} from "../sys/constants.ts";
import { type MountAttr, mountSetattr } from "../sys/mount.ts";
import { open } from "../fd/open.ts";
import type { OwnedFd } from "../fd/owned_fd.ts";
import type { IdMap, IdMaps } from "../options/attributes.ts";
import { readlinkat, write } from "../sys/file.ts";
import { isErrno, UnsupportedError } from "../sys/error.ts";
import { cloneSleeping } from "../sys/spawn.ts";
import { kill, SIGKILL, waitid } from "../sys/process.ts";
import { EINTR } from "../sys/errno.ts";

/** What is to change: first of all mounts of a tree, then of its root alone. */
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

/** Makes one call, where there is anything to change. */
export function changeAttributes(
  fd: number,
  flags: number,
  change: AttributeChange,
): void {
  if (changes(change)) mountSetattr(fd, "", AT_EMPTY_PATH | flags, change);
}

/** Whether a change is one. */
export function changes(
  { attrSet, attrClr, propagation }: AttributeChange,
): boolean {
  return (attrSet | attrClr | propagation) !== 0;
}

/** What of a change is made before the mount is attached. */
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
 * What of a change is to be made once more when the mount was attached: to a
 * shared mount the kernel attaches nothing that is not shared itself.
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

/** A descriptor of a user namespace, for as long as it is needed. */
export interface OpenIdmap extends Disposable {
  readonly fd: number;
  /** Whether it is for all mounts of a tree. */
  readonly recursive: boolean;
}

/**
 * Opens what an option of {@linkcode NewAttributeOptions} means.
 *
 * @param recursive Whether it is for all mounts where it does not say.
 */
export function openIdmap(
  idmap: IdMaps | number | string,
  recursive = false,
): OpenIdmap {
  if (typeof idmap === "number") {
    return { fd: idmap, recursive, [Symbol.dispose]() {} };
  }
  const isPath = typeof idmap === "string";
  const namespace = isPath
    ? open(idmap, OPEN_NAMESPACE)
    : createUserNamespace(idmap);
  return {
    fd: namespace.fd,
    recursive: (isPath ? undefined : idmap.recursive) ?? recursive,
    [Symbol.dispose]: () => namespace.close(),
  };
}

/** What is no namespace's file shall neither hold this up nor be a terminal. */
const OPEN_NAMESPACE = O_RDONLY | O_NOCTTY | O_NONBLOCK;

/** What gives a mount an id map. */
export function idmapAttributes({ fd }: OpenIdmap): MountAttr {
  return { attrSet: MOUNT_ATTR_IDMAP, usernsFd: fd };
}

/**
 * How long the child lives at the most when this process is killed before it
 * could end it, and the child had not begun: it holds all descriptors.
 */
const CHILD_SECONDS = 2;

/**
 * Makes a user namespace with these maps. Only a process can be put into a new
 * one: a child that does nothing, and is gone on return.
 *
 * @throws {SyscallError} EPERM for ids that can't be mapped, EINVAL for ranges
 * that overlap, ENOENT without /proc.
 * @throws {UnsupportedError} Where /proc shows other processes.
 */
export function createUserNamespace({ uids, gids }: IdMaps): OwnedFd {
  const self = readlinkat(AT_FDCWD, "/proc/self");
  if (self !== String(Deno.pid)) {
    throw new UnsupportedError(
      "An id map can't be made where /proc is of another PID namespace: mount one of this, or give a user namespace's descriptor",
    );
  }
  const child = cloneSleeping(CLONE_NEWUSER, CHILD_SECONDS);
  try {
    writeMaps(`/proc/${child}/uid_map`, uids);
    writeMaps(`/proc/${child}/gid_map`, gids);
    return open(`/proc/${child}/ns/user`, O_RDONLY);
  } finally {
    kill(child, SIGKILL);
    reapAfterAll(child);
  }
}

function writeMaps(path: string, maps: readonly IdMap[]): void {
  using file = open(path, O_WRONLY);
  const lines = maps.map(({ inside, outside, length }) =>
    `${inside} ${outside} ${length}\n`
  );
  // The kernel takes all of it at once or nothing.
  write(file.fd, new TextEncoder().encode(lines.join("")));
}

function reapAfterAll(child: number): void {
  for (;;) {
    try {
      waitid(child);
      return;
    } catch (error) {
      if (!isErrno(error, EINTR)) throw error;
    }
  }
}
