import { OwnedFd } from "../fd/owned_fd.ts";
import { attach } from "./attach.ts";
import { cloneTree } from "./bindat.ts";
import {
  AT_EMPTY_PATH,
  AT_RECURSIVE,
  CLONE_FS,
  CLONE_NEWNS,
  MOVE_MOUNT_BENEATH,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  O_RDONLY,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from "../sys/constants.ts";
import { fallBack, isErrno } from "../sys/error.ts";
import { EINVAL } from "../sys/errno.ts";
import { attachesToDetached, detachedTmpfs } from "../kernel/probe.ts";
import {
  mountPrivately,
  moveToRoot,
  openPath,
  setnsCall,
  SyscallThread,
  type ThreadCall,
  unshareCall,
} from "../sys/thread.ts";
import { mkdirat } from "../sys/names.ts";
import { open, openDirectoryAt } from "../fd/open.ts";
import { cString, flagNames } from "../sys/call.ts";
import { MOVE_MOUNT_FLAGS, OPEN_TREE_FLAGS } from "../sys/mount.ts";

/**
 * A place to attach mounts inside mounts that are not attached themselves.
 *
 * Before Linux 6.15, the kernel neither attaches anything to such a mount nor
 * copies it. If it refuses, the mounts are moved into a mount namespace of their
 * own, and are attached there.
 */
export class Staging implements Disposable {
  #namespace: StagingNamespace | null = null;
  /** The mounts that are not in the namespace yet. */
  readonly #held: OwnedFd[] = [];

  /**
   * Takes a mount, so that others can be attached inside it.
   *
   * @param mount A detached mount of a directory; borrowed. It may be closed
   * once nothing more is to be attached inside it.
   */
  hold(mount: OwnedFd): void {
    this.#held.push(mount);
  }

  /**
   * Attaches a mount inside one that is held. The attached mount may be a held
   * one, too.
   *
   * @param beneath True to attach it beneath the mount whose root is
   * `mountPoint`.
   * @throws {SyscallError} What move_mount(2) answers, ENOENT without /proc, which
   * leads to namespaces.
   * @throws {UnsupportedError} When no thread can be started.
   */
  attach(mount: OwnedFd, mountPoint: OwnedFd, beneath = false): void {
    this.#make(
      () => attach(mount, mountPoint, beneath),
      (namespace) => namespace.attach(mount, mountPoint, beneath),
    );
  }

  /**
   * Makes a detached copy of a directory in a held mount, with all mounts below
   * the directory.
   *
   * @throws {SyscallError} What open_tree(2) answers, and as `attach`.
   * @throws {UnsupportedError} When no thread can be started.
   */
  clone({ fd }: OwnedFd): OwnedFd {
    return this.#make(
      () => cloneTree(fd, "", AT_RECURSIVE),
      (namespace) => namespace.clone(fd),
    );
  }

  /**
   * Takes out a held mount, to attach it elsewhere.
   *
   * @returns A copy if the mount is in the namespace; null if the mount itself
   * can be attached.
   * @throws {SyscallError} What open_tree(2) answers.
   */
  takeOut({ fd }: OwnedFd): OwnedFd | null {
    return this.#namespace?.clone(fd) ?? null;
  }

  #make<T>(
    directly: () => T,
    inNamespace: (namespace: StagingNamespace) => T,
  ): T {
    if (this.#namespace === null) {
      try {
        return directly();
      } catch (error) {
        const old = isErrno(error, EINVAL) && attachesToDetached() === false;
        if (!old) throw error;
        fallBack("move_mount, into a detached mount");
        this.#namespace = new StagingNamespace();
      }
    }
    for (let mount; (mount = this.#held[0]) !== undefined;) {
      if (!mount.closed) this.#namespace.bring(mount);
      this.#held.shift();
    }
    return inNamespace(this.#namespace);
  }

  [Symbol.dispose](): void {
    this.#namespace?.[Symbol.dispose]();
  }
}

/**
 * A mount namespace in which mounts are attached and moved.
 *
 * A thread enters it for each call, and leaves it. Descriptors hold it: it is
 * gone, with all that is mounted there, when they are closed or the process ends.
 */
class StagingNamespace implements Disposable {
  readonly #fd: OwnedFd;
  /** A tmpfs with a directory for each mount, so that none covers another. */
  readonly #bench: OwnedFd;
  #brought = 0;

  /**
   * @throws {SyscallError} ENOENT without /proc, which leads to namespaces.
   * @throws {UnsupportedError} When no thread can be started.
   */
  constructor() {
    using owned = new DisposableStack();
    this.#bench = owned.use(detachedTmpfs());
    const opened = onThread([
      unshareCall(CLONE_NEWNS),
      mountPrivately(),
      moveToRoot(this.#bench.fd),
      openPath(OWN_NAMESPACE),
    ]);
    this.#fd = new OwnedFd(opened);
    owned.move();
  }

  bring(mount: OwnedFd): void {
    const name = String(this.#brought++);
    mkdirat(this.#bench.fd, name, 0o755);
    using at = openDirectoryAt(this.#bench.fd, name);
    this.attach(mount, at, false);
  }

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
        flagNames(flags, MOVE_MOUNT_FLAGS),
      ],
    });
  }

  clone(fd: number): OwnedFd {
    const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE |
      AT_EMPTY_PATH;
    return new OwnedFd(
      this.#make({
        name: "open_tree",
        args: [fd, EMPTY, flags],
        text: [{ fd }, '""', flagNames(flags, OPEN_TREE_FLAGS)],
      }),
      "mount",
    );
  }

  #make(call: ThreadCall): number {
    return onThread([setnsCall(this.#fd.fd, CLONE_NEWNS), call]);
  }

  [Symbol.dispose](): void {
    this.#fd.close();
    this.#bench.close();
  }
}

const EMPTY = cString("path", "");

const OWN_NAMESPACE = "/proc/thread-self/ns/mnt";

let thread: SyscallThread | undefined;

/** Ends the thread, if there is one, at once. */
export function endStagingThread(): void {
  thread?.end();
}

/** Makes calls on a thread, which then enters this thread's namespace again. */
function onThread(calls: ThreadCall[]): number {
  using own = open(OWN_NAMESPACE, O_RDONLY);
  if (!thread?.hold()) thread = new SyscallThread();
  const back = setnsCall(own.fd, CLONE_NEWNS);
  // A thread that shares its working directory can't change its namespace.
  return thread.make([unshareCall(CLONE_FS), back, ...calls], [back]);
}
