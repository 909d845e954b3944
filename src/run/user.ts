/** Users by their names, as a root has them. */
import { AT_EMPTY_PATH, O_RDONLY, STATX_SIZE } from "../sys/constants.ts";
import { read, statx } from "../sys/file.ts";
import { isErrno } from "../sys/error.ts";
import { ELOOP, ENOENT, ENOTDIR } from "../sys/errno.ts";
import { open, openInRoot, S_IFREG, typeOf } from "../fd/open.ts";
import { type HasFd, type OwnedFd, procPath } from "../fd/owned_fd.ts";
import { attempt } from "../error/error.ts";
import { decodeText, quote } from "../base/text.ts";
import { optionName } from "../program.ts";
import type { RunOptions } from "./options.ts";

/**
 * Puts what a root's /etc/passwd and /etc/group say of a user in the place of its
 * name: as login(1) does it, but for what is said otherwise. They are read in the
 * root, through its symlinks, and nowhere else: passwd(5), group(5).
 *
 * @throws {RangeError} If it has no such user.
 * @throws {MountError} If the files can't be read.
 */
export function withUser(root: HasFd, options: RunOptions): RunOptions {
  const { user, ...others } = options;
  if (user === undefined) return options;
  const [, , uid, gid, , home, shell] = find(root, user);
  const group = options.gid ?? Number(gid);
  return {
    ...others,
    uid: Number(uid),
    gid: group,
    groups: options.groups ?? [...new Set([group, ...groupsOf(root, user)])],
    env: {
      HOME: home || "/",
      SHELL: shell || "/bin/sh",
      USER: user,
      LOGNAME: user,
      ...options.env,
    },
  };
}

function find(root: HasFd, user: string): string[] {
  const path = "/etc/passwd";
  const entry = entriesOf(root, path).find(([name, , uid, gid]) =>
    name === user && isId(uid) && isId(gid)
  );
  if (entry !== undefined) return entry;
  const hint = /^\d+(:\d+)?$/.test(user)
    ? `: numbers are for ${optionName("uid")} and ${optionName("gid")}`
    : "";
  throw new RangeError(
    `The root's ${path} has no user ${quote(user)}${hint}`,
  );
}

function groupsOf(root: HasFd, user: string): number[] {
  return entriesOf(root, "/etc/group")
    .filter(([, , gid, members]) =>
      isId(gid) && members?.split(",").includes(user)
    )
    .map(([, , gid]) => Number(gid));
}

/** The last id is none. */
function isId(text: string | undefined): boolean {
  return /^\d{1,10}$/.test(text ?? "") && Number(text) < 0xffff_ffff;
}

/** The fields of each line; none if there is no such file. */
function entriesOf(root: HasFd, path: string): string[][] {
  const attempted = { action: `read the root's ${path}`, target: path };
  const text = attempt(attempted, () => readInRoot(root.fd, path));
  return text.split("\n").map((line) => line.split(":"));
}

/** The most bytes that are read: no file that a system can use is longer. */
const MOST_BYTES = 0x100_0000;

function readInRoot(root: number, path: string): string {
  using found = findInRoot(root, path);
  // Opening a pipe would wait, and opening a device may do anything.
  if (found === null || typeOf(found.fd) !== S_IFREG) return "";
  using file = open(procPath(found.fd), O_RDONLY);
  const { size } = statx(file.fd, "", AT_EMPTY_PATH, STATX_SIZE);
  const bytes = new Uint8Array(Math.min(Number(size), MOST_BYTES));
  let length = 0;
  // Reading ends even if somebody keeps writing to the file.
  while (length < bytes.length) {
    const count = read(file.fd, bytes.subarray(length));
    if (count === 0) break;
    length += count;
  }
  return decodeText(bytes.subarray(0, length));
}

function findInRoot(root: number, path: string): OwnedFd | null {
  try {
    return openInRoot(root, path);
  } catch (error) {
    if (isErrno(error, ENOENT, ENOTDIR, ELOOP)) return null;
    throw error;
  }
}
