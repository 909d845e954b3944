/**
 * The root of a command: a detached copy of the caller's tree, with the file systems
 * that a command expects mounted in it. A missing mount point is made in its
 * directory, and removed when the command has ended. If it can't or shall not be
 * made there, a tmpfs takes the directory's place, and shows everything else that is
 * in it.
 */
import { type HasFd, OwnedFd } from "../fd/owned_fd.ts";
import { Staging } from "../mount/staging.ts";
import { cloneOfTree, MountTree } from "../mount/tree.ts";
import { cloneTree } from "../mount/bindat.ts";
import { makePrivate } from "../mount/change.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  AT_REMOVEDIR,
  FSPICK_CLOEXEC,
  FSPICK_EMPTY_PATH,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  RESOLVE_BENEATH,
  STATX_GID,
  STATX_MODE,
  STATX_NLINK,
  STATX_TYPE,
  STATX_UID,
} from "../sys/constants.ts";
import { dup, openat2, statx } from "../sys/file.ts";
import {
  fchmodat,
  mkdirat,
  readlinkat,
  symlinkat,
  unlinkat,
} from "../sys/names.ts";
import {
  namesIn,
  open,
  openAt,
  openDirectoryAt,
  openIfThere,
  S_IFDIR,
  S_IFLNK,
  typeOf,
} from "../fd/open.ts";
import { isErrno, UnsupportedError } from "../sys/error.ts";
import { EINVAL, ELOOP, ENOENT, ENOTDIR, EPERM, EXDEV } from "../sys/errno.ts";
import type { MountPlan } from "../mount/attach.ts";
import { attempt, MountError } from "../error/error.ts";
import { identify, mountIdAt } from "../kernel/mount_id.ts";
import { quote } from "../base/text.ts";
import { walkInRoot } from "../fd/walk.ts";
import { makeFile } from "../mount/mount_point.ts";
import { letPass, type MountPoints, tryToMake } from "./mount_points.ts";
import {
  fsconfigReconfigure,
  fsconfigSetFlag,
  fspick,
} from "../sys/fscontext.ts";
import type { OptionsInput } from "../options/mount_options.ts";
import { parseFileSystem } from "../mount/mountat.ts";
import { createDetachedMount } from "../mount/detached.ts";

/**
 * A mount that is private and not attached. It becomes a command's root itself: no
 * copy is made.
 */
export class DetachedRoot {
  readonly mount: OwnedFd;

  /** @param mount The mount; the caller of `run` closes it. */
  constructor(mount: OwnedFd) {
    this.mount = mount;
  }

  get fd(): number {
    return this.mount.fd;
  }
}

/** A command's root. */
export class RootTree implements Disposable {
  #root: OwnedFd;
  /** The place to attach mounts in the tree while it is not attached itself. */
  readonly staging = new Staging();
  /** The tmpfs mounts that stand in for directories. */
  readonly #standIns: OwnedFd[] = [];
  /** The mounts that mount points are made in: stand-ins, /dev, any new tmpfs. */
  readonly #writable = new Set<bigint>();
  /** The mounts that no mount point can be made in: /proc and /sys. */
  readonly #fixed = new Set<bigint>();
  readonly #points: MountPoints;
  readonly #makes: boolean;

