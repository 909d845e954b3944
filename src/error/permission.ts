/** The hint of EPERM, found by a look at this thread's rights. */
import type { SyscallError } from "../sys/error.ts";
import { privileges } from "../kernel/process.ts";
import { mayMount } from "../kernel/probe.ts";
import { readMountinfo } from "../kernel/mountinfo.ts";
import { quote } from "../base/text.ts";

/** The namespace that a file system shows, and unshare(1)'s option to get one. */
const SHOWS: Readonly<
  Record<string, { readonly namespace: string; readonly option: string }>
> = {
  proc: { namespace: "PID", option: "pf" },
  sysfs: { namespace: "network", option: "n" },
  mqueue: { namespace: "IPC", option: "i" },
  cgroup: { namespace: "cgroup", option: "C" },
  cgroup2: { namespace: "cgroup", option: "C" },
};

/** A capability's name, and its number: include/uapi/linux/capability.h. */
type Capability = readonly [name: string, bit: bigint];

const SYS_ADMIN: Capability = ["CAP_SYS_ADMIN", 21n];
const SETGID: Capability = ["CAP_SETGID", 6n];
const SETUID: Capability = ["CAP_SETUID", 7n];

/** The capabilities of calls that need more or other than CAP_SYS_ADMIN. */
const TAKES: Readonly<Record<string, readonly Capability[]>> = {
  setns: [SYS_ADMIN, ["CAP_SYS_CHROOT", 18n]],
  setgroups: [SETGID],
  setresgid: [SETGID],
  setresuid: [SETUID],
  prctl: [["CAP_SETPCAP", 8n]],
  prlimit: [["CAP_SYS_RESOURCE", 24n]],
  // An id map, user_namespaces(7).
  write: [SETUID, SETGID],
};

/**
 * Explains why a call answered EPERM.
 *
 * @param cause The failed call.
 * @param type The type of the file system, if the attempt mounts one.
 */
export function permissionHint(
  { syscall, message }: SyscallError,
  type = "",
): string {
  if (syscall === "mkdirat") {
    return "This file system lets nobody make directories";
  }
  const { uid, capabilities, filtered, initialUserNamespace } = privileges();
  const shows = SHOWS[type];
  const unshare = `unshare -Urm${shows?.option ?? ""}`;
  const lacking = (TAKES[syscall] ?? [SYS_ADMIN])
    .find(([, bit]) => (capabilities >> bit & 1n) === 0n);
  if (lacking !== undefined) {
    const where = initialUserNamespace ? "" : " in its user namespace";
    const how = uid === 0 ? "start the process with it" : "be root";
    // A new user namespace gives all capabilities, but neither more ids nor
    // higher limits.
    const or = lacking === SYS_ADMIN ? `, or start under ${unshare}` : "";
    return `${lacking[0]} is missing${where} (uid ${uid}): ${how}${or}`;
  }
  const filter = filtered
    ? "This process has a seccomp filter, which may refuse the call: start it without"
    : null;
  const mapsIds = message.includes("MOUNT_ATTR_IDMAP");
  if (initialUserNamespace) {
    if (mapsIds) return filter ?? MAPPED;
    return filter ??
      "The process has the capability; a security module may refuse the call: see the kernel's log";
  }
  const owned = shows !== undefined &&
    `The ${shows.namespace} namespace that ${type} would show belongs to another user namespace: unshare that, too (-${shows.option})`;
  switch (syscall) {
    case "fsconfig":
      if (message.includes("FSCONFIG_CMD_RECONFIGURE")) return FROM_OUTSIDE;
      return owned ||
        `${type} can't be mounted in a user namespace; tmpfs, proc, overlay, fuse and a few others can`;
    case "fsmount":
      return shows === undefined ? filter ?? OTHERS : revealHint(type);
    case "mount_setattr":
    case "open_tree_attr":
      return filter ?? (mapsIds ? OF_OTHERS : LOCKED_ATTRIBUTES);
    case "write":
      return filter ?? UNMAPPED;
    case "setgroups":
    case "setresgid":
    case "setresuid":
      return filter ?? FEW_IDS;
    case "prlimit":
      return filter ?? RAISED;
    case "umount2":
      if (/MNT_FORCE[^"]*$/.test(message)) {
        return "Force needs CAP_SYS_ADMIN in the user namespace of the file system: unmount without force";
      }
      break;
    case "fsopen":
      // fsopen(2) checks the owner of the network namespace at once.
      if (owned && mayMount()) return owned;
  }
  return filter ?? OTHERS;
}

const OTHERS =
  "The mount namespace belongs to another user namespace: make a new mount namespace, too (unshare -Urm)";

const FROM_OUTSIDE =
  "The file system belongs to a more privileged user namespace: only attributes of the mount can be changed from here";

const MAPPED =
  "The user namespace is the initial one, which has no map; or a mount there has an id map already, which only Linux 6.15 can replace";

const OF_OTHERS =
  "The file system belongs to a more privileged user namespace; or a mount there has an id map already; or the user namespace is this process's own";

const RAISED =
  "Raising a hard limit needs CAP_SYS_RESOURCE in the initial user namespace";

const FEW_IDS =
  "This user namespace has no other ids, or /proc/self/setgroups says deny: for more ids, use unshare --map-auto";

const UNMAPPED =
  "A map can contain only outside ids that this user namespace has itself: see /proc/self/uid_map and gid_map";

const LOCKED_ATTRIBUTES =
  "The mount came from a more privileged mount namespace: its ro, nosuid, nodev, noexec and noatime can't be removed";

/** Explains "mount too revealing": looks for mounts over the existing ones. */
function revealHint(type: string): string {
  const table = readMountinfo();
  const existing = table.filter((mount) => mount.type === type);
  // unshare(1) mounts a whole file system over another of its type: that hides
  // nothing.
  const over = table.filter((mount) =>
    existing.some(({ id }) => id === mount.parentId) &&
    !EMPTY.test(mount.mountPoint) &&
    !(mount.type === type && mount.root === "/")
  ).map(({ mountPoint }) => quote(mountPoint));
  const names = over.length > 3
    ? `${over.slice(0, 3).join(", ")} and ${over.length - 3} more`
    : over.join(", ");
  const what = existing.length === 0
    ? "none is there yet"
    : over.length === 0
    ? "the existing one shows less: it is read-only, say"
    : `the existing one has mounts over parts of it: ${names}`;
  return `In a user namespace the kernel refuses a new ${type} if ${what} ("mount too revealing"): bind an existing one, or change that outside`;
}

/** Directories that exist as mount points: mounts on them hide nothing. */
const EMPTY =
  /\/(fs\/(bpf|cgroup|fuse\/connections|nfsd|pstore|resctrl|selinux|smackfs)|kernel\/(config|debug|security|tracing)|firmware\/efi\/efivars|sys\/fs\/binfmt_misc)$/;
