import { checkOptions, type OptionNames } from "../base/check.ts";
import { LITTLE_ENDIAN, MNT_ID_REQ, STATMOUNT } from "./layout.ts";
import { flagNames, int32, settle, tracer, uint32, uint64 } from "./call.ts";
import {
  LISTMOUNT_REVERSE,
  LSMT_ROOT,
  MNT_ID_REQ_SIZE_VER0,
  STATMOUNT_BY_FD,
  STATMOUNT_FS_SUBTYPE,
  STATMOUNT_FS_TYPE,
  STATMOUNT_MNT_BASIC,
  STATMOUNT_MNT_GIDMAP,
  STATMOUNT_MNT_NS_ID,
  STATMOUNT_MNT_OPTS,
  STATMOUNT_MNT_POINT,
  STATMOUNT_MNT_ROOT,
  STATMOUNT_MNT_UIDMAP,
  STATMOUNT_OPT_ARRAY,
  STATMOUNT_OPT_SEC_ARRAY,
  STATMOUNT_PROPAGATE_FROM,
  STATMOUNT_SB_BASIC,
  STATMOUNT_SB_SOURCE,
  STATMOUNT_SUPPORTED_MASK,
} from "./constants.ts";
import { isErrno } from "./error.ts";
import { EOVERFLOW } from "./errno.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { decodeText } from "../base/text.ts";

/** Options that name another mount namespace. */
export interface MountNamespaceOptions {
  /**
   * The mount namespace's id, as `mntNsId` gives it; since Linux 6.11.
   *
   * @default {0n}, this mount namespace
   */
  nsId?: bigint;
  /**
   * A descriptor of the mount namespace, from /proc/PID/ns/mnt, instead of
   * `nsId`; since Linux 6.18. The kernel takes 0 as no descriptor.
   *
   * @default {0}, this mount namespace
   */
  nsFd?: number;
}

/** The names of {@linkcode MountNamespaceOptions}. */
export const NAMESPACE_NAMES: OptionNames<MountNamespaceOptions> = {
  nsId: true,
  nsFd: true,
};

/** A `struct mnt_id_req`, and a function that prints it. */
export interface MntIdReq {
  buffer: Uint8Array<ArrayBuffer>;
  /** Prints the struct; each call formats its own `param`. */
  format: (param: string) => string;
}

const view = new DataView(new ArrayBuffer(MNT_ID_REQ.SIZE));

const buffer = new Uint8Array(view.buffer);

/**
 * Encodes a request of statmount(2) or listmount(2). The bytes are valid until
 * the next call: memory is reused, because lists make thousands of requests.
 */
export function mntIdReq(
  id: bigint,
  param: bigint,
  options: MountNamespaceOptions,
): MntIdReq {
  const mntId = uint64("id", id);
  const nsId = uint64("nsId", options.nsId ?? 0n);
  const nsFd = int32("nsFd", options.nsFd ?? 0);
  // Linux 6.8 knows only the first version.
  const size = options.nsId === undefined && options.nsFd === undefined
    ? MNT_ID_REQ_SIZE_VER0
    : MNT_ID_REQ.SIZE;
  view.setUint32(MNT_ID_REQ.size, size, LITTLE_ENDIAN);
  view.setInt32(MNT_ID_REQ.mnt_ns_fd, nsFd, LITTLE_ENDIAN);
  view.setBigUint64(MNT_ID_REQ.mnt_id, mntId, LITTLE_ENDIAN);
  view.setBigUint64(MNT_ID_REQ.param, param, LITTLE_ENDIAN);
  view.setBigUint64(MNT_ID_REQ.mnt_ns_id, nsId, LITTLE_ENDIAN);
  return {
    buffer,
    format: (param) => {
      const fields = [`size=${size}`];
      if (nsFd !== 0) fields.push(`mnt_ns_fd=${nsFd}`);
      fields.push(`mnt_id=${formatId(mntId)}`, `param=${param}`);
      if (nsId !== 0n) fields.push(`mnt_ns_id=${hexadecimal(nsId)}`);
      return `{${fields.join(", ")}}`;
    },
  };
}

