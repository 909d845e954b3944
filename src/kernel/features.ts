/**
 * Room `kernel`: What the kernel and /proc say of mounts and processes: ids,
 * the table, places, rights, features. It only looks.
 */
import { uname } from "../sys/process.ts";
import { privileges } from "./process.ts";
import {
  fsconfigCreate,
  fsconfigCreateExclusive,
  fsconfigSetFd,
  fsmount,
  fsopen,
  fspick,
} from "../sys/fscontext.ts";
import {
  attachesToDetached,
  errorOf,
  hasProc,
  knowsFlag,
  knowsMountBeneath,
  makesEmptyNamespaces,
  mayMount,
  NOT_OPEN,
  refusedMove,
  UNKNOWN_FLAG,
} from "./probe.ts";
import { mountSetattr, openTree, openTreeAttr, umount2 } from "../sys/mount.ts";
import { openat2, statx } from "../sys/file.ts";
import { listmount, statmount } from "../sys/statmount.ts";
import {
  AT_FDCWD,
  AT_NO_AUTOMOUNT,
  FSMOUNT_NAMESPACE,
  O_RDONLY,
  OPEN_TREE_NAMESPACE,
  STATMOUNT_BY_FD,
  STATX_MNT_ID,
  STATX_MNT_ID_UNIQUE,
} from "../sys/constants.ts";
import { isErrno, SyscallError } from "../sys/error.ts";
import { ENOSYS, EPERM } from "../sys/errno.ts";
import { open } from "../fd/open.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import { FAN_CLOEXEC, FAN_REPORT_MNT, fanotifyInit } from "../sys/event.ts";

/**
 * The abilities of this kernel and this process, as {@linkcode features} found them.
 * A feature is undefined if it could not be tried: a seccomp filter answers in
 * place of the kernel, or /proc or the capability to try it is missing.
 */
export interface Features {
  /**
   * The kernel's release, for people to read: the library draws no conclusions
   * from it.
   */
  release: string;
  /** fsopen(2) is there; since Linux 5.2. */
  fsopen: boolean | undefined;
  /** fsconfig(2) is there; since Linux 5.2. */
  fsconfig: boolean | undefined;
  /** fsmount(2) is there; since Linux 5.2. */
  fsmount: boolean | undefined;
  /** fspick(2) is there; since Linux 5.2. */
  fspick: boolean | undefined;
  /** move_mount(2) is there; since Linux 5.2. */
  moveMount: boolean | undefined;
  /** open_tree(2) is there; since Linux 5.2. */
  openTree: boolean | undefined;
  /** openat2(2) is there; since Linux 5.6. */
  openat2: boolean | undefined;
  /** mount_setattr(2) is there; since Linux 5.12. */
  mountSetattr: boolean | undefined;
  /** statmount(2) is there; since Linux 6.8. */
  statmount: boolean | undefined;
  /** listmount(2) is there; since Linux 6.8. */
  listmount: boolean | undefined;
  /** open_tree_attr(2) is there; since Linux 6.15. */
  openTreeAttr: boolean | undefined;
  /** umount2(2) is there; in every Linux, unless a seccomp filter hides it. */
  umount2: boolean | undefined;
  /** statx(2) tells the id of a mount; since Linux 5.8. */
  mountIds: boolean | undefined;
  /** statx(2) tells an id that is never used again; since Linux 6.8. */
  uniqueMountIds: boolean | undefined;
  /** A mount can be put beneath another, `MOVE_MOUNT_BENEATH`; since Linux 6.5. */
  mountBeneath: boolean | undefined;
  /**
   * A file system can be created exclusively, so that no existing one is
   * reused, `FSCONFIG_CMD_CREATE_EXCL`; since Linux 6.6.
   */
  createExclusive: boolean | undefined;
  /**
   * Mounts can be attached inside a detached mount; since Linux 6.15. Otherwise
   * a `MountTree` is built in a mount namespace of its own.
   */
  attachToDetached: boolean | undefined;
  /** fanotify(7) reports mounts and unmounts; since Linux 6.15. */
  mountEvents: boolean | undefined;
  /** procfs shows the PID namespace that its parameter `pidns` names; since Linux 6.18. */
  procPidns: boolean | undefined;
  /** statmount(2) takes a descriptor, `STATMOUNT_BY_FD`; since Linux 7.0. */
  statmountByFd: boolean | undefined;
  /**
   * open_tree(2) makes a mount namespace of a copied tree, `OPEN_TREE_NAMESPACE`;
   * since Linux 7.0.
   */
  openTreeNamespace: boolean | undefined;
  /**
   * fsmount(2) makes a mount namespace of a new file system, `FSMOUNT_NAMESPACE`;
   * since Linux 7.1.
   */
  fsmountNamespace: boolean | undefined;
  /**
   * A mount namespace can start empty, `UNSHARE_EMPTY_MNTNS` of unshare(2) and
   * `CLONE_EMPTY_MNTNS` of clone3(2); since Linux 7.1.
   */
  emptyMountNamespace: boolean | undefined;
  /**
   * This thread may mount: it has CAP_SYS_ADMIN in the user namespace that owns
   * its mount namespace, and no seccomp filter refuses it.
   */
  mayMount: boolean | undefined;
  /** CAP_SYS_ADMIN is effective, in this thread's own user namespace. */
  sysAdmin: boolean | undefined;
  /** This thread's user namespace is the initial one. */
  initialUserNamespace: boolean | undefined;
  /** /proc/self/fd leads to what this process has open. */
  proc: boolean;
  /** A seccomp filter is set on this thread. */
  seccompFilter: boolean | undefined;
}

