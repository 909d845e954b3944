import type { HasFd } from "../fd/owned_fd.ts";
import { type OptionNames, received } from "../base/check.ts";
import { NEW_ATTRIBUTE_NAMES, type NewAttributeOptions } from "./attributes.ts";
import type { OptionsInput } from "./mount_options.ts";

/** Writes a mount down before it is attached: a `MountRecord`. */
export interface Recorder {
  /**
   * Writes a mount down.
   *
   * @param id The mount's unique id.
   * @param target The mount point: its path, or a descriptor of it.
   * @param options Options of the entry in the record.
   */
  add(
    id: bigint,
    target: string | number,
    options?: { readonly whole?: boolean },
  ): void;
}

/** A mount to make beneath a root: of a new file system, or a bind. */
export type MountSpec = FileSystemSpec | BindSpec;

/** The fields of every {@linkcode MountSpec}. */
export interface SpecCommon {
  /** The mount point, relative to the root: `dev/pts`; `.` is the root itself. */
  target: string;
  /**
   * True to skip this entry if it can't be mounted (`nofail` in an fstab).
   *
   * @default {false}
   */
  optional?: boolean;
  /** The entry's place, for messages: `mounts[3]`, `line 7`. */
  place?: string;
}

/** The names of {@linkcode SpecCommon}. */
export const SPEC_NAMES: OptionNames<SpecCommon> = {
  target: true,
  optional: true,
  place: true,
};

/** A new file system to mount. */
export interface FileSystemSpec extends MountOptions, SpecCommon {}

/** A directory or file to show at a second place. */
export interface BindSpec extends BindOptions, SpecCommon {
  /** Distinguishes a bind from a new file system. */
  type: "bind";
  /** The source: a path in the root of this process, not of the mounts. */
  source: string | URL | HasFd;
}

/** Options of {@linkcode mountat}. */
export interface MountOptions extends NewAttributeOptions {
  /** The file system's type, as in /proc/filesystems. */
  type: string;
  /** The source: a device, a file, or a name for the mount table. */
  source?: string;
  /**
   * Options as mount(8) spells them: `"ro,noexec,size=1m"`, `["ro", "size=1m"]`
   * or `{ ro: true, size: "1m" }`. The generic words `ro`, `nosuid`, `nodev`,
   * `noexec`, `noatime`, `relatime`, `strictatime`, `nodiratime`,
   * `nosymfollow`, their opposites and `defaults` become attributes of the
   * mount; `private`, `shared`, `slave` and `unbindable` set its propagation.
   * All other words go to the file system, in order. Options with names of
   * their own override these words.
   *
   * Words of a list and values of a record may contain commas. Bytes and
   * descriptors (a `Directory`, or `{ fd: 5 }`) are passed as such. A list of
   * values sets its option once for each value: `{ "lowerdir+": [upper, middle,
   * lower] }`.
   *
   * Other words of mount(8) mean what they mean there: `user` and similar words
   * imply `noexec,nosuid,nodev`; `silent`, `auto`, `_netdev`, `x-…` and so on
   * have no effect.
   *
   * fsconfig(2) takes no value of more than 255 bytes. overlay gets the layers
   * of a long `lowerdir` one by one; other long values go through mount(2), in
   * a mount namespace that nobody sees, if all options fit into a page.
   *
   * With `loop` the source is a file, and a loop device (loop(4)) is put before
   * it: a free one, or with `loop=/dev/loop3` that one. The device disappears
   * together with the mount. It begins at `offset` and has at most `sizelimit`
   * bytes; with `ro` it is read-only. Do not mount one file twice unless
   * read-only: each mount has a device of its own, and neither file system
   * knows of the other.
   */
  options?: OptionsInput;
  /**
   * Makes the mount point, and the directories that lead to it, if they are
   * missing. The mode is 0o755 or the given one, less the umask. If the mount
   * fails, they are removed again. An unmount leaves them. The handle of
   * `applyMounts` removes them, and so does a `MountTree` that is closed unattached.
   *
   * @default {false}
   */
  mkdir?: boolean | number;
  /**
   * Puts the mount beneath the topmost one on the target, which must end in a
   * name. It becomes visible when the upper mount is unmounted. Until then it
   * can only be unmounted together with that (`all`); otherwise the answer is
   * EBUSY. `mkdir` makes nothing then. Since Linux 6.5.
   *
   * @default {false}
   */
  beneath?: boolean;
  /**
   * How symlinks in the target are treated. `"inRoot"` follows them as if the
   * directory were the root: an absolute symlink starts at the directory, and
   * `..` stops there. With `mkdir`, the missing target of a symlink is made,
   * too.
   *
   * @default {"refuse"}
   */
  symlinks?: "refuse" | "inRoot";
  /**
   * The record that the mount is written to before it is attached, so that
   * `sweep` can unmount it after this process is dead.
   *
   * @default {null}
   */
  record?: Recorder | null;
}

