/**
 * The root of a command: a detached tree of the caller's, with what a command
 * expects mounted in it. The caller's directories are never written to: where
 * something to mount on is missing, an empty tmpfs with everything else in it
 * takes the directory's place.
 */
import type { MountPlan } from "../attach.ts";
import { openAt, openDirectoryAt } from "../beneath.ts";
import { cloneTree } from "../bindat.ts";
import type { Directory } from "../directory.ts";
import { attempt, MountError } from "../error.ts";
import { identify, mountIdAt } from "../mount_id.ts";
import { cloneOfTree, MountTree } from "../mount_tree.ts";
import { OwnedFd } from "../owned_fd.ts";
import { Staging } from "../staging.ts";
import {
  AT_EMPTY_PATH,
  AT_RECURSIVE,
  AT_REMOVEDIR,
  FSPICK_CLOEXEC,
  FSPICK_EMPTY_PATH,
  MS_PRIVATE,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  RESOLVE_BENEATH,
  STATX_GID,
  STATX_MODE,
  STATX_TYPE,
  STATX_UID,
} from "../sys/constants.ts";
import { dup } from "../sys/dup.ts";
import { EEXIST, EINVAL, ELOOP, ENOENT, ENOTDIR } from "../sys/errno.ts";
import { isErrno } from "../sys/error.ts";
import { fchmodat } from "../sys/fchmodat.ts";
import { quote } from "../sys/format.ts";
import { fsconfigReconfigure, fsconfigSetFlag } from "../sys/fsconfig.ts";
import { fspick } from "../sys/fspick.ts";
import { getdents64 } from "../sys/getdents64.ts";
import { mkdirat } from "../sys/mkdirat.ts";
import { mountSetattr } from "../sys/mount_setattr.ts";
import { openat2 } from "../sys/openat2.ts";
import { readlinkat } from "../sys/readlinkat.ts";
import { statx } from "../sys/statx.ts";
import { symlinkat } from "../sys/symlinkat.ts";
import { unlinkat } from "../sys/unlinkat.ts";
import type { Target } from "../target.ts";
import { make, makeFile } from "./file_systems.ts";

/** A command's root. */
export class RootTree implements Disposable {
  #root: OwnedFd;
  /** What it is built in. */
  readonly staging = new Staging();
  /** The tmpfs that stand in for directories. */
  readonly #standIns: OwnedFd[] = [];
  /** The mounts that mount points are made in: those, /dev, a new tmpfs. */
  readonly #writable = new Set<bigint>();
  /** Those that no mount point can be made in: /proc and /sys. */
  readonly #fixed = new Set<bigint>();

  /**
   * Takes a detached copy of the caller's.
   *
   * @throws {SyscallError}
   */
  constructor(from: Directory | MountTree) {
    this.#root = from instanceof MountTree
      ? cloneOfTree(from)
      : cloneTree(from.fd, "", AT_RECURSIVE);
    try {
      // Nothing that is mounted in it shall appear in what it is a copy of.
      mountSetattr(this.#root.fd, "", AT_EMPTY_PATH | AT_RECURSIVE, {
        propagation: MS_PRIVATE,
      });
    } catch (error) {
      this.#root.close();
      throw error;
    }
    this.staging.hold(this.#root);
  }

  /** The descriptor of its root. */
  get fd(): number {
    return this.#root.fd;
  }

  /**
   * Makes room for directories to mount on in the root itself, whatever is there
   * by these names.
   *
   * @throws {SyscallError}
   */
  makeRoom(names: readonly string[]): void {
    const missing = names.filter((name) => !this.#isDirectory(name));
    if (missing.length === 0) return;
    const standIn = this.#standIn(this.fd, missing);
    this.#root.close();
    this.#root = new OwnedFd(dup(standIn.fd), "tree");
    for (const name of missing) mkdirat(standIn.fd, name, 0o755);
  }

  #isDirectory(name: string): boolean {
    try {
      openDirectoryAt(this.fd, name).close();
      return true;
    } catch (error) {
      if (isErrno(error, ENOENT, ENOTDIR, ELOOP)) return false;
      throw error;
    }
  }

  /**
   * Mounts what was planned.
   *
   * @throws {MountError}
   */
  add({ target, attempted, make }: MountPlan): void {
    attempt(attempted, () => {
      using mount = make();
      if (attempted.type === "tmpfs") this.#writable.add(mountIdAt(mount.fd));
      // What is missing is made, but in /proc and /sys.
      attempt(
        { ...attempted, mkdir: false, inFixed: true },
        () => this.#attach(mount, target),
      );
    });
  }

