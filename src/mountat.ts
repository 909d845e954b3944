import { openDirectoryAt } from "./beneath.ts";
import { CreatedPaths } from "./created_paths.ts";
import { createDetachedMount } from "./detached_mount.ts";
import { descriptorOf } from "./dirfd.ts";
import { attempt } from "./error.ts";
import type { Directory } from "./directory.ts";
import { createMount, type Mount } from "./mount.ts";
import { mountIdAt } from "./mount_id.ts";
import {
  checkText,
  type OptionsInput,
  parseMountOptions,
} from "./mount_options.ts";
import type { MountRecord } from "./record.ts";
import {
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
} from "./sys/constants.ts";
import { quote } from "./sys/format.ts";
import { moveMount } from "./sys/move_mount.ts";
import { parseTarget } from "./target.ts";

/** Options of {@linkcode mountat}. */
export interface MountOptions {
  /** The file system's type, as in /proc/filesystems. */
  type: string;
  /** What is mounted: a device, or a name for the mount table. */
  source?: string;
  /**
   * Options as mount(8) spells them: `"ro,noexec,size=1m"`, `["ro", "size=1m"]`
   * or `{ ro: true, size: "1m" }`. The generic words `ro`, `nosuid`, `nodev`,
   * `noexec`, `noatime`, `relatime`, `strictatime`, `nodiratime`,
   * `nosymfollow`, their opposites and `defaults` become attributes of the
   * mount, all else goes to the file system, in order. Words of a list and
   * values of a record may contain commas; bytes and descriptors are passed as
   * such.
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
   * Where the mount is written down before it is attached, so that it can be
   * swept once this process is dead.
   *
   * @default {null}
   */
  record?: MountRecord | null;
}

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
  const { path } = parseTarget(target);
  const fileSystem = parseFileSystem(options);
  const mode = parseMkdir(options.mkdir);
  const { type } = fileSystem;
  const attempted = {
    action: `mount ${type} on ${quote(target)}`,
    target,
    type,
    mkdir: mode !== null,
  };
  return attempt(attempted, () => {
    using created = new CreatedPaths();
    const mountPoint = mode === null
      ? openDirectoryAt(directory, path)
      : created.makeDirectory(directory, path, mode);
    try {
      using detached = createDetachedMount(fileSystem, attempted);
      const id = mountIdAt(detached.fd);
      options.record?.add(id, mountPoint.fd);
      const onto = { dirfd: mountPoint.fd, path: "" };
      attempt({ ...attempted, onto }, () =>
        moveMount(
          detached.fd,
          "",
          mountPoint.fd,
          "",
          MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        ));
      created.keep();
      const held = { at: mountPoint, holder: mountPoint, name: "." };
      return createMount(id, target, held, "mounted");
    } catch (error) {
      mountPoint.close();
      throw error;
    }
  });
}

function parseFileSystem({ type, source, options = "" }: MountOptions) {
  if (typeof type !== "string" || type === "") {
    throw new TypeError("The type of the file system must be given");
  }
  if (type.includes("\0")) {
    throw new TypeError("The type must not contain a NUL character");
  }
  const { attributes, parameters } = parseMountOptions(options);
  if (source === undefined) return { type, attributes, parameters };
  if (typeof source !== "string") {
    throw new TypeError(`The source must be a string, not ${typeof source}`);
  }
  checkText("The source", source);
  return {
    type,
    attributes,
    parameters: [{ key: "source", value: source }, ...parameters],
  };
}

/** The mode to make mount points with, null when they must exist. */
export function parseMkdir(mkdir: boolean | number = false): number | null {
  if (mkdir === false) return null;
  if (mkdir === true) return 0o755;
  return parseMode(mkdir);
}

/** Checks a file mode. */
export function parseMode(mode: number): number {
  if (typeof mode !== "number") {
    throw new TypeError(`A mode must be a number, not ${typeof mode}`);
  }
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) {
    throw new RangeError(
      `A mode must be between 0 and 0o7777: received ${mode}`,
    );
  }
  return mode;
}
