/** The ways to name a mount point to umount2(2), which takes only paths. */
import { fallBack, isErrno, SyscallError } from "../sys/error.ts";
import { EINVAL, ENOENT } from "../sys/errno.ts";
import { quote } from "../base/text.ts";
import { UMOUNT_NOFOLLOW } from "../sys/constants.ts";
import { umount2 } from "../sys/mount.ts";
import { procPath } from "../fd/owned_fd.ts";
import { hasProc } from "../kernel/probe.ts";

/** A way to name a mount point to umount2(2). */
export type UnmountStrategy = "procfd" | "worker" | "subprocess" | "mtab";

/** The mount table lacks the mount, or has several of its name. */
export class MountLookupError extends SyscallError {
  override readonly name = "MountLookupError";
  /** The table's answer, in words. */
  readonly detail: string;

  constructor(path: string, detail: string) {
    super("umount2", EINVAL, [quote(path)]);
    this.detail = detail;
  }
}

/** Unmounts the topmost mount on a name in a directory. */
export type Unmounter = (dirfd: number, name: string, flags: number) => void;

/** The strategies: src/late.ts gives all but `procfd`. */
const STRATEGIES: Record<UnmountStrategy, Unmounter | null> = {
  procfd: umountByDescriptor,
  worker: null,
  subprocess: null,
  mtab: null,
};

/** Gives the strategies but `procfd`. */
export function setStrategies(
  unmounters: Readonly<Record<Exclude<UnmountStrategy, "procfd">, Unmounter>>,
): void {
  Object.assign(STRATEGIES, unmounters);
}

/** True if there is a strategy of this name. */
export function isStrategy(name: string): name is UnmountStrategy {
  return Object.hasOwn(STRATEGIES, name);
}

function unmounterOf(strategy: UnmountStrategy): Unmounter {
  const unmounter = STRATEGIES[strategy];
  if (unmounter === null) throw new Error("src/late.ts is not loaded yet");
  return unmounter;
}

/**
 * Unmounts the topmost mount on a name in a directory. If the name is a
 * symlink, it is not followed.
 *
 * @param strategy The way; by default `procfd`, or `worker` if /proc is
 * missing.
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
    unmounterOf(strategy)(dirfd, name, flags);
    return;
  }
  try {
    umountByDescriptor(dirfd, name, flags);
  } catch (error) {
    if (!isErrno(error, ENOENT) || hasProc()) throw error;
    fallBack("/proc, for unmounting");
    unmounterOf("worker")(dirfd, name, flags);
  }
}

/** `procfd`: the magic link in /proc leads to the very directory. */
function umountByDescriptor(dirfd: number, name: string, flags: number): void {
  // The directory itself is reached only by following the magic link.
  if (name === ".") umount2(procPath(dirfd), flags);
  else umount2(`${procPath(dirfd)}/${name}`, flags | UMOUNT_NOFOLLOW);
}
