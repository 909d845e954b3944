/** Peer groups of mounts that leave them for a while: mount_namespaces(7). */
import {
  AT_EMPTY_PATH,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_SET_GROUP,
  MOVE_MOUNT_T_EMPTY_PATH,
  MS_PRIVATE,
} from "../sys/constants.ts";
import { mountSetattr, moveMount } from "../sys/mount.ts";
import { mountIdAt } from "../kernel/mount_id.ts";
import type { MountInfo } from "../list/mount_info.ts";
import { openAt } from "../fd/open.ts";
import { SyscallError } from "../sys/error.ts";

/**
 * Gives a mount the peers and the master that another mount of the same file
 * system has (`MOVE_MOUNT_SET_GROUP`).
 *
 * @param from A descriptor of the root of the mount that has them.
 * @param to A descriptor of the root of the mount that gets them.
 * @throws {SyscallError} EINVAL before Linux 5.15.
 */
export function joinGroup(from: number, to: number): void {
  // The kernel gives a group only to what has none.
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
 * @throws {SyscallError} For the first that could not be given back, once all
 * were tried.
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
      // What another mount covers can't be reached.
      if (mountIdAt(to.fd) === id) joinGroup(from.fd, to.fd);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
}
