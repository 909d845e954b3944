/**
 * Where records of mounts are: in a directory that belongs to this user and is
 * closed to all others, so that nobody else decides what a sweep unmounts.
 */
import { BENEATH, openDirectoryAt } from "./beneath.ts";
import { attempt, MountError } from "./error.ts";
import { privileges } from "./privileges.ts";
import { isUniqueId, mountId } from "./mount_id.ts";
import { OwnedFd } from "./owned_fd.ts";
import { bootId } from "./recorded.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_NO_AUTOMOUNT,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  STATX_MODE,
  STATX_UID,
} from "./sys/constants.ts";
import { EACCES, EEXIST, ENOENT, ENOTDIR, EROFS } from "./sys/errno.ts";
import { isErrno, SyscallError } from "./sys/error.ts";
import { quote } from "./sys/format.ts";
import { mkdirat } from "./sys/mkdirat.ts";
import { openat2 } from "./sys/openat2.ts";
import { statx } from "./sys/statx.ts";

const NAME = "mountat";
const RUNTIME = "XDG_RUNTIME_DIR";

/** The directory of records, open. */
export interface RecordDirectory {
  readonly path: string;
  readonly fd: OwnedFd;
  /** Whose it is: this process's effective user. */
  readonly uid: number;
}

/** Whether Deno's permissions let records be written, without a question. */
export function mayRecord(): boolean {
  return parents().some((parent) => mayWrite(`${parent}/${NAME}`));
}

/**
 * Opens the directory of records.
 *
 * @param create Whether to make it.
 * @returns null where it is missing, or nothing can be recorded: before Linux
 * 6.8, or where neither /run nor XDG_RUNTIME_DIR is this user's. To create also
 * where /proc, or what subset=pid hides of it, is missing, it can't be made, or
 * Deno's permissions don't allow it.
 * @throws {MountError} ELOOP for a symlink, ENOTDIR, EACCES for a directory that
 * is not this user's or not closed to others.
 * @throws {Deno.errors.NotCapable} Without the permission, when not to create.
 */
export function openRecordDirectory(create: boolean): RecordDirectory | null {
  const attempted = { action: "find the records of mounts", target: "/run" };
  return attempt(attempted, () => {
    if (!isUniqueId(mountId(AT_FDCWD, "/", AT_NO_AUTOMOUNT))) return null;
    const uid = effectiveUser(create);
    if (uid === null) return null;
    for (const parent of parents()) {
      using at = openIfPossible(parent);
      // Nobody else may rename what is in it.
      if (at !== null && isOnly(at, uid, 0o022)) {
        return openIn(at, `${parent}/${NAME}`, uid, create);
      }
    }
    return null;
  });
}

function openIn(
  parent: OwnedFd,
  path: string,
  uid: number,
  create: boolean,
): RecordDirectory | null {
  if (!mayWrite(path)) {
    if (create) return null;
    throw new Deno.errors.NotCapable(
      `Requires write access to "${path}": run again with --allow-write=${path}`,
    );
  }
  const attempted = { action: `use ${quote(path)} for records`, target: path };
  return attempt(attempted, () => {
    if (create && !makeDirectory(parent)) return null;
    const fd = openDirectory(parent);
    if (fd === null) return null;
    try {
      if (isOnly(fd, uid, 0o077)) return { path, fd, uid };
      throw new MountError(
        attempted.action,
        path,
        new SyscallError("openat2", EACCES, [quote(path)]),
        { detail: "it must be this user's, and closed to all others (0700)" },
      );
    } catch (error) {
      fd.close();
      throw error;
    }
  });
}

/** What may hold the directory, in the order of preference. */
function parents(): string[] {
  const { state } = Deno.permissions.querySync({
    name: "env",
    variable: RUNTIME,
  });
  const runtime = state === "granted" ? Deno.env.get(RUNTIME) : undefined;
  return runtime?.startsWith("/") ? ["/run", runtime] : ["/run"];
}

function mayWrite(path: string): boolean {
  const { state } = Deno.permissions.querySync({ name: "write", path });
  return state === "granted";
}

/**
 * null, where that may be, when /proc is missing: then no process, or boot, can
 * be told.
 */
function effectiveUser(orNull: boolean): number | null {
  try {
    // Nor without the part of it that subset=pid hides.
    if (orNull) bootId();
    return privileges().uid;
  } catch (error) {
    if (orNull && isErrno(error, ENOENT)) return null;
    throw error;
  }
}

/** Whether a file is a user's, and others lack these permissions. */
function isOnly({ fd }: OwnedFd, owner: number, others: number): boolean {
  const mask = STATX_UID | STATX_MODE;
  const { uid, mode } = statx(fd, "", AT_EMPTY_PATH, mask);
  return uid === owner && (mode! & others) === 0;
}

function openIfPossible(path: string): OwnedFd | null {
  try {
    return openDirectoryAt(AT_FDCWD, path, 0);
  } catch (error) {
    if (isErrno(error, ENOENT, ENOTDIR, EACCES)) return null;
    throw error;
  }
}

/** Returns false where nothing can be made. */
function makeDirectory(parent: OwnedFd): boolean {
  try {
    mkdirat(parent.fd, NAME, 0o700);
  } catch (error) {
    if (isErrno(error, EROFS)) return false;
    if (!isErrno(error, EEXIST)) throw error;
  }
  return true;
}

function openDirectory(parent: OwnedFd): OwnedFd | null {
  const flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  try {
    return new OwnedFd(openat2(parent.fd, NAME, { flags, resolve: BENEATH }));
  } catch (error) {
    if (isErrno(error, ENOENT)) return null;
    throw error;
  }
}
