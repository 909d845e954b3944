/**
 * The ways to name a mount point to umount2(2) but the magic link in /proc: the
 * path that the mount table has, a thread whose working directory is the
 * directory, and a process that inherits the directory's descriptor.
 */
import { SyscallThread, type ThreadCall } from "../sys/thread.ts";
import { cString, flagNames, flags32, int32 } from "../sys/call.ts";
import { quote } from "../base/text.ts";
import {
  CLONE_FS,
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  UMOUNT_NOFOLLOW,
} from "../sys/constants.ts";
import { libraryPath, NR } from "../sys/libc.ts";

/** The part of a mount table's entry that is looked at. */
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
 * Unmounts by a name in a directory, on a thread of its own. The calling thread
 * waits. The other one is started at the first call, used again, and ends when
 * it was idle for a moment.
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
        flagNames(bits >>> 0, {
          MNT_FORCE,
          MNT_DETACH,
          MNT_EXPIRE,
          UMOUNT_NOFOLLOW,
        }),
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
    thread.make([
      { name: "unshare", args: [CLONE_FS], text: ["CLONE_FS"] },
    ], LEAVE);
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
 * The program of the process, which is given its task in front. It imports
 * nothing, so that it is there wherever this module came from, a bundle, say.
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