function formatId(id: bigint): string {
  return id === LSMT_ROOT ? "LSMT_ROOT" : hexadecimal(id);
}

/** Prints a 64-bit value as strace(1) does. */
export function hexadecimal(value: bigint): string {
  return value === 0n ? "0" : `0x${value.toString(16)}`;
}

/**
 * The answer of {@linkcode statmount}: the fields of `struct statmount`. A
 * field that the answer's `mask` lacks is `undefined`: it was not requested,
 * the kernel does not know it, or the mount does not have it.
 */
export interface Statmount {
  /** The `STATMOUNT_*` bits of the fields that are there. */
  mask: bigint;
  /** Major number of the file system's device. */
  sbDevMajor: number | undefined;
  /** Minor number of the file system's device. */
  sbDevMinor: number | undefined;
  /** The file system's magic number. */
  sbMagic: bigint | undefined;
  /**
   * The flags of the file system itself: `MS_RDONLY`, `MS_SYNCHRONOUS`,
   * `MS_DIRSYNC` and `MS_LAZYTIME`. The mount may have others.
   */
  sbFlags: number | undefined;
  /** The mount's unique id. */
  mntId: bigint | undefined;
  /** The parent mount's unique id; a root mount has its own id here. */
  mntParentId: bigint | undefined;
  /** The mount's id in /proc/self/mountinfo, which is reused. */
  mntIdOld: number | undefined;
  /** The parent's id in /proc/self/mountinfo. */
  mntParentIdOld: number | undefined;
  /** `MOUNT_ATTR_*` that are set. */
  mntAttr: bigint | undefined;
  /** `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` and `MS_UNBINDABLE` that are set. */
  mntPropagation: bigint | undefined;
  /** The peer group of a shared mount, else 0. */
  mntPeerGroup: bigint | undefined;
  /** The peer group that a slave receives from, else 0. */
  mntMaster: bigint | undefined;
  /** The nearest dominant peer group under this thread's root. */
  propagateFrom: bigint | undefined;
  /** The mount's root, as a path in the file system. */
  mntRoot: string | undefined;
  /** The mount point, as a path from this thread's root; none if outside it. */
  mntPoint: string | undefined;
  /** The file system's type. */
  fsType: string | undefined;
  /** The file system's options, joined by commas, special characters as octals. */
  mntOpts: string | undefined;
  /** The id of the mount namespace. */
  mntNsId: bigint | undefined;
  /** The part after the dot of a type such as `fuse.sshfs`. */
  fsSubtype: string | undefined;
  /** The source that the file system was mounted from. */
  sbSource: string | undefined;
  /** The file system's options, each as it is. */
  optArray: string[] | undefined;
  /** The options of security modules, each as it is. */
  optSecArray: string[] | undefined;
  /** The `STATMOUNT_*` bits that this kernel knows. */
  supportedMask: bigint | undefined;
  /**
   * The user id ranges of an idmapped mount, as the caller's user namespace
   * sees them: the first inner id, the first outer id, the number of ids.
   */
  mntUidmap: [inner: number, outer: number, length: number][] | undefined;
  /** The group ids, in the same way. */
  mntGidmap: [inner: number, outer: number, length: number][] | undefined;
}

/** Options of {@linkcode statmount}. */
export interface StatmountOptions extends MountNamespaceOptions {
  /**
   * Flags of the call. With `STATMOUNT_BY_FD` (since Linux 7.0) `nsFd` is a
   * descriptor of the mount instead, and the id must be 0.
   *
   * @default {0}
   */
  flags?: number;
}

const STAT_NAMES: OptionNames<StatmountOptions> = {
  ...NAMESPACE_NAMES,
  flags: true,
};

