/**
 * Starts processes from a thread whose mount namespace, root, PID namespace and
 * credentials they take over.
 */
import { readlinkat } from "../sys/file.ts";
import {
  AT_FDCWD,
  CLONE_FS,
  CLONE_NEWNS,
  CLONE_NEWPID,
  MNT_DETACH,
  O_RDONLY,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from "../sys/constants.ts";
import { mountId } from "../kernel/mount_id.ts";
import {
  mountPrivately,
  moveToRoot,
  openPath,
  setnsCall,
  SyscallThread,
  type ThreadCall,
  unshareCall,
} from "../sys/thread.ts";
import { stopIgnoring } from "../sys/process.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import { cString } from "../sys/call.ts";
import { quote } from "../base/text.ts";
import type { PreparedSpawn } from "../sys/spawn.ts";
import { open } from "../fd/open.ts";
import { createDetachedMount } from "../mount/detached.ts";
import { parseFileSystem } from "../mount/mountat.ts";
import { readFields } from "../kernel/process.ts";

/** Who a command runs as. */
export interface Ids {
  /** The user, null for the same. */
  readonly uid: number | null;
  /** The group. */
  readonly gid: number;
}

/** Where a command is put. */
export interface RootPlace {
  /** Its root: a detached mount, which is attached in its mount namespace. */
  readonly tree: number;
  /** Its working directory, in that. */
  readonly cwd: number;
  /** Its PID namespace, or a process that is in it; null for this process's. */
  readonly pidns: number | null;
  /** Who it runs as, null for who this process does. */
  readonly ids: Ids | null;
}

let current: Spawner | null = null;

/**
 * The spawner of the calling thread: it is started where there is none, or this
 * thread has another root or mount namespace by now.
 *
 * @throws {SyscallError | MountError | UnsupportedError}
 */
export function spawner(): Spawner {
  const identity = identify();
  if (current?.identity !== identity || !current.hold()) {
    current?.end();
    current = null;
    current = new Spawner(identity);
    current.hold();
  }
  return current;
}

/** Lets the thread end by itself, if one is held for a call. */
export function releaseSpawner(): void {
  current?.release();
}

/** Ends the thread, if there is one, at once. */
export function endSpawner(): void {
  current?.end();
  current = null;
}

function identify(): string {
  const namespaces = ["mnt", "pid_for_children", "user"].map((name) =>
    readlinkat(AT_FDCWD, `/proc/thread-self/ns/${name}`)
  );
  return [...namespaces, mountId(AT_FDCWD, "/", 0)].join(" ");
}

/** A thread that starts processes. */
export class Spawner {
  /** What the thread that made it sees. */
  readonly identity: string;
  readonly #thread: SyscallThread;
  /** This process's PID namespace. */
  readonly #pids: number;
  /** The thread's own mount namespace, with nothing in it: new ones are copies. */
  readonly #empty: number;
  /** Whether a keeper can be `nested`, as far as it is known. */
  nests = true;

  constructor(identity: string) {
    this.identity = identity;
    // Otherwise a command could not be waited for: wait(2).
    stopIgnoring("SIGCHLD");
    using owned = new DisposableStack();
    const pids = owned.use(open("/proc/thread-self/ns/pid", O_RDONLY));
    using nothing = makeNothing();
    const thread = new SyscallThread();
    owned.defer(() => thread.end());
    const empty = owned.use(
      new OwnedFd(thread.make([
        unshareCall(CLONE_FS | CLONE_NEWNS),
        openPath("/proc/thread-self/ns/mnt"),
      ], [])),
    );
    thread.make(
      [
        // This leads to the root of the namespace, out of that of a chroot(2).
        setnsCall(empty.fd, CLONE_NEWNS),
        mountPrivately(),
        ...mountOnRoot(nothing.fd),
        ...PIVOT,
      ],
      [],
    );
    owned.move();
    this.#thread = thread;
    this.#pids = pids.release();
    this.#empty = empty.release();
    thread.own(this.#pids, this.#empty);
  }

  /** Keeps the thread for another call; tells whether it is still there. */
  hold(): boolean {
    return this.#thread.hold();
  }

  /** Lets the thread end by itself again. */
  release(): void {
    this.#thread.release();
  }

  /** Ends the thread. */
  end(): void {
    this.#thread.end();
  }

  /**
   * Leaves nothing in another mount namespace. Processes that were at its root
   * find an empty directory there: pivot_root(2).
   *
   * @param namespace The namespace, or a process that is in it.
   * @throws {SyscallError | MountError}
   */
  empty(namespace: number): void {
    using nothing = makeNothing();
    this.#thread.make([
      setnsCall(namespace, CLONE_NEWNS),
      ...mountOnRoot(nothing.fd),
      ...PIVOT,
    ], this.#leave());
  }

  /**
   * Makes a detached copy of a mount in another mount namespace.
   *
   * @param namespace The namespace, or a process that is in it.
   * @throws {SyscallError}
   */
  cloneIn(namespace: number, path: string): OwnedFd {
    const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    return new OwnedFd(
      this.#thread.make([
        setnsCall(namespace, CLONE_NEWNS),
        {
          name: "open_tree",
          args: [AT_FDCWD, cString("path", path), flags],
          text: [
            { fd: AT_FDCWD },
            quote(path),
            "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC",
          ],
        },
      ], this.#leave()),
    );
  }

  /**
   * Starts a process in a mount namespace that holds a tree and nothing else.
   *
   * @throws {SyscallError}
   */
  spawnInside(
    process: PreparedSpawn,
    { tree, cwd, pidns, ids }: RootPlace,
  ): number {
    const change = ids === null ? [] : takeIds(ids);
    const back = ids === null ? [] : this.#takeIdsBack();
    this.#thread.make([
      unshareCall(CLONE_NEWNS),
      // Below it stays an empty directory, as below the root of any system.
      ...mountOnRoot(tree),
      CHROOT,
      // By its path root would go wherever a link of the root's leads.
      { name: "fchdir", args: [cwd], text: [{ fd: cwd }] },
      ...pidns === null ? [] : [setnsCall(pidns, CLONE_NEWPID)],
      ...change,
      process.call,
    ], [...back, ...this.#leave()]);
    return process.pid;
  }

  #leave(): ThreadCall[] {
    return [
      setnsCall(this.#pids, CLONE_NEWPID),
      setnsCall(this.#empty, CLONE_NEWNS),
    ];
  }

  #takeIdsBack(): ThreadCall[] {
    const field = readFields("/proc/thread-self/status");
    const numbers = (name: string) =>
      field(name).split(/\s+/).filter((word) => word !== "").map(Number);
    const [uid, euid] = numbers("Uid");
    const [gid, egid] = numbers("Gid");
    const dumpable = this.#thread.make([
      { name: "prctl", args: [PR_GET_DUMPABLE], text: ["PR_GET_DUMPABLE"] },
    ], []);
    return [
      { name: "setresuid", args: [uid!, euid!, -1], text: [] },
      { name: "setresgid", args: [gid!, egid!, -1], text: [] },
      setgroups(numbers("Groups")),
      ...bits(BigInt(`0x${field("CapAmb")}`)).map((capability) =>
        ambientCapability(PR_CAP_AMBIENT_RAISE, capability)
      ),
      // A change of user makes the whole process undumpable: prctl(2).
      { name: "prctl", args: [PR_SET_DUMPABLE, dumpable], text: [] },
    ];
  }
}

