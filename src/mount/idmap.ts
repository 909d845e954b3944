/** Id maps of mounts, and the user namespaces that they are made with. */
import {
  AT_EMPTY_PATH,
  CLONE_NEWUSER,
  MOUNT_ATTR_IDMAP,
  O_NOCTTY,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
} from "../sys/constants.ts";
import { type MountAttr, mountSetattr } from "../sys/mount.ts";
import { open } from "../fd/open.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import { readFields } from "../kernel/process.ts";
import type { IdMap, IdMaps } from "../options/attributes.ts";
import { write } from "../sys/file.ts";
import { isErrno } from "../sys/error.ts";
import { cloneSleeping } from "../sys/spawn.ts";
import { kill, pidfdOpen, SIGKILL, waitid } from "../sys/process.ts";
import { EINTR } from "../sys/errno.ts";

/** Gives a detached mount its id map. */
export function mapIds(mount: OwnedFd, idmap: IdMaps | number | string): void {
  using namespace = openIdmap(idmap);
  mountSetattr(mount.fd, "", AT_EMPTY_PATH, idmapAttributes(namespace));
}

/** A descriptor of a user namespace, for as long as it is needed. */
export interface OpenIdmap extends Disposable {
  readonly fd: number;
  /** True if the id map is for all mounts of a tree. */
  readonly recursive: boolean;
}

/**
 * Opens or makes the user namespace that the option `idmap` describes: see
 * {@linkcode NewAttributeOptions}.
 *
 * @param recursive True if the id map is for all mounts, unless it sets
 * `recursive` itself.
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

/** If the path names a FIFO or a terminal, opening it must have no effect. */
const OPEN_NAMESPACE = O_RDONLY | O_NOCTTY | O_NONBLOCK;

/** The attributes that give a mount an id map. */
export function idmapAttributes({ fd }: OpenIdmap): MountAttr {
  return { attrSet: MOUNT_ATTR_IDMAP, usernsFd: fd };
}

/**
 * The most seconds that the child lives. They matter if this process is killed
 * before the child runs: the child holds all descriptors until it ends.
 */
const CHILD_SECONDS = 2;

/**
 * Makes a user namespace with these maps. A new user namespace needs a process:
 * a child that does nothing. It is gone on return.
 *
 * @throws {SyscallError} EPERM for ids that can't be mapped, EINVAL for ranges
 * that overlap, ENOENT without /proc, or if /proc does not show the child.
 */
export function createUserNamespace({ uids, gids }: IdMaps): OwnedFd {
  const child = cloneSleeping(CLONE_NEWUSER, CHILD_SECONDS);
  try {
    const path = pathOf(child);
    writeMaps(`${path}/uid_map`, uids);
    writeMaps(`${path}/gid_map`, gids);
    return open(`${path}/ns/user`, O_RDONLY);
  } finally {
    kill(child, SIGKILL);
    reapAfterAll(child);
  }
}

/** The directory of a child in /proc, which may be another PID namespace's. */
function pathOf(child: number): string {
  using process = new OwnedFd(pidfdOpen(child));
  return `/proc/${readFields(`/proc/self/fdinfo/${process.fd}`)("Pid")}`;
}

function writeMaps(path: string, maps: readonly IdMap[]): void {
  using file = open(path, O_WRONLY);
  const lines = maps.map(({ inside, outside, length }) =>
    `${inside} ${outside} ${length}\n`
  );
  // The kernel takes a map only by a single write(2).
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