const MASKS = {
  STATMOUNT_SB_BASIC,
  STATMOUNT_MNT_BASIC,
  STATMOUNT_PROPAGATE_FROM,
  STATMOUNT_MNT_ROOT,
  STATMOUNT_MNT_POINT,
  STATMOUNT_FS_TYPE,
  STATMOUNT_MNT_NS_ID,
  STATMOUNT_MNT_OPTS,
  STATMOUNT_FS_SUBTYPE,
  STATMOUNT_SB_SOURCE,
  STATMOUNT_OPT_ARRAY,
  STATMOUNT_OPT_SEC_ARRAY,
  STATMOUNT_SUPPORTED_MASK,
  STATMOUNT_MNT_UIDMAP,
  STATMOUNT_MNT_GIDMAP,
};

// A kernel leaves bits that it does not know out of the answer's mask.
const EVERYTHING = Object.values(MASKS).reduce((all, bit) => all | bit);

/** Room for the strings of an ordinary mount. */
const FIRST_BUFFER_SIZE = 4096;

/**
 * The most bytes that an answer may have. An overlay of 500 layers, with a path
 * of 4,095 bytes each, fills 10 MiB: the paths once plain, once all in octals.
 */
const LAST_BUFFER_SIZE = FIRST_BUFFER_SIZE * 4 ** 6;

/**
 * Gets a description of a mount.
 *
 * `int statmount(const struct mnt_id_req *req, struct statmount *buf, size_t bufsize, unsigned int flags);`
 *
 * Since Linux 6.8; see statmount(2). If the answer does not fit, the call is
 * repeated with a larger buffer, up to 16 MiB.
 *
 * @param id The mount's unique id: `mntId` of statx(2) with
 * `STATX_MNT_ID_UNIQUE`, or one from listmount(2).
 * @param mask `STATMOUNT_*`: the fields to get; all by default.
 * @param options The mount namespace, and flags.
 * @returns The kernel's answer.
 * @throws {SyscallError} ENOENT if the mount namespace has no such mount (a
 * detached mount, for example), or does not exist; EINVAL for an id that is not
 * unique, for both `nsId` and `nsFd`, for an `nsFd` that is no mount namespace,
 * and for any `nsFd` before Linux 6.18; EBADF for an `nsFd` that is not open;
 * EPERM without CAP_SYS_ADMIN for a mount outside this thread's root; EOVERFLOW
 * for an answer of more than 16 MiB.
 */
export function statmount(
  id: bigint,
  mask: bigint | number = EVERYTHING,
  options: StatmountOptions = {},
): Statmount {
  checkOptions(options, STAT_NAMES);
  const wanted = uint64("mask", mask);
  const flags = uint32("flags", options.flags ?? 0);
  // A tracer may call statmount() itself: it must not share the memory.
  let answer = tracer ? new Answer(FIRST_BUFFER_SIZE) : shared;
  while (true) {
    try {
      // Encode before each call: a tracer's own request uses the same memory.
      const request = mntIdReq(id, wanted, options);
      statInto(request, wanted, answer.bytes, flags);
      return decode(answer);
    } catch (error) {
      const { length } = answer.bytes;
      if (!isErrno(error, EOVERFLOW) || length >= LAST_BUFFER_SIZE) throw error;
      answer = new Answer(length * 4);
    }
  }
}

/** The memory for an answer. */
class Answer {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  /** Views of the strings, by the answer's size: making a view takes time. */
  readonly #strings: Uint8Array[] = [];

  constructor(size: number) {
    this.bytes = new Uint8Array(new ArrayBuffer(size));
    this.view = new DataView(this.bytes.buffer);
  }

  get strings(): Uint8Array {
    const size = this.view.getUint32(STATMOUNT.size, LITTLE_ENDIAN);
    return this.#strings[size] ??= this.bytes.subarray(STATMOUNT.str, size);
  }
}

/** The memory of most answers, reused: lists make thousands of requests. */
const shared = new Answer(FIRST_BUFFER_SIZE);

function statInto(
  request: MntIdReq,
  mask: bigint,
  buffer: Uint8Array<ArrayBuffer>,
  flags: number,
): void {
  const result = libc.statmount(
    NR.statmount,
    request.buffer,
    buffer,
    BigInt(buffer.length),
    flags,
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "statmount", [
      request.format(flagNames(mask, MASKS)),
      "…",
      String(buffer.length),
      flagNames(flags, { STATMOUNT_BY_FD }),
    ]);
  }
}

