import { attachBeneath, type MountPlan } from "./attach.ts";
import {
  namedWords,
  NEW_ATTRIBUTE_NAMES,
  type NewAttributeOptions,
  parseIdmap,
} from "./attribute_options.ts";
import { afterAttach } from "./change_mount.ts";
import { createDetachedMount, type FileSystem } from "./detached_mount.ts";
import { descriptorOf } from "./dirfd.ts";
import type { Directory } from "./directory.ts";
import { createMount, type Mount } from "./mount.ts";
import {
  changeOfNew,
  checkText,
  type OptionsInput,
  parseMountOptions,
  UNCHANGED,
} from "./mount_options.ts";
import type { MountRecord } from "./record.ts";
import { type FileSystemSpec, SPEC_NAMES } from "./spec/mount_spec.ts";
import { quote } from "./sys/format.ts";
import { checkOptions, type OptionNames } from "./sys/options.ts";
import { parseMkdir } from "./mkdir.ts";
import { parseBeneath, parseTarget } from "./target.ts";

/** Options of {@linkcode mountat}. */
export interface MountOptions extends NewAttributeOptions {
  /** The file system's type, as in /proc/filesystems. */
  type: string;
  /** What is mounted: a device, a file, or a name for the mount table. */
  source?: string;
  /**
   * Options as mount(8) spells them: `"ro,noexec,size=1m"`, `["ro", "size=1m"]`
   * or `{ ro: true, size: "1m" }`. The generic words `ro`, `nosuid`, `nodev`,
   * `noexec`, `noatime`, `relatime`, `strictatime`, `nodiratime`,
   * `nosymfollow`, their opposites and `defaults` become attributes of the
   * mount, `private`, `shared`, `slave` and `unbindable` its propagation; all
   * else goes to the file system, in order. Words of a list and values of a
   * record may contain commas; bytes and descriptors, a `Directory` or
   * `{ fd: 5 }`, are passed as such, and a list of values sets its option once
   * for each: `{ "lowerdir+": [upper, middle, lower] }`. The options that have
   * names of their own hold over these.
   *
   * With `loop` the source is a file, and a loop device (loop(4)) is put before
   * it, which goes when the mount goes: a free one, or `loop=/dev/loop3`. It
   * begins at `offset`, and has `sizelimit` bytes at the most; with `ro` it can
   * only be read. Don't mount one file twice but read-only: each mount has a
   * device of its own, and neither file system knows of the other.
   */
  options?: OptionsInput;
  /**
   * Makes the mount point, and what leads to it, where it is missing: with
   * mode 0o755, or the given one, less the umask. When the mount fails, what
   * was made is removed again.
   *
   * @default {false}
   */
  mkdir?: boolean | number;
  /**
   * Puts the mount beneath the topmost one on the target, which must end in a
   * name: it shows when that is unmounted, and until then can't be unmounted
   * itself (EBUSY) but together with it (`all`). `mkdir` makes nothing then.
   * Since Linux 6.5.
   *
   * @default {false}
   */
  beneath?: boolean;
  /**
   * Where the mount is written down before it is attached, so that it can be
   * swept once this process is dead.
   *
   * @default {null}
   */
  record?: MountRecord | null;
}

/** Whoever takes `MountOptions` may be given a whole `FileSystemSpec`. */
const MOUNT_NAMES: OptionNames<FileSystemSpec> = {
  ...NEW_ATTRIBUTE_NAMES,
  ...SPEC_NAMES,
  type: true,
  source: true,
  options: true,
  mkdir: true,
  beneath: true,
  record: true,
};

