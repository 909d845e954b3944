import { checkOptions, type OptionNames } from "../base/check.ts";
import {
  descriptorOf,
  type HasFd,
  InheritableFd,
  OwnedFd,
} from "../fd/owned_fd.ts";
import {
  attach,
  attachBeneath,
  finishOrUnmount,
  type MountPlan,
  placesOf,
} from "./attach.ts";
import {
  closeMountPoint,
  type CreatedPaths,
  makeDirectory,
  type MkdirOptions,
} from "./mount_point.ts";
import { Staging } from "./staging.ts";
import { AT_RECURSIVE } from "../sys/constants.ts";
import { attempt } from "../error/error.ts";
import { cloneTree, planBind } from "./bindat.ts";
import type { BindOptions, MountOptions } from "../options/spec.ts";
import { parseFileSystem, planMount } from "./mountat.ts";
import { createDetachedMount } from "./detached.ts";
import { UNCHANGED } from "../options/mount_options.ts";
import { afterAttach, afterChange, makePrivate } from "./change.ts";
import { dup } from "../sys/file.ts";
import { createMount, type Mount } from "./mount.ts";
import { parseTarget } from "../options/target.ts";
import { quote } from "../base/text.ts";
import { mountIdAt } from "../kernel/mount_id.ts";
import { openAt, openDirectoryAt, openInRoot } from "../fd/open.ts";

/** Options of {@linkcode MountTree.from}. */
export interface MountTreeOptions {
  /**
   * Includes everything mounted below the directory, except unbindable mounts.
   *
   * @default {false}
   */
  recursive?: boolean;
}

const TREE_NAMES: OptionNames<MountTreeOptions> = { recursive: true };

/** A mount with changes to make once the tree is attached. */
interface Unfinished {
  readonly mount: OwnedFd;
  /** Its path in the tree. */
  readonly path: string;
  /** True if symlinks in the path are followed inside the tree. */
  readonly inRoot: boolean;
  readonly finish: NonNullable<MountPlan["finish"]>;
}

/**
 * Makes a mount in a tree.
 *
 * @throws {MountError} The tree is then as it was.
 */
export let attachInTree: (tree: MountTree, plan: MountPlan) => void;

/**
 * Makes a detached copy of a tree, with all mounts in it.
 *
 * @throws {SyscallError} What open_tree(2) answers.
 */
export let cloneOfTree: (tree: MountTree) => OwnedFd;

/**
 * A tree of mounts. Until it is attached, no path shows it and no mount table
 * lists it; then all of it appears at once. Only its descriptor holds it: when
 * that is closed, or the process ends in any way, the kernel removes
 * everything.
 *
 * A process can enter a tree that is not attached: `chroot /proc/PID/fd/N`.
 *
 * Needs Linux 5.12, `--allow-ffi`, and CAP_SYS_ADMIN in the user namespace of
 * the mount namespace. Before Linux 6.15 the tree is built in a mount namespace
 * of its own, by a thread that enters it; that takes /proc.
 * See open_tree(2), move_mount(2).
 *
 * @example A root for a build action
 * ```ts
 * import { Directory, MountTree } from "@meroton/mountat";
 * import { assertEquals } from "@std/assert";
 *
 * const path = Deno.makeTempDirSync();
 * using root = Directory.open(path);
 * using tree = MountTree.from(root);
 * tree.mount("proc", { type: "proc", options: "nosuid,nodev", mkdir: true });
 * tree.mount("tmp", { type: "tmpfs", options: "nosuid,nodev", mkdir: true });
 * assertEquals(root.mounts(), []); // Nobody sees any of it,
 *
 * using _mount = tree.attach(root);
 * assertEquals(Deno.statSync(`${path}/proc/self`).isDirectory, true); // until here.
 * ```
 */
export class MountTree implements Disposable {
  readonly #fd: OwnedFd;
  readonly #created: CreatedPaths[] = [];
  readonly #staging = new Staging();
  /** The mounts to finish once the tree is attached. */
  readonly #unfinished: Unfinished[] = [];

  private constructor(fd: OwnedFd) {
    this.#fd = fd.closeWhenDropped();
    this.#staging.hold(fd);
  }

