/** The ways to name a mount point to umount2(2), which takes only paths. */
import { isErrno, SyscallError, UnsupportedError } from "../sys/error.ts";
import { EINVAL, ENOENT } from "../sys/errno.ts";
import { quote } from "../base/text.ts";
import {
  AT_FDCWD,
  AT_NO_AUTOMOUNT,
  AT_SYMLINK_NOFOLLOW,
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  UMOUNT_NOFOLLOW,
} from "../sys/constants.ts";
import { umount2 } from "../sys/mount.ts";
import { InheritableFd, procPath } from "../fd/owned_fd.ts";
import { mountId } from "../kernel/mount_id.ts";
import { findMounts, threadUmount2, umount2Program } from "./other_ways.ts";
import { hasProc } from "../kernel/probe.ts";
import { stopIgnoring } from "../sys/process.ts";
import { program } from "../program.ts";
import { placeOf } from "../kernel/place.ts";
import { listMounts } from "../list/list_mounts.ts";
import { pathOf } from "../fd/open.ts";

/** A way to name a mount point to umount2(2). */
export type UnmountStrategy = "procfd" | "worker" | "subprocess" | "mtab";

/** The mount table does not have the mount, or has several of its name. */
export class MountLookupError extends SyscallError {
  override readonly name = "MountLookupError";
  /** The table's answer, in words. */
  readonly detail: string;

  constructor(path: string, detail: string) {
    super("umount2", EINVAL, [quote(path)]);
    this.detail = detail;
  }
}

const STRATEGIES: Readonly<
  Record<
    UnmountStrategy,
    (dirfd: number, name: string, flags: number) => void
  >
> = {
  procfd: umountByDescriptor,
  worker: umountOnThread,
  subprocess: umountInSubprocess,
  mtab: umountByTable,
};

/** True if there is a strategy of this name. */
export function isStrategy(name: string): name is UnmountStrategy {
  return Object.hasOwn(STRATEGIES, name);
}

/**
 * Unmounts what is topmost on a name in a directory, which is not followed when
 * it is a symlink.
 *
 * @param strategy The way; by default `procfd`, or `worker` where /proc is missing.
 * @param dirfd The directory.
 * @param name A single component; `.` is the directory itself, opened before it
 * was mounted on.
 * @param flags `MNT_*`.
 * @throws {SyscallError} What umount2(2) answers.
 */
export function umountByStrategy(
  strategy: UnmountStrategy | undefined,
  dirfd: number,
  name: string,
  flags: number,
): void {
  if (strategy !== undefined) {
    STRATEGIES[strategy](dirfd, name, flags);
    return;
  }
  try {
    umountByDescriptor(dirfd, name, flags);
  } catch (error) {
    if (!isErrno(error, ENOENT) || hasProc()) throw error;
    umountOnThread(dirfd, name, flags);
  }
}

/** `procfd`: the magic link in /proc leads to the very directory. */
function umountByDescriptor(dirfd: number, name: string, flags: number): void {
  // To the directory itself the magic link must be followed.
  if (name === ".") umount2(procPath(dirfd), flags);
  else umount2(`${procPath(dirfd)}/${name}`, flags | UMOUNT_NOFOLLOW);
}

/** `worker`: a thread whose working directory is the directory. */
function umountOnThread(dirfd: number, name: string, flags: number): void {
  const root = mountId(AT_FDCWD, "/", AT_NO_AUTOMOUNT);
  threadUmount2(dirfd, name, flags | UMOUNT_NOFOLLOW, root);
}

/** `subprocess`: a child that inherits the directory's descriptor. */
function umountInSubprocess(dirfd: number, name: string, flags: number): void {
  if (!name.isWellFormed()) {
    throw new TypeError(
      "A subprocess can't be given a name that is not UTF-8: use another strategy",
    );
  }
  if (!hasProc()) {
    // Deno finds its own program there, and ends where it can't.
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
  if (code === 0) return;
  const text = new TextDecoder();
  const failure = parseFailure(text.decode(stdout));
  if (failure !== null) {
    throw new SyscallError(failure.syscall, failure.errno, [quote(name)]);
  }
  throw new UnsupportedError(
    `The subprocess that should unmount ${
      quote(name)
    } failed with status ${code}: ${text.decode(stderr).trim()}`,
  );
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

/** Parses what the subprocess prints of a call that failed. */
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
function umountByTable(dirfd: number, name: string, flags: number): void {
  const segments = segmentsOf(dirfd);
  const last = name === "." ? segments.pop() ?? "." : name;
  const path = [...segments, last].join("/");
  using place = placeOf({ dirfd, name });
  // A name that is missing is told as such.
  if (name !== ".") mountId(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT);
  const id = place.topmost();
  const found = id === place.below()
    ? []
    : findMounts(listMounts(), last, segments);
  // Of several of that name and way, the one that is there.
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

/** The components of a directory's path, none where /proc can't tell it. */
function segmentsOf(dirfd: number): string[] {
  try {
    return pathOf(dirfd).split("/")
      .filter((component) => component !== "");
  } catch (error) {
    if (isErrno(error, ENOENT)) return [];
    throw error;
  }
}
