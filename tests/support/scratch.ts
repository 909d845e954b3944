/** What tests of single system calls share: mounts that go with their block. */
import { kernelTest, mountsBelow, SCRATCH } from "./testing.ts";
import { openat2, statx } from "../../src/sys/file.ts";
import { mkdirat } from "../../src/sys/names.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  MNT_DETACH,
  MOVE_MOUNT_F_EMPTY_PATH,
  O_CLOEXEC,
  O_PATH,
  O_RDONLY,
  OPEN_TREE_CLONE,
  STATX_MNT_ID_UNIQUE,
  STATX_TYPE,
} from "../../src/sys/constants.ts";
import { namesIn, S_IFMT } from "../../src/fd/open.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import {
  fsconfigCreate,
  fsconfigSetString,
  fsmount,
  fsopen,
} from "../../src/sys/fscontext.ts";
import { moveMount, umount2 } from "../../src/sys/mount.ts";
import { setTracer, type TracedCall } from "../../src/sys/call.ts";
import { libc, NR } from "../../src/sys/libc.ts";
import { isMounted, mountIdAt } from "../../src/kernel/mount_id.ts";
import { encodeText } from "../../src/base/text.ts";

/** A mount, with all that is below it unmounted at the end of its block. */
export interface ScratchMount extends Disposable {
  readonly path: string;
  readonly id: bigint;
}

/** Makes a directory in the scratch directory, or below; gives its path. */
export function makeDirectory(name: string): string {
  const path = `${SCRATCH}/${name}`;
  mkdirat(AT_FDCWD, path, 0o755);
  return path;
}

/** The names in a directory, sorted; read without a permission, as all here. */
export function namesAt(path: string): string[] {
  using directory = open(path, O_RDONLY);
  return namesIn(directory.fd).sort();
}

/** A character device: inode(7). */
export const S_IFCHR = 0o020000;

/** The type of a file, `S_IF*`. */
export function typeOf(path: string): number {
  return statx(AT_FDCWD, path, 0, STATX_TYPE).mode! & S_IFMT;
}

/** Opens something by its path. */
export function open(path: string, flags: number): OwnedFd {
  return new OwnedFd(openat2(AT_FDCWD, path, { flags: flags | O_CLOEXEC }));
}

/** Makes a file system, which no path shows yet. */
export function makeDetached(
  fstype: string,
  parameters: readonly (readonly [string, string])[] = [],
  attributes = 0,
): OwnedFd {
  using context = new OwnedFd(fsopen(fstype));
  for (const [key, value] of parameters) {
    fsconfigSetString(context.fd, key, value);
  }
  fsconfigCreate(context.fd);
  return new OwnedFd(fsmount(context.fd, undefined, attributes));
}

/** Puts a detached mount on a new directory. */
export function attach(mount: OwnedFd, name: string): ScratchMount {
  const path = makeDirectory(name);
  moveMount(mount.fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH);
  return {
    path,
    id: mountId(mount),
    [Symbol.dispose]: () => umount2(path, MNT_DETACH),
  };
}

/** Mounts a tmpfs on a new directory. */
export function mountTmpfs(name: string, attributes = 0): ScratchMount {
  using mount = makeDetached("tmpfs", [["source", "scratch"]], attributes);
  return attach(mount, name);
}

/** The unique id of the mount that a path or a descriptor leads into. */
export function mountId(at: string | OwnedFd): bigint {
  const [dirfd, path] = typeof at === "string" ? [AT_FDCWD, at] : [at.fd, ""];
  return statx(dirfd, path, AT_EMPTY_PATH, STATX_MNT_ID_UNIQUE).mntId!;
}

/** What the mount table says of the mount on a path: its options and tags. */
export function tableOptions(path: string): string {
  const line = mountsBelow(path).find((line) => line.split(" ")[4] === path)!;
  return line.split(" ").slice(5).join(" ").split(" - ")[0]!;
}

/** The calls that a function makes. */
export function tracedCalls(fn: () => void): TracedCall[] {
  const calls: TracedCall[] = [];
  const previous = setTracer((call) => calls.push(call));
  try {
    fn();
  } finally {
    setTracer(previous);
  }
  return calls;
}

/** Runs a function as on a kernel that lacks a call. */
export function withoutCall(name: keyof typeof NR, fn: () => void): void {
  const numbers: Record<string, number> = NR;
  const real = numbers[name]!;
  // No call has this number.
  numbers[name] = 9999;
  try {
    fn();
  } finally {
    numbers[name] = real;
  }
}

