/** The descriptors that every command is started with: made once, and kept. */
import { mknodat, readlinkat } from "../sys/names.ts";
import {
  AT_FDCWD,
  CLONE_NEWNS,
  MNT_DETACH,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_PRIVATE,
  MS_REC,
  O_CLOEXEC,
} from "../sys/constants.ts";
import { stopIgnoring } from "../sys/process.ts";
import type { OwnedFd } from "../fd/owned_fd.ts";
import { fallBack, isErrno } from "../sys/error.ts";
import { EPERM } from "../sys/errno.ts";
import { attachesToDetached, makesEmptyNamespaces } from "../kernel/probe.ts";
import { createDetachedMount } from "../mount/detached.ts";
import { parseFileSystem } from "../mount/mountat.ts";
import { MountError } from "../error/error.ts";
import { openInit } from "./init.ts";
import { fillWithCovers, Guard } from "./guard.ts";
import { InitProcess, TableFile } from "./init_process.ts";
import { makeInnerUserNamespace } from "./namespaces.ts";
import { CallTable, Descriptors, SOCKET } from "./table.ts";
import { DEVICES, make, S_IFCHR, SYS_OPTIONS } from "./root_tree.ts";

let current: Spawner | null = null;

/**
 * The spawner of the calling thread. It is made if there is none, or if this
 * thread is in another network namespace by now: a sysfs shows that.
 *
 * @throws {SyscallError | MountError | UnsupportedError}
 */
export function spawner(): Spawner {
  const identity = identify();
  if (current?.identity !== identity) {
    endSpawner();
    current = new Spawner(identity);
  }
  return current;
}

/** Disposes of the spawner, if there is one. */
export function endSpawner(): void {
  current?.[Symbol.dispose]();
  current = null;
}

/** Of the namespaces that a thread may leave, a spawner depends on this one alone. */
function identify(): string {
  return readlinkat(AT_FDCWD, "/proc/thread-self/ns/net");
}

/** The descriptors that commands are started with. */
export class Spawner implements Disposable {
  /** The network namespace of the thread that made it. */
  readonly identity: string;
  /** The program of the first process. */
  readonly init: OwnedFd;
  /**
   * A mount namespace with nothing in it, from which new ones are copied. Null if
   * the kernel makes empty ones itself.
   */
  readonly empty: OwnedFd | null;
  /** True if device nodes can be made. */
  readonly makesDevices: boolean;
  /**
   * True if a mount that is not attached can be copied: since Linux 6.15. If not,
   * `sys` is null, `empty` is not, and the covers of a `Guard` are in the root of
   * `empty`.
   */
  readonly copiesDetached: boolean;
  /** A sysfs, to be copied; null if none may be mounted. */
  readonly sys: OwnedFd | null;
  /** The user namespace of commands, null for this process's. */
  readonly userNamespace: OwnedFd | null;
  #guard: Guard | null = null;
  readonly #kept = new Map<string, Disposable>();

  constructor(identity: string) {
    this.identity = identity;
    // While SIGCHLD is ignored, a process can't be waited for: wait(2).
    stopIgnoring("SIGCHLD");
    using owned = new DisposableStack();
    this.init = owned.use(openInit());
    this.copiesDetached = attachesToDetached() !== false;
    if (!this.copiesDetached) fallBack("open_tree, of a detached mount");
    const isMade = makesEmptyNamespaces() === true;
    if (!isMade) fallBack("unshare, with UNSHARE_EMPTY_MNTNS");
    this.empty = isMade && this.copiesDetached
      ? null
      : owned.use(makeEmptyNamespace(this.init, !this.copiesDetached));
    this.makesDevices = mayMakeDevices();
    this.sys = this.copiesDetached ? makeSysfs() : null;
    if (this.sys !== null) owned.use(this.sys);
    this.userNamespace = makeInnerUserNamespace();
    owned.move();
  }

  /** The guard for the profile `"strict"`. */
  guard(): Guard {
    return this.#guard ??= new Guard(this.copiesDetached);
  }

  /**
   * Makes what is the same for each command of a kind once, and keeps it.
   *
   * @param kind All that it depends on.
   */
  keep<T extends Disposable>(kind: string, make: () => T): T {
    let kept = this.#kept.get(kind) as T | undefined;
    if (kept === undefined) {
      kept = make();
      this.#kept.set(kind, kept);
    }
    return kept;
  }

  [Symbol.dispose](): void {
    for (const kept of this.#kept.values()) kept[Symbol.dispose]();
    this.init.close();
    this.empty?.close();
    this.sys?.close();
    this.userNamespace?.close();
    this.#guard?.[Symbol.dispose]();
  }
}

/**
 * Makes a mount namespace that only its descriptor leads to.
 *
 * @param covers True if the covers of a `Guard` are put in its root.
 */
function makeEmptyNamespace(init: OwnedFd, covers: boolean): OwnedFd {
  using nothing = createDetachedMount(
    parseFileSystem({ type: "tmpfs" }),
    { action: "make an empty mount namespace", target: "." },
  );
  if (covers) fillWithCovers(nothing);
  const table = new CallTable();
  const tree = table.pass(nothing.fd);
  table.call("unshare", [CLONE_NEWNS]);
  // struct open_how
  const how = new Uint8Array(
    new BigUint64Array([BigInt(O_CLOEXEC), 0n, 0n]).buffer,
  );
  const path = "/proc/self/ns/mnt";
  const namespace = table.open("openat2", [AT_FDCWD, path, how, how.length]);
  // This leads out of a chroot(2), to the root of the namespace.
  table.call("setns", [namespace, CLONE_NEWNS]);
  table.call("mount", [null, "/", null, MS_REC | MS_PRIVATE, null]);
  table.call("move_mount", [tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH]);
  table.call("fchdir", [tree]);
  // On each other: then the old root is on top, pivot_root(2).
  table.call("pivot_root", [".", "."]);
  table.call("umount2", [".", MNT_DETACH]);
  table.call("sendmsg", [SOCKET, new Descriptors([namespace]), 0]);
  table.call("sendmsg", [SOCKET, new Descriptors([]), 0]);
  using process = new InitProcess();
  const { fd } = nothing;
  using file = new TableFile(table.encode({ next: true }));
  process.send(file, table.descriptors, [fd, fd, fd]);
  process.start(init);
  const [made] = process.receive(table);
  table.trace([]);
  return made!;
}

/** It is the same file system wherever it is mounted. */
function makeSysfs(): OwnedFd | null {
  try {
    return make("sysfs", SYS_OPTIONS, "sys");
  } catch (error) {
    // In a user namespace that does not own the network namespace.
    if (!(error instanceof MountError && error.errno === EPERM)) throw error;
    return null;
  }
}

function mayMakeDevices(): boolean {
  using mount = make("tmpfs", "nosuid", ".");
  const [name, device] = DEVICES[0]!;
  try {
    mknodat(mount.fd, name, S_IFCHR, device);
    return true;
  } catch (error) {
    // In a user namespace, or if the control group forbids it.
    if (!isErrno(error, EPERM)) throw error;
    return false;
  }
}