  /**
   * Mounts a mount on a directory in the root, and closes it.
   *
   * @param mount Attached to nothing, or held where the tree is built.
   * @throws {MountError}
   */
  put(name: "proc" | "sys" | "dev", mount: OwnedFd): void {
    using _ = mount;
    (name === "dev" ? this.#writable : this.#fixed).add(mountIdAt(mount.fd));
    attempt({ action: `mount on ${quote(name)}`, target: name }, () => {
      this.#attach(mount, { parent: ".", name });
    });
  }

  #attach(
    mount: OwnedFd,
    { parent, name }: Pick<Target, "parent" | "name">,
  ): void {
    const { isFile } = identify(mount.fd);
    using holder = this.#openOrMake(
      parent.split("/").filter((part) => part !== "."),
    );
    using at = name === "."
      ? openDirectoryAt(holder.fd, ".")
      : this.#openIn(holder, name, isFile) ??
        this.#makeIn(holder, name, isFile);
    this.staging.attach(mount, at);
  }

  /** Opens a directory in the tree; what is missing on the way is made. */
  #openOrMake(names: readonly string[]): OwnedFd {
    let at = openDirectoryAt(this.fd, ".");
    for (const name of names) {
      using above = at;
      at = this.#openIn(above, name, false) ??
        this.#makeIn(above, name, false);
    }
    return at;
  }

  /** Opens a name in a directory, null where one can be made. */
  #openIn(directory: OwnedFd, name: string, isFile: boolean): OwnedFd | null {
    try {
      return isFile
        ? openAt(directory.fd, name)
        : openDirectoryAt(directory.fd, name);
    } catch (error) {
      const fixed = this.#fixed.has(mountIdAt(directory.fd));
      if (!fixed && isErrno(error, ENOENT)) return null;
      throw error;
    }
  }

  /** Makes a name in a directory, or in the stand-in that takes its place. */
  #makeIn(directory: OwnedFd, name: string, isFile: boolean): OwnedFd {
    const fd = this.#writable.has(mountIdAt(directory.fd))
      ? directory.fd
      : this.#takePlace(directory);
    try {
      if (isFile) makeFile(fd, name);
      else mkdirat(fd, name, 0o755);
      // Less this process's umask another user could not pass it.
      if (!isFile) fchmodat(fd, name, 0o755);
    } catch (error) {
      // It has come meanwhile: opening tells what it is.
      if (!isErrno(error, EEXIST)) throw error;
    }
    return isFile ? openAt(fd, name) : openDirectoryAt(fd, name);
  }

  #takePlace(directory: OwnedFd): number {
    const isRoot = mountIdAt(directory.fd) === mountIdAt(this.fd) &&
      inodeOf(directory.fd) === inodeOf(this.fd);
    const standIn = this.#standIn(directory.fd, []);
    if (isRoot) {
      this.#root.close();
      this.#root = new OwnedFd(dup(standIn.fd), "tree");
    } else {
      this.staging.attach(standIn, directory);
    }
    return standIn.fd;
  }

  /**
   * Makes a tmpfs that shows what is in a directory.
   *
   * @param but What it does not show.
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
      // In a user namespace, to which its owner is nobody.
      if (!(error instanceof MountError && error.errno === EINVAL)) throw error;
      standIn = make("tmpfs", options, ".");
    }
    this.#standIns.push(standIn);
    this.#writable.add(mountIdAt(standIn.fd));
    this.staging.hold(standIn);
    for (const name of namesIn(directory)) {
      if (!but.includes(name)) this.#show(directory, name, standIn.fd);
    }
    return standIn;
  }

  /** Shows what has a name in one directory by the same name in another. */
  #show(from: number, name: string, to: number): void {
    const flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    let entry: OwnedFd;
    try {
      entry = new OwnedFd(
        openat2(from, name, { flags, resolve: RESOLVE_BENEATH }),
      );
    } catch (error) {
      // It was removed meanwhile; so may it be further down.
      if (isErrno(error, ENOENT)) return;
      throw error;
    }
    using _ = entry;
    const { mode } = statx(entry.fd, "", AT_EMPTY_PATH, STATX_TYPE);
    const type = mode! & S_IFMT;
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
   * Ends the building: the tree is attached to nothing then. Nobody shall take a
   * stand-in for the directory, and miss later what was written there.
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
    this.#root.close();
    this.#root = copy;
  }

  /** Lets go of it: what is not attached by then is gone. */
  [Symbol.dispose](): void {
    for (const standIn of this.#standIns) standIn.close();
    this.#root.close();
    this.staging[Symbol.dispose]();
  }
}

function inodeOf(fd: number): bigint | undefined {
  return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE).ino;
}

function namesIn(directory: number): string[] {
  using readable = new OwnedFd(
    openat2(directory, ".", {
      flags: O_DIRECTORY | O_CLOEXEC,
      resolve: RESOLVE_BENEATH,
    }),
  );
  const names: string[] = [];
  for (;;) {
    const some = getdents64(readable.fd);
    if (some.length === 0) {
      return names.filter((name) => name !== "." && name !== "..");
    }
    names.push(...some);
  }
}

// inode(7)
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;