  /**
   * Takes a detached copy of the caller's root, unless that is detached itself.
   *
   * @param from The caller's root.
   * @param points Keeps the mount points, and outlives the command.
   * @param makes False to leave the caller's directories as they are.
   * @param attributes `MOUNT_ATTR_*` that all its mounts get.
   * @throws {SyscallError}
   */
  constructor(
    from: HasFd | MountTree | DetachedRoot,
    points: MountPoints,
    makes: boolean,
    attributes = 0,
  ) {
    this.#points = points;
    this.#makes = makes;
    this.#root = makePrivate(detach(from), AT_RECURSIVE, attributes);
    this.staging.hold(this.#root);
  }

  /** The descriptor of its root. */
  get fd(): number {
    return this.#root.fd;
  }

  /**
   * Makes sure that the root has directories of these names to mount on, even if
   * something else has such a name now.
   *
   * @throws {SyscallError}
   */
  makeRoom(names: readonly string[]): void {
    const { fd } = this;
    const covered = this.#points.use(fd)
      ? names.filter((name) => !this.#isDirectory(name) && !this.#make(name))
      : names;
    if (covered.length === 0) return;
    using root = openDirectoryAt(fd, ".");
    const standIn = this.#takePlace(root, covered);
    for (const name of covered) mkdirat(standIn.fd, name, 0o755);
  }

  /** The directories found in the root, until a stand-in takes the root's place. */
  readonly #found = new Map<string, OwnedFd>();

  /**
   * Opens a directory of the root to mount on.
   *
   * @returns The directory; this object closes it.
   * @throws {SyscallError}
   */
  pointAt(name: string): OwnedFd {
    let point = this.#found.get(name);
    if (point === undefined) {
      point = openDirectoryAt(this.fd, name);
      this.#found.set(name, point);
    }
    return point;
  }

  #forgetPoints(): void {
    for (const point of this.#found.values()) point.close();
    this.#found.clear();
  }

  #isDirectory(name: string): boolean {
    try {
      const point = openIfThere(this.fd, name, O_DIRECTORY);
      if (point !== null) this.#found.set(name, point);
      return point !== null;
    } catch (error) {
      if (isErrno(error, ENOTDIR, ELOOP)) return false;
      throw error;
    }
  }

  /** Makes a directory in the root, unless something is there, or it may not be. */
  #make(name: string): boolean {
    if (!this.#makes) return false;
    const made = this.#points.make(this.fd, name, false);
    if (typeof made === "string") return false;
    letPass(made);
    return true;
  }

  /**
   * The name of the directory in the root that a target is in; null if a symlink may
   * lead to any directory.
   */
  topOf(target: string): string | null {
    try {
      openIfThere(this.fd, target)?.close();
    } catch (error) {
      if (isErrno(error, ELOOP, EXDEV)) return null;
    }
    return target.split("/").find((part) => part !== ".") ?? null;
  }

  /**
   * Mounts one of the planned mounts.
   *
   * @throws {MountError}
   */
  add({ target, attempted, make }: MountPlan): void {
    attempt(attempted, () => {
      using mount = make();
      if (attempted.type === "tmpfs") this.#writable.add(mountIdAt(mount.fd));
      // A missing mount point is made, except in /proc and /sys.
      attempt(
        { ...attempted, mkdir: false, inFixed: true, follows: true },
        () => {
          using at = this.#find(target.path, identify(mount.fd).isFile);
          const from = { dirfd: mount.fd, path: "" };
          const onto = { dirfd: at.fd, path: "" };
          attempt(
            { ...attempted, from, onto },
            () => this.staging.attach(mount, at),
          );
        },
      );
    });
  }

  /**
   * Mounts a mount on a directory in the root, and closes it.
   *
   * @param mount The mount, which is not attached, or held in the staging.
   * @throws {MountError}
   */
  put(name: "proc" | "sys" | "dev", mount: OwnedFd): void {
    using _ = mount;
    (name === "dev" ? this.#writable : this.#fixed).add(mountIdAt(mount.fd));
    attempt({ action: `mount on ${quote(name)}`, target: name }, () => {
      using at = openDirectoryAt(this.fd, name);
      this.staging.attach(mount, at);
    });
  }

  /** Opens the file or directory at a path in the root, and makes it if missing. */
  #find(path: string, isFile: boolean): OwnedFd {
    for (let left = MOST_TRIES;; left--) {
      try {
        const at = this.#findOnce(path, isFile, left === 0);
        if (at !== null) return at;
      } catch (error) {
        if (left === 0 || !isErrno(error, ENOENT)) throw error;
      }
      // No run used it for a moment, and another run removed it.
    }
  }

  /**
   * @returns Null if it was removed meanwhile. At the last try it is returned
   * nevertheless: the kernel then refuses to mount on it.
   */
  #findOnce(
    path: string,
    isFile: boolean,
    isLastTry: boolean,
  ): OwnedFd | null {
    const { at, holder, name } = walkInRoot(
      this.fd,
      path,
      (holder, name, isLast) => this.#makeIn(holder, name, isLast && isFile),
    );
    using _ = holder === at ? null : holder;
    try {
      if (name === "." && this.#isRoot(at)) {
        throw new UnsupportedError(
          `${
            quote(path)
          } leads to the root itself, and what is mounted there would cover it`,
        );
      }
      if (this.#isOwn(holder)) return at;
      if (this.#points.use(holder.fd) || name === ".") {
        if (isLastTry || !isDeleted(at)) return at;
        at.close();
        return null;
      }
    } catch (error) {
      at.close();
      throw error;
    }
    // It is not locked: a process that removes it would take the mount away.
    at.close();
    const { fd } = this.#takePlace(holder, [name]);
    makeHere(fd, name, isFile);
    return isFile ? openAt(fd, name) : openDirectoryAt(fd, name);
  }

  /** The ids of the mounts that descriptors lie in, as far as they were asked for. */
  readonly #mounts = new WeakMap<OwnedFd, bigint>();

  #mountOf(directory: OwnedFd): bigint {
    let id = this.#mounts.get(directory);
    if (id === undefined) {
      id = mountIdAt(directory.fd);
      this.#mounts.set(directory, id);
    }
    return id;
  }

