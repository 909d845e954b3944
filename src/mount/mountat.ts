/**
 * Room `mount`: Making, binding, moving and changing mounts; the handle; the
 * tree.
 */
import {
  MOUNT_NAMES,
  type MountOptions,
  parseRecorder,
} from "../options/spec.ts";
import { createMount, type Mount } from "./mount.ts";
import { descriptorOf, type HasFd, type OwnedFd } from "../fd/owned_fd.ts";
import { attachBeneath, type MountPlan } from "./attach.ts";
import {
  parseBeneath,
  parseMkdir,
  parseSymlinks,
  parseTarget,
} from "../options/target.ts";
import { quote } from "../base/text.ts";
import {
  createDetachedMount,
  type FileSystem,
  type LoopDevice,
} from "./detached.ts";
import { afterAttach } from "./change.ts";
import { mapIds } from "./idmap.ts";
import { creationOf, SINGLE } from "./superblock.ts";
import { makeLong } from "./old_mount.ts";
import { hasLong } from "../options/long_values.ts";
import { attempt } from "../error/error.ts";
import type { Attempt } from "../error/attempt.ts";
import {
  LO_FLAGS_AUTOCLEAR,
  LO_FLAGS_READ_ONLY,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
} from "../sys/constants.ts";
import { EBUSY, ENXIO } from "../sys/errno.ts";
import { isErrno } from "../sys/error.ts";
import { loopConfigure, loopCtlGetFree } from "../sys/loop.ts";
import { open } from "../fd/open.ts";
import {
  changeOfNew,
  checkPassable,
  checkText,
  type LoopOptions,
  type Parameter,
  parseMountOptions,
  UNCHANGED,
} from "../options/mount_options.ts";
import { checkOptions } from "../base/check.ts";
import { namedWords, parseIdmap } from "../options/attributes.ts";

/**
 * Mounts a new file system on a target relative to a directory.
 *
 * The target is resolved beneath the directory, through no symlink
 * (openat2(2)), and the mount is attached to the very directory that was found
 * (move_mount(2)): no rename or replacement in between misleads it. Until then
 * no path shows the mount, and it never appears without its attributes. A
 * failure leaves nothing behind.
 *
 * cgroup2, debugfs and tracefs exist once in the system. A further mount keeps
 * their options, and fails if it asks for others (EBUSY). `remountat` changes
 * the options for all mounts.
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
 * that leaves the directory, ENOENT for a missing one, ENOTDIR for one that is no
 * directory, EPERM without the capability.
 * @throws {UnsupportedError} If the system or kernel can't do it.
 */
export function mountat(
  dirfd: number | HasFd,
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
 * @param note The text that messages show after the target.
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
  const inRoot = parseSymlinks(options.symlinks);
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
    inRoot,
    whole: false,
    attempted,
    make: () => createDetachedMount(fileSystem, attempted),
    finish: afterAttach({ own: fileSystem.change, recursive: UNCHANGED }),
    record: parseRecorder(options.record),
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
  const idmap = parseIdmap(mountOptions.idmap);
  const fileSystem = {
    type,
    parameters: [...subtypeOf(type), ...parameters],
    change,
    mapIds: idmap === null ? null : (mount: OwnedFd) => mapIds(mount, idmap),
    ...(SINGLE.includes(type)
      ? {
        creationOf: (asked: readonly Parameter[]) => creationOf(type, asked),
      }
      : {}),
  };
  if (source === undefined) {
    if (loop === undefined) return withLong(fileSystem);
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
    const image = { ...loop, image: source };
    return withLong({
      ...fileSystem,
      attachLoop: (readOnly, attempted) =>
        attachLoopDevice(image, readOnly, attempted),
    });
  }
  checkPassable("The source", source);
  return withLong({
    ...fileSystem,
    parameters: [{ key: "source", value: source }, ...fileSystem.parameters],
  });
}

/** Has parameters that are too long for fsconfig(2) passed in another way. */
function withLong(fileSystem: FileSystem): FileSystem {
  const { type, parameters } = fileSystem;
  return hasLong(type, parameters) ? { ...fileSystem, makeLong } : fileSystem;
}

/** The subtype of a type like `fuse.sshfs`, which fsopen(2) does not take. */
function subtypeOf(type: string): Parameter[] {
  const end = type.indexOf(".");
  if (end === -1) return [];
  const subtype = type.slice(end + 1);
  checkText("The subtype", subtype);
  return [{ key: "subtype", value: subtype }];
}

/** The file that a loop device shows, and which part of it. */
interface LoopImage extends LoopOptions {
  /** The path of the file. */
  readonly image: string;
}

/**
 * Puts a file behind a loop device (loop(4)). The returned object and mounts of
 * the device keep it. When none of them is left, the kernel detaches the file,
 * even if this process was killed.
 *
 * @param loop The file, and how it is shown.
 * @param readOnly True if the file is only read.
 * @param attempted The attempt, for messages.
 * @throws {MountError} What openat2(2) and ioctl(2) answer.
 */
function attachLoopDevice(
  { image, device, offset, sizelimit }: LoopImage,
  readOnly: boolean,
  attempted: Attempt,
): LoopDevice {
  const access = readOnly ? O_RDONLY : O_RDWR;
  const flags = LO_FLAGS_AUTOCLEAR | (readOnly ? LO_FLAGS_READ_ONLY : 0);
  return attempt({ ...attempted, image }, () => {
    // Opening a FIFO must not block. The kernel refuses it afterwards.
    using file = open(image, access | O_NONBLOCK);
    for (let tries = 1;; tries++) {
      const path = device ?? freeDevice();
      try {
        using configured = open(path, access | O_NONBLOCK);
        const config = { fd: file.fd, offset, sizelimit, flags };
        loopConfigure(configured.fd, config);
        // A kernel without CONFIG_BLK_DEV_WRITE_MOUNTED mounts no device that
        // is open for writing.
        const held = open(path, O_RDONLY | O_NONBLOCK);
        return { path, [Symbol.dispose]: () => held.close() };
      } catch (error) {
        // Another process was quicker: the device has a file, or just lost one.
        const taken = device === undefined && isErrno(error, EBUSY, ENXIO);
        if (!taken || tries === MOST_TRIES) throw error;
      }
    }
  });
}

const MOST_TRIES = 1000;

function freeDevice(): string {
  using control = open("/dev/loop-control", O_RDWR);
  return `/dev/loop${loopCtlGetFree(control.fd)}`;
}
