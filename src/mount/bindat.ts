import {
  BIND_NAMES,
  type BindOptions,
  parseRecorder,
} from "../options/spec.ts";
import { createMount, type Mount } from "./mount.ts";
import { descriptorOf, type HasFd, OwnedFd } from "../fd/owned_fd.ts";
import { attachBeneath, type MountPlan } from "./attach.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  MS_SHARED,
  MS_SLAVE,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  STATMOUNT_MNT_BASIC,
} from "../sys/constants.ts";
import {
  parseBeneath,
  parseMkdir,
  parseSymlinks,
  parseTarget,
  pathArgument,
} from "../options/target.ts";
import { checkOptions, refuseRevoked } from "../base/check.ts";
import { namedWords, parseIdmap } from "../options/attributes.ts";
import { quote } from "../base/text.ts";
import {
  afterAttach,
  afterChange,
  beforeAttach,
  changeMount,
  changes,
  type MountChange,
  negatesAccessTime,
  withWholeFields,
} from "./change.ts";
import { idmapAttributes, type OpenIdmap, openIdmap } from "./idmap.ts";
import {
  parseMountOptions,
  SUPERBLOCK_FLAGS,
} from "../options/mount_options.ts";
import { mountId, statmountAt } from "../kernel/mount_id.ts";
import { statmount } from "../sys/statmount.ts";
import { mountSetattr, openTree, openTreeAttr } from "../sys/mount.ts";
import { fallBack, lacks, SyscallError } from "../sys/error.ts";
import { ENOSYS } from "../sys/errno.ts";
import { type At, lookupOfCaller } from "../error/attempt.ts";
import { attempt } from "../error/error.ts";

/**
 * Binds a directory or file: shows it a second time, on a target relative to a
 * directory.
 *
 * The target is resolved as in `mountat`. The source is trusted: its path may
 * lead through symlinks. The bind never appears without its attributes.
 *
 * Needs Linux 5.8, with attributes, propagation or an id map 5.12, the permission
 * `--allow-ffi`, and CAP_SYS_ADMIN in the user namespace of the mount namespace.
 * See open_tree(2), mount_setattr(2), move_mount(2).
 *
 * @example Show a directory at a second place
 * ```ts
 * import { bindat, Directory } from "@meroton/mountat";
 * import { assert } from "@std/assert";
 *
 * const path = Deno.makeTempDirSync();
 * using root = Directory.open(path);
 * using _bind = bindat(root, "host", "/proc", { mkdir: true });
 * assert(Deno.statSync(`${path}/host/self`).isDirectory);
 * ```
 *
 * @example Show a tree read-only, as if its files were another user's
 * ```ts
 * import { Directory } from "@meroton/mountat";
 * import { assertEquals } from "@std/assert";
 *
 * const path = Deno.makeTempDirSync();
 * using root = Directory.open(path);
 * using _work = root.mount("work", { type: "tmpfs", mkdir: true });
 * const map = [{ inside: 0, outside: 1000, length: 1 }];
 * using _view = root.bind(`${path}/work`, "view", {
 *   readonly: true,
 *   idmap: { uids: map, gids: map },
 *   recursive: true,
 *   mkdir: true,
 * });
 * assertEquals(Deno.statSync(`${path}/work`).uid, 0);
 * assertEquals(Deno.statSync(`${path}/view`).uid, 1000);
 * ```
 *
 * @param dirfd The directory: a `Directory`, or an open descriptor.
 * @param target The mount point, relative to `dirfd`.
 * @param source The source: a path, a `file:` URL, or a directory.
 * @param options Options of the mount.
 * @returns The mount; it is unmounted when the handle is disposed of.
 * @throws {TypeError} For a wrong argument; before any system call.
 * @throws {RangeError} For a mode that is out of range.
 * @throws {MountError} ENOENT for a missing source or target, EINVAL if a
 * file meets a directory or the source can't be bound, ENOTDIR if a directory
 * meets a file, ELOOP for a symlink in the target, EXDEV for a target that leaves
 * the directory, EPERM without the capability or for an attribute that is locked.
 * @throws {UnsupportedError} If the system or kernel can't do it.
 */
export function bindat(
  dirfd: number | HasFd,
  target: string,
  source: string | URL | HasFd,
  options: BindOptions = {},
): Mount {
  const directory = descriptorOf(dirfd);
  const plan = planBind(target, source, options);
  const { id, mountPoint, created } = attachBeneath(directory, plan);
  created.keep();
  return createMount(id, target, mountPoint, "bound", plan.whole);
}

/**
 * Checks the arguments of a bind.
 *
 * @param note The text that messages show after the target.
 * @param unsaid The propagation if the options name none.
 * @throws {TypeError | RangeError}
 */
