/**
 * The hint of a failure tells what a person can do about it. It is found by the
 * failed call, its error, and a look at the place where the call failed.
 */
import { busyHint, findHolders, type HolderSearch } from "./holders.ts";
import type { Advice, Attempt } from "./attempt.ts";
import { optionName } from "../program.ts";
import type { SyscallError } from "../sys/error.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { setTracer } from "../sys/call.ts";
import { idInTable } from "../kernel/mount_id.ts";
import {
  beneathHint,
  cloneHint,
  moveHint,
  remountHint,
  topmostInTable,
  unmountHint,
} from "./place_hint.ts";
import { hasProc } from "../kernel/probe.ts";
import { sinceLinux } from "../sys/calls.ts";
import { createHint, parameterHint, unknownTypeHint } from "./file_system.ts";
import { lookupHint } from "./lookup.ts";
import { permissionHint } from "./permission.ts";
import { quote } from "../base/text.ts";

/**
 * Advises on a failure by a look at the place where it happened. If that tells
 * nothing, advises by the failed call and its error alone.
 */
export function adviceOn(attempted: Attempt, cause: SyscallError): Advice {
  // The tracer shows what was attempted: these calls are not part of it.
  const tracer = setTracer(null);
  try {
    const search = searchHolders(attempted, cause);
    if (search !== null) {
      const { holders } = search;
      const { target, unmounted } = attempted;
      const namedBy = unmounted?.name === "." ? unmounted.dirfd : undefined;
      return { hint: busyHint(search, target, namedBy), holders };
    }
    const hint = lookForHint(attempted, cause);
    if (hint !== undefined) return { hint };
  } catch {
    // There may be no /proc. The caller must hear of the first failure.
  } finally {
    setTracer(tracer);
  }
  const hint = plainHint(attempted, cause);
  return hint === undefined ? {} : { hint };
}

function searchHolders(
  { unmounted, mountId: id, searchLimit: limit }: Attempt,
  { syscall, code }: SyscallError,
): HolderSearch | null {
  if (syscall !== "umount2" || code !== "EBUSY" || limit === 0) return null;
  const limits = limit === undefined ? {} : { limit };
  if (id !== undefined) return findHolders(idInTable(id), limits);
  if (unmounted === undefined) return null;
  return findHolders(topmostInTable(unmounted), limits);
}

function lookForHint(
  attempted: Attempt,
  cause: SyscallError,
): string | undefined {
  const { type = "", source, image, from, onto, remounted, unmounted } =
    attempted;
  const { syscall, code, message } = cause;
  if (syscall === "execveat" && ["EACCES", "EPERM"].includes(code)) {
    return "A security module or a seccomp filter may forbid to execute memory";
  }
  if (code === "EPERM" && image === undefined) {
    return permissionHint(cause, type);
  }
  if (code === "ENOENT" && IN_PROC.test(message) && !hasProc()) {
    return "This needs /proc, which is not mounted here";
  }
  const { lookup } = attempted;
  if (lookup !== undefined && LOOKING_UP.includes(syscall)) {
    const hint = lookupHint(lookup, syscall, code);
    if (hint !== undefined) {
      return code === "ENOENT" ? hint + missingHint(attempted) : hint;
    }
  }
  switch (syscall) {
    case "fsopen":
      return code === "ENODEV" ? unknownTypeHint(type) : undefined;
    case "fsconfig": {
      const { parameters = [] } = attempted;
      if (code === "EBUSY" && message.includes("FSCONFIG_CMD_CREATE_EXCL")) {
        return `There is one ${type} ${
          ONE_IN[type ?? ""] ?? "in the whole system"
        }, and these options would change it for everybody. Mount it without them; to change it for everybody, remount it. If none of its mounts is in sight, bind one`;
      }
      if (message.includes("FSCONFIG_CMD_CREATE")) {
        return createHint(type, source, parameters, code);
      }
      const last = parameters.at(-1);
      return message.includes("FSCONFIG_SET_") && last !== undefined
        ? parameterHint(last, code)
        : undefined;
    }
    case "move_mount":
      return onto !== undefined && MOVE_CODES.includes(code)
        ? (MOVE_BENEATH.test(message) ? beneathHint(onto) : null) ??
          moveHint(onto, from) ??
          (code === "ELOOP" ? NAMESPACE_IN_ITSELF : undefined)
        : undefined;
    case "open_tree":
    case "open_tree_attr":
      return from !== undefined && code === "EINVAL"
        ? cloneHint(from)
        : undefined;
    case "mount_setattr":
    case "fspick":
    case "statmount":
      return remounted !== undefined && REMOUNT_CODES.includes(code)
        ? remountHint(remounted)
        : undefined;
    case "umount2":
      if (code !== "EINVAL") return undefined;
      // The flags come after the path, which may hold any text.
      if (/MNT_(FORCE|DETACH)\|[^"]*MNT_EXPIRE[^"]*$/.test(message)) {
        return "The option to expire can't be combined with lazy or force";
      }
      return unmounted === undefined ? undefined : unmountHint(unmounted);
  }
  return undefined;
}

