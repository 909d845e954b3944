import { checkOptions, type OptionNames } from "../base/check.ts";
import {
  absolutePath,
  explainNoProcess,
  isBelow,
  listMounts,
  NO_PROCESS,
  pathOfDirectory,
  processId,
} from "./list_mounts.ts";
import { attempt, explain } from "../error/error.ts";
import { fallBack, isErrno, SyscallError } from "../sys/error.ts";
import type { MountInfo } from "./mount_info.ts";
import type { Attempt } from "../error/attempt.ts";
import { type HasFd, OwnedFd, procPath } from "../fd/owned_fd.ts";
import {
  FAN_CLOEXEC,
  FAN_MARK_ADD,
  FAN_MARK_MNTNS,
  FAN_MNT_ATTACH,
  FAN_MNT_DETACH,
  FAN_NONBLOCK,
  FAN_REPORT_MNT,
  fanotifyInit,
  fanotifyMark,
  type PollFd,
  POLLIN,
  POLLPRI,
  ppoll,
  readMountEvents,
} from "../sys/event.ts";
import { findMount, isGoneFrom, listByTable, openNamespace } from "./read.ts";
import { THIS_THREAD } from "../kernel/mountinfo.ts";
import { open } from "../fd/open.ts";
import { pipe2 } from "../sys/file.ts";
import { pidfdOpen } from "../sys/process.ts";
import { O_DIRECTORY, O_PATH, O_RDONLY } from "../sys/constants.ts";
import { isUniqueId } from "../kernel/mount_id.ts";

/** Options of {@linkcode watchMounts}. */
export interface WatchMountsOptions {
  /**
   * Reports only mounts on this directory and below it, and moves to and from
   * there. The path is the one at the beginning of the watch. With `namespace`
   * it is an absolute path there. A mount that was gone before it could be
   * looked at (`mount` is null) is always reported, because it may have been
   * there.
   *
   * @default {undefined}, all that the root shows
   */
  below?: string | HasFd;
  /**
   * The id of a process: the mounts that it sees from its root are watched. The
   * watch ends when the process does.
   *
   * @default {undefined}, this thread's
   */
  namespace?: number;
}

const WATCH_NAMES: OptionNames<WatchMountsOptions> = {
  below: true,
  namespace: true,
};

/**
 * Watches mounts come, go and move.
 *
 * The watch begins with the call, not with the loop. It ends when the loop is
 * left, or when it is closed. While the loop waits for an event, Deno does not
 * exit by itself.
 *
 * If the kernel has mount events, each is reported in order. (fanotify(7):
 * since Linux 6.15, for another process since 6.18, with CAP_SYS_ADMIN in the
 * user namespace that owns the mount namespace.) If a mount is gone before it
 * can be looked at, only its id is known, and `mount` is null.
 *
 * Otherwise, the mount table is compared after each change. It is compared,
 * too, if events were lost because there were too many. Mounts that come and go
 * between two comparisons are not seen. Changes of attributes are not reported.
 *
 * Needs the permission `--allow-ffi`, and /proc; this thread must stay in its
 * mount namespace.
 *
 * @example Wait for a mount
 * ```ts
 * import { Directory, watchMounts } from "@meroton/mountat";
 * import { assertEquals } from "@std/assert";
 *
 * using root = Directory.open(Deno.makeTempDirSync());
 * using watch = watchMounts({ below: root });
 * using _tmp = root.mount("tmp", { type: "tmpfs", mkdir: true });
 * for await (const { kind, mount } of watch) {
 *   assertEquals([kind, mount?.type], ["mount", "tmpfs"]);
 *   break;
 * }
 * ```
 *
 * @param options The mounts to watch.
 * @returns The watch; close it, bind it with `using`, or leave the loop over it.
 * @throws {TypeError} For a path that is empty or has a NUL, or with `namespace`
 * is not absolute, and for an unknown option.
 * @throws {RangeError} For a number that is not a process id.
 * @throws {MountError} ENOENT, ENOTDIR, ELOOP or EACCES for a path that can't be
 * opened; ENOENT or ESRCH for a process that is not there, ENOENT without /proc;
 * EMFILE.
 */
