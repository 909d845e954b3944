/** Finds the holders of a mount in /proc, by mount ids. */
import { optionName } from "../program.ts";
import { isErrno, SyscallError } from "../sys/error.ts";
import {
  lineOf,
  type MountinfoLine,
  readMountinfo,
} from "../kernel/mountinfo.ts";
import { namesIn, open, readFile, saysMountRoot, UNASKED } from "../fd/open.ts";
import { statx } from "../sys/file.ts";
import { readlinkat } from "../sys/names.ts";
import { AT_FDCWD, O_DIRECTORY, O_PATH, O_RDONLY } from "../sys/constants.ts";
import { EACCES, ENAMETOOLONG, ENOENT, EPERM, ESRCH } from "../sys/errno.ts";
import { quote } from "../base/text.ts";
import { readFields, readStat } from "../kernel/process.ts";

/** A process or mount that keeps a mount busy. */
export interface Holder {
  /**
   * The kind of holder. A "mount descriptor" comes from fsmount(2) or
   * open_tree(2), or is another `O_PATH` descriptor of the mount's root. A
   * "mount" is inside the busy mount or on top of it.
   */
  readonly by:
    | "working directory"
    | "root"
    | "executable"
    | "mapped file"
    | "descriptor"
    | "mount descriptor"
    | "mount";
  /** The path of the file or mount that holds it, as this thread sees it. */
  readonly path: string;
  /** The process's id; undefined for a mount. */
  readonly pid?: number;
  /** The process's name, as ps(1) shows it. */
  readonly command?: string;
  /** True if it is this process. */
  readonly own?: boolean;
  /** The number of a descriptor. */
  readonly fd?: number;
  /**
   * True if it holds a copy of the mount, which mount propagation made
   * elsewhere. That keeps the mount busy, too.
   */
  readonly copy?: boolean;
  /** True if a mount is on top of this one, and not inside it. */
  readonly onTop?: boolean;
}

/** The result of a search. */
export interface HolderSearch {
  /** The holders: mounts first, then this process, then the newest first. */
  readonly holders: readonly Holder[];
  /** The number of further holders. */
  readonly more: number;
  /** The reasons why there may be others, in words. */
  readonly obstacles: readonly string[];
  /** The mount point's path; undefined if the mount table lacks the mount. */
  readonly mountPoint: string | undefined;
}

/** Limits of a search. */
export interface HolderSearchOptions {
  /**
   * The time for the search, in milliseconds.
   *
   * @default {500}
   */
  limit?: number;
  /** Tells the time in milliseconds. */
  now?: () => number;
}

/** The most holders that a search keeps; it counts the others. */
const MOST_HOLDERS = 64;

/**
 * Looks for the holders of a mount: mounts inside it and on top of it, then
 * every process's working directory, root, executable, descriptors and mapped
 * files, as far as this process may see them. Opens only files and directories
 * of /proc, and asks no other file system: a dead server blocks nothing.
 *
 * @param id The mount's id in the mount table.
 * @param options Limits of the search.
 */
export function findHolders(
  id: number,
  { limit = 500, now = () => performance.now() }: HolderSearchOptions = {},
): HolderSearch {
  const deadline = now() + limit;
  const search = new Search(id, () => now() >= deadline);
  try {
    search.run();
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    search.obstacles.push("there is no /proc, or not of this process");
  }
  if (search.ended) {
    search.obstacles.push(`stopped searching after ${limit} ms`);
  }
  return search;
}

class Search implements HolderSearch {
  readonly holders: Holder[] = [];
  readonly obstacles: string[] = [];
  more = 0;
  /** True once the time is up. */
  ended = false;
  /** The mount's id in the mount table. */
  readonly #id: number;
  readonly #isOver: () => boolean;
  #table: readonly MountinfoLine[] = [];
  #mount: MountinfoLine | undefined;
  /** The parent mount, and its peer group if it is shared. */
  #parent: MountinfoLine | undefined;
  #peers: number | undefined;
  /** For each mount that was looked at: true if it is a copy of this one. */
  readonly #copies = new Map<number, boolean>();
  #self = "";
  /** The holders found so far in the current process, by kind and path. */
  readonly #found = new Set<string>();
  readonly #unreadable = new Set<number>();
  #waiting = 0;

  constructor(id: number, isOver: () => boolean) {
    this.#id = id;
    this.#isOver = isOver;
  }

  get mountPoint(): string | undefined {
    return this.#mount?.mountPoint;
  }

