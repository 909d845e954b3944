/**
 * umount2(2) relative to a directory's descriptor, without /proc: on a thread
 * that has a working directory of its own (`unshare(CLONE_FS)`), fchdir(2), then
 * umount2(2) by name. The working directory of every other thread stays.
 */
import { cString, flags32, int32 } from "./argument.ts";
import {
  CLONE_FS,
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  UMOUNT_NOFOLLOW,
} from "./constants.ts";
import { flagNames, quote } from "./format.ts";
import { SyscallThread, type ThreadCall } from "./thread.ts";

let thread: { syscalls: SyscallThread; root: bigint } | null = null;

/**
 * Unmounts by a name in a directory, on a thread of its own. The calling thread
 * waits. The other one is started at the first call, used again, and ends when
 * it was idle for a moment.
 *
 * @param dirfd The directory.
 * @param name The mount point, relative to it.
 * @param flags `MNT_*`, `UMOUNT_NOFOLLOW`.
 * @param root What identifies the root and mount namespace of the calling
 * thread: when it changed, another thread is started.
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
