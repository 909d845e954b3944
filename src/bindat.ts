import { CreatedPaths } from "./created_paths.ts";
import type { Directory } from "./directory.ts";
import { descriptorOf } from "./dirfd.ts";
import { attempt } from "./error.ts";
import { createMount, type Mount } from "./mount.ts";
import { mountIdAt } from "./mount_id.ts";
import { closeMountPoint, openMountPoint } from "./mount_point.ts";
import { parseMkdir } from "./mountat.ts";
import { OwnedFd } from "./owned_fd.ts";
import type { MountRecord } from "./record.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from "./sys/constants.ts";
import { quote } from "./sys/format.ts";
import { moveMount } from "./sys/move_mount.ts";
import { openTree } from "./sys/open_tree.ts";
import { pathArgument } from "./path_argument.ts";
import { parseTarget } from "./target.ts";

/** Options of {@linkcode bindat}. */
export interface BindOptions {
  /**
   * Takes what is mounted below the source along.
   *
   * @default {false}
   */
  recursive?: boolean;
  /**
   * Makes the mount point where it is missing, a directory for a directory and
   * an empty file for a file, and what leads to it: with mode 0o755, or the
   * given one, less the umask. When the mount fails, what was made is removed
   * again.
   *
   * @default {false}
   */
  mkdir?: boolean | number;
  /**
   * Where the mount is written down before it is attached, so that it can be
   * swept once this process is dead.
   *
   * @default {null}
   */
  record?: MountRecord | null;
}

/**
 * Mounts a directory or file that is there already on a target relative to a
 * directory.
 *
 * The target is resolved as by `mountat`. The source is the caller's: its path
 * may lead through symlinks.
 *
 * Needs Linux 5.8, the permission `--allow-ffi`, and CAP_SYS_ADMIN in the user
 * namespace of the mount namespace. See open_tree(2), move_mount(2).
 *
 * @example Show a directory at a second place
 * ```ts
 * import { bindat, Directory } from "@meroton/mountat";
 * import { assert } from "@std/assert";
 *
 * const path = Deno.makeTempDirSync();
 * using root = Directory.open(path);
 * using _bind = bindat(root, "host", "/proc", { mkdir: true });
 * assert(Deno.statSync(`${path}/host/self`).isDirectory);
 * ```
 *
 * @param dirfd The directory: a `Directory`, or an open descriptor.
 * @param target Where to mount, relative to `dirfd`.
 * @param source What to mount: a path, a `file:` URL, or a directory.
 * @param options How to mount.
 * @returns The mount; it is unmounted when the handle is disposed of.
 * @throws {TypeError} For a wrong argument; before any system call.
 * @throws {RangeError} For a mode that is none.
 * @throws {MountError} ENOENT for a missing source or target, EINVAL where a
 * directory meets a file or the source can't be bound, ELOOP for a symlink in
 * the target, EXDEV for a target that leaves the directory, EPERM without the
 * capability.
 * @throws {UnsupportedError} Where the system or kernel can't do it.
 */
export function bindat(
  dirfd: number | Directory,
  target: string,
  source: string | URL | Directory,
  options: BindOptions = {},
): Mount {
  const directory = descriptorOf(dirfd);
  const parsed = parseTarget(target);
  const from = parseSource(source);
  const mode = parseMkdir(options.mkdir);
  const flags = options.recursive ? AT_RECURSIVE : 0;
  const attempted = {
    action: `bind ${from.text} to ${quote(target)}`,
    target,
    from,
    mkdir: mode !== null,
  };
  return attempt(attempted, () => {
    using clone = cloneTree(from.dirfd, from.path, flags);
    const id = mountIdAt(clone.fd);
    using created = new CreatedPaths();
    const mountPoint = openMountPoint(created, directory, parsed, clone, mode);
    try {
      options.record?.add(id, mountPoint.at.fd);
      const places = {
        from: { dirfd: clone.fd, path: "" },
        onto: { dirfd: mountPoint.at.fd, path: "" },
      };
      attempt(
        { ...attempted, ...places },
        () => attach(clone, mountPoint.at),
      );
    } catch (error) {
      closeMountPoint(mountPoint);
      throw error;
    }
    created.keep();
    return createMount(id, target, mountPoint, "bound");
  });
}

/** A detached copy of the mount at a path. */
export function cloneTree(
  dirfd: number,
  path: string,
  flags: number,
): OwnedFd {
  const empty = path === "" ? AT_EMPTY_PATH : 0;
  const clone = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  return new OwnedFd(openTree(dirfd, path, clone | flags | empty), "mount");
}

/** Attaches a mount to its mount point. */
export function attach(mount: OwnedFd, mountPoint: OwnedFd): void {
  moveMount(
    mount.fd,
    "",
    mountPoint.fd,
    "",
    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
  );
}

function parseSource(
  source: string | URL | Directory,
): { dirfd: number; path: string; text: string } {
  if (typeof source === "object" && !(source instanceof URL)) {
    const dirfd = descriptorOf(source);
    return { dirfd, path: "", text: `descriptor ${dirfd}` };
  }
  const path = pathArgument("The source", source);
  return { dirfd: AT_FDCWD, path, text: quote(path) };
}
