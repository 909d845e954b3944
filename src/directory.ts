import { descriptorOf, InheritableFd, OwnedFd } from "./fd/owned_fd.ts";
import { parseTarget, pathArgument } from "./options/target.ts";
import { attempt } from "./error/error.ts";
import { lookupOf, lookupOfCaller } from "./error/attempt.ts";
import { quote } from "./base/text.ts";
import { openDirectoryAt } from "./fd/open.ts";
import { AT_FDCWD } from "./sys/constants.ts";
import { dup } from "./sys/file.ts";
import { makeDirectory, type MkdirOptions } from "./mount/mount_point.ts";
import type { BindOptions, MountOptions } from "./options/spec.ts";
import type { Mount } from "./mount/mount.ts";
import { mountat } from "./mount/mountat.ts";
import { bindat } from "./mount/bindat.ts";
import { moveat, type MoveOptions } from "./mount/moveat.ts";
import { remountat, type RemountOptions } from "./mount/remountat.ts";
import { unmountat, type UnmountOptions } from "./unmount/unmountat.ts";
import { UnmountAllError, unmountBelow } from "./unmount/unmount_all.ts";
import { listMounts } from "./list/list_mounts.ts";
import type { MountInfo } from "./list/mount_info.ts";

/**
 * A directory, held open by a descriptor (`O_PATH`), in which file systems are
 * mounted and unmounted. The descriptor leads to it even after its path has
 * changed.
 *
 * @example Mount a procfs for as long as a block lasts
 * ```ts
 * import { Directory } from "@meroton/mountat";
 *
 * using root = Directory.open(Deno.makeTempDirSync());
 * root.mkdir("proc");
 * using _proc = root.mount("proc", { type: "proc", options: "nosuid,nodev" });
 * ```
 */
export class Directory implements Disposable {
  readonly #fd: OwnedFd;

  private constructor(fd: OwnedFd) {
    this.#fd = fd.closeWhenDropped();
  }

  /**
   * Opens a directory by its path, which is trusted and may lead through
   * symlinks.
   *
   * Needs Linux 5.6 and the permission `--allow-ffi`.
   *
   * @param path The path, or a `file:` URL.
   * @returns The directory; close it, or bind it with `using`.
   * @throws {TypeError} When the path is empty, has a NUL, or is another URL.
   * @throws {MountError} ENOENT, ENOTDIR, EACCES.
   */
  static open(path: string | URL): Directory {
    const name = pathArgument("The directory", path);
    return attempt(
      {
        action: `open ${quote(name)}`,
        target: name,
        ...lookupOfCaller(name, "target"),
      },
      () => new Directory(openDirectoryAt(AT_FDCWD, name, 0)),
    );
  }

  /**
   * Copies a descriptor. The caller's own stays open.
   *
   * Needs the permission `--allow-ffi`.
   *
   * @param fd An open descriptor of a directory.
   * @returns The directory, with a descriptor of its own, closed on exec.
   * @throws {TypeError} If it can't be a descriptor.
   * @throws {MountError} EBADF when it is not open, ENOTDIR when it is no
   * directory.
   */
  static fromFd(fd: number): Directory {
    descriptorOf(fd);
    return attempt(
      { action: `use descriptor ${fd}`, target: "." },
      () => {
        using _ = openDirectoryAt(fd, ".", 0);
        return new Directory(new OwnedFd(dup(fd), "directory"));
      },
    );
  }

  /** The descriptor, borrowed: valid until the directory is closed. */
  get fd(): number {
    return this.#fd.fd;
  }

  /**
   * Opens a directory beneath this one, through no symlink.
   *
   * @param path The path, relative to this directory.
   * @returns The directory; close it, or bind it with `using`.
   * @throws {TypeError} When the path is empty, absolute, or has a NUL.
   * @throws {MountError} ELOOP at a symlink, EXDEV for a path that leaves this
   * directory, ENOENT, ENOTDIR, EACCES.
   */
  openDirectory(path: string): Directory {
    const target = parseTarget(path);
    return attempt(
      {
        action: `open ${quote(path)}`,
        target: path,
        ...lookupOf(this.fd, target.path),
      },
      () => new Directory(openDirectoryAt(this.fd, target.path)),
    );
  }

  /**
   * Makes a directory beneath this one, through no symlink. On failure,
   * directories that it made are removed again.
   *
   * @param path The path, relative to this directory.
   * @param options The permissions, and whether to make parent directories.
   * @throws {TypeError} When the path is empty, absolute, or has a NUL.
   * @throws {RangeError} For a mode that is out of range.
   * @throws {MountError} EEXIST when it exists (without `recursive`), ELOOP at a
   * symlink, EXDEV for a path that leaves this directory, ENOENT, ENOTDIR,
   * EACCES.
   */
  mkdir(path: string, options: MkdirOptions = {}): void {
    makeDirectory(this.fd, path, options).keep();
  }

