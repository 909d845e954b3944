import { OwnedFd } from "./owned_fd.ts";
import { cString } from "./sys/argument.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  CLONE_FS,
  CLONE_NEWNS,
  MOVE_MOUNT_BENEATH,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  O_CLOEXEC,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from "./sys/constants.ts";
import { EINVAL } from "./sys/errno.ts";
import { SyscallError } from "./sys/error.ts";
import { flagNames } from "./sys/format.ts";
import { fsconfigCreate } from "./sys/fsconfig.ts";
import { fsmount } from "./sys/fsmount.ts";
import { fsopen } from "./sys/fsopen.ts";
import { moveMount } from "./sys/move_mount.ts";
import { openat2 } from "./sys/openat2.ts";
import { SyscallThread, type ThreadCall } from "./sys/thread.ts";
import {
  mountPrivately,
  moveToRoot,
  openPath,
  setns,
  unshare,
} from "./sys/thread_calls.ts";

/**
 * A mount namespace of its own that a mount tree is built in, where the kernel
 * attaches nothing into a mount that is attached to nothing (before Linux 6.15).
 *
 * A thread enters it for each call, and leaves it. A descriptor holds it: it is
 * gone, with all that is mounted there, when that is closed or the process ends.
 */
export class Staging implements Disposable {
  readonly #namespace: OwnedFd;

  /**
   * Makes the namespace, and attaches a tree to its root.
   *
   * @param tree The root of the tree, attached to nothing.
   * @throws {SyscallError} ENOENT without /proc, which leads to namespaces.
   * @throws {UnsupportedError} When no thread can be started.
   */
  constructor(tree: OwnedFd) {
    const opened = onThread([
      unshare(CLONE_NEWNS),
      mountPrivately(),
      moveToRoot(tree.fd),
      openPath(OWN_NAMESPACE),
    ]);
    this.#namespace = new OwnedFd(opened);
  }

  /**
   * Attaches a mount in the tree.
   *
   * @throws {SyscallError} What move_mount(2) answers.
   */
  attach(mount: OwnedFd, mountPoint: OwnedFd, beneath: boolean): void {
    const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH |
      (beneath ? MOVE_MOUNT_BENEATH : 0);
    this.#make({
      name: "move_mount",
      args: [mount.fd, EMPTY, mountPoint.fd, EMPTY, flags],
      text: [
        { fd: mount.fd },
        '""',
        { fd: mountPoint.fd },
        '""',
        flagNames(flags, {
          MOVE_MOUNT_F_EMPTY_PATH,
          MOVE_MOUNT_T_EMPTY_PATH,
          MOVE_MOUNT_BENEATH,
        }),
      ],
    });
  }

  /**
   * Copies the tree, attached to nothing.
   *
   * @throws {SyscallError} What open_tree(2) answers.
   */
  clone(tree: OwnedFd): OwnedFd {
    const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE |
      AT_EMPTY_PATH;
    return new OwnedFd(
      this.#make({
        name: "open_tree",
        args: [tree.fd, EMPTY, flags],
        text: [
          { fd: tree.fd },
          '""',
          "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_RECURSIVE|AT_EMPTY_PATH",
        ],
      }),
      "mount",
    );
  }

  #make(call: ThreadCall): number {
    return onThread([setns(this.#namespace.fd, CLONE_NEWNS), call]);
  }

  [Symbol.dispose](): void {
    this.#namespace.close();
  }
}

const EMPTY = cString("path", "");
const OWN_NAMESPACE = "/proc/thread-self/ns/mnt";

let thread: SyscallThread | undefined;

/** Ends the thread, if there is one, at once. */
export function endStagingThread(): void {
  thread?.end();
}

/** Makes calls on a thread that is then in this one's namespace again. */
function onThread(calls: ThreadCall[]): number {
  using own = new OwnedFd(
    openat2(AT_FDCWD, OWN_NAMESPACE, { flags: O_CLOEXEC }),
  );
  if (!thread?.hold()) thread = new SyscallThread();
  const back = setns(own.fd, CLONE_NEWNS);
  // A thread that shares its working directory can't change its namespace.
  return thread.make([unshare(CLONE_FS), back, ...calls], [back]);
}

/**
 * Whether the kernel attaches into a mount that is attached to nothing:
 * undefined where that can't be tried.
 */
export function attachesToDetached(): boolean | undefined {
  using outer = detachedTmpfs();
  using inner = detachedTmpfs();
  const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  try {
    moveMount(inner.fd, "", outer.fd, "", flags);
    return true;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return error.errno === EINVAL ? false : undefined;
  }
}

/** A mount that is gone when its descriptor is closed. */
function detachedTmpfs(): OwnedFd {
  using context = new OwnedFd(fsopen("tmpfs"));
  fsconfigCreate(context.fd);
  return new OwnedFd(fsmount(context.fd));
}
