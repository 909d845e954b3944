import { openDirectoryAt } from "./beneath.ts";
import { attempt, explain } from "./error.ts";
import type { Attempt } from "./hint.ts";
import { isMounted, mountIdAt, pathOf, topmostMountId } from "./mount_id.ts";
import type { OwnedFd } from "./owned_fd.ts";
import { AT_FDCWD } from "./sys/constants.ts";
import { EBUSY, EINVAL, ENOTDIR } from "./sys/errno.ts";
import { SyscallError } from "./sys/error.ts";
import { quote } from "./sys/format.ts";
import type { UnmountStrategy } from "./unmount_strategy.ts";
import { umount, unmountFlags, type UnmountOptions } from "./unmountat.ts";

/** How a mount came to be where it is. */
export type MountOrigin = "mounted" | "bound" | "moved" | "cloned";

let create: (
  id: bigint,
  target: string,
  mountPoint: OwnedFd,
  made: MountOrigin,
) => Mount;

/**
 * A mount that this process made. The handle holds a descriptor of the mount
 * point, taken before the mount was put on it: whatever is renamed or replaced,
 * it leads there. Disposed of, the handle unmounts; merely dropped, it does not.
 */
export class Mount implements Disposable {
  /**
   * The kernel's unique id of the mount; before Linux 6.8 the one that is
   * reused, as in /proc/self/mountinfo.
   */
  readonly id: bigint;
  /** The target that it was mounted on, as the caller named it. */
  readonly target: string;
  /**
   * How the mount came to be there: a new file system that was "mounted", a
   * directory or file that was "bound", a mount that was "moved", or one that
   * could not be and was "cloned".
   */
  readonly made: MountOrigin;
  readonly #mountPoint: OwnedFd;
  #kept = false;

  private constructor(
    id: bigint,
    target: string,
    mountPoint: OwnedFd,
    made: MountOrigin,
  ) {
    this.id = id;
    this.target = target;
    this.#mountPoint = mountPoint;
    this.made = made;
  }

  static {
    create = (...parts) => new Mount(...parts);
  }

  /** Whether the mount is in the tree, wherever that is by now. */
  get mounted(): boolean {
    return !this.#mountPoint.closed && isMounted(this.id);
  }

  /**
   * Unmounts this mount and no other: its identity is checked first.
   *
   * Needs `--allow-ffi`, and CAP_SYS_ADMIN in the user namespace of the
   * mount namespace.
   *
   * @param options How to unmount. `all` takes what is stacked on top, too.
   * @throws {TypeError} For a wrong option.
   * @throws {MountError} EBUSY while it is in use or another mount is on top of
   * it, EINVAL when it is gone or was moved elsewhere, EPERM without the
   * capability.
   */
  unmount(options: UnmountOptions = {}): void {
    const flags = unmountFlags(options);
    const attempted = {
      action: `unmount ${quote(this.target)}`,
      target: this.target,
    };
    if (this.#mountPoint.closed) throw notThere(attempted, "it is gone");
    const { strategy } = options;
    attempt(attempted, () => {
      if (options.all) this.#uncover(attempted, strategy, flags);
      this.#check(attempted);
      this.#unmountTopmost(attempted, strategy, flags);
    });
    this.#mountPoint.close();
  }

  #unmountTopmost(
    attempted: Attempt,
    strategy: UnmountStrategy | undefined,
    flags: number,
  ): void {
    const { fd } = this.#mountPoint;
    try {
      umount(attempted, strategy, fd, ".", flags);
    } catch (error) {
      // A file is nobody's working directory: there its directory must do.
      if (!(error instanceof SyscallError && error.errno === ENOTDIR)) {
        throw error;
      }
      const path = pathOf(fd, this.id) ?? "/";
      const end = path.lastIndexOf("/");
      using holder = openDirectoryAt(AT_FDCWD, path.slice(0, end + 1), 0);
      const way = strategy ?? "worker";
      umount(attempted, way, holder.fd, path.slice(end + 1), flags);
    }
  }

  /** Throws unless this mount is the topmost on its mount point. */
  #check(attempted: Attempt): void {
    const topmost = topmostMountId(this.#mountPoint.fd, this.id);
    if (topmost === this.id) return;
    if (!isMounted(this.id)) throw notThere(attempted, "it is gone");
    if (topmost === mountIdAt(this.#mountPoint.fd)) {
      throw notThere(attempted, "it was moved elsewhere");
    }
    throw explain(
      attempted,
      new SyscallError("umount2", EBUSY, [quote(attempted.target), "0"]),
      { detail: "another mount is on top of it" },
    );
  }

  /** Unmounts what is on top of this mount. */
  #uncover(
    attempted: Attempt,
    strategy: UnmountStrategy | undefined,
    flags: number,
  ): void {
    while (isMounted(this.id)) {
      const topmost = topmostMountId(this.#mountPoint.fd, this.id);
      if (topmost === this.id) return;
      if (topmost === mountIdAt(this.#mountPoint.fd)) return;
      this.#unmountTopmost(attempted, strategy, flags);
    }
    throw notThere(attempted, "it is gone");
  }

  /** Lets the mount outlive the handle: disposing only gives back descriptors. */
  keep(): void {
    this.#kept = true;
  }

  /**
   * Unmounts, unless the mount is kept or gone. When that fails the handle
   * stays as it was, and `unmount` can be tried again.
   *
   * @throws {MountError} As `unmount`.
   */
  [Symbol.dispose](): void {
    if (!this.#kept && this.mounted) this.unmount();
    this.#mountPoint.close();
  }
}

/** Makes the handle of a mount; the descriptor is the handle's from now on. */
export function createMount(...parts: Parameters<typeof create>): Mount {
  return create(...parts);
}

/** The kernel's answer for what is no mount, had it been asked. */
function notThere(attempted: Attempt, detail: string): Error {
  return explain(
    attempted,
    new SyscallError("umount2", EINVAL, [quote(attempted.target), "0"]),
    { detail },
  );
}