  run(): void {
    this.#table = readMountinfo();
    const mount = lineOf(this.#table, this.#id);
    this.#mount = mount;
    this.#parent = lineOf(this.#table, mount?.parentId);
    this.#peers = this.#parent?.shared;
    if (mount !== undefined) this.#lookAtMounts(mount);
    this.#lookAtProcesses();
    if (this.#unreadable.size > 0) {
      this.obstacles.push(
        `could not look at ${processes(this.#unreadable.size)}`,
      );
    }
    if (this.#waiting > 0) {
      this.obstacles.push(
        `did not look at files mapped by ${
          processes(this.#waiting)
        } in disk sleep`,
      );
    }
  }

  #add(holder: Holder): void {
    if (this.holders.length < MOST_HOLDERS) this.holders.push(holder);
    else this.more++;
  }

  /** True if the search must stop. */
  #timeIsUp(): boolean {
    this.ended ||= this.#isOver();
    return this.ended;
  }

  #lookAtMounts(mount: MountinfoLine): void {
    for (const { id, parentId, mountPoint: path } of this.#table) {
      if (parentId !== mount.id || id === mount.id) continue;
      const onTop = path === mount.mountPoint;
      this.#add({ by: "mount", path, ...(onTop ? { onTop } : {}) });
    }
  }

  #lookAtProcesses(): void {
    this.#self = readlinkat(AT_FDCWD, "/proc/self");
    const others = numbersIn("/proc").filter((pid) => pid !== this.#self);
    // The youngest processes come first: this process's children are among
    // them.
    for (const pid of [this.#self, ...others.reverse()]) {
      if (this.#timeIsUp()) return;
      try {
        this.#lookAtProcess(pid);
      } catch (error) {
        if (!(error instanceof SyscallError)) throw error;
        if (!isGone(error)) this.#unreadable.add(Number(pid));
      }
    }
  }

  #lookAtProcess(pid: string): void {
    const process = `/proc/${pid}`;
    const { command, state } = readStat(process);
    const own = pid === this.#self;
    const who = { pid: Number(pid), command, ...(own ? { own } : {}) };
    this.#found.clear();
    this.#lookAtPlaces(process, who);
    this.#lookAtLink(`${process}/exe`, { ...who, by: "executable" });
    for (const fd of numbersIn(`${process}/fd`)) {
      if (this.#timeIsUp()) return;
      const holder = { ...who, by: "descriptor", fd: Number(fd) } as const;
      this.#lookAtLink(`${process}/fd/${fd}`, holder);
    }
    let waiting = state === WAITING;
    for (const thread of numbersIn(`${process}/task`)) {
      if (this.#timeIsUp()) return;
      if (thread === pid) continue;
      waiting = this.#lookAtThread(`${process}/task/${thread}`, who) || waiting;
    }
    // Reading the mapped files takes the process's mmap_lock. A process that
    // waits for a server may hold it, and the reader would wait, too.
    if (waiting) this.#waiting++;
    else this.#lookAtMappings(process, who);
  }

  /** unshare(2) can give a thread a working directory and root of its own. */
  #lookAtThread(thread: string, who: Process): boolean {
    try {
      this.#lookAtPlaces(thread, who);
      return readStat(thread).state === WAITING;
    } catch (error) {
      if (isGone(error)) return false;
      throw error;
    }
  }

  #lookAtPlaces(process: string, who: Process): void {
    this.#lookAtLink(`${process}/cwd`, { ...who, by: "working directory" });
    this.#lookAtLink(`${process}/root`, { ...who, by: "root" });
  }

  #lookAtLink(link: string, holder: Omit<Holder, "path">): void {
    const found = this.#leadsTo(link, holder.pid!);
    if (found === null) return;
    const path = readlinkat(AT_FDCWD, link);
    const key = `${holder.fd ?? holder.by} ${path}`;
    if (this.#found.has(key)) return;
    this.#found.add(key);
    const { isRoot, copy } = found;
    const ofMount = holder.by === "descriptor" && isRoot &&
      isMountDescriptor(link.replace("/fd/", "/fdinfo/"));
    const by = ofMount ? "mount descriptor" : holder.by;
    this.#add({ ...holder, by, path, ...(copy ? { copy } : {}) });
  }

  /** Finds out if a magic link leads into the mount or a copy; null if not. */
  #leadsTo(link: string, pid: number): FoundMounts | null {
    try {
      if (this.#isElsewhere(link)) return null;
      const found = statx(AT_FDCWD, link, UNASKED, 0);
      const isRoot = saysMountRoot(found);
      const id = Number(found.mntId);
      if (id === this.#id) return { isRoot, copy: false };
      return this.#peers !== undefined &&
          this.#mount?.deviceNumber === `${found.devMajor}:${found.devMinor}` &&
          this.#isCopy(id, pid)
        ? { isRoot, copy: true }
        : null;
    } catch (error) {
      if (isErrno(error, EACCES, EPERM)) throw error;
      // The file system does not answer, or the handle is stale.
      if (!isGone(error)) this.#unreadable.add(pid);
      return null;
    }
  }

  /**
   * True if a magic link's text shows that it leads into neither the mount nor
   * a copy. Then nothing asks that file system, whose server may be gone.
   */
  #isElsewhere(link: string): boolean {
    let path: string;
    try {
      path = readlinkat(AT_FDCWD, link);
    } catch (error) {
      if (isErrno(error, ENAMETOOLONG)) return false;
      throw error;
    }
    // It is a socket, a pipe or the like.
    if (!path.startsWith("/")) return true;
    const { mountPoint } = this;
    // A copy in another mount namespace may have another path.
    return mountPoint !== undefined && this.#peers === undefined &&
      mountPoint !== "/" && !`${path}/`.startsWith(`${mountPoint}/`);
  }

  /** True if a mount of a process's mount namespace is a copy of this one. */
  #isCopy(id: number, pid: number): boolean {
    const known = this.#copies.get(id);
    if (known !== undefined) return known;
    const table = readMountinfo(`/proc/${pid}`);
    const mount = lineOf(table, id);
    const parent = lineOf(table, mount?.parentId);
    const isCopy = mount !== undefined && parent !== undefined &&
      (parent.shared === this.#peers || parent.master === this.#peers) &&
      mount.root === this.#mount!.root &&
      placeIn(parent, mount) === placeIn(this.#parent!, this.#mount!);
    this.#copies.set(id, isCopy);
    return isCopy;
  }

  #lookAtMappings(process: string, who: Process): void {
    if (this.#mount === undefined) return;
    const device = this.#mount.deviceNumber.split(":")
      .map((number) => Number(number).toString(16).padStart(2, "0")).join(":");
    const text = readFile(`${process}/maps`);
    if (!text.includes(` ${device} `)) return;
    for (const line of text.split("\n")) {
      const [, range, deviceOfFile, path] = MAPPING.exec(line) ?? [];
      if (deviceOfFile !== device) continue;
      // The executable is mapped, too. A library is mapped in several parts.
      const key = `mapped file ${path}`;
      if (this.#found.has(`executable ${path}`) || this.#found.has(key)) {
        continue;
      }
      if (this.#timeIsUp()) return;
      const found = this.#isMapped(process, range!, path!, who.pid);
      if (found === null) continue;
      this.#found.add(key);
      const { copy } = found;
      const by = "mapped file";
      this.#add({ ...who, by, path: path!, ...(copy ? { copy } : {}) });
    }
  }

  /** Finds out if the file mapped at a range is in the mount; null if not. */
  #isMapped(process: string, range: string, path: string, pid: number) {
    try {
      const name = range.replaceAll(LEADING_ZEROS, "");
      return this.#leadsTo(`${process}/map_files/${name}`, pid);
    } catch (error) {
      if (!isErrno(error, EPERM)) throw error;
      // The link needs CAP_SYS_ADMIN in the first user namespace. Two mounts of
      // one file system have the same device number, so compare the path.
      const { mountPoint } = this.#mount!;
      return path.startsWith(mountPoint === "/" ? "/" : `${mountPoint}/`)
        ? { isRoot: false, copy: false }
        : null;
    }
  }
}

type Process = Pick<Holder, "own"> & { pid: number; command: string };

interface FoundMounts {
  isRoot: boolean;
  copy: boolean;
}

/** A line of /proc/PID/maps, proc_pid_maps(5). */
const MAPPING = /^(\S+) \S+ \S+ (\S+) \d+ +(\/.*)$/;

const LEADING_ZEROS = /\b0+(?=[0-9a-f])/g;

function processes(count: number): string {
  return count === 1 ? "1 process" : `${count} processes`;
}

/** The path of a mount point in the file system of the mount that it is on. */
function placeIn(parent: MountinfoLine, mount: MountinfoLine): string {
  const start = parent.mountPoint === "/" ? 0 : parent.mountPoint.length;
  const root = parent.root === "/" ? "" : parent.root;
  return root + mount.mountPoint.slice(start);
}

/** The names in a directory that are numbers, in its order. */
function numbersIn(path: string): string[] {
  using directory = open(path, O_RDONLY | O_DIRECTORY);
  return namesIn(directory.fd).filter((name) => /^\d+$/.test(name));
}

/** The state "disk sleep": the thread waits for a disk, or for a server. */
const WAITING = "D";

/** True if a descriptor has `O_PATH` without `O_DIRECTORY`, as of a mount. */
function isMountDescriptor(fdinfo: string): boolean {
  const flags = parseInt(readFields(fdinfo)("flags"), 8);
  return (flags & O_PATH) !== 0 && (flags & O_DIRECTORY) === 0;
}

/** True if a process, thread or descriptor ended meanwhile. */
function isGone(error: unknown): boolean {
  return isErrno(error, ENOENT, ESRCH);
}

/** The most processes and mounts that a hint names; the most uses of each. */
const MOST_NAMED = 5;

const MOST_USES = 3;

/**
 * Advises on a mount that is in use.
 *
 * @param search The holders.
 * @param target The caller's name for the mount; it begins the names of mounts
 * inside.
 * @param namedBy The caller's descriptor of the mount point, if the caller gave
 * no name: it may be open on the mount itself.
 */
export function busyHint(
  { holders, more, obstacles, mountPoint }: HolderSearch,
  target: string,
  namedBy?: number,
): string {
  const names = [...Map.groupBy(holders, ({ pid }) => pid).values()]
    .flatMap((uses) =>
      uses[0]!.pid === undefined
        ? uses.map((mount) => nameMount(mount, target, mountPoint))
        : nameProcess(uses, namedBy)
    );
  const parts = names.slice(0, MOST_NAMED);
  const unnamed = names.length - parts.length + more;
  if (unnamed > 0) parts.push(`${unnamed} more`);
  const doubts = obstacles.join(", ");
  if (parts.length === 0) {
    const unfound = `Something uses it, but was not found (${
      doubts || UNSEEN
    })`;
    // A mount that the table lacks may have mounts inside.
    return mountPoint === undefined
      ? unfound
      : `${unfound}; lazy unmounting still removes it`;
  }
  const found = `In use: ${parts.join("; ")}${doubts && ` (${doubts})`}`;
  const ours = holders.every((use) =>
    use.own && (use.by === "mount descriptor" || isNamedBy(use, namedBy))
  );
  if (ours) return found;
  // A lazy unmount would also remove the mounts inside. By the path, it would
  // remove the mount on top instead.
  const lazily = holders.some(({ by }) => by === "mount")
    ? ""
    : `, or unmount lazily (${optionName("lazy")})`;
  return `${found}; end, close or unmount that first${lazily}`;
}

/** Holders that no process shows. */
const UNSEEN =
  "a copy of it in another mount namespace, a loop device, a swap file, a socket's name";

function nameMount(
  { path, onTop }: Holder,
  target: string,
  mountPoint = "",
): string {
  if (onTop) return "another mount is on top of it";
  const below = `${mountPoint}/`;
  const name = path.startsWith(below)
    ? `${target.replace(/\/+$/, "")}/${path.slice(below.length)}`
    : path;
  return `${quote(name)} is mounted inside it`;
}

/** Names a process and its uses; of this process, each descriptor by itself. */
function nameProcess(uses: readonly Holder[], namedBy?: number): string[] {
  const { pid, command, own } = uses[0]!;
  const descriptors = uses.filter(({ fd }) => own && fd !== undefined);
  const names = descriptors.map((use) =>
    isNamedBy(use, namedBy)
      ? `descriptor ${use.fd} of this process, by which you named it, is open on it: name it from its parent directory`
      : use.by === "mount descriptor" && !use.copy
      ? `descriptor ${use.fd} of this process is the mount's own: close it first`
      : `descriptor ${use.fd} of this process is open on ${whereHeld(use)}`
  );
  const others = uses.filter((use) => !descriptors.includes(use));
  if (others.length === 0) return names;
  const shown = others.slice(0, MOST_USES).map((use) =>
    `${use.by}${use.fd === undefined ? "" : ` ${use.fd}`} ${whereHeld(use)}`
  );
  const rest = others.length - shown.length;
  if (rest > 0) shown.push(`${rest} more`);
  // Another user may have chosen the name: it must not steer the terminal.
  const who = own
    ? "this process"
    : `${quote(command!).slice(1, -1)} (pid ${pid})`;
  return [...names, `${who} by its ${shown.join(", ")}`];
}

function isNamedBy({ fd }: Holder, namedBy: number | undefined): boolean {
  return fd !== undefined && fd === namedBy;
}

function whereHeld({ path, copy }: Holder): string {
  return quote(path) + (copy ? " in a copy of the mount" : "");
}