function decode({ view, strings: bytes }: Answer): Statmount {
  const u32 = (offset: number) => view.getUint32(offset, LITTLE_ENDIAN);
  const u64 = (offset: number) => view.getBigUint64(offset, LITTLE_ENDIAN);
  const decoded = decodeText(bytes);
  // If so, each byte is one character: strings can be cut from `decoded`.
  const isAligned = decoded.length === bytes.length;
  const slice = (start: number, end: number) =>
    isAligned
      ? decoded.slice(start, end)
      : decodeText(bytes.subarray(start, end));
  function text(offset: number): string {
    const start = u32(offset);
    return slice(start, bytes.indexOf(0, start));
  }
  function texts(offset: number): string[] {
    const found: string[] = [];
    // The field before the offset has the number of strings.
    for (let start = u32(offset); found.length < u32(offset - 4);) {
      const end = bytes.indexOf(0, start);
      found.push(slice(start, end));
      start = end + 1;
    }
    return found;
  }
  const idMap = (offset: number) => texts(offset).map(parseIdMapping);
  // All named bits lie in the lower half.
  const mask = u32(STATMOUNT.mask);
  function when<T>(bit: number, read: (offset: number) => T, offset: number) {
    return (mask & bit) !== 0 ? read(offset) : undefined;
  }
  return {
    mask: u64(STATMOUNT.mask),
    sbDevMajor: when(STATMOUNT_SB_BASIC, u32, STATMOUNT.sb_dev_major),
    sbDevMinor: when(STATMOUNT_SB_BASIC, u32, STATMOUNT.sb_dev_minor),
    sbMagic: when(STATMOUNT_SB_BASIC, u64, STATMOUNT.sb_magic),
    sbFlags: when(STATMOUNT_SB_BASIC, u32, STATMOUNT.sb_flags),
    mntId: when(STATMOUNT_MNT_BASIC, u64, STATMOUNT.mnt_id),
    mntParentId: when(STATMOUNT_MNT_BASIC, u64, STATMOUNT.mnt_parent_id),
    mntIdOld: when(STATMOUNT_MNT_BASIC, u32, STATMOUNT.mnt_id_old),
    mntParentIdOld: when(STATMOUNT_MNT_BASIC, u32, STATMOUNT.mnt_parent_id_old),
    mntAttr: when(STATMOUNT_MNT_BASIC, u64, STATMOUNT.mnt_attr),
    mntPropagation: when(STATMOUNT_MNT_BASIC, u64, STATMOUNT.mnt_propagation),
    mntPeerGroup: when(STATMOUNT_MNT_BASIC, u64, STATMOUNT.mnt_peer_group),
    mntMaster: when(STATMOUNT_MNT_BASIC, u64, STATMOUNT.mnt_master),
    propagateFrom: when(
      STATMOUNT_PROPAGATE_FROM,
      u64,
      STATMOUNT.propagate_from,
    ),
    mntRoot: when(STATMOUNT_MNT_ROOT, text, STATMOUNT.mnt_root),
    mntPoint: when(STATMOUNT_MNT_POINT, text, STATMOUNT.mnt_point),
    fsType: when(STATMOUNT_FS_TYPE, text, STATMOUNT.fs_type),
    mntOpts: when(STATMOUNT_MNT_OPTS, text, STATMOUNT.mnt_opts),
    mntNsId: when(STATMOUNT_MNT_NS_ID, u64, STATMOUNT.mnt_ns_id),
    fsSubtype: when(STATMOUNT_FS_SUBTYPE, text, STATMOUNT.fs_subtype),
    sbSource: when(STATMOUNT_SB_SOURCE, text, STATMOUNT.sb_source),
    optArray: when(STATMOUNT_OPT_ARRAY, texts, STATMOUNT.opt_array),
    optSecArray: when(STATMOUNT_OPT_SEC_ARRAY, texts, STATMOUNT.opt_sec_array),
    supportedMask: when(
      STATMOUNT_SUPPORTED_MASK,
      u64,
      STATMOUNT.supported_mask,
    ),
    mntUidmap: when(STATMOUNT_MNT_UIDMAP, idMap, STATMOUNT.mnt_uidmap),
    mntGidmap: when(STATMOUNT_MNT_GIDMAP, idMap, STATMOUNT.mnt_gidmap),
  };
}

