/**
 * The directory that holds the records, and the state of the owners and mounts
 * that they name. The directory belongs to this user and is closed to all
 * others, so that nobody else decides what a sweep unmounts.
 */
import { OwnedFd } from "../fd/owned_fd.ts";
import { attempt, MountError } from "../error/error.ts";
import { isMounted, isUniqueId, mountId } from "../kernel/mount_id.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_NO_AUTOMOUNT,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  STATMOUNT_MNT_NS_ID,
  STATX_INO,
  STATX_MODE,
  STATX_TYPE,
  STATX_UID,
} from "../sys/constants.ts";
import { quote } from "../base/text.ts";
import { isErrno, lacks, SyscallError } from "../sys/error.ts";
import {
  EACCES,
  EEXIST,
  EINVAL,
  ENOENT,
  ENOSYS,
  ENOTDIR,
  EPERM,
  EROFS,
  ESRCH,
} from "../sys/errno.ts";
import { privileges, readStat } from "../kernel/process.ts";
import { openat2, statx } from "../sys/file.ts";
import { mkdirat } from "../sys/names.ts";
import { geteuid } from "../sys/process.ts";
import { BENEATH, openDirectoryAt, readFile } from "../fd/open.ts";
import {
  mayWrite,
  type MountNamespace,
  NAME,
  type Owner,
  parents,
  type RecordEntry,
} from "./file.ts";
import { statmount } from "../sys/statmount.ts";

/** The directory of records, open. */
export interface RecordDirectory {
  readonly path: string;
  readonly fd: OwnedFd;
  /** Its owner: this process's effective user. */
  readonly uid: number;
}

/**
 * Opens the directory of records.
 *
 * @param create True to make it if it is missing.
 * @returns The directory. null if it is missing, before Linux 6.8, and if
 * neither /run nor XDG_RUNTIME_DIR is this user's. With `create`, it is also
 * null if /proc is missing or mounted with subset=pid, if the directory can't
 * be made, or if Deno's permissions forbid it.
 * @throws {MountError} ELOOP for a symlink, ENOTDIR, EACCES for a directory that
 * is not this user's or not closed to others.
 * @throws {Deno.errors.NotCapable} Without the permission, unless `create`.
 */
export function openRecordDirectory(create: boolean): RecordDirectory | null {
  const attempted = { action: "find the records of mounts", target: "/run" };
  return attempt(attempted, () => {
    if (!isUniqueId(mountId(AT_FDCWD, "/", AT_NO_AUTOMOUNT))) return null;
    if (create && !hasBootId()) return null;
    const uid = geteuid();
    for (const parent of parents()) {
      using at = openIfPossible(parent);
      // No other user may rename what is in the parent directory.
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
    // Most often the directory exists: a mkdirat(2) that fails takes longer.
    let fd = openRecords(parent);
    if (fd === null && create && makeRecords(parent)) fd = openRecords(parent);
    if (fd === null) return null;
    try {
      if (isOnly(fd, uid, 0o077)) return { path, fd, uid };
      throw new MountError(
        attempted.action,
        path,
        new SyscallError("openat2", EACCES, [quote(path)]),
        {
          detail:
            "it must belong to this user, and be closed to all others (0700)",
        },
      );
    } catch (error) {
      fd.close();
      throw error;
    }
  });
}

/**
 * False if /proc is missing, or mounted with subset=pid: then processes, or the
 * boot, can't be identified.
 */
function hasBootId(): boolean {
  try {
    statx(AT_FDCWD, BOOT_ID, 0, STATX_TYPE);
    return true;
  } catch (error) {
    if (isErrno(error, ENOENT)) return false;
    throw error;
  }
}

/** True if a file belongs to a user, and others lack these permissions. */
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

/** Makes the directory. Returns false if the file system is read-only. */
function makeRecords(parent: OwnedFd): boolean {
  try {
    mkdirat(parent.fd, NAME, 0o700);
  } catch (error) {
    if (isErrno(error, EROFS)) return false;
    if (!isErrno(error, EEXIST)) throw error;
  }
  return true;
}

function openRecords(parent: OwnedFd): OwnedFd | null {
  const flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  try {
    return new OwnedFd(openat2(parent.fd, NAME, { flags, resolve: BENEATH }));
  } catch (error) {
    if (isErrno(error, ENOENT)) return null;
    throw error;
  }
}

/** This process, as the owner of a record. */
export function thisProcess(): Owner {
  const { pid, startTime } = readStat("/proc/self");
  return { pid, startTime, bootId: bootId() };
}

/** The file that has the id of this boot: random(4). */
export const BOOT_ID = "/proc/sys/kernel/random/boot_id";

/** The id of this boot. */
export function bootId(): string {
  return readFile(BOOT_ID).trimEnd();
}

/**
 * True if a process of this boot runs. A later process may have the same id,
 * but has another start time. A process of another PID namespace can't be
 * found.
 */
export function isRunning({ pid, startTime }: Owner): boolean {
  try {
    const stat = readStat(`/proc/${pid}`);
    return stat.startTime === startTime && !/[ZX]/.test(stat.state);
  } catch (error) {
    if (isErrno(error, ENOENT, ESRCH)) return false;
    throw error;
  }
}

/** The mount namespace of this thread. */
export function thisNamespace(): MountNamespace {
  const path = "/proc/thread-self/ns/mnt";
  return {
    inode: statx(AT_FDCWD, path, 0, STATX_INO).ino!,
    id: namespaceId(),
  };
}

function namespaceId(): bigint | undefined {
  const root = mountId(AT_FDCWD, "/", AT_NO_AUTOMOUNT);
  try {
    return statmount(root, STATMOUNT_MNT_NS_ID).mntNsId;
  } catch (error) {
    // EPERM comes from a seccomp filter that forbids the call.
    const what = "statmount, for the namespace";
    if (lacks(what, error, ENOSYS, EPERM)) return undefined;
    throw error;
  }
}

/** The whereabouts of a recorded mount. */
export type Whereabouts = "here" | "gone" | "other namespace" | "out of sight";

/**
 * Finds a recorded mount.
 *
 * @param entry Its line in the record.
 * @param here This thread's mount namespace.
 * @returns "gone" only if that is certain, "out of sight" if the kernel answers
 * no question about the mount.
 */
export function whereabouts(
  { id, namespace }: RecordEntry,
  here: MountNamespace,
): Whereabouts {
  const mounted = isMounted(id);
  if (mounted === null) return "out of sight";
  if (mounted) return "here";
  // An inode number is reused only once its namespace is gone.
  if (namespace.inode === here.inode) return "gone";
  return isIn(id, namespace) ? "other namespace" : "gone";
}

/** True if another mount namespace may have a mount. */
function isIn(id: bigint, namespace: MountNamespace): boolean {
  if (namespace.id === undefined) return true;
  try {
    statmount(id, 0, { nsId: namespace.id });
    return true;
  } catch (error) {
    // Linux 6.17 and before answers the same if the process may not ask.
    if (isErrno(error, ENOENT)) return !mayAskAboutAll();
    const what = "statmount, with an id of another namespace";
    if (lacks(what, error, EINVAL, EPERM)) return true;
    throw error;
  }
}

function mayAskAboutAll(): boolean {
  const { sysAdmin, initialUserNamespace } = privileges();
  return sysAdmin && initialUserNamespace;
}