  static {
    attachInTree = (tree, plan) => tree.#attach(plan);
    cloneOfTree = (tree) => tree.#staging.clone(tree.#fd);
  }

  /**
   * Makes a tree whose root is a bind of a directory: it shows the directory's
   * content, and changes with it. Later mounts in one of the two do not appear
   * in the other.
   *
   * @param directory The directory.
   * @param options Options of the copy.
   * @returns The tree; close it, or bind it with `using`.
   * @throws {TypeError} For an unknown option.
   * @throws {MountError} EINVAL for what can't be bound, EPERM without the
   * capability.
   * @throws {UnsupportedError} If the system or kernel can't do it.
   */
  static from(
    directory: HasFd,
    options: MountTreeOptions = {},
  ): MountTree {
    checkOptions(options, TREE_NAMES);
    const fd = descriptorOf(directory);
    const below = options.recursive ? AT_RECURSIVE : 0;
    const attempted = {
      action: `make a mount tree of descriptor ${fd}`,
      target: ".",
      from: { dirfd: fd, path: "" },
    };
    return attempt(
      attempted,
      () => new MountTree(makePrivate(cloneTree(fd, "", below), below)),
    );
  }

  /**
   * Makes a tree whose root is a new file system.
   *
   * @param options The file system, and options of the mount; `mkdir` has no
   * effect.
   * @returns The tree; close it, or bind it with `using`.
   * @throws {TypeError | RangeError} For a wrong argument; before any call.
   * @throws {MountError} As {@linkcode mountat}.
   * @throws {UnsupportedError} If the system or kernel can't do it.
   */
  static create(options: MountOptions): MountTree {
    const fileSystem = parseFileSystem(options);
    const { type } = fileSystem;
    const attempted = {
      action: `make a mount tree of ${type}`,
      target: ".",
      type,
    };
    return attempt(attempted, () => {
      const mount = createDetachedMount(fileSystem, attempted);
      const tree = new MountTree(mount);
      const change = { own: fileSystem.change, recursive: UNCHANGED };
      afterChange(
        mount,
        () =>
          tree.#finishLater(mount, {
            path: ".",
            inRoot: false,
            finish: afterAttach(change),
          }),
      );
      return tree;
    });
  }

  /** The descriptor of the tree's root, borrowed. Throws once it is closed. */
  get fd(): number {
    return this.#fd.fd;
  }

  /**
   * Mounts a new file system in the tree.
   *
   * @param target The mount point, relative to the tree's root.
   * @param options The file system, and options of the mount.
   * @throws {TypeError | RangeError} For a wrong argument; before any call.
   * @throws {MountError} As {@linkcode mountat}; the tree is as it was.
   * @throws {UnsupportedError} If the kernel can't attach into such a tree.
   */
  mount(target: string, options: MountOptions): void {
    this.#attach(planMount(target, options));
  }

  /**
   * Binds a directory or file in the tree.
   *
   * @param source The source: a path, a `file:` URL, or a directory.
   * @param target The mount point, relative to the tree's root.
   * @param options Options of the mount.
   * @throws {TypeError | RangeError} For a wrong argument; before any call.
   * @throws {MountError} As {@linkcode bindat}; the tree is as it was.
   * @throws {UnsupportedError} If the kernel can't attach into such a tree.
   */
  bind(
    source: string | URL | HasFd,
    target: string,
    options: BindOptions = {},
  ): void {
    this.#attach(planBind(target, source, options));
  }

  /**
   * Makes a directory in the tree, as {@linkcode Directory.mkdir} does. If the
   * tree is closed without being attached, the directory is removed.
   *
   * @param path The path, relative to the tree's root.
   * @param options The permissions, and whether to make parent directories.
   * @throws {TypeError | RangeError} For a wrong argument; before any call.
   * @throws {MountError} As {@linkcode Directory.mkdir}.
   */
  mkdir(path: string, options: MkdirOptions = {}): void {
    this.#created.push(makeDirectory(this.fd, path, options));
  }

  #attach(plan: MountPlan): void {
    const { length } = this.#unfinished;
    const make = () => {
      const mount = plan.make();
      const { target: { path }, inRoot, finish } = plan;
      return afterChange(
        mount,
        () => this.#finishLater(mount, { path, inRoot, finish }),
      );
    };
    try {
      const { mountPoint, created } = attachBeneath(
        this.fd,
        // A mount that is in no table needs no record.
        { ...plan, make, finish: null, record: null },
        (mount, at, beneath) => this.#staging.attach(mount, at, beneath),
      );
      closeMountPoint(mountPoint);
      this.#created.push(created);
    } catch (error) {
      this.#forgetUnfinished(length);
      throw error;
    }
  }

  /** Keeps a change for later: in a detached tree, only the root can change. */
  #finishLater(
    mount: OwnedFd,
    { path, inRoot, finish }: Pick<MountPlan, "inRoot" | "finish"> & {
      readonly path: string;
    },
  ): void {
    if (finish === null) return;
    const copy = new OwnedFd(dup(mount.fd));
    this.#unfinished.push({ mount: copy, path, inRoot, finish });
  }

  #forgetUnfinished(from: number): void {
    for (const { mount } of this.#unfinished.splice(from)) mount.close();
  }

  /**
   * Attaches the tree: all of it appears at once, and belongs to the returned
   * handle from now on. The handle unmounts all of it at once, lazily:
   * processes that still use it are not disturbed.
   *
   * If it is attached to the directory itself, the tree covers the directory:
   * open descriptors, including that of `directory`, lead to the directory
   * beneath.
   *
   * @param directory The directory that `target` starts at.
   * @param target The mount point; by default the directory itself.
   * @returns The mount; the whole tree is unmounted when the handle is disposed
   * of.
   * @throws {TypeError} For a wrong target.
   * @throws {MountError} As {@linkcode mountat}; the tree is as it was. If it
   * was attached, but its propagation could not be set, it is closed.
   */
  attach(directory: HasFd, target: string = "."): Mount {
    const parsed = parseTarget(target);
    const fd = descriptorOf(directory);
    const attempted = {
      action: `attach the mount tree to ${quote(target)}`,
      target,
      mkdir: false,
    };
    return attempt(attempted, () => {
      using staged = this.#staging.takeOut(this.#fd);
      const tree = staged ?? this.#fd;
      const id = mountIdAt(tree.fd);
      const at = openDirectoryAt(fd, parsed.path);
      try {
        attempt(
          { ...attempted, ...placesOf(tree, at) },
          () => attach(tree, at),
        );
      } catch (error) {
        at.close();
        throw error;
      }
      const place = { at, holder: at, name: "." };
      const mount = createMount(id, target, place, "attached", true);
      try {
        finishOrUnmount(
          attempted,
          () => {
            for (const { mount, path, inRoot, finish } of this.#unfinished) {
              if (staged === null) {
                finish(mount);
                continue;
              }
              // The staged tree is a copy: look up the copy of the mount.
              using copy = inRoot
                ? openInRoot(staged.fd, path)
                : openAt(staged.fd, path);
              finish(copy);
            }
          },
          () => mount.unmount(),
        );
        for (const created of this.#created) created.keep();
      } finally {
        this.close();
      }
      return mount;
    });
  }

  /**
   * A copy of the descriptor that child processes inherit, under the same
   * number.
   *
   * @returns The copy; close it once the child was started: it holds the tree,
   * too.
   * @throws {MountError} EMFILE.
   */
  inheritable(): InheritableFd {
    return attempt(
      { action: "copy the mount tree's descriptor", target: "." },
      () => new InheritableFd(this.fd),
    );
  }

  /**
   * Closes the tree; a second call does nothing. Unless it was attached,
   * everything is removed, including the directories and files that were made
   * for it.
   */
  close(): void {
    for (const created of this.#created.splice(0).reverse()) {
      created[Symbol.dispose]();
    }
    this.#forgetUnfinished(0);
    this.#fd.close();
    this.#staging[Symbol.dispose]();
  }

  /** Closes the tree. */
  [Symbol.dispose](): void {
    this.close();
  }
}