/** Where a file system exists once, if not in the whole system. */
const ONE_IN: Readonly<Record<string, string>> = {
  sysfs: "in a network namespace",
  mqueue: "in an IPC namespace",
  binfmt_misc: "in a user namespace",
};

/** The calls that look up the path of an attempt. */
const LOOKING_UP = [
  "openat2",
  "open_tree",
  "open_tree_attr",
  "mkdirat",
  "statx",
];

/** Advises on a mount point that does not exist. */
function missingHint({ lookup, mkdir, inFixed }: Attempt): string {
  if (mkdir !== false || !/target|destination/.test(lookup!.whose)) return "";
  return inFixed
    ? ", and no mount point can be made in /proc and /sys"
    : `: ${optionName("mkdir")} makes it`;
}

const MOVE_BENEATH = /MOVE_MOUNT_BENEATH[^"]*$/;

/** Matches the message of a call that failed for a path in /proc. */
const IN_PROC = /^[^"]*"\/proc\/((thread-)?self|\d+)\b/;

const REMOUNT_CODES = ["EINVAL", "ENOENT"];

const MOVE_CODES = ["EINVAL", "ENOENT", "ENOTDIR", "ELOOP"];

function plainHint(
  { type, mkdir, inFixed, follows, starts, image, lookup }: Attempt,
  cause: SyscallError,
): string | undefined {
  if (starts && cause.code === "ENOTDIR") {
    return "The working directory, or a part of its path, is a file; a directory is needed";
  }
  if (starts && cause.code === "ENOENT") {
    return "The root has no such directory";
  }
  if (starts && cause.code === "ELOOP") {
    return "The symlinks of the path lead in a circle, or one is a link of /proc that leads out of any root, such as /proc/self/root";
  }
  const { syscall, code, message } = cause;
  if (image !== undefined && code !== "ENOSYS") return loopHint(image, cause);
  switch (code) {
    case "ENOSYS":
      return missingCallHint(sinceLinux(syscall));
    case "EPERM":
      return "CAP_SYS_ADMIN is needed in the user namespace of the mount namespace: be root, or start under unshare -Urm";
    case "EACCES":
      if (syscall === "execve") {
        return "The file is not executable, or this user may not execute it";
      }
      return syscall === "fsconfig"
        ? "The file system refuses: if the device is read-only, use the option ro"
        : "This user may not search, or not write to, a directory on the path";
    case "ENOEXEC":
      return "The file has no #! line, and this kernel can't run it as a program: for a script, name the interpreter, as in sh FILE";
    case "EBUSY":
      if (
        syscall === "mount_setattr" ||
        message.includes("FSCONFIG_CMD_RECONFIGURE")
      ) {
        return "Files there are open for writing: close them before you make it read-only";
      }
      return syscall === "umount2"
        ? "Something uses it: a working directory, an open file, a mount inside it or on top of it: end, close or unmount that first"
        : "The device or file system is in use with other options, or on another mount";
    case "ENODEV":
      return syscall === "fsopen"
        ? `This kernel knows no file system ${
          quote(type ?? "")
        }: its module may have to be loaded (modprobe)`
        : "The device does not exist";
    case "EINVAL":
      return invalidHint(syscall, message);
    case "ELOOP":
      if (syscall !== "openat2") return undefined;
      return follows || lookup?.follows
        ? "The symlinks of the path lead in a circle"
        : "A part of the target is a symlink, and targets follow no symlinks";
    case "ENOTDIR":
      return syscall === "openat2"
        ? "The target, or a part of its path, is a file; a directory is needed"
        : undefined;
    case "EXDEV":
      return syscall === "openat2"
        ? "The target leads out of its directory"
        : undefined;
    case "ENOENT":
      if (syscall === "execve") {
        return "The root lacks the program, or the interpreter that the program names";
      }
      if (inFixed && syscall === "readlinkat") {
        return "The path leads through /proc/self, which is no process before the command is started";
      }
      if (syscall !== "openat2" || mkdir !== false) return undefined;
      return inFixed
        ? "No mount point can be made in /proc and /sys: use one that exists"
        : `The mount point must exist: ${optionName("mkdir")} makes it`;
    case "EAGAIN":
      return syscall === "umount2"
        ? "Marked for expiry: the next call unmounts it if it was not used meanwhile"
        : undefined;
    case "ENOTCONN":
      return "The server of a FUSE file system on the way is gone: unmount that";
    case "EMFILE":
      return "This process has reached its limit of open descriptors: see ulimit -n";
    case "ENOSPC":
      return syscall === "move_mount"
        ? "The mount namespace has reached its limit of mounts: see /proc/sys/fs/mount-max"
        : message.includes("CLONE_NEWPID")
        ? "The limit of PID namespaces, or of their depth, is reached: see /proc/sys/user/max_pid_namespaces"
        : syscall === "clone"
        ? "The limit of user namespaces is reached: see /proc/sys/user/max_user_namespaces"
        : undefined;
    default:
      return undefined;
  }
}

function missingCallHint(since: string | undefined): string {
  const version = since === undefined ? "" : `, which came with Linux ${since}`;
  return `this kernel has no such call${version}, or a seccomp filter hides it`;
}

const NAMESPACE_IN_ITSELF =
  "The source is a mount namespace, or one is bound inside it. The kernel binds only mount namespaces that were made after this thread's, so that none holds itself";

function invalidHint(syscall: string, message: string): string | undefined {
  switch (syscall) {
    case "mount_setattr":
    case "open_tree_attr":
      return message.includes("MOUNT_ATTR_IDMAP")
        ? "A file system there does not support id maps (ext4, xfs, btrfs, tmpfs and a few more do; procfs and sysfs don't), or the descriptor is not of a user namespace with maps"
        : undefined;
    case "write":
      return "The kernel refuses the id ranges: they overlap, or their text is longer than a page";
    case "move_mount":
      return "The directory is in another mount namespace (it was opened before an unshare, for example), or in a mount that was lazily unmounted";
    case "umount2":
      return "Nothing is mounted there, or the mount is in another mount namespace, or it is locked to its parent mount";
    default:
      return undefined;
  }
}

/**
 * Explains why the file could not be put behind a loop device.
 *
 * @param image The file's path.
 * @param cause The failed call.
 */
export function loopHint(
  image: string,
  { syscall, code, message }: SyscallError,
): string | undefined {
  if (syscall === "ioctl") return ioctlHint(code);
  const path = /^openat2\(AT_FDCWD, (".*?"), \{flags=/.exec(message)?.[1];
  if (path === quote(image)) {
    const lookup = {
      dirfd: AT_FDCWD,
      path: image,
      whose: "image",
      follows: true,
    };
    return lookupHint(lookup, syscall, code) ?? imageHint(path, code, message);
  }
  switch (code) {
    case "ENOENT":
    case "ENODEV":
    case "ENXIO":
      return path === '"/dev/loop-control"'
        ? "There are no loop devices: load the kernel's module (modprobe loop), or make the node in /dev (mknod /dev/loop-control c 10 237)"
        : `There is no loop device ${path}: if only the node is missing in /dev, mknod /dev/loopN b 7 N makes it`;
    case "EACCES":
    case "EPERM":
      return `This process may not open ${path}: loop devices are for root outside user namespaces, and for containers that were given them`;
  }
  return undefined;
}

function imageHint(
  image: string,
  code: string,
  message: string,
): string | undefined {
  const writes = message.includes("O_RDWR");
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return `The file ${image} does not exist`;
    case "EACCES":
    case "EPERM":
    case "EROFS":
    case "ETXTBSY":
      return writes
        ? `The file ${image} can't be written to by this process: with the option ro it is only read`
        : `The file ${image} may not be read by this process`;
    case "EISDIR":
      return NO_IMAGE;
  }
  return undefined;
}

const NO_IMAGE =
  "A loop device needs a regular file or a block device as the source";

function ioctlHint(code: string): string | undefined {
  switch (code) {
    case "EBUSY":
      return "The loop device is in use: the option loop without a value takes a free one";
    case "ENOTTY":
      return "The option loop names a file that is not a loop device";
    case "EINVAL":
      return NO_IMAGE;
  }
  return undefined;
}
