/** How the profile `"strict"` is kept: what is covered, read-only, or no device. */
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
  O_DIRECTORY,
  O_PATH,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from "../sys/constants.ts";
import { mountSetattr } from "../sys/mount.ts";
import { mkdirat } from "../sys/names.ts";
import { LITTLE_ENDIAN, MOUNT_ATTR } from "../sys/layout.ts";
import { isErrno, UnsupportedError } from "../sys/error.ts";
import { ENOENT, EPERM } from "../sys/errno.ts";
import type { OwnedFd } from "../fd/owned_fd.ts";
import {
  isMountRoot,
  open,
  openAt,
  openDirectoryAt,
  S_IFDIR,
  typeOf,
} from "../fd/open.ts";
import { afterChange } from "../mount/change.ts";
import { makeFile } from "../mount/mount_point.ts";
import { MountError } from "../error/error.ts";
import { quote } from "../base/text.ts";
import { type Guarded, MASKED, READ_ONLY } from "./profile.ts";
import type { CallTable } from "./table.ts";
import type { Placed } from "./steps.ts";
import { make, S_IFBLK, S_IFCHR } from "./root_tree.ts";

/** The paths in a file system that are to be guarded. */
interface Found {
  /** The paths that are covered; `isDirectory` is true for a directory. */
  readonly masked: readonly (readonly [path: string, isDirectory: boolean])[];
  /** The paths that become read-only. */
  readonly readOnly: readonly string[];
}

/** The covers, and the files and directories on this machine that need one. */
export class Guard implements Disposable {
  readonly #covers: OwnedFd | null;
  readonly #found: Readonly<Record<Guarded, Found>>;

  /**
   * @param makesCovers False if the covers are in the root of the mount namespace
   * that the command's is copied from.
   * @throws {SyscallError | MountError}
   */
  constructor(makesCovers: boolean) {
    this.#found = {
      proc: find("proc", READ_ONLY),
      sys: find("sys", []),
    };
    this.#covers = makesCovers ? makeCovers() : null;
  }

  /** The descriptor of the covers; null if they are in the root of a mount namespace. */
  get fd(): number | null {
    return this.#covers?.fd ?? null;
  }

  /** The paths to guard that exist in one of the file systems. */
  found(name: Guarded): Found {
    return this.#found[name];
  }

  [Symbol.dispose](): void {
    this.#covers?.close();
  }
}

/** A file system of a command's that is guarded. */
export interface GuardedRoot {
  readonly name: Guarded;
  /** The number of a descriptor of its root. */
  readonly at: number;
}

/** The part of a table that guards the file systems of a command. */
export class Guarding {
  readonly #guard: Guard;
  readonly #table: CallTable;
  readonly #covers: number;

  /** Passes on the descriptor of the covers, before anything is opened. */
  constructor(guard: Guard, table: CallTable) {
    this.#guard = guard;
    this.#table = table;
    this.#covers = guard.fd === null ? AT_FDCWD : table.pass(guard.fd);
  }

  /**
   * Makes covers: in the mount namespace that the guard was made in, or in one that
   * has them in its root.
   */
  cover(roots: readonly GuardedRoot[]): Placed[] {
    const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    return roots.flatMap(({ name, at }) =>
      this.#guard.found(name).masked.map(([path, isDirectory]) => {
        const attempted = { action: `cover /${name}/${path}`, target: name };
        const args = [
          this.#covers,
          isDirectory ? COVER.directory : COVER.file,
          flags,
        ];
        const fd = this.#table.open("open_tree", args, { attempted });
        return { fd, at, path, attempted };
      })
    );
  }

  /** Makes paths read-only, once the file systems are mounted in the root. */
  protect(roots: readonly GuardedRoot[]): void {
    const table = this.#table;
    const attributes = new DataView(new ArrayBuffer(MOUNT_ATTR.SIZE));
    const { attr_set } = MOUNT_ATTR;
    attributes.setUint32(attr_set, UNWRITABLE, LITTLE_ENDIAN);
    const bytes = new Uint8Array(attributes.buffer);
    const all = AT_EMPTY_PATH | AT_RECURSIVE;
    const clone = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE;
    for (const { name, at } of roots) {
      for (const path of this.#guard.found(name).readOnly) {
        const attempted = { action: `protect /${name}/${path}`, target: name };
        const options = { attempted };
        const fd = table.open("open_tree", [at, path, clone], options);
        const args = [fd, "", all, bytes, bytes.length];
        table.call("mount_setattr", args, options);
        const flags = MOVE_MOUNT_F_EMPTY_PATH;
        table.call("move_mount", [fd, "", at, path, flags], options);
      }
    }
  }
}

const UNWRITABLE = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
  MOUNT_ATTR_NOEXEC;

/** The names of what covers others. */
const COVER = { directory: "directory", file: "file" };

/** An empty directory and an empty file, neither of which can be written to. */
function makeCovers(): OwnedFd {
  const mount = make("tmpfs", "", ".");
  return afterChange(mount, () => fillWithCovers(mount));
}

/** Puts into an empty mount what covers files and directories. */
export function fillWithCovers({ fd }: OwnedFd): void {
  mkdirat(fd, COVER.directory, 0o755);
  makeFile(fd, COVER.file);
  mountSetattr(fd, "", AT_EMPTY_PATH, { attrSet: UNWRITABLE });
}

function find(name: Guarded, readOnly: readonly string[]): Found {
  using root = openWhole(name);
  return {
    masked: MASKED[name].flatMap((path) => {
      const type = typeAt(root.fd, path);
      return type === null ? [] : [[path, type === S_IFDIR] as const];
    }),
    readOnly: readOnly.filter((path) => typeAt(root.fd, path) !== null),
  };
}

/** Opens one of the file systems as the kernel has it, with nothing covered. */
function openWhole(name: Guarded): OwnedFd {
  try {
    return make(name === "proc" ? "proc" : "sysfs", "", ".");
  } catch (error) {
    if (!(error instanceof MountError && error.errno === EPERM)) throw error;
    // In a user namespace, one may be mounted only if the existing one is not
    // covered anywhere.
    return open(`/${name}`, O_PATH | O_DIRECTORY);
  }
}

function typeAt(root: number, path: string): number | null {
  try {
    using found = openAt(root, path);
    return typeOf(found.fd);
  } catch (error) {
    if (isErrno(error, ENOENT)) return null;
    throw error;
  }
}

/**
 * Opens what was mounted in a root by one of these names.
 *
 * @throws {UnsupportedError} If somebody has put something else there.
 */
export function openGuarded(root: number, name: Guarded): OwnedFd {
  using owned = new DisposableStack();
  const opened = owned.use(openDirectoryAt(root, name));
  if (isMountRoot(opened.fd)) {
    owned.move();
    return opened;
  }
  throw new UnsupportedError(
    `Somebody has renamed ${quote(name)} in the root meanwhile`,
  );
}

/**
 * Lets a mount, and what is mounted in it, lead to no device: a command that may
 * make device nodes could open the host's disks. A device that is mounted itself
 * was meant.
 */
export function withoutDevices(mount: OwnedFd): OwnedFd {
  return afterChange(mount, () => {
    const type = typeOf(mount.fd);
    if (type === S_IFCHR || type === S_IFBLK) return;
    const flags = AT_EMPTY_PATH | AT_RECURSIVE;
    mountSetattr(mount.fd, "", flags, { attrSet: MOUNT_ATTR_NODEV });
  });
}