  /** True if nobody else mounts on anything in a directory. */
  #isOwn(directory: OwnedFd): boolean {
    const id = this.#mountOf(directory);
    return this.#writable.has(id) || this.#fixed.has(id);
  }

  #isRoot({ fd }: OwnedFd): boolean {
    return mountIdAt(fd) === mountIdAt(this.fd) &&
      inodeOf(fd) === inodeOf(this.fd);
  }

  /**
   * Makes a name in a directory, or in the stand-in that takes its place.
   *
   * @returns The stand-in; null if there is none.
   */
  #makeIn(directory: OwnedFd, name: string, isFile: boolean): OwnedFd | null {
    // In /proc and /sys, only the kernel makes files.
    if (this.#fixed.has(this.#mountOf(directory))) return null;
    if (this.#makeInPlace(directory, name, isFile)) return null;
    const { fd } = this.#takePlace(directory, []);
    makeHere(fd, name, isFile);
    return new OwnedFd(dup(fd), "stand-in", true);
  }

  /** @returns False if it may not be made, or would not be safe. */
  #makeInPlace(directory: OwnedFd, name: string, isFile: boolean): boolean {
    const { fd } = directory;
    if (this.#isOwn(directory)) {
      const notMade = tryToMake(fd, name, isFile);
      if (notMade === null && !isFile) letAllPass(fd, name);
      return notMade !== "unwritable";
    }
    if (!this.#makes || !this.#points.use(fd)) return false;
    const made = this.#points.make(fd, name, isFile);
    // Somebody made it meanwhile: opening it tells what it is.
    if (typeof made === "string") return made === "exists";
    if (!isFile) letPass(made);
    return true;
  }

  /**
   * Puts a stand-in in a directory's place.
   *
   * @param but The names in the directory that it does not show.
   */
  #takePlace(directory: OwnedFd, but: readonly string[]): OwnedFd {
    const isRoot = this.#isRoot(directory);
    const standIn = this.#standIn(directory.fd, but);
    if (isRoot) {
      this.#forgetPoints();
      this.#root.close();
      this.#root = new OwnedFd(dup(standIn.fd), "tree");
    } else {
      this.staging.attach(standIn, directory);
    }
    return standIn;
  }

  /**
   * Makes a tmpfs that shows the content of a directory.
   *
   * @param but The names in the directory that it does not show.
   */
  #standIn(directory: number, but: readonly string[]): OwnedFd {
    const { mode, uid, gid } = statx(
      directory,
      "",
      AT_EMPTY_PATH,
      STATX_MODE | STATX_UID | STATX_GID,
    );
    const options = `nosuid,nodev,mode=${(mode! & 0o7777).toString(8)}`;
    let standIn: OwnedFd;
    try {
      standIn = make("tmpfs", `${options},uid=${uid},gid=${gid}`, ".");
    } catch (error) {
      // In a user namespace that has no id for the directory's owner.
      if (!(error instanceof MountError && error.errno === EINVAL)) throw error;
      standIn = make("tmpfs", options, ".");
    }
    this.#standIns.push(standIn);
    this.#writable.add(mountIdAt(standIn.fd));
    this.staging.hold(standIn);
    using readable = open(".", O_RDONLY | O_DIRECTORY, directory);
    for (const name of namesIn(readable.fd)) {
      if (!but.includes(name)) this.#show(directory, name, standIn.fd);
    }
    return standIn;
  }

  /** Shows an entry of one directory in another, by the same name. */
  #show(from: number, name: string, to: number): void {
    const flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    let entry: OwnedFd;
    try {
      entry = new OwnedFd(
        openat2(from, name, { flags, resolve: RESOLVE_BENEATH }),
      );
    } catch (error) {
      // The entry was removed meanwhile. That may happen below, too.
      if (isErrno(error, ENOENT)) return;
      throw error;
    }
    using _ = entry;
    const type = typeOf(entry.fd);
    if (type === S_IFLNK) {
      symlinkat(readlinkat(entry.fd, ""), to, name);
      return;
    }
    const isDirectory = type === S_IFDIR;
    if (isDirectory) mkdirat(to, name, 0o755);
    else makeFile(to, name);
    try {
      using clone = this.staging.clone(entry);
      using at = openAt(to, name);
      this.staging.attach(clone, at);
    } catch (error) {
      if (!isErrno(error, ENOENT)) throw error;
      unlinkat(to, name, isDirectory ? AT_REMOVEDIR : 0);
    }
  }

  /**
   * Ends the building. The tree is not attached to anything afterwards. Stand-ins
   * become read-only: what a command wrote into one would be lost.
   *
   * @throws {SyscallError}
   */
  seal(): void {
    for (const { fd } of this.#standIns) {
      // Once it is inside the tree, attributes of the mount can't be set.
      const flags = FSPICK_CLOEXEC | FSPICK_EMPTY_PATH;
      using context = new OwnedFd(fspick(fd, "", flags));
      fsconfigSetFlag(context.fd, "ro");
      fsconfigReconfigure(context.fd);
    }
    const copy = this.staging.takeOut(this.#root);
    if (copy === null) return;
    this.#forgetPoints();
    this.#root.close();
    this.#root = copy;
  }

  /** Closes the tree: mounts that are not attached by then are gone. */
  [Symbol.dispose](): void {
    for (const standIn of this.#standIns) standIn.close();
    this.#forgetPoints();
    this.#root.close();
    this.staging[Symbol.dispose]();
  }
}

/** A mount of a command's own that is not attached. */
function detach(from: HasFd | MountTree | DetachedRoot): OwnedFd {
  if (from instanceof DetachedRoot) return from.mount;
  return from instanceof MountTree
    ? cloneOfTree(from)
    : cloneTree(from.fd, "", AT_RECURSIVE);
}

/** Makes a file or directory that only the command sees. */
function makeHere(fd: number, name: string, isFile: boolean): void {
  if (isFile) return makeFile(fd, name);
  mkdirat(fd, name, 0o755);
  letAllPass(fd, name);
}

/** With this process's umask, another user might not be able to pass a new directory. */
function letAllPass(fd: number, name: string): void {
  fchmodat(fd, name, 0o755);
}

/** The most tries to open a path while other runs remove parts of it. */
const MOST_TRIES = 20;

function isDeleted({ fd }: OwnedFd): boolean {
  return statx(fd, "", AT_EMPTY_PATH, STATX_NLINK).nlink === 0;
}

function inodeOf(fd: number): bigint | undefined {
  return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE).ino;
}

