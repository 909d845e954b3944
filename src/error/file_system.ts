/** Hints for a file system's type, source or options that are refused. */
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_NOCTTY,
  O_NONBLOCK,
  O_PATH,
  O_WRONLY,
  STATX_MNT_ID,
  STATX_TYPE,
} from "../sys/constants.ts";
import { open, pathOf, readFile, S_IFMT, S_IFREG } from "../fd/open.ts";
import { statx } from "../sys/file.ts";
import { lookupHint } from "./lookup.ts";
import type { Parameter } from "../options/mount_options.ts";
import { quote } from "../base/text.ts";
import { spelledAlike } from "../base/check.ts";
import { SyscallError } from "../sys/error.ts";

/**
 * Explains why a file system refused a parameter; undefined if unknown.
 *
 * @param parameter The parameter.
 * @param code The error's name.
 */
export function parameterHint(
  { key, value }: Parameter,
  code: string,
): string | undefined {
  if (typeof value !== "string") return undefined;
  if (code === "EINVAL") return unmappedHint(key, value);
  const path = value.startsWith(":") ? value.replace(/^:+/, "") : value;
  return lookupHint(
    { dirfd: AT_FDCWD, path, whose: `value of ${key}`, follows: true },
    "fsconfig",
    code,
  );
}

/** The parameters that are ids: `uid`, `fsgid`, `user_id`… */
const USER = /^(?:\w*uid|user_id)$/;
const GROUP = /^(?:\w*gid|group_id)$/;

/** Says that an id is not mapped in this user namespace; undefined if it is. */
function unmappedHint(key: string, value: string): string | undefined {
  const kind = USER.test(key) ? "user" : GROUP.test(key) ? "group" : null;
  if (kind === null || !/^\d+$/.test(value)) return undefined;
  const map = kind === "user" ? "uid_map" : "gid_map";
  const id = Number(value);
  const isMapped = readFile(`/proc/thread-self/${map}`).trim().split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .some(([inside, , length]) => id >= inside! && id < inside! + length!);
  return isMapped
    ? undefined
    : `The ${kind} id ${value} is not mapped in this user namespace: see /proc/self/${map}`;
}

/**
 * Explains why a file system could not be created.
 *
 * @param type The type of the file system.
 * @param source The source, if one was given.
 * @param parameters The parameters that were set.
 * @param code The error's name.
 */
export function createHint(
  type: string,
  source: string | undefined,
  parameters: readonly Parameter[],
  code: string,
): string | undefined {
  if (type === "overlay") return overlayHint(parameters, code);
  return source === undefined ? undefined : sourceHint(type, source, code);
}

/** Explains why a file system that takes a device refuses the source. */
function sourceHint(
  type: string,
  source: string,
  code: string,
): string | undefined {
  switch (code) {
    case "ENOTBLK":
      return `${
        quote(source)
      } is no block device: of a file the option loop makes one`;
    case "EROFS":
      return `${
        quote(source)
      } may have a journal to be replayed, and is only read: ro,noload (ext4), ro,norecovery (xfs) or ro,rescue=nologreplay (btrfs) leave the journal out${
        isWritableFile(source) ? "; without ro it is replayed" : ""
      }`;
    case "EINVAL":
    case "EUCLEAN":
      return takesDevice(type)
        ? `${
          quote(source)
        } may hold no ${type}, a damaged one, or what this kernel can't read: its log says more (dmesg)`
        : undefined;
  }
  return undefined;
}

function takesDevice(type: string): boolean {
  return readFile("/proc/filesystems").split("\n").includes(`\t${type}`);
}

/** True if a path is a regular file that this process may write to. */
function isWritableFile(path: string): boolean {
  try {
    using file = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK);
    const { mode } = statx(file.fd, "", AT_EMPTY_PATH, STATX_TYPE);
    return (mode! & S_IFMT) === S_IFREG;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return false;
  }
}

const OVERLAY_LOG =
  "overlay gives the reason only in the kernel's log: see dmesg";

/** Looks for usual causes, which overlayfs writes only to the kernel's log. */
function overlayHint(
  parameters: readonly Parameter[],
  code: string,
): string | undefined {
  const values = (key: string) =>
    parameters.filter((parameter) => parameter.key === key)
      .map(({ value }) => value);
  const layers = [...values("lowerdir"), ...values("lowerdir+")];
  const upper = values("upperdir").at(-1);
  const work = values("workdir").at(-1);
  if (code === "EBUSY") {
    return `The upperdir or the workdir is in use by another overlay: each overlay needs its own`;
  }
  if (layers.length === 0) return "An overlay needs a lowerdir";
  if (upper === undefined) {
    const [only] = layers;
    return layers.length === 1 && typeof only === "string" &&
        !only.includes(":")
      ? "An overlay without an upperdir needs at least two lower layers"
      : OVERLAY_LOG;
  }
  if (work === undefined) {
    return "An overlay with an upperdir needs a workdir, too: an empty directory on the same mount";
  }
  return (typeof upper === "string" && typeof work === "string"
    ? upperHint(upper, work)
    : undefined) ?? OVERLAY_LOG;
}

/** Explains why overlayfs refuses an upper layer and its workdir together. */
function upperHint(upper: string, work: string): string | undefined {
  using upperAt = open(upper, O_PATH);
  using workAt = open(work, O_PATH);
  const [upperMount, workMount] = [upperAt, workAt].map(({ fd }) =>
    statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID).mntId
  );
  if (upperMount !== workMount) {
    return `The upperdir and the workdir must be on the same mount, and ${
      quote(upper)
    } and ${quote(work)} are not`;
  }
  const [upperPath, workPath] = [upperAt, workAt].map(({ fd }) =>
    `${pathOf(fd)}/`
  );
  return upperPath!.startsWith(workPath!) || workPath!.startsWith(upperPath!)
    ? "The upperdir and the workdir must be separate directories, neither inside the other"
    : undefined;
}

/** Names the types of /proc/filesystems that are spelt like an unknown one. */
export function unknownTypeHint(type: string): string {
  const known = readFile("/proc/filesystems").split("\n")
    .map((line) => line.split("\t")[1] ?? "").filter((name) => name !== "");
  const alike = LINUX_HAS.has(type) ? [] : spelledAlike(type, known);
  const but = alike.length === 0 ? "" : `, but ${alike.map(quote).join(", ")}`;
  return `This kernel knows no file system ${
    quote(type)
  }${but} (see /proc/filesystems): its module may have to be loaded (modprobe)`;
}

/** Types that Linux has, perhaps as modules: none of them is a misspelling. */
const LINUX_HAS: ReadonlySet<string> = new Set(
  (
    "9p adfs affs afs autofs bcachefs befs bfs binder binfmt_misc bpf btrfs " +
    "ceph cgroup cgroup2 cifs coda configfs cramfs cuse debugfs devpts " +
    "devtmpfs ecryptfs efivarfs efs erofs exfat ext2 ext3 ext4 f2fs functionfs " +
    "fuse fuseblk fusectl gadgetfs gfs2 hfs hfsplus hostfs hpfs hugetlbfs " +
    "iso9660 jffs2 jfs lockd minix mqueue msdos nfs nfs4 nfsd nilfs2 ntfs " +
    "ntfs3 ocfs2 omfs orangefs overlay proc pstore qnx4 qnx6 ramfs reiserfs " +
    "resctrl romfs rpc_pipefs securityfs selinuxfs smackfs smb3 squashfs " +
    "sysfs sysv tmpfs tracefs ubifs udf ufs usbfs vboxsf vfat virtiofs xenfs " +
    "xfs zonefs"
  ).split(" "),
);
