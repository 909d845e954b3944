/**
 * The options that are repeated to a file system that exists already. In many
 * file systems, a reconfiguration resets the options that it does not name. A
 * further mount of a file system that exists only once does so, too.
 */
import { type Parameter, SUPERBLOCK_FLAGS } from "../options/mount_options.ts";
import {
  mayBeInFirstCgroupNamespace,
  type Superblock,
  superblockOf,
} from "../kernel/superblock.ts";
import type { Creation } from "./detached.ts";
import { fsconfigCreate, fsconfigCreateExclusive } from "../sys/fscontext.ts";
import { lacks, SyscallError } from "../sys/error.ts";
import { EBUSY, EOPNOTSUPP } from "../sys/errno.ts";

/**
 * The types that keep the options that a reconfiguration does not name (seen on
 * Linux 6.18).
 */
const KEEPING: readonly string[] = [
  ...["tmpfs", "ramfs", "hugetlbfs", "devtmpfs", "proc", "sysfs", "bpf"],
  ...["mqueue", "securityfs", "fusectl", "binfmt_misc", "pstore", "autofs"],
  ...["ext2", "ext3", "ext4", "overlay", "fuse", "fuseblk"],
];

/**
 * The types that reset options, and which options they reset. All other types
 * are treated as if they reset all, unless they refuse the repetition.
 */
const FORGETTING: ReadonlyMap<string, RegExp> = new Map([
  ...["devpts", "cgroup", "cpuset", "cgroup2", "squashfs", "erofs", "debugfs"]
    .map((type): [string, RegExp] => [type, /^/]),
  ["tracefs", /^/],
  ["xfs", /^(inode(32|64)$|max_atomic_write=)/],
  ["btrfs", /^noacl$/],
]);

/** The words of security modules: no file system takes or forgets them. */
const SECURITY = /^(seclabel$|((fs|def|root)?context|smackfs\w+)=)/;

/** The parameters to repeat before those of a reconfiguration. */
export interface SaidAgain {
  readonly parameters: readonly Parameter[];
  /** True if the file system may refuse them: then it keeps its options. */
  readonly uncertain: boolean;
}

/**
 * Finds the parameters to repeat so that a reconfiguration changes nothing else.
 *
 * @param superblock The file system, null if nothing is known of it.
 * @param named The parameters that change.
 */
export function saidAgain(
  superblock: Superblock | null,
  named: readonly Parameter[],
): SaidAgain {
  if (superblock === null) return { parameters: [], uncertain: false };
  const { type, readOnly, options } = superblock;
  const names = named.map(({ key }) => key);
  // Without `ro`, many file systems become writable.
  const flags: Parameter[] =
    readOnly && !names.includes("ro") && !names.includes("rw")
      ? [{ key: "ro", value: true }]
      : [];
  const which = FORGETTING.get(type);
  const shown = KEEPING.includes(type) ? [] : options
    .filter((word) => (which ?? /^/).test(word) && !SECURITY.test(word))
    .map(shownParameter)
    .filter(({ key }) => !names.includes(key));
  return {
    parameters: [...flags, ...shown],
    uncertain: which === undefined && shown.length > 0,
  };
}

/** The parameter of an option that the kernel shows, but may refuse. */
function shownParameter(word: string): Parameter {
  const [key, ...value] = word.split("=");
  return {
    key: key!,
    value: value.length === 0 ? true : value.join("="),
    optional: true,
  };
}

/**
 * File systems that exist once. A further mount gives them its options (seen on
 * Linux 6.18; cgroup_get_tree(), debugfs_get_tree(), tracefs_get_tree()).
 */
const CHANGING: readonly string[] = ["cgroup2", "debugfs", "tracefs"];

/**
 * File systems that exist once, or once in each namespace of some kind. A
 * further mount silently ignores its options (get_tree_single(),
 * get_tree_keyed(), kernfs_get_tree()).
 */
const UNCHANGING: readonly string[] = [
  ...["sysfs", "devtmpfs", "pstore", "securityfs", "configfs", "efivarfs"],
  ...["fusectl", "binfmt_misc", "mqueue"],
];