export function planBind(
  target: string,
  source: string | URL | HasFd,
  options: BindOptions,
  note = "",
  unsaid = MS_SLAVE,
): MountPlan {
  const parsed = parseTarget(target);
  const from = parseSource(source);
  checkOptions(options, BIND_NAMES);
  const mode = parseMkdir(options.mkdir);
  const inRoot = parseSymlinks(options.symlinks);
  const asked = parseChange(options);
  const recursive = Boolean(options.recursive);
  const idmap = parseIdmap(options.idmap);
  const flags = recursive ? AT_RECURSIVE : 0;
  const attempted = {
    action: () => `bind ${sourceText(from)} to ${quote(target)}${note}`,
    target,
    from,
    mkdir: mode !== null,
  };
  return {
    target: parsed,
    mode,
    beneath: parseBeneath(options.beneath, parsed),
    inRoot,
    whole: recursive && asked.recursive.propagation !== MS_SHARED,
    attempted,
    make() {
      using namespace = idmap === null ? null : attempt(
        {
          ...attempted,
          ...(typeof idmap === "string"
            ? lookupOfCaller(idmap, "user namespace")
            : {}),
        },
        () => openIdmap(idmap, recursive),
      );
      const { dirfd, path } = from;
      const clone = attempt(
        () => ({ ...attempted, ...lookupOfCaller(path, "source", dirfd) }),
        () => cloneTree(dirfd, path, flags, namespace),
      );
      return afterChange(clone, () => {
        const change = beforeAttach(asked);
        let own = negatesAccessTime(change.own)
          ? withWholeFields(change.own, attributesAt(from))
          : change.own;
        if (!saysPropagation(asked, recursive)) {
          const some = asked.own.propagation !== 0;
          const propagation = some ? MS_SLAVE : unsaid;
          // One call sets attributes and propagation.
          if (!recursive && changes(own)) own = { ...own, propagation };
          else setPropagation(clone, flags, propagation);
        }
        changeMount(clone.fd, { ...change, own });
      });
    },
    finish: afterAttach(asked),
    record: parseRecorder(options.record),
  };
}

/** The attributes of the mount at a path; undefined if they can't be known. */
function attributesAt({ dirfd, path }: At): number | undefined {
  try {
    const { mntAttr } = path === ""
      ? statmountAt(dirfd, STATMOUNT_MNT_BASIC)
      : statmount(mountId(dirfd, path, 0), STATMOUNT_MNT_BASIC);
    return Number(mntAttr);
  } catch (error) {
    // The mount is detached or in another mount namespace, or before Linux 6.8.
    if (!(error instanceof SyscallError)) throw error;
    fallBack("statmount, for attributes of a source");
    return undefined;
  }
}

/** The words about a file system: mount(2) ignores them for a bind. */
const IGNORED_FLAGS = [
  "bind",
  ...SUPERBLOCK_FLAGS.filter((word) => word !== "ro" && word !== "rw"),
];

function parseChange(options: BindOptions): MountChange {
  const named = namedWords(options, options.recursive);
  const { parameters, loop, ...change } = parseMountOptions(
    options.options ?? "",
    named,
  );
  const taken = loop === undefined
    ? parameters.find(({ key, value, optional }) =>
      !optional && !(value === true && IGNORED_FLAGS.includes(key))
    )?.key
    : "loop";
  if (taken === undefined) return change;
  throw new TypeError(
    `A bind has no options of a file system: received "${taken}"`,
  );
}

/** True if a change sets the propagation of all mounts of a copy. */
function saysPropagation(change: MountChange, isRecursive: boolean): boolean {
  const { own, recursive } = change;
  return recursive.propagation !== 0 || !isRecursive && own.propagation !== 0;
}

/** Sets the propagation of a copy: the copy of a shared mount is its peer. */
function setPropagation(
  clone: OwnedFd,
  flags: number,
  propagation: number,
): void {
  try {
    mountSetattr(clone.fd, "", AT_EMPTY_PATH | flags, { propagation });
  } catch (error) {
    // Before Linux 5.12, the copy of a single mount stays a peer.
    const what = "mount_setattr, for propagation";
    if (flags !== 0 || !lacks(what, error, ENOSYS)) throw error;
  }
}

/**
 * Makes a detached copy of the mount at a path.
 *
 * @param flags `AT_RECURSIVE` or 0.
 * @param idmap The copy's id map; null for that of the original.
 */
export function cloneTree(
  dirfd: number,
  path: string,
  flags: number,
  idmap: OpenIdmap | null = null,
): OwnedFd {
  const empty = path === "" ? AT_EMPTY_PATH : 0;
  const all = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags | empty;
  if (idmap === null) {
    return new OwnedFd(openTree(dirfd, path, all), "mount", true);
  }
  const attributes = idmapAttributes(idmap);
  if (idmap.recursive || flags === 0) {
    try {
      // Only open_tree_attr(2) replaces an id map that a mount has.
      const fd = openTreeAttr(dirfd, path, all, attributes);
      return new OwnedFd(fd, "mount", true);
    } catch (error) {
      if (!lacks("open_tree_attr", error, ENOSYS)) throw error;
    }
  }
  const clone = cloneTree(dirfd, path, flags);
  const below = AT_EMPTY_PATH | (idmap.recursive ? AT_RECURSIVE : 0);
  return afterChange(
    clone,
    () => mountSetattr(clone.fd, "", below, attributes),
  );
}

function parseSource(
  source: string | URL | HasFd,
): At {
  refuseRevoked("The source", source);
  return typeof source === "object" && !(source instanceof URL)
    ? { dirfd: descriptorOf(source), path: "" }
    : { dirfd: AT_FDCWD, path: pathArgument("The source", source) };
}

function sourceText({ dirfd, path }: At): string {
  return path === "" ? `descriptor ${dirfd}` : quote(path);
}
