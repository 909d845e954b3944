import {
  ATTRIBUTE_NAMES,
  type AttributeOptions,
  namedWords,
} from "../options/attributes.ts";
import {
  type AttributeChange,
  changeOfNew,
  type OptionsInput,
  type ParsedOptions,
  parseMountOptions,
  UNCHANGED,
} from "../options/mount_options.ts";
import { isLong, tooLong } from "../options/long_values.ts";
import { checkOptions, type OptionNames } from "../base/check.ts";
import { descriptorOf, type HasFd, OwnedFd } from "../fd/owned_fd.ts";
import { parseTarget } from "../options/target.ts";
import { quote } from "../base/text.ts";
import { attempt, MountError } from "../error/error.ts";
import { openTopmost } from "../kernel/place.ts";
import { openAt } from "../fd/open.ts";
import {
  changeAttributes,
  changes,
  negatesAccessTime,
  withWholeFields,
} from "./change.ts";
import {
  AT_RECURSIVE,
  FSPICK_CLOEXEC,
  FSPICK_EMPTY_PATH,
  MOUNT_ATTR_RDONLY,
  STATMOUNT_MNT_BASIC,
} from "../sys/constants.ts";
import { lineAt, statmountAt } from "../kernel/mount_id.ts";
import { lacks, SyscallError } from "../sys/error.ts";
import { ENOENT, ENOSYS, EPERM } from "../sys/errno.ts";
import { type Attempt, lookupOf } from "../error/attempt.ts";
import { fsconfigReconfigure, fspick } from "../sys/fscontext.ts";
import { inContext } from "./detached.ts";
import { superblockAt } from "../kernel/superblock.ts";
import { saidAgain } from "./superblock.ts";

/** Options of {@linkcode remountat}. */
export interface RemountOptions extends AttributeOptions {
  /**
   * The words of `mountat`, and the recursive words of `bindat`. Options with
   * names of their own override these words.
   */
  options?: OptionsInput;
  /**
   * Applies options with names of their own to all mounts below, too.
   *
   * @default {false}
   */
  recursive?: boolean;
}

const REMOUNT_NAMES: OptionNames<RemountOptions> = {
  ...ATTRIBUTE_NAMES,
  options: true,
  recursive: true,
};

/**
 * Changes the topmost mount on a target relative to a directory: everything
 * asked for, or nothing.
 *
 * Generic words, and options with names of their own, change the mount. All
 * other words change the file system, and so all its mounts. `ro` makes the
 * mount read-only, `ro=fs` the file system. What is not named stays as it is,
 * attributes included; mount(8), in contrast, resets attributes that are not
 * named. Options that a file system would forget are passed to it again.
 *
 * `rw` also makes a read-only file system writable (since Linux 6.8, if it is
 * known to be read-only).
 *
 * Attributes are changed first. If the file system then refuses its part, they
 * are restored. If restoring fails, too (a mount that was writable meanwhile
 * may have files open for writing), a `SuppressedError` has both errors. A
 * recursive change can't be restored, so it can't be combined with a change of
 * the file system.
 *
 * The target is resolved as by `mountat`. Needs the permission `--allow-ffi`. A
 * change of the mount needs Linux 5.12, and CAP_SYS_ADMIN in the user namespace
 * of the mount namespace. A change of the file system needs Linux 5.8, and
 * CAP_SYS_ADMIN in the file system's user namespace. See mount_setattr(2),
 * fspick(2).
 *
 * @example Make a mount read-only, and its file system smaller
 * ```ts
 * import { Directory, remountat } from "@meroton/mountat";
 * import { assertThrows } from "@std/assert";
 *
 * const path = Deno.makeTempDirSync();
 * using root = Directory.open(path);
 * using _tmp = root.mount("tmp", { type: "tmpfs", mkdir: true });
 * remountat(root, "tmp", { readonly: true, options: "size=1m" });
 * assertThrows(() => Deno.mkdirSync(`${path}/tmp/new`), Error);
 * ```
 *
 * @param dirfd The directory: a `Directory`, or an open descriptor.
 * @param target The mount point, relative to `dirfd`; `.` is the directory
 * itself, opened before the mount was put on it or after.
 * @param options The changes.
 * @throws {TypeError} For a wrong argument; before any system call.
 * @throws {RangeError} For an option that is too long.
 * @throws {MountError} EINVAL if nothing is mounted there, or for an option that
 * the file system refuses; EBUSY if files are open for writing in a mount or file
 * system that is to become read-only; ELOOP for a symlink in the target, EXDEV for a target that
 * leaves the directory, ENOENT; EPERM without the capability, for an attribute
 * that is locked, or a file system of another user namespace.
 * @throws {UnsupportedError} If the system or kernel can't do it.
 */
export function remountat(
  dirfd: number | HasFd,
  target: string,
  options: RemountOptions,
): void {
  const directory = descriptorOf(dirfd);
  const { path } = parseTarget(target);
  const parsed = parseRemount(options);
  const attempted = {
    action: `remount ${quote(target)}`,
    target,
    ...lookupOf(directory, path),
  };
  attempt(attempted, () => {
    using mount = path === "."
      ? openTopmost(directory)
      : openAt(directory, path);
    const remounted = { dirfd: mount.fd, path: "" };
    const at = { ...attempted, remounted };
    attempt(at, () => remountWhole(mount.fd, parsed, at));
  });
}

/**
 * Checks what is to change.
 *
 * @throws {TypeError | RangeError}
 */
