import type { SyscallError } from "./sys/error.ts";

/** What was attempted, for messages. */
export interface Attempt {
  /** As it follows "Cannot": `mount tmpfs on "proc"`. */
  readonly action: string;
  /** The target that the caller named. */
  readonly target: string;
  /** The file system's type, where one is mounted. */
  readonly type?: string;
}

/** The Linux version that each call came with. */
const SINCE: Readonly<Record<string, string>> = {
  fsopen: "5.2",
  fsconfig: "5.2",
  fsmount: "5.2",
  fspick: "5.2",
  move_mount: "5.2",
  open_tree: "5.2",
  openat2: "5.6",
};

/**
 * What a person can do about a failure, as far as the failed call and its
 * error tell.
 */
export function hintFor(
  { type }: Attempt,
  { syscall, code }: SyscallError,
): string | undefined {
  switch (code) {
    case "ENOSYS":
      return `this kernel has no such call, which came with Linux ${
        SINCE[syscall] ?? "an earlier version"
      }, or a seccomp filter hides it`;
    case "EPERM":
      return permissionHint(syscall, type);
    case "EACCES":
      return "A directory on the way may not be searched, or not written to, by this user";
    case "EBUSY":
      return syscall === "umount2"
        ? "Something uses it: a working directory, an open file, a mount inside it or on top of it; lazy unmounting takes it away all the same"
        : "The device or file system is in use with other options, or on another mount";
    case "ENODEV":
      return syscall === "fsopen"
        ? `This kernel knows no file system "${type}": see /proc/filesystems; its module may have to be loaded (modprobe ${type})`
        : "The device does not exist";
    case "EINVAL":
      return invalidHint(syscall);
    case "ELOOP":
      return syscall === "openat2"
        ? "A part of the target is a symlink, and targets follow none"
        : undefined;
    case "EXDEV":
      return syscall === "openat2"
        ? "The target leads out of its directory"
        : undefined;
    case "ENOENT":
      return syscall === "openat2"
        ? "The mount point must exist; the option mkdir makes it"
        : undefined;
    case "EMFILE":
      return "This process has as many descriptors open as it may: see ulimit -n";
    case "ENOSPC":
      return syscall === "move_mount"
        ? "The mount namespace has as many mounts as it may: see /proc/sys/fs/mount-max"
        : undefined;
    default:
      return undefined;
  }
}

function permissionHint(syscall: string, type?: string): string {
  const need =
    "Mounting takes CAP_SYS_ADMIN in the user namespace of the mount namespace: be root, or start under unshare -Urm";
  const reveals = syscall === "fsmount" || syscall === "move_mount";
  if ((type === "proc" || type === "sysfs") && reveals) {
    return `In a user namespace a new ${type} is refused where it would show what the existing one hides, by mounts over parts of it ("mount too revealing"); otherwise: ${need}`;
  }
  if (type === "proc" && syscall === "fsconfig") {
    return `A procfs takes CAP_SYS_ADMIN over its PID namespace too: start under unshare -Urmpf; otherwise: ${need}`;
  }
  return need;
}

function invalidHint(syscall: string): string | undefined {
  switch (syscall) {
    case "move_mount":
      return "The directory belongs to another mount namespace than this thread's (opened before an unshare, say), or to a mount that was lazily unmounted";
    case "umount2":
      return "Nothing is mounted there, or it is in another mount namespace, or locked to the mount it came with";
    default:
      return undefined;
  }
}