// The file systems that a command expects, not attached yet.

/** A character device: inode(7). */
export const S_IFCHR = 0o020000;

/** A block device. */
export const S_IFBLK = 0o060000;

/** The devices that every command may expect, with their numbers: makedev(3). */
export const DEVICES: readonly (readonly [name: string, device: number])[] = [
  ["null", 0x103],
  ["zero", 0x105],
  ["full", 0x107],
  ["random", 0x108],
  ["urandom", 0x109],
  ["tty", 0x500],
];

/** The symlinks in /dev, and their targets. */
export const DEVICE_LINKS = {
  fd: "/proc/self/fd",
  stdin: "/proc/self/fd/0",
  stdout: "/proc/self/fd/1",
  stderr: "/proc/self/fd/2",
  ptmx: "pts/ptmx",
} as const;

/** The options that a sysfs is mounted with. */
export const SYS_OPTIONS = "ro,nosuid,nodev,noexec";

/**
 * Makes a sysfs. In a user namespace that may mount none, it copies the mount at /sys.
 *
 * @param context The context, opened in the network namespace that it shows, by
 * default this one; it is closed.
 */
export function makeSys(context?: OwnedFd): OwnedFd {
  try {
    return make("sysfs", SYS_OPTIONS, "sys", context);
  } catch (error) {
    if (!(error instanceof MountError && error.errno === EPERM)) throw error;
  }
  return makePrivate(
    cloneTree(AT_FDCWD, "/sys", AT_RECURSIVE),
    AT_RECURSIVE,
    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
      MOUNT_ATTR_NOEXEC,
  );
}