/**
 * Mounts a new file system on a target relative to a directory.
 *
 * The target is resolved beneath the directory, through no symlink
 * (openat2(2)), and the mount is attached to the very directory that was found
 * (move_mount(2)): nothing that is renamed or replaced meanwhile leads it
 * elsewhere. Until then no path shows it, and it never appears without its
 * attributes. On failure nothing stays behind.
 *
 * Needs Linux 5.8, the permission `--allow-ffi`, and CAP_SYS_ADMIN in the user
 * namespace of the mount namespace.
 *
 * @example Mount a tmpfs
 * ```ts
 * import { Directory, mountat } from "@meroton/mountat";
 * import { assert } from "@std/assert";
 *
 * using root = Directory.open(Deno.makeTempDirSync());
 * using mount = mountat(root, "var/tmp", {
 *   type: "tmpfs",
 *   options: "nosuid,nodev,size=64m",
 *   mkdir: true,
 * });
 * assert(mount.mounted);
 * ```
 *
 * @param dirfd The directory: a `Directory`, or an open descriptor.
 * @param target Where to mount, relative to `dirfd`; `.` is the directory itself.
 * @param options What to mount.
 * @returns The mount; it is unmounted when the handle is disposed of.
 * @throws {TypeError} For a wrong argument; before any system call.
 * @throws {RangeError} For an option or mode that is too long or too large.
 * @throws {MountError} ENODEV for an unknown type, EINVAL for an option that the
 * file system refuses, ELOOP for a symlink in the target, EXDEV for a target
 * that leaves the directory, ENOENT or ENOTDIR for one that is no directory,
 * EPERM without the capability.
 * @throws {UnsupportedError} Where the system or kernel can't do it.
 */
export function mountat(
  dirfd: number | Directory,
  target: string,
  options: MountOptions,
): Mount {
  const directory = descriptorOf(dirfd);
  const plan = planMount(target, options);
  const { id, mountPoint, created } = attachBeneath(directory, plan);
  created.keep();
  return createMount(id, target, mountPoint, "mounted");
}

/**
 * Checks the arguments of a mount.
 *
 * @param note What messages say after its target.
 * @throws {TypeError | RangeError}
 */
export function planMount(
  target: string,
  options: MountOptions,
  note = "",
): MountPlan {
  const parsed = parseTarget(target);
  const fileSystem = parseFileSystem(options);
  const mode = parseMkdir(options.mkdir);
  const beneath = parseBeneath(options.beneath, parsed);
  const { type, source } = options;
  const attempted = {
    action: () => `mount ${type} on ${quote(target)}${note}`,
    target,
    type,
    ...(source === undefined ? {} : { source }),
    mkdir: mode !== null,
  };
  return {
    target: parsed,
    mode,
    beneath,
    whole: false,
    attempted,
    make: () => createDetachedMount(fileSystem, attempted),
    settle: afterAttach({ own: fileSystem.change, recursive: UNCHANGED }),
    record: options.record ?? null,
  };
}

/**
 * Checks what is to be mounted.
 *
 * @throws {TypeError | RangeError}
 */
export function parseFileSystem(
  mountOptions: MountOptions,
): FileSystem {
  checkOptions(mountOptions, MOUNT_NAMES);
  const { type, source, options = "" } = mountOptions;
  if (typeof type !== "string" || type === "") {
    throw new TypeError("The type of the file system must be given");
  }
  if (type.includes("\0")) {
    throw new TypeError("The type must not contain a NUL character");
  }
  const { own, recursive, parameters, loop } = parseMountOptions(
    options,
    namedWords(mountOptions),
  );
  const change = changeOfNew({ own, recursive });
  const fileSystem = {
    type,
    parameters,
    change,
    idmap: parseIdmap(mountOptions.idmap),
  };
  if (source === undefined) {
    if (loop === undefined) return fileSystem;
    throw new TypeError("The option loop takes a file as the source");
  }
  if (typeof source !== "string") {
    throw new TypeError(`The source must be a string, not ${typeof source}`);
  }
  if (loop !== undefined) {
    if (source === "" || source.includes("\0")) {
      throw new TypeError(
        `The source must be a path: received ${quote(source)}`,
      );
    }
    return { ...fileSystem, loop: { ...loop, image: source } };
  }
  checkText("The source", source);
  return {
    ...fileSystem,
    parameters: [{ key: "source", value: source }, ...parameters],
  };
}