/** Functions that take `MountOptions` also accept a whole `FileSystemSpec`. */
export const MOUNT_NAMES: OptionNames<FileSystemSpec> = {
  ...NEW_ATTRIBUTE_NAMES,
  ...SPEC_NAMES,
  type: true,
  source: true,
  options: true,
  mkdir: true,
  beneath: true,
  symlinks: true,
  record: true,
};

/** Options of {@linkcode bindat}. */
export interface BindOptions extends NewAttributeOptions {
  /**
   * The generic words of `mountat`, and recursive ones, which apply to all
   * mounts of the bind: `rro` or `ro=recursive`, `rnosuid`, `rslave`…
   * Attributes that are not named stay as in the source. Options with names of
   * their own override these words.
   */
  options?: OptionsInput;
  /**
   * Includes everything mounted below the source. Options with names of their
   * own then apply to all mounts of the bind.
   *
   * The handle unmounts all of them at once, lazily; shared ones are unmounted
   * one by one.
   *
   * @default {false}
   */
  recursive?: boolean;
  /**
   * Makes the mount point, and the directories that lead to it, if they are
   * missing: a directory for a directory, an empty file for a file. The mode is
   * 0o755 or the given one, less the umask. If the mount fails, they are
   * removed again. An unmount leaves them. The handle of `applyMounts` removes them,
   * and so does a `MountTree` that is closed unattached.
   *
   * @default {false}
   */
  mkdir?: boolean | number;
  /**
   * Puts the bind beneath the topmost mount on the target, as `mountat` does.
   *
   * @default {false}
   */
  beneath?: boolean;
  /**
   * How symlinks in the target are treated. `"inRoot"` follows them as if the
   * directory were the root: an absolute symlink starts at the directory, and
   * `..` stops there. With `mkdir`, the missing target of a symlink is made,
   * too.
   *
   * @default {"refuse"}
   */
  symlinks?: "refuse" | "inRoot";
  /**
   * The record that the mount is written to before it is attached, so that
   * `sweep` can unmount it after this process is dead.
   *
   * @default {null}
   */
  record?: Recorder | null;
}

/**
 * Checks the option `record`.
 *
 * @throws {TypeError}
 */
export function parseRecorder(
  record: Recorder | null | undefined,
): Recorder | null {
  if (record === undefined || record === null) return null;
  if (typeof record.add === "function") return record;
  throw new TypeError(
    `"record" must be a MountRecord or null: received ${received(record)}`,
  );
}

/** Functions that take `BindOptions` also accept a whole `BindSpec`. */
export const BIND_NAMES: OptionNames<BindSpec> = {
  ...NEW_ATTRIBUTE_NAMES,
  ...SPEC_NAMES,
  type: true,
  source: true,
  options: true,
  recursive: true,
  mkdir: true,
  beneath: true,
  symlinks: true,
  record: true,
};