export function watchMounts(options: WatchMountsOptions = {}): MountWatch {
  checkOptions(options, WATCH_NAMES);
  const { below, namespace } = options;
  const pid = namespace === undefined ? null : processId(namespace);
  const path = below === undefined
    ? "/"
    : pid === null
    ? pathOfDirectory(below)
    : absolutePath(below);
  const attempted = {
    action: `watch the mounts${pid === null ? "" : ` of process ${pid}`}`,
    target: path,
  };
  return attempt(attempted, () => {
    try {
      return new Watch(pid, path, attempted);
    } catch (error) {
      throw pid === null ? error : explainNoProcess(attempted, error);
    }
  });
}

/**
 * A watch over mounts, started by {@linkcode watchMounts}. It can be looped
 * over once.
 */
export interface MountWatch
  extends AsyncIterable<MountEvent>, Disposable, AsyncDisposable {
  /** The mounts that were there when the watch began. */
  readonly mounts: readonly MountInfo[];
  /** The source of events: fanotify(7), or comparisons of the mount table. */
  readonly via: "fanotify" | "mountinfo";
  /**
   * Ends the watch and the loop over it at once; a second call does nothing. If
   * the loop is waiting, its descriptors are closed a moment later; `await
   * using` waits for that.
   */
  close(): void;
}

class Watch implements MountWatch {
  readonly mounts: readonly MountInfo[];
  readonly via: "fanotify" | "mountinfo";
  readonly #attempted: Attempt;
  readonly #below: string;
  readonly #list: () => MountInfo[];
  readonly #find: () => Find;
  readonly #known: KnownMounts;
  /** The descriptor that shows changes. */
  readonly #source: OwnedFd;
  /** The write end of a pipe: closing it ends the waiting. */
  readonly #waker: OwnedFd;
  readonly #endsWithProcess: boolean;
  readonly #waitedFor: readonly PollFd[];
  /** The descriptors that stay open while something waits for them. */
  readonly #opened: DisposableStack;
  #waiting: Promise<readonly number[]> | null = null;
  #isLooped = false;