function makeNothing(): OwnedFd {
  return createDetachedMount(
    parseFileSystem({ type: "tmpfs" }),
    { action: "make an empty mount namespace", target: "." },
  );
}

// include/uapi/linux/prctl.h
export const PR_GET_DUMPABLE = 3;

export const PR_SET_DUMPABLE = 4;

export const PR_CAP_AMBIENT = 47;

export const PR_CAP_AMBIENT_RAISE = 2;

export const PR_CAP_AMBIENT_CLEAR_ALL = 4;

/** The saved ids stay: they lead back, and exec(2) replaces them. */
function takeIds({ uid, gid }: Ids): ThreadCall[] {
  return [
    // The kernel clears them only when the last id of root's goes, and here the
    // saved one stays: capabilities(7).
    ...uid === null || uid === 0
      ? []
      : [ambientCapability(PR_CAP_AMBIENT_CLEAR_ALL, 0)],
    setgroups([]),
    {
      name: "setresgid",
      args: [gid, gid, -1],
      text: [String(gid), String(gid), "-1"],
    },
    ...uid === null ? [] : [
      {
        name: "setresuid",
        args: [uid, uid, -1],
        text: [String(uid), String(uid), "-1"],
      } as const,
    ],
  ];
}

function ambientCapability(operation: number, capability: number): ThreadCall {
  const name = operation === PR_CAP_AMBIENT_RAISE
    ? "PR_CAP_AMBIENT_RAISE"
    : "PR_CAP_AMBIENT_CLEAR_ALL";
  return {
    name: "prctl",
    args: [PR_CAP_AMBIENT, operation, capability, 0, 0],
    text: ["PR_CAP_AMBIENT", name, String(capability), "0", "0"],
  };
}

/** The numbers of the bits that are set. */
function bits(mask: bigint): number[] {
  return [...mask.toString(2)].reverse()
    .flatMap((bit, number) => bit === "1" ? [number] : []);
}

function setgroups(groups: number[]): ThreadCall {
  const list = new Uint8Array(new Uint32Array([...groups, 0]).buffer);
  return {
    name: "setgroups",
    args: [groups.length, list],
    text: [String(groups.length), `[${groups.join(", ")}]`],
  };
}

/** Mounts a detached tree on the root, and goes there. */
function mountOnRoot(tree: number): ThreadCall[] {
  return [
    moveToRoot(tree),
    { name: "fchdir", args: [tree], text: [{ fd: tree }] },
  ];
}

const DOT = cString("path", ".");

/** The current directory becomes the root, and what was there goes away. */
const PIVOT: readonly ThreadCall[] = [
  // On each other: then the old root is on top, pivot_root(2).
  { name: "pivot_root", args: [DOT, DOT], text: ['"."', '"."'] },
  { name: "umount2", args: [DOT, MNT_DETACH], text: ['"."', "MNT_DETACH"] },
];

const CHROOT: ThreadCall = { name: "chroot", args: [DOT], text: ['"."'] };