/** Parses one range of an id map: `inner outer length`. */
function parseIdMapping(line: string): [number, number, number] {
  return line.split(" ").map(Number) as [number, number, number];
}

/** Options of {@linkcode listmount}. */
export interface ListmountOptions extends MountNamespaceOptions {
  /**
   * The list starts after this id, in its order. The mount may be gone.
   *
   * @default {0n}, from the first mount on
   */
  last?: bigint;
  /**
   * List the newest mount first (`LISTMOUNT_REVERSE`); since Linux 6.11.
   *
   * @default {false}
   */
  reverse?: boolean;
  /**
   * The most ids to get, by one call; the kernel allows a million. With 0 the
   * call only reports errors, and the list is empty.
   *
   * @default {undefined}, all: as many calls as needed
   */
  count?: number;
  /**
   * Flags of the call, beside `LISTMOUNT_REVERSE`.
   *
   * @default {0}
   */
  flags?: number;
}

const LIST_NAMES: OptionNames<ListmountOptions> = {
  ...NAMESPACE_NAMES,
  last: true,
  reverse: true,
  count: true,
  flags: true,
};

/** The number of ids to get by each call, if no `count` is given. */
const PAGE_LENGTH = 1024;

/**
 * Lists the unique ids of the mounts below a mount, without the mount itself:
 * children, their children and so on, as far as this thread's root shows them.
 * `LSMT_ROOT` stands for that root; then the list has the root's mount, too.
 *
 * `ssize_t listmount(const struct mnt_id_req *req, uint64_t *mnt_ids, size_t nr_mnt_ids, unsigned int flags);`
 *
 * Since Linux 6.8; see listmount(2). Ids grow and are never reused: a mount
 * that stays in the tree between two calls is neither missed nor listed twice.
 *
 * @param id The mount's unique id, or `LSMT_ROOT`.
 * @param options The id to start after, the order, and the number of ids.
 * @returns The ids, the oldest mount's first unless `reverse` is set.
 * @throws {SyscallError} ENOENT if the mount namespace has no such mount,
 * EINVAL for an `id` or `last` that is no unique id, EOVERFLOW for a `count` of
 * more than a million, EPERM without CAP_SYS_ADMIN for a mount outside this
 * thread's root; for `nsId` and `nsFd` as statmount(2).
 */
export function listmount(
  id: bigint,
  options: ListmountOptions = {},
): bigint[] {
  checkOptions(options, LIST_NAMES);
  const flags = (uint32("flags", options.flags ?? 0) |
    (options.reverse ? LISTMOUNT_REVERSE : 0)) >>> 0;
  let last = uint64("last", options.last ?? 0n);
  if (options.count !== undefined) {
    const count = Number(uint64("count", options.count));
    return listPage(id, last, count, flags, options);
  }
  const ids: bigint[] = [];
  while (true) {
    const page = listPage(id, last, PAGE_LENGTH, flags, options);
    ids.push(...page);
    if (page.length < PAGE_LENGTH) return ids;
    last = page.at(-1)!;
  }
}

function listPage(
  id: bigint,
  last: bigint,
  count: number,
  flags: number,
  namespace: MountNamespaceOptions,
): bigint[] {
  const request = mntIdReq(id, last, namespace);
  const ids = new BigUint64Array(count);
  const buffer = new Uint8Array(ids.buffer);
  const length = libc.listmount(
    NR.listmount,
    request.buffer,
    buffer,
    BigInt(count),
    flags,
  );
  if (length === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (length === -1 || tracer) {
    settle(length, "listmount", [
      request.format(hexadecimal(last)),
      "…",
      String(count),
      flagNames(flags, { LISTMOUNT_REVERSE }),
    ]);
  }
  return Array.from(ids.subarray(0, length));
}