  constructor(pid: number | null, below: string, attempted: Attempt) {
    this.#attempted = attempted;
    this.#below = below;
    using opened = new DisposableStack();
    const process = pid === null ? null : openProcess(pid, opened);
    const directory = process?.directory ?? THIS_THREAD;
    this.#endsWithProcess = pid !== null;
    this.#list = pid === null ? listMounts : () => listByTable(directory);
    this.#find = pid === null
      ? () => findMount
      : () => finder(this.#list, directory);
    const { source, via, mounts } = begin(directory, this.#list);
    this.#source = opened.use(source);
    this.via = via;
    this.mounts = mounts.filter(({ target }) => isBelow(target, below));
    this.#known = new KnownMounts(mounts);
    const [wakes, waker] = pipe2();
    opened.use(new OwnedFd(wakes));
    this.#waker = new OwnedFd(waker);
    this.#waitedFor = [
      { fd: source.fd, events: via === "fanotify" ? POLLIN : POLLPRI },
      { fd: wakes, events: 0 },
      ...(process === null ? [] : [{ fd: process.fd, events: POLLIN }]),
    ];
    this.#opened = opened.move();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<MountEvent, void, void> {
    if (this.#isLooped) {
      throw new TypeError("The watch is looped over already");
    }
    this.#isLooped = true;
    try {
      while (!this.#waker.closed) {
        const [changed, _woken, ended] = await this.#wait();
        if (this.#waker.closed) return;
        for (const event of changed ? this.#look() : []) {
          if (this.#waker.closed) return;
          if (this.#isWanted(event)) yield event;
        }
        if (ended) return;
      }
    } catch (error) {
      throw error instanceof SyscallError
        ? explain(this.#attempted, error)
        : error;
    } finally {
      this.close();
    }
  }

  #wait(): Promise<readonly number[]> {
    this.#waiting = ppoll(this.#waitedFor).finally(() => {
      this.#waiting = null;
      if (this.#waker.closed) this.#opened.dispose();
    });
    return this.#waiting;
  }

  #look(): MountEvent[] {
    try {
      return this.#changes();
    } catch (error) {
      // The process is ending. The next wait reports its end.
      if (this.#endsWithProcess && isErrno(error, ...NO_PROCESS)) return [];
      throw error;
    }
  }

  #changes(): MountEvent[] {
    if (this.via === "mountinfo") return this.#known.compare(this.#list());
    const find = this.#find();
    const changes: MountEvent[] = [];
    for (const { mask, mntId } of readMountEvents(this.#source.fd)) {
      const kinds = mask & (FAN_MNT_ATTACH | FAN_MNT_DETACH);
      changes.push(
        ...(mntId === undefined
          // Events were lost.
          ? this.#known.compare(this.#list())
          : kinds === FAN_MNT_ATTACH
          ? this.#known.attached(mntId, find)
          : kinds === FAN_MNT_DETACH
          ? this.#known.detached(mntId)
          : this.#known.moved(mntId, find, this.#list)),
      );
    }
    return changes;
  }

  #isWanted({ mount, from }: MountEvent): boolean {
    return mount === null ||
      [mount, from].some((place) =>
        place && isBelow(place.target, this.#below)
      );
  }

  close(): void {
    this.#waker.close();
    // While ppoll(2) waits for a descriptor, its number must not be reused.
    if (this.#waiting === null) this.#opened.dispose();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    // The loop throws the failure.
    await this.#waiting?.catch(() => {});
  }
}

/** Opens a process and its directory in /proc. Returns a path of the latter. */
function openProcess(
  pid: number,
  opened: DisposableStack,
): { fd: number; directory: string } {
  const { fd } = opened.use(new OwnedFd(pidfdOpen(pid)));
  const directory = opened.use(open(`/proc/${pid}`, O_PATH | O_DIRECTORY));
  return { fd, directory: procPath(directory.fd) };
}

/** The start of a watch: the descriptor that shows changes, and the mounts. */
interface Beginning {
  readonly source: OwnedFd;
  readonly via: MountWatch["via"];
  readonly mounts: MountInfo[];
}

function begin(process: string, list: () => MountInfo[]): Beginning {
  // Open this before the first listing, so that no change is missed.
  const events = openEvents(process);
  if (events !== null) {
    using opened = new DisposableStack();
    opened.use(events);
    const mounts = list();
    // Events know a mount by its unique id alone.
    if (mounts.every(({ id }) => isUniqueId(id))) {
      opened.move();
      return { source: events, via: "fanotify", mounts };
    }
  }
  using opened = new DisposableStack();
  const table = opened.use(open(`${process}/mountinfo`, O_RDONLY));
  const mounts = list();
  opened.move();
  return { source: table, via: "mountinfo", mounts };
}

/** Opens the source of mount events. Returns null if there are none. */
function openEvents(process: string): OwnedFd | null {
  using opened = new DisposableStack();
  try {
    const namespace = opened.use(openNamespace(process));
    const flags = FAN_REPORT_MNT | FAN_NONBLOCK | FAN_CLOEXEC;
    const group = opened.use(new OwnedFd(fanotifyInit(flags, 0)));
    fanotifyMark(
      group.fd,
      FAN_MARK_ADD | FAN_MARK_MNTNS,
      FAN_MNT_ATTACH | FAN_MNT_DETACH,
      namespace.fd,
      null,
    );
    opened.move();
    namespace.close();
    return group;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    fallBack("fanotify_init, with FAN_REPORT_MNT");
    return null;
  }
}

/**
 * Finds mounts of a process in a listing, which is made at the first search.
 *
 * @param process The process's directory in /proc.
 */
function finder(list: () => MountInfo[], process: string): Find {
  let mounts: Map<bigint, MountInfo> | undefined;
  return (id) => {
    mounts ??= new Map(list().map((mount) => [mount.id, mount]));
    return mounts.get(id) ?? (isGoneFrom(process, id) ? null : undefined);
  };
}

/** A mount, unmount or move, as `watchMounts` reports it. */
export interface MountEvent {
  /** The kind of change. */
  kind: "mount" | "unmount" | "move";
  /** The mount's id, as in {@linkcode MountInfo}. */
  id: bigint;
  /**
   * The mount: after a mount or move, as it is when the event is read; after an
   * unmount, as it was last seen. null if it was gone before the kernel could
   * be asked for more than its id.
   */
  mount: MountInfo | null;
  /** The mount before a move. */
  from?: MountInfo;
}

/**
 * A mount by its id: null when it is gone, undefined when this root does not
 * show it.
 */
export type Find = (id: bigint) => MountInfo | null | undefined;

/** The mounts that a watch knows of. */
export class KnownMounts {
  /** The mounts by their ids; null if only the id is known. */
  #mounts: Map<bigint, MountInfo | null>;

  constructor(mounts: readonly MountInfo[]) {
    this.#mounts = byId(mounts);
  }

  /** A mount was attached. If a listing had it already, it is not reported. */
  attached(id: bigint, find: Find): MountEvent[] {
    if (this.#mounts.has(id)) return [];
    const mount = find(id);
    if (mount === undefined) return [];
    this.#mounts.set(id, mount);
    return [{ kind: "mount", id, mount }];
  }

  /** A mount was moved. */
  moved(id: bigint, find: Find, list: () => MountInfo[]): MountEvent[] {
    const from = this.#mounts.get(id);
    const mount = find(id);
    // If it is gone meanwhile, another event will say so.
    if (mount === null && from === undefined) return this.attached(id, find);
    if (mount === null || mount === from) return [];
    // The mount, with all mounts inside it, came into sight or left it.
    if (from === undefined || from === null || mount === undefined) {
      return this.compare(list());
    }
    this.#mounts.set(id, mount);
    if (mount.target === from.target && mount.parentId === from.parentId) {
      return [];
    }
    this.#rebase(from, mount);
    return [{ kind: "move", id, mount, from }];
  }

  /** Updates the paths of the mounts inside a mount that was moved. */
  #rebase(from: MountInfo, to: MountInfo): void {
    const moved = new Set([to.id]);
    // A mount that was moved before may be inside a younger one.
    for (const parent of moved) {
      for (const [id, mount] of this.#mounts) {
        if (mount?.parentId !== parent || moved.has(id)) continue;
        moved.add(id);
        // A mount that was looked up since has its new path already.
        if (!mount.target.startsWith(`${from.target}/`)) continue;
        const target = to.target + mount.target.slice(from.target.length);
        this.#mounts.set(id, { ...mount, target });
      }
    }
  }

  /** A mount was detached. */
  detached(id: bigint): MountEvent[] {
    const mount = this.#mounts.get(id);
    if (mount === undefined) return [];
    this.#mounts.delete(id);
    return [{ kind: "unmount", id, mount }];
  }

  /**
   * The changes that a listing shows: first the mounts that are gone, the newest
   * first, then all others in the listing's order.
   */
  compare(mounts: readonly MountInfo[]): MountEvent[] {
    const before = this.#mounts;
    const after = this.#mounts = byId(mounts);
    const unmounts: MountEvent[] = [];
    for (const [id, mount] of before) {
      const next = after.get(id);
      if (next === undefined || isAnother(mount, next)) {
        unmounts.push({ kind: "unmount", id, mount });
      }
    }
    const others: MountEvent[] = [];
    for (const mount of mounts) {
      const { id } = mount;
      const known = before.get(id);
      if (known === undefined || isAnother(known, mount)) {
        others.push({ kind: "mount", id, mount });
      } else if (known !== null && wasMoved(known, mount, before, after)) {
        others.push({ kind: "move", id, mount, from: known });
      }
    }
    return [...unmounts.reverse(), ...others];
  }
}

function byId(mounts: readonly MountInfo[]): Map<bigint, MountInfo> {
  return new Map(mounts.map((mount) => [mount.id, mount]));
}

/** True if an id that is reused was given to another mount meanwhile. */
function isAnother(before: MountInfo | null, after: MountInfo): boolean {
  return before !== null && !isUniqueId(before.id) &&
    (before.deviceNumber !== after.deviceNumber || before.root !== after.root);
}

/** True if a mount itself was moved, and not only a mount that it lies in. */
function wasMoved(
  before: MountInfo,
  after: MountInfo,
  mountsBefore: ReadonlyMap<bigint, MountInfo | null>,
  mountsAfter: ReadonlyMap<bigint, MountInfo | null>,
): boolean {
  // If only the parent changed, a mount was put beneath this one.
  if (before.target === after.target) return false;
  return before.parentId !== after.parentId ||
    pathInParent(before, mountsBefore) !== pathInParent(after, mountsAfter);
}

function pathInParent(
  { target, parentId }: MountInfo,
  mounts: ReadonlyMap<bigint, MountInfo | null>,
): string {
  const above = mounts.get(parentId)?.target ?? "";
  return target.slice(above === "/" ? 0 : above.length);
}