/**
 * Finds out what this kernel and this process can do. It tries each thing,
 * because a kernel may have more or less than its release says. It leaves
 * nothing behind, and makes no mount that anything else can see. The result is
 * not cached: threads differ in capabilities and namespaces.
 *
 * Needs the permission `--allow-ffi`.
 *
 * @example See whether procfs can show another PID namespace
 * ```ts
 * import { features } from "@meroton/mountat";
 *
 * const { procPidns, release } = features();
 * if (!procPidns) console.log(`Linux ${release} can't, or not for this process`);
 * ```
 *
 * @returns The features.
 * @throws {UnsupportedError} If the system is not Linux, or the processor is
 * unknown.
 * @throws {Deno.errors.NotCapable} Without the permission.
 */
export function features(): Features {
  const { release } = uname();
  const found = unlessItFails(privileges);
  const filtered = found?.filtered;
  const refused = filtered === false ? true : undefined;
  return {
    release,
    // A filter's EPERM looks like the kernel's own.
    fsopen: isThere(() => fsopen("", UNKNOWN_FLAG), refused),
    fsmount: isThere(() => fsmount(NOT_OPEN, UNKNOWN_FLAG), refused),
    fspick: isThere(() => fspick(NOT_OPEN, "", UNKNOWN_FLAG), refused),
    moveMount: isThere(refusedMove, refused),
    umount2: isThere(() => umount2(""), refused),
    // The kernel never answers these with EPERM: only a filter does.
    fsconfig: isThere(() => fsconfigCreate(NOT_OPEN), false),
    openTree: isThere(() => openTree(NOT_OPEN, "", 0), false),
    openat2: isThere(() => openat2(NOT_OPEN, "", { flags: 0 }), false),
    mountSetattr: isThere(
      () => mountSetattr(NOT_OPEN, "", UNKNOWN_FLAG, {}),
      false,
    ),
    statmount: isThere(() => statmount(NO_MOUNT), false),
    listmount: isThere(() => listmount(NO_MOUNT, { count: 0 }), false),
    openTreeAttr: isThere(() => openTreeAttr(NOT_OPEN, "", 0), false),
    mountIds: tellsMountIds(STATX_MNT_ID),
    uniqueMountIds: tellsMountIds(STATX_MNT_ID_UNIQUE),
    mountBeneath: knowsMountBeneath(),
    createExclusive: knowsCreateExclusive(),
    attachToDetached: unlessItFails(attachesToDetached),
    mountEvents: knowsMountEvents(),
    procPidns: unlessItFails(knowsProcPidns),
    statmountByFd: knowsFlag(() =>
      statmount(NO_MOUNT, 0, { nsFd: NOT_OPEN, flags: STATMOUNT_BY_FD })
    ),
    openTreeNamespace: knowsFlag(() =>
      openTree(NOT_OPEN, "x", OPEN_TREE_NAMESPACE)
    ),
    fsmountNamespace: knowsFlag(() => fsmount(NOT_OPEN, FSMOUNT_NAMESPACE)),
    emptyMountNamespace: makesEmptyNamespaces(),
    mayMount: mayMount(),
    sysAdmin: found?.sysAdmin,
    initialUserNamespace: found?.initialUserNamespace,
    proc: hasProc(),
    seccompFilter: filtered,
  };
}

/** No mount has this id. */
const NO_MOUNT = 0n;

/** Returns the answer of a probe; undefined if the probe's own calls fail. */
function unlessItFails<T>(probe: () => T): T | undefined {
  try {
    return probe();
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}

/**
 * True if the kernel has a system call.
 *
 * @param call Makes the system call, with arguments that every kernel refuses.
 * @param refused The answer if the call fails with EPERM.
 */
function isThere(
  call: () => void,
  refused: boolean | undefined,
): boolean | undefined {
  const code = errorOf(call);
  return code === "EPERM" ? refused : code !== "ENOSYS";
}

function tellsMountIds(bit: number): boolean | undefined {
  try {
    return (statx(AT_FDCWD, "/", AT_NO_AUTOMOUNT, bit).mask & bit) !== 0;
  } catch (error) {
    // The kernel answers neither of these: a filter does.
    if (isErrno(error, ENOSYS, EPERM)) return false;
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}

/** The kernel refuses an unknown command before it looks at the descriptor. */
function knowsCreateExclusive(): boolean | undefined {
  const code = errorOf(() => fsconfigCreateExclusive(NOT_OPEN));
  return code === "EBADF";
}

function knowsMountEvents(): boolean | undefined {
  try {
    new OwnedFd(fanotifyInit(FAN_REPORT_MNT | FAN_CLOEXEC, 0)).close();
    return true;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return ["EINVAL", "ENOSYS"].includes(error.code) ? false : undefined;
  }
}

/** Sets the parameter only: it creates no file system. */
function knowsProcPidns(): boolean | undefined {
  using own = open("/proc/thread-self/ns/pid", O_RDONLY);
  using context = new OwnedFd(fsopen("proc"));
  const code = errorOf(() => fsconfigSetFd(context.fd, "pidns", own.fd));
  if (code === undefined) return true;
  return code === "EINVAL" ? false : undefined;
}
