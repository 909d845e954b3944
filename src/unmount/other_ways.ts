/**
 * The ways to name a mount point to umount2(2) without the magic link in /proc:
 * the path in the mount table, a thread whose working directory is the
 * directory, and a process that inherits the directory's descriptor.
 */
import { SyscallThread, type ThreadCall } from "../sys/thread.ts";
import { cString, flagNames, flags32, int32, settle } from "../sys/call.ts";
import {
  type Argument,
  isErrno,
  SyscallError,
  UnsupportedError,
} from "../sys/error.ts";
import { ENOENT } from "../sys/errno.ts";
import { quote } from "../base/text.ts";
import {
  AT_FDCWD,
  AT_NO_AUTOMOUNT,
  AT_SYMLINK_NOFOLLOW,
  CLONE_FS,
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  UMOUNT_NOFOLLOW,
} from "../sys/constants.ts";
import { errno, libraryPath, NR } from "../sys/libc.ts";
import { umount2, UMOUNT_FLAGS } from "../sys/mount.ts";
import { stopIgnoring } from "../sys/process.ts";
import { program } from "../program.ts";
import { InheritableFd } from "../fd/owned_fd.ts";
import { pathOf } from "../fd/open.ts";
import { mountId } from "../kernel/mount_id.ts";
import { placeOf } from "../kernel/place.ts";
import { hasProc } from "../kernel/probe.ts";
import { listMounts } from "../list/list_mounts.ts";
import { MountLookupError } from "./strategy.ts";

/** `worker`: a thread whose working directory is the directory. */
export function umountOnThread(
  dirfd: number,
  name: string,
  flags: number,
): void {
  const root = mountId(AT_FDCWD, "/", AT_NO_AUTOMOUNT);
  threadUmount2(dirfd, name, flags | UMOUNT_NOFOLLOW, root);
}

/** `subprocess`: a child that inherits the directory's descriptor. */
export function umountInSubprocess(
  dirfd: number,
  name: string,
  flags: number,
): void {
  if (!name.isWellFormed()) {
    throw new TypeError(
      "A subprocess can't be given a name that is not UTF-8: use another strategy",
    );
  }
  if (!hasProc()) {
    // Deno finds its own program in /proc, and exits if it can't.
    throw new UnsupportedError(
      "Deno starts no process where /proc is missing: use another strategy",
    );
  }
  stopIgnoring("SIGCHLD");
  using inherited = new InheritableFd(dirfd);
  const { code, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: Deno.build.standalone
      ? programArguments(inherited.fd, name, flags)
      : [
        ...["run", "--no-prompt", "--allow-ffi"],
        umount2Program(inherited.fd, name, flags | UMOUNT_NOFOLLOW),
      ],
    stdin: "null",
  }).outputSync();
  const text = new TextDecoder();
  const failure = code === 0 ? null : parseFailure(text.decode(stdout));
  if (code !== 0 && failure === null) {
    throw new UnsupportedError(
      `The subprocess that should unmount ${
        quote(name)
      } failed with status ${code}: ${text.decode(stderr).trim()}`,
    );
  }
  const bits = (flags | UMOUNT_NOFOLLOW) >>> 0;
  settleChild([
    ["fchdir", [{ fd: inherited.fd }]],
    ["umount2", [quote(name), flagNames(bits, UMOUNT_FLAGS)]],
  ], failure);
}

/**
 * Reports the calls of a child as if this thread had made them: tells the
 * tracer of each, and throws for the one that failed.
 *
 * @throws {SyscallError}
 */
function settleChild(
  calls: readonly (readonly [syscall: string, args: readonly Argument[]])[],
  failure: { syscall: string; errno: number } | null,
): void {
  for (const [syscall, args] of calls) {
    const failed = failure?.syscall === syscall;
    if (failed) errno[0] = failure.errno;
    settle(failed ? -1 : 0, syscall, args);
  }
  if (failure !== null) {
    throw new SyscallError(failure.syscall, failure.errno, []);
  }
}

/** The arguments for a compiled program, which can run nothing but itself. */
function programArguments(fd: number, name: string, flags: number): string[] {
  if (program.url === null) {
    throw new UnsupportedError(
      "A compiled program that is not mountat can't unmount by a subprocess",
    );
  }
  return [
    "relative-unmount",
    "--json",
    ...(flags & MNT_DETACH ? ["--lazy"] : []),
    ...(flags & MNT_FORCE ? ["--force"] : []),
    ...(flags & MNT_EXPIRE ? ["--expire"] : []),
    "--",
    String(fd),
    name,
  ];
}

/** Parses what the subprocess prints about a failed call. */
function parseFailure(
  text: string,
): { syscall: string; errno: number } | null {
  try {
    const { syscall, errno } = JSON.parse(text);
    return typeof syscall === "string" && Number.isInteger(errno)
      ? { syscall, errno }
      : null;
  } catch {
    return null;
  }
}

/** `mtab`: the absolute path that the mount table has for the mount. */
export function umountByTable(
  dirfd: number,
  name: string,
  flags: number,
): void {
  const segments = segmentsOf(dirfd);
  const last = name === "." ? segments.pop() ?? "." : name;
  const path = [...segments, last].join("/");
  using place = placeOf({ dirfd, name });
  // If the name is missing, this throws ENOENT.
  if (name !== ".") mountId(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT);
  const id = place.topmost();
  const found = id === place.below()
    ? []
    : findMounts(listMounts(), last, segments);
  // If several mounts match, the topmost one at the place is meant.
  const mount = found.find((entry) => entry.id === id);
  if (mount !== undefined) {
    umount2(mount.target, flags | UMOUNT_NOFOLLOW);
    return;
  }
  throw new MountLookupError(
    path,
    found.length === 0
      ? `no mount ${quote(path)} in the mount table`
      : `ambiguous mount table lookup of ${quote(path)}: ${
        found.map(({ target }) => quote(target)).join(", ")
      }`,
  );
}

