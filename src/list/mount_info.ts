/** The description of a mount, and its translation from each source. */
import type { Statmount } from "../sys/statmount.ts";
import { type MountinfoLine, splitOptions } from "../kernel/mountinfo.ts";
import {
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_RELATIME,
  MS_DIRSYNC,
  MS_LAZYTIME,
  MS_RDONLY,
  MS_SHARED,
  MS_SLAVE,
  MS_SYNCHRONOUS,
  MS_UNBINDABLE,
} from "../sys/constants.ts";

/** A mount, as `listMounts` found it. */
export interface MountInfo {
  /**
   * The kernel's unique id of the mount. Before Linux 6.8, it is the id in
   * /proc/self/mountinfo, which is reused.
   */
  id: bigint;
  /**
   * The id of the parent: the mount that this one is on. It may lie outside this
   * thread's root.
   */
  parentId: bigint;
  /** The mount's id in /proc/self/mountinfo, which is reused. */
  tableId: number;
  /** The parent's id in /proc/self/mountinfo. */
  parentTableId: number;
  /** The mount point, as a path from this thread's root. */
  target: string;
  /**
   * The directory or file of the file system that is mounted: a path in it, `/` for
   * all of it. If it was removed since, the path ends in `//deleted`.
   */
  root: string;
  /** The file system's type, with its subtype: `fuse.sshfs`. */
  type: string;
  /** The source that was mounted: a device, a name, or an empty string. */
  source: string;
  /**
   * The mount's own options, as mount(8) spells them: `ro` or `rw` first, then
   * those that are set. A mount with neither `noatime` nor `relatime` is
   * `strictatime`.
   */
  options: readonly string[];
  /** The file system's options, `ro` or `rw` first, then in its own words. */
  superOptions: readonly string[];
  /**
   * The propagation of mounts that are made inside this one: see the option
   * `propagation`. A mount that is both shared and a slave is `shared`, and has a
   * `master`.
   */
  propagation: "private" | "shared" | "slave" | "unbindable";
  /** The file system's device, as `major:minor`. */
  deviceNumber: string;
  /** The peer group of a shared mount. */
  peerGroup?: number;
  /** The peer group that a slave receives mounts from. */
  master?: number;
  /**
   * The nearest peer group in a slave's chain of masters that has a mount below
   * this thread's root. It is set only if the `master` has none there.
   */
  propagateFrom?: number;
}

export type MountIds = Pick<MountInfo, "id" | "parentId">;

/**
 * Translates the answers of statmount(2). Mounts that have the same options
 * share one array of them.
 */
export function statmountTranslator(): (answer: Statmount) => MountInfo {
  const options = remembering(attributeWords);
  const superOptions = remembering((flags: number) =>
    remembering((text: string) => [...flagWords(flags), ...splitOptions(text)])
  );
  return (answer) => {
    const { fsType, fsSubtype } = answer;
    const propagation = Number(answer.mntPropagation!);
    const peerGroup = Number(answer.mntPeerGroup!);
    const master = Number(answer.mntMaster!);
    const propagateFrom = Number(answer.propagateFrom ?? 0);
    const mount: MountInfo = {
      id: answer.mntId!,
      parentId: answer.mntParentId!,
      tableId: answer.mntIdOld!,
      parentTableId: answer.mntParentIdOld!,
      target: answer.mntPoint!,
      root: answer.mntRoot!,
      type: fsSubtype === undefined ? fsType! : `${fsType!}.${fsSubtype}`,
      source: answer.sbSource ?? "",
      options: options(Number(answer.mntAttr!)),
      superOptions: superOptions(answer.sbFlags!)(answer.mntOpts ?? ""),
      propagation: propagation & MS_SHARED
        ? "shared"
        : propagation & MS_SLAVE
        ? "slave"
        : propagation & MS_UNBINDABLE
        ? "unbindable"
        : "private",
      deviceNumber: `${answer.sbDevMajor!}:${answer.sbDevMinor!}`,
    };
    if (peerGroup !== 0) mount.peerGroup = peerGroup;
    if (master !== 0) mount.master = master;
    if (propagateFrom !== 0 && propagateFrom !== master) {
      mount.propagateFrom = propagateFrom;
    }
    return mount;
  };
}

/** Makes a function that remembers its answers. */
function remembering<Q, A>(answer: (question: Q) => A): (question: Q) => A {
  const answers = new Map<Q, A>();
  return (question) => {
    let known = answers.get(question);
    if (known === undefined) answers.set(question, known = answer(question));
    return known;
  };
}

/** A word for each attribute that is set, in the order of the mount table. */
const ATTRIBUTE_WORDS: readonly {
  readonly mask: number;
  readonly value: number;
  readonly word: string;
}[] = [
  { mask: MOUNT_ATTR_RDONLY, value: 0, word: "rw" },
  { mask: MOUNT_ATTR_RDONLY, value: MOUNT_ATTR_RDONLY, word: "ro" },
  { mask: MOUNT_ATTR_NOSUID, value: MOUNT_ATTR_NOSUID, word: "nosuid" },
  { mask: MOUNT_ATTR_NODEV, value: MOUNT_ATTR_NODEV, word: "nodev" },
  { mask: MOUNT_ATTR_NOEXEC, value: MOUNT_ATTR_NOEXEC, word: "noexec" },
  { mask: MOUNT_ATTR__ATIME, value: MOUNT_ATTR_NOATIME, word: "noatime" },
  {
    mask: MOUNT_ATTR_NODIRATIME,
    value: MOUNT_ATTR_NODIRATIME,
    word: "nodiratime",
  },
  { mask: MOUNT_ATTR__ATIME, value: MOUNT_ATTR_RELATIME, word: "relatime" },
  {
    mask: MOUNT_ATTR_NOSYMFOLLOW,
    value: MOUNT_ATTR_NOSYMFOLLOW,
    word: "nosymfollow",
  },
  { mask: MOUNT_ATTR_IDMAP, value: MOUNT_ATTR_IDMAP, word: "idmapped" },
];

function attributeWords(attributes: number): string[] {
  const words: string[] = [];
  for (const { mask, value, word } of ATTRIBUTE_WORDS) {
    if ((attributes & mask) === value) words.push(word);
  }
  return words;
}

/** A word for each flag that the file system has. */
function flagWords(flags: number): string[] {
  return [
    flags & MS_RDONLY ? "ro" : "rw",
    ...(flags & MS_SYNCHRONOUS ? ["sync"] : []),
    ...(flags & MS_DIRSYNC ? ["dirsync"] : []),
    ...(flags & MS_LAZYTIME ? ["lazytime"] : []),
  ];
}

/** Translates the lines of the mount table. */
export function fromTable(
  table: MountinfoLine[],
  ids: Map<number, MountIds> | null,
): MountInfo[] {
  return table.flatMap((line) => {
    const { id, parentId, shared, master, propagateFrom } = line;
    const own = ids === null
      ? { id: BigInt(id), parentId: BigInt(parentId) }
      : ids.get(id);
    if (own === undefined) return [];
    return {
      ...own,
      tableId: id,
      parentTableId: parentId,
      target: line.mountPoint,
      root: line.root,
      type: line.type,
      source: line.source,
      options: line.options,
      superOptions: line.superOptions,
      propagation: shared !== undefined
        ? "shared"
        : master !== undefined
        ? "slave"
        : line.unbindable
        ? "unbindable"
        : "private",
      deviceNumber: line.deviceNumber,
      ...(shared === undefined ? {} : { peerGroup: shared }),
      ...(master === undefined ? {} : { master }),
      ...(propagateFrom === undefined ? {} : { propagateFrom }),
    };
  });
}