/** Runs a function as before Linux 6.8: mounts have but the ids of the table. */
export function withReusedIds(fn: () => void): void {
  const real = libc.statx;
  Object.defineProperty(libc, "statx", {
    value: ((number, fd, path, flags, mask, buffer) =>
      real(
        number,
        fd,
        path,
        flags,
        mask & ~STATX_MNT_ID_UNIQUE,
        buffer,
      )) satisfies typeof real,
  });
  try {
    withoutCall("statmount", () => withoutCall("listmount", fn));
  } finally {
    Object.defineProperty(libc, "statx", { value: real });
  }
}

/** Registers a test for kernels of both kinds of ids, where this one has both. */
export function idTest(name: string, fn: () => void): void {
  kernelTest(name, fn);
  kernelTest(`${name}, where ids are used again`, () => withReusedIds(fn));
}

/**
 * Until it is disposed of, the kernel neither attaches into a detached mount nor
 * copies it, as before Linux 6.15: this thread's calls answer EINVAL there.
 */
export function withoutDetachedTargets(): Disposable {
  const { move_mount: move, open_tree: open } = libc;
  const isDetached = (fd: number) =>
    fd >= 0 && isMounted(mountIdAt(fd)) === false;
  // They answer so for flags that they don't know.
  const unknown = -1 >>> 0;
  // Looking takes other calls, which write their paths where these have theirs.
  Object.defineProperty(libc, "move_mount", {
    value: ((number, from, path, to, toPath, flags) =>
      move(
        number,
        from,
        path!.slice(),
        to,
        toPath!.slice(),
        isDetached(to) ? unknown : flags,
      )) satisfies typeof move,
  });
  Object.defineProperty(libc, "open_tree", {
    value: ((number, fd, path, flags) =>
      open(
        number,
        fd,
        path!.slice(),
        (flags & OPEN_TREE_CLONE) !== 0 && isDetached(fd) ? unknown : flags,
      )) satisfies typeof open,
  });
  return {
    [Symbol.dispose]() {
      Object.defineProperty(libc, "move_mount", { value: move });
      Object.defineProperty(libc, "open_tree", { value: open });
    },
  };
}

/** Runs something while a call is refused with EPERM, as by a seccomp filter. */
export function withCallRefused(name: keyof typeof libc, fn: () => void): void {
  // linkat(2) of a directory is EPERM for everybody, and takes what
  // move_mount(2) takes.
  const linkat = Deno.build.arch === "aarch64" ? 37 : 265;
  const directory = encodeText("/\0");
  const link = encodeText("/nowhere\0");
  replacing(
    name,
    () => () => libc.move_mount(linkat, AT_FDCWD, directory, AT_FDCWD, link, 0),
    fn,
  );
}

/** Runs something while a call is made by another function. */
export function replacing<N extends keyof typeof libc>(
  name: N,
  replacement: (real: (typeof libc)[N]) => (typeof libc)[N],
  fn: () => void,
): void {
  const real = libc[name];
  const configurable = true;
  const value = replacement(real);
  Object.defineProperty(libc, name, { configurable, value });
  try {
    fn();
  } finally {
    Object.defineProperty(libc, name, { configurable, value: real });
  }
}

/** Calls that can be made to fail, and the argument that makes them. */
const BROKEN = {
  // No descriptor: EBADF.
  fsconfig: [0, -1],
  mount_setattr: [0, -1],
  move_mount: [0, -1],
  open_tree: [0, -1],
  write: [0, -1],
  // No flags: EINVAL.
  umount2: [1, 1 << 30],
} as const;

/**
 * Does something while one of a kind of calls fails: EBADF, or for umount2
 * EINVAL.
 *
 * @param name The call.
 * @param nth Which of them, counted from 1.
 * @param fn What is done.
 * @returns True if there were so many calls.
 */
export function withCallFailing(
  name: keyof typeof BROKEN,
  nth: number,
  fn: () => void,
): boolean {
  const real = libc[name] as (...args: unknown[]) => number;
  const [position, value] = BROKEN[name];
  let calls = 0;
  Object.defineProperty(libc, name, {
    configurable: true,
    value: (number: number, ...args: unknown[]) =>
      real(number, ...(++calls === nth ? args.with(position, value) : args)),
  });
  try {
    fn();
  } finally {
    Object.defineProperty(libc, name, { configurable: true, value: real });
  }
  return calls >= nth;
}

/** The number of a descriptor that is not open. */
export function closedFd(): number {
  using root = open("/", O_PATH);
  return root.fd;
}