/**
 * Makes a /dev. Its devices are binds, as a user namespace can't make devices.
 *
 * @param staging The staging that holds it then.
 * @param tty The mount for `console`, null for none.
 */
export function makeDev(
  staging: Staging,
  tty: OwnedFd | null = null,
): OwnedFd {
  using owned = new DisposableStack();
  const dev = owned.use(make("tmpfs", "nosuid,nodev,mode=755", "dev"));
  staging.hold(dev);
  for (const [name] of DEVICES) {
    makeFile(dev.fd, name);
    using device = makePrivate(cloneTree(AT_FDCWD, `/dev/${name}`, 0), 0);
    using at = openAt(dev.fd, name);
    staging.attach(device, at);
  }
  if (tty !== null) {
    makeFile(dev.fd, "console");
    using at = openAt(dev.fd, "console");
    staging.attach(tty, at);
  }
  for (const [name, target] of Object.entries(DEVICE_LINKS)) {
    symlinkat(target, dev.fd, name);
  }
  for (
    const [name, type, options] of [
      ["shm", "tmpfs", "nosuid,nodev,mode=1777"],
      ["pts", "devpts", "nosuid,noexec,mode=620,ptmxmode=666"],
    ] as const
  ) {
    mkdirat(dev.fd, name, 0o755);
    using mount = make(type, options, `dev/${name}`);
    using at = openDirectoryAt(dev.fd, name);
    staging.attach(mount, at);
  }
  owned.move();
  return dev;
}

/**
 * Makes a procfs.
 *
 * @param context The context, opened in the PID namespace that it shows; it is
 * closed.
 */
export function makeProc(context: OwnedFd): OwnedFd {
  return make("proc", "nosuid,nodev,noexec", "proc", context);
}

/** Makes a file system that is not attached yet. */
export function make(
  type: string,
  options: OptionsInput,
  target: string,
  context?: OwnedFd,
): OwnedFd {
  return createDetachedMount(
    parseFileSystem({ type, source: type, options }),
    { action: `mount ${type} on ${quote(target)}`, target, type },
    context,
  );
}