/** The types of file systems that exist once. */
export const SINGLE: readonly string[] = [...CHANGING, ...UNCHANGING];

/**
 * How to create a file system that may exist already. If it exists, it keeps
 * its options; if it lacks an option that is asked for, the creation fails.
 *
 * @param type Its type, one of {@linkcode SINGLE}.
 * @param parameters The parameters that are asked for.
 */
export function creationOf(
  type: string,
  parameters: readonly Parameter[],
): Creation {
  const plain = { parameters, create: fsconfigCreate };
  const isChanging = CHANGING.includes(type);
  const flags = lastFlags(parameters);
  const asked = parameters.filter(({ key, optional }) =>
    key !== "source" && !optional && !SUPERBLOCK_FLAGS.includes(key)
  );
  // In other cgroup namespaces, the kernel ignores the options of cgroup2.
  const isIgnored = type === "cgroup2" && !mayBeInFirstCgroupNamespace();
  if (isIgnored && flags.length === 0) return plain;
  if (!isChanging && asked.length === 0 && flags.length === 0) return plain;
  const there = superblockOf(type);
  if (there === null) {
    // The kernel makes devtmpfs at boot, and never says that it exists.
    if (type === "devtmpfs") return plain;
    // The kernel itself holds the others. Without options, a mount changes
    // nothing about their files.
    return type === "cgroup2" || asked.length > 0 ||
        flags.some((flag) => !OPPOSITES.has(flag))
      ? { parameters, create: createIfToldApart }
      : plain;
  }
  const hasFlag = (flag: string) => {
    const opposite = OPPOSITES.get(flag);
    return opposite === undefined
      ? there.flags.includes(flag)
      : !there.flags.includes(opposite);
  };
  const has = (parameter: Parameter) =>
    there.options.some((word) => isShownAs(word, parameter));
  if (!flags.every(hasFlag) || !isIgnored && !asked.every(has)) {
    const create = type === "devtmpfs" ? refuse : createIfToldApart;
    return {
      parameters,
      create: isChanging ? fsconfigCreateExclusive : create,
    };
  }
  if (!isChanging || isIgnored) return plain;
  return {
    parameters: [
      ...parameters.filter((parameter) => !asked.includes(parameter)),
      ...there.options.map(shownParameter),
    ],
    create: fsconfigCreate,
  };
}

/** The flags that are off by default, by the words that turn them off. */
const OPPOSITES: ReadonlyMap<string, string> = new Map([
  ["rw", "ro"],
  ["async", "sync"],
  ["nolazytime", "lazytime"],
  ["nomand", "mand"],
]);

/** The flags that are asked for: the later of two opposites wins. */
function lastFlags(parameters: readonly Parameter[]): string[] {
  const last = new Map<string, string>();
  for (const { key } of parameters) {
    if (SUPERBLOCK_FLAGS.includes(key)) {
      last.set(OPPOSITES.get(key) ?? key, key);
    }
  }
  return [...last.values()];
}

/** True if the kernel shows a parameter as this word: mode=0711 as mode=711. */
function isShownAs(word: string, { key, value }: Parameter): boolean {
  if (value === true) return word === key;
  const shown = key === "mode" ? `${value}`.replace(/^0+(?=.)/, "") : value;
  return word === `${key}=${shown}`;
}

/**
 * Refuses devtmpfs as the kernel refuses the others. The kernel never refuses
 * devtmpfs: it "exclusively creates" the one that exists (devtmpfs_get_tree()).
 */
function refuse(context: number): never {
  throw new SyscallError("fsconfig", EBUSY, [
    { fd: context },
    "FSCONFIG_CMD_CREATE_EXCL",
    ...["NULL", "NULL", "0"],
  ]);
}

/** Creates a file system. Fails if it exists and the kernel can tell. */
function createIfToldApart(context: number): void {
  try {
    fsconfigCreateExclusive(context);
  } catch (error) {
    // Before Linux 6.6, the kernel can't tell.
    const what = "fsconfig, with FSCONFIG_CMD_CREATE_EXCL";
    if (!lacks(what, error, EOPNOTSUPP)) throw error;
    fsconfigCreate(context);
  }
}