  /**
   * Mounts a new file system beneath this directory: see {@linkcode mountat}.
   *
   * @param target The mount point, relative to this directory.
   * @param options The file system, and options of the mount.
   * @returns The mount; it is unmounted when the handle is disposed of.
   * @throws {MountError} As {@linkcode mountat}.
   */
  mount(target: string, options: MountOptions): Mount {
    return mountat(this, target, options);
  }

  /**
   * Binds a directory or file beneath this directory: see {@linkcode bindat}.
   *
   * @param source The source: a path, a `file:` URL, or a directory.
   * @param target The mount point, relative to this directory.
   * @param options Options of the mount.
   * @returns The mount; it is unmounted when the handle is disposed of.
   * @throws {MountError} As {@linkcode bindat}.
   */
  bind(
    source: string | URL | Directory,
    target: string,
    options: BindOptions = {},
  ): Mount {
    return bindat(this, target, source, options);
  }

  /**
   * Moves a mount from beneath this directory: see {@linkcode moveat}.
   *
   * @param target The mount point, relative to this directory.
   * @param to The directory that it goes to.
   * @param toTarget The new mount point, relative to `to`; by default as before.
   * @param options Options of the move.
   * @returns The mount at its new place; it is unmounted when the handle is
   * disposed of.
   * @throws {MountError} As {@linkcode moveat}.
   */
  move(
    target: string,
    to: Directory,
    toTarget: string = target,
    options: MoveOptions = {},
  ): Mount {
    return moveat(this, target, to, toTarget, options);
  }

  /**
   * Changes a mount beneath this directory: see {@linkcode remountat}.
   *
   * @param target The mount point, relative to this directory.
   * @param options The changes.
   * @throws {MountError} As {@linkcode remountat}.
   */
  remount(target: string, options: RemountOptions): void {
    remountat(this, target, options);
  }

  /**
   * Unmounts beneath this directory: see {@linkcode unmountat}.
   *
   * @param target The mount point, relative to this directory.
   * @param options How to unmount, and whether to unmount the whole stack.
   * @throws {MountError} As {@linkcode unmountat}.
   */
  unmount(target: string, options: UnmountOptions = {}): void {
    unmountat(this, target, options);
  }

  /**
   * Unmounts everything below this directory, and the mounts that were put on it
   * after it was opened: the newest and deepest mounts first, stacks included. The
   * mount that the directory lies in stays.
   *
   * Each mount is unmounted by its name beneath this directory, as in
   * {@linkcode unmountat}. If one can't be unmounted, the others still are.
   * Mounts that appear meanwhile are unmounted, too, up to a limit of rounds.
   *
   * Needs /proc, unless this directory is the root of a mount.
   *
   * @example Leave nothing mounted
   * ```ts
   * import { Directory } from "@meroton/mountat";
   * import { assertEquals } from "@std/assert";
   *
   * using root = Directory.open(Deno.makeTempDirSync());
   * root.mount("a", { type: "tmpfs", mkdir: true }).keep();
   * root.mount("a/b", { type: "tmpfs", mkdir: true }).keep();
   * assertEquals(root.unmountAll(), 2);
   * assertEquals(root.mounts(), []);
   * ```
   *
   * @param options How to unmount each; `all` has no effect.
   * @returns The number of mounts that were unmounted.
   * @throws {TypeError} For a wrong option.
   * @throws {UnmountAllError} If some mounts stay; it has the failure of each.
   * @throws {MountError} When the mounts can't be listed: see
   * {@linkcode listMounts}.
   */
  unmountAll(options: UnmountOptions = {}): number {
    const { unmounted, failures } = unmountBelow(this.fd, null, options);
    if (failures.length === 0) return unmounted.length;
    throw new UnmountAllError(failures, unmounted.length);
  }

  /**
   * Lists the mounts on this directory and below it, even if its path has
   * changed: see {@linkcode listMounts}.
   *
   * @returns The mounts, including those that others cover.
   * @throws {MountError} ENOENT when the directory is in no mount of this mount
   * namespace.
   */
  mounts(): MountInfo[] {
    return listMounts({ below: this });
  }

  /**
   * A copy of the descriptor that child processes inherit, under the same
   * number.
   *
   * @returns The copy; close it once the child has started.
   * @throws {MountError} EMFILE.
   */
  inheritable(): InheritableFd {
    return attempt(
      { action: "copy the directory's descriptor", target: "." },
      () => new InheritableFd(this.fd),
    );
  }

  /** Closes the descriptor; a second time does nothing. Mounts stay. */
  close(): void {
    this.#fd.close();
  }

  /** Closes the descriptor. Mounts stay. */
  [Symbol.dispose](): void {
    this.close();
  }
}