/** The components of a directory's path; none if /proc can't tell the path. */
function segmentsOf(dirfd: number): string[] {
  try {
    return pathOf(dirfd).split("/")
      .filter((component) => component !== "");
  } catch (error) {
    if (isErrno(error, ENOENT)) return [];
    throw error;
  }
}

/** The fields of a mount table's entry that are compared. */
export interface TableEntry {
  /** The mount's id. */
  readonly id: bigint;
  /** The path of the mount point. */
  readonly target: string;
}

/**
 * Finds mounts of a name in a mount table whose path leads through the given
 * directories, in order and next to each other.
 *
 * @param table The mount table.
 * @param name The last component of the mount point's path.
 * @param segments Components of the path before it.
 * @returns The entries, in the table's order.
 */
export function findMounts<T extends TableEntry>(
  table: readonly T[],
  name: string,
  segments: readonly string[],
): T[] {
  return table.filter(({ target }) => {
    const components = target.split("/").slice(1);
    return components.pop() === name && contains(components, segments);
  });
}

function contains(path: readonly string[], part: readonly string[]): boolean {
  for (let at = 0; at + part.length <= path.length; at++) {
    if (part.every((component, i) => path[at + i] === component)) return true;
  }
  return false;
}

let thread: { syscalls: SyscallThread; root: bigint } | null = null;

/**
 * Unmounts by a name in a directory, on another thread. The calling thread
 * waits. The other thread starts at the first call, is reused, and ends when it
 * has been idle for a moment.
 *
 * @param dirfd The directory.
 * @param name The mount point, relative to it.
 * @param flags `MNT_*`, `UMOUNT_NOFOLLOW`.
 * @param root The id of the mount at the calling thread's root. When it has
 * changed, so has the mount namespace or the root: another thread is started.
 * @throws {SyscallError} As umount2(2) and fchdir(2) answer.
 * @throws {UnsupportedError} When the thread can't be started.
 */
export function threadUmount2(
  dirfd: number,
  name: string,
  flags: number,
  root: bigint,
): void {
  dirfd = int32("dirfd", dirfd);
  const path = cString("name", name);
  const bits = flags32("flags", flags);
  if (thread?.root !== root || !thread.syscalls.hold()) {
    endThread();
    thread = { syscalls: startThread(), root };
  }
  thread.syscalls.make([
    { name: "fchdir", args: [dirfd], text: [{ fd: dirfd }] },
    {
      name: "umount2",
      args: [path, bits],
      text: [
        quote(name),
        flagNames(bits >>> 0, UMOUNT_FLAGS),
      ],
    },
  ], LEAVE);
}

/** A working directory keeps the mount that it lies in busy. */
const LEAVE: readonly ThreadCall[] = [
  { name: "chdir", args: [cString("path", "/")], text: [] },
];

function startThread(): SyscallThread {
  const thread = new SyscallThread();
  try {
    thread.make(
      [
        { name: "unshare", args: [CLONE_FS], text: ["CLONE_FS"] },
      ],
      LEAVE,
      true,
    );
  } catch (error) {
    thread.end();
    throw error;
  }
  return thread;
}

/** Ends the thread, if there is one, at once. */
export function endThread(): void {
  thread?.syscalls.end();
  thread = null;
}

/**
 * The program of the subprocess; its constant `task` is put in front. It
 * imports nothing, so that it also works if this module is in a bundle.
 */
const SOURCE = `
const call = (...parameters) => ({
  name: "syscall", parameters: ["i32", ...parameters], result: "i32",
});
const { symbols: libc } = Deno.dlopen(task.library, {
  fchdir: call("i32"),
  umount2: call("buffer", "i32"),
  memcpy: { parameters: ["buffer", "pointer", "usize"], result: "void" },
  __errno_location: { parameters: [], result: "pointer" },
});
const location = libc.__errno_location();
const errno = new Int32Array(new ArrayBuffer(4));
const name = new TextEncoder().encode(task.name + "\\0");
libc.memcpy(errno, location, 4);
function fail(syscall) {
  console.log(JSON.stringify({ syscall, errno: errno[0] }));
  Deno.exit(1);
}
const changed = libc.fchdir(task.fchdir, task.dirfd);
if (changed === -1) libc.memcpy(errno, location, 4);
if (changed === -1) fail("fchdir");
const unmounted = libc.umount2(task.umount2, name, task.flags);
if (unmounted === -1) libc.memcpy(errno, location, 4);
if (unmounted === -1) fail("umount2");
`;

/**
 * The program as a URL for `deno run`. When a call fails it prints `syscall` and
 * `errno` as JSON, and its exit status is 1.
 *
 * @param dirfd The directory, inherited by the process.
 * @param name The mount point, relative to it, without lone surrogates.
 * @param flags `MNT_*`, `UMOUNT_NOFOLLOW`.
 */
export function umount2Program(
  dirfd: number,
  name: string,
  flags: number,
): string {
  const { fchdir, umount2 } = NR;
  const library = libraryPath();
  const task = { library, fchdir, umount2, dirfd, name, flags };
  const source = `const task = ${JSON.stringify(task)};${SOURCE}`;
  return `data:text/javascript,${encodeURIComponent(source)}`;
}
