/** Calls for a {@linkcode SyscallThread} that several of its users make. */
import { cString } from "./argument.ts";
import {
  AT_FDCWD,
  CLONE_FS,
  CLONE_NEWNS,
  CLONE_NEWPID,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_PRIVATE,
  MS_REC,
  O_CLOEXEC,
} from "./constants.ts";
import { flagNames, quote } from "./format.ts";
import type { ThreadCall } from "./thread.ts";

const ROOT = cString("path", "/");
const EMPTY = cString("path", "");

/** unshare(2): without `CLONE_FS` a thread can't change its mount namespace. */
export function unshare(flags: number): ThreadCall {
  const text = flagNames(flags, { CLONE_FS, CLONE_NEWNS, CLONE_NEWPID });
  return { name: "unshare", args: [flags], text: [text] };
}

/** setns(2). */
export function setns(fd: number, type: number): ThreadCall {
  const text = flagNames(type, { CLONE_NEWNS, CLONE_NEWPID });
  return { name: "setns", args: [fd, type], text: [{ fd }, text] };
}

/** mount(2): what is mounted in a copy of a namespace appears nowhere else. */
export function mountPrivately(): ThreadCall {
  return {
    name: "mount",
    args: [null, ROOT, null, MS_REC | MS_PRIVATE, null],
    text: ["NULL", '"/"', "NULL", "MS_REC|MS_PRIVATE", "NULL"],
  };
}

/** move_mount(2) of a detached tree to the root. */
export function moveToRoot(tree: number): ThreadCall {
  return {
    name: "move_mount",
    args: [tree, EMPTY, AT_FDCWD, ROOT, MOVE_MOUNT_F_EMPTY_PATH],
    text: [
      { fd: tree },
      '""',
      { fd: AT_FDCWD },
      '"/"',
      "MOVE_MOUNT_F_EMPTY_PATH",
    ],
  };
}

/** openat2(2) to read. */
export function openPath(path: string): ThreadCall {
  const how = new BigUint64Array([BigInt(O_CLOEXEC), 0n, 0n]);
  const bytes = new Uint8Array(how.buffer);
  return {
    name: "openat2",
    args: [AT_FDCWD, cString("path", path), bytes, bytes.length],
    text: [{ fd: AT_FDCWD }, quote(path), "{flags=O_RDONLY|O_CLOEXEC}", "24"],
  };
}