export function parseRemount(options: RemountOptions): ParsedOptions {
  checkOptions(options, REMOUNT_NAMES);
  const named = namedWords(options, options.recursive);
  const all = parseMountOptions(options.options ?? "", named);
  const parsed = {
    ...all,
    // No remount changes dirsync. The other two say what is done anyway.
    parameters: all.parameters.filter(({ key, value }) =>
      value !== true || !["dirsync", "remount", "bind"].includes(key)
    ),
  };
  const { recursive, parameters, loop } = parsed;
  const below = changes(recursive);
  const long = parameters.find(isLong);
  if (long !== undefined) throw tooLong(long);
  if (loop !== undefined) {
    throw new TypeError('The option "loop" is for a new mount');
  }
  if (named.length === 0 && isEmpty(options.options)) {
    throw new TypeError("At least one option must say what to change");
  }
  if (below && parameters.length > 0) {
    throw new TypeError(
      `What is changed below can't go with an option of the file system: remount twice, once with "${
        parameters[0]!.key
      }"`,
    );
  }
  return parsed;
}

function isEmpty(options: OptionsInput = ""): boolean {
  const words = typeof options === "string" ? options : Object.keys(
    options ?? {},
  );
  return words.length === 0;
}

/**
 * Changes a mount and, if asked for, its file system. Options that the file
 * system would forget are passed to it again.
 */
function remountWhole(
  fd: number,
  change: ParsedOptions,
  attempted: Attempt,
): void {
  if (negatesAccessTime(change.own)) {
    const own = withWholeFields(change.own, attributesAt(fd));
    return remountWhole(fd, { ...change, own }, attempted);
  }
  const superblock = concernsSuperblock(change) ? superblockAt(fd) : null;
  const whole = superblock?.readOnly ? withWritable(change) : change;
  const { parameters } = whole;
  if (parameters.length === 0) {
    // If nothing is mounted, a word without effect is an error, too.
    if (!changes(whole.own) && !changes(whole.recursive)) pick(fd).close();
    return remount(fd, whole, attempted);
  }
  const again = saidAgain(superblock, parameters);
  const all = [...again.parameters, ...parameters];
  try {
    remount(fd, { ...whole, parameters: all }, attempted);
  } catch (error) {
    const refused = again.uncertain && error instanceof MountError &&
      error.cause.message.includes("FSCONFIG_CMD_RECONFIGURE");
    if (!refused) throw error;
    const certain = all.filter(({ optional }) => !optional);
    remount(fd, { ...whole, parameters: certain }, attempted);
  }
}

function concernsSuperblock(change: ParsedOptions): boolean {
  return change.parameters.length > 0 || isToBeWritable(change);
}

function isToBeWritable({ own, recursive }: ParsedOptions): boolean {
  const { attrClr, attrSet } = own;
  return (attrClr & ~attrSet & MOUNT_ATTR_RDONLY) !== 0 && !changes(recursive);
}

/** Adds `rw` for a read-only file system, if the mount is to be writable. */
function withWritable(change: ParsedOptions): ParsedOptions {
  const { parameters } = change;
  const said = parameters.some(({ key }) => key === "ro" || key === "rw");
  if (said || !isToBeWritable(change)) return change;
  return { ...change, parameters: [...parameters, { key: "rw", value: true }] };
}

function remount(
  fd: number,
  { own, recursive, parameters }: ParsedOptions,
  attempted: Attempt,
): void {
  if (parameters.length === 0 && !changes(recursive)) {
    changeAttributes(fd, 0, own);
    return;
  }
  let setBack = () => {};
  try {
    if (parameters.length === 0) {
      setBack = changeReversibly(fd, own);
      changeAttributes(fd, AT_RECURSIVE, recursive);
    } else {
      inContext(() => pick(fd).release(), parameters, attempted, (context) => {
        setBack = changeReversibly(fd, own);
        fsconfigReconfigure(context);
      });
    }
  } catch (error) {
    const action = `set back the attributes of ${quote(attempted.target)}`;
    try {
      attempt({ ...attempted, action }, setBack);
    } catch (failure) {
      throw new SuppressedError(failure, error);
    }
    throw error;
  }
  // The recursive change overwrote the mount's own attributes: set them again.
  // The propagation comes last, because it can't be undone: a mount that is made
  // shared again is in another peer group.
  if (changes(recursive) || own.propagation !== 0) {
    changeAttributes(fd, 0, own);
  }
}

function pick(fd: number): OwnedFd {
  return new OwnedFd(fspick(fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH));
}

/** Changes attributes, and returns a function that restores them. */
function changeReversibly(
  fd: number,
  { attrSet, attrClr }: AttributeChange,
): () => void {
  const change = { ...UNCHANGED, attrSet, attrClr };
  if (!changes(change)) return () => {};
  const before = attributesAt(fd);
  changeAttributes(fd, 0, change);
  const changed = attrSet | attrClr;
  const back = { attrSet: before & changed, attrClr: changed, propagation: 0 };
  return () => changeAttributes(fd, 0, back);
}

/** The `MOUNT_ATTR_*` of the mount whose root a descriptor is. */
function attributesAt(fd: number): number {
  try {
    return Number(statmountAt(fd, STATMOUNT_MNT_BASIC).mntAttr);
  } catch (error) {
    const what = "statmount, for attributes";
    if (!lacks(what, error, ENOSYS, EPERM)) throw error;
    const line = lineAt(fd, "");
    if (line === undefined) throw new SyscallError("statmount", ENOENT, []);
    // The mount table has no word for strictatime.
    const words = ["strictatime", ...line.options];
    return changeOfNew(parseMountOptions(words)).attrSet;
  }
}
