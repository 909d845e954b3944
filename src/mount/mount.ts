import type { MountPoint } from "./mount_point.ts";
import { isMounted, isTopmostOn } from "../kernel/mount_id.ts";
import {
  obstacles,
  refuse,
  umountExplained,
  unmountFlags,
  type UnmountOptions,
} from "../unmount/unmountat.ts";
import type { Attempt } from "../error/attempt.ts";
import { quote } from "../base/text.ts";
import { MNT_DETACH } from "../sys/constants.ts";
import { attempt } from "../error/error.ts";
import {
  type MountPlace,
  placeOfDescriptor,
  placeOfMount,
  placeOfName,
} from "../kernel/place.ts";
import { EBUSY, EINVAL } from "../sys/errno.ts";

/** How a mount was made. */
export type MountOrigin =
  | "mounted"
  | "bound"
  | "moved"
  | "cloned"
  | "attached";

/** Makes the handle of a mount. The handle owns the mount point from now on. */
export let createMount: (
  id: bigint,
  target: string,
  mountPoint: MountPoint,
  made: MountOrigin,
  whole?: boolean,
) => Mount;

/**
 * A mount that this process made. The handle holds a descriptor of the mount
 * point, opened before the mount was put on it, so no rename and no replacement
 * misleads it. Disposing of the handle unmounts the mount. Dropping the handle
 * does nothing.
 */
export class Mount implements Disposable {
  /**
   * The kernel's unique id of the mount. Before Linux 6.8, it is the id in
   * /proc/self/mountinfo, which is reused.
   */
  readonly id: bigint;
  /** The target that it was mounted on, as the caller named it. */
  readonly target: string;
  /**
   * The mount's origin. A new file system was "mounted", a directory or file was
   * "bound", a mount was "moved", or "cloned" if it could not be moved; a mount tree was
   * "attached".
   */
  readonly made: MountOrigin;
  readonly #mountPoint: MountPoint;
  readonly #whole: boolean;
  #kept = false;
  #gone = false;

  private constructor(
    id: bigint,
    target: string,
    mountPoint: MountPoint,
    made: MountOrigin,
    whole = false,
  ) {
    this.id = id;
    this.target = target;
    this.#mountPoint = mountPoint;
    mountPoint.holder.closeWhenDropped();
    // The holder and the name suffice to find the mount point again.
    if (mountPoint.at !== mountPoint.holder) mountPoint.at.close();
    this.made = made;
    this.#whole = whole;
  }

  static {
    createMount = (...parts) => new Mount(...parts);
  }

  /** True if the mount is still mounted, even if its path has changed. */
  get mounted(): boolean {
    return !this.#gone && (isMounted(this.id) ?? this.#somethingIsThere());
  }

  /** True if anything is mounted on the mount point. */
  #somethingIsThere(): boolean {
    using place = this.#place();
    return place !== null && place.topmost() !== place.below();
  }

  /**
   * Unmounts this mount and no other: its identity is checked right before. (A
   * process that may mount in this mount namespace can still interfere between
   * the check and the unmount.) A mount tree or recursive bind is unmounted with
   * everything mounted in it, at once and lazily.
   *
   * Needs `--allow-ffi`, and CAP_SYS_ADMIN in the user namespace of the mount
   * namespace.
   *
   * @param options How to unmount. `all` includes the mounts stacked on top.
   * @throws {TypeError} For a wrong option, and for `expire` of a mount tree or
   * a recursive bind.
   * @throws {MountError} EBUSY if it is in use, or if another mount is on top
   * of it or covers a directory that leads to it, EINVAL if it is gone or was
   * moved elsewhere, EPERM without the capability.
   */
  unmount(options: UnmountOptions = {}): void {
    if (this.#unmount(options)) return;
    throw refuse(this.#attempted(), EINVAL, { detail: "it is gone" });
  }

  #attempted(): Attempt {
    const { target } = this;
    return { action: () => `unmount ${quote(target)}`, target };
  }

  /** @returns True if the mount was there. */
  #unmount(options: UnmountOptions): boolean {
    const flags = unmountFlags(options) | (this.#whole ? MNT_DETACH : 0);
    if (this.#whole && options.expire) {
      throw new TypeError(
        "A mount tree or recursive bind is unmounted as a whole: it can't expire",
      );
    }
    const attempted = this.#attempted();
    return attempt(attempted, () => {
      using place = this.#gone ? null : this.#place();
      for (let covered = true; covered;) {
        const cover = this.#cover(place, attempted, options);
        if (place === null || cover === "gone") return false;
        covered = cover === "another";
        umountExplained(attempted, place, flags, options.strategy);
      }
      this.#gone = true;
      this.#mountPoint.holder.close();
      return true;
    });
  }

  /** The mount's place. If the mount is kept, the kernel is asked for it. */
  #place(): MountPlace | null {
    const { holder, name } = this.#mountPoint;
    if (holder.closed) return placeOfMount(this.id);
    return name === "."
      ? placeOfDescriptor(holder.fd, this.id)
      : placeOfName(holder.fd, name);
  }

  /**
   * Tells what is on top of this mount.
   *
   * @throws {MountError} If it was moved, or is covered and `all` is not set.
   */
  #cover(
    place: MountPlace | null,
    attempted: Attempt,
    { all, expire }: UnmountOptions,
  ): "nothing" | "another" | "gone" {
    // A lookup is a use: the mount would never expire.
    if (expire && place !== null && isTopmostOn(this.id, place.below())) {
      return "nothing";
    }
    const topmost = place?.topmost();
    if (topmost === this.id) return "nothing";
    const nothing = topmost === place?.below();
    if (this.#gone || !(isMounted(this.id) ?? !nothing)) return "gone";
    const { findObstacle, describeObstacle } = obstacles();
    const obstacle = findObstacle(this.id);
    if (obstacle?.where === "above") {
      const why = describeObstacle(obstacle);
      throw refuse({ ...attempted, searchLimit: 0 }, EBUSY, why);
    }
    const onTop = obstacle === undefined
      ? !nothing
      : obstacle?.where === "on top";
    if (!onTop) {
      throw refuse(attempted, EINVAL, { detail: "it was moved elsewhere" });
    }
    // If this mount was moved, another one may be at its old place.
    if (all && topmost === (obstacle?.mount.id ?? topmost)) return "another";
    throw refuse({ ...attempted, mountId: this.id }, EBUSY, {
      detail: "another mount is on top of it",
    });
  }

  /**
   * Lets the mount outlive the handle: the descriptor is closed, and disposing
   * of the handle leaves the mount. `unmount` still works; but before Linux 6.8
   * it uses an id that another mount may get once this one is gone.
   */
  keep(): void {
    this.#kept = true;
    this.#mountPoint.holder.close();
  }

  /**
   * Unmounts the mount, unless it is kept or gone. If that fails, the handle
   * stays as it was, and `unmount` can be called again.
   *
   * @throws {MountError} As `unmount`.
   */
  [Symbol.dispose](): void {
    if (!this.#kept && !this.#gone) this.#unmount({});
    this.#mountPoint.holder.close();
  }
}
