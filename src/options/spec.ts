import type { HasFd } from "../fd/owned_fd.ts";
import type { OptionNames } from "../base/check.ts";
import { NEW_ATTRIBUTE_NAMES, type NewAttributeOptions } from "./attributes.ts";
import type { OptionsInput } from "./mount_options.ts";

/** Takes down a mount before it is attached: a `MountRecord`. */
export interface Recorder {
  /**
   * Writes a mount down.
   *
   * @param id The mount's unique id.
   * @param target The mount point: its path, or a descriptor of it.
   * @param options Options of the record's line.
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
   * A failure to mount this is passed over (fstab's `nofail`).
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
  /** Tells it from a file system. */
  type: "bind";
  /** The source: a path from the root of this process, not of the mounts. */
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
   * mount, `private`, `shared`, `slave` and `unbindable` its propagation; all
   * else goes to the file system, in order. Words of a list and values of a
   * record may contain commas; bytes and descriptors, a `Directory` or
   * `{ fd: 5 }`, are passed as such, and a list of values sets its option once
   * for each: `{ "lowerdir+": [upper, middle, lower] }`. The options that have
   * names of their own hold over these.
   *
   * What mount(8) knows beside them means what it does there: `user` and its like
   * make the mount safe; `silent`, `auto`, `_netdev`, `x-…` and so on have no
   * effect.
   *
   * A value of more than 255 bytes fsconfig(2) does not take: overlay gets the
   * layers of `lowerdir` one by one, all else goes by mount(2), in a mount
   * namespace that nobody sees, as long as the options fit into a page.
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
   * What becomes of symlinks in the target. `"inRoot"` goes through them as if the
   * directory were the root: an absolute one starts at the directory, and `..`
   * stops there. With `mkdir` what a symlink names that leads nowhere is made, too.
   *
   * @default {"refuse"}
   */
  symlinks?: "refuse" | "inRoot";
  /**
   * The record that the mount is written in before it is attached, so that it can
   * be swept once this process is dead.
   *
   * @default {null}
   */
  record?: Recorder | null;
}

/** Whoever takes `MountOptions` may be given a whole `FileSystemSpec`. */
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
   * The generic words of `mountat`, and recursive ones, which hold for all mounts
   * of the copy: `rro` or `ro=recursive`, `rnosuid`, `rslave`… What they leave
   * unsaid is as it was in the source. The options that have names of their own
   * hold over these.
   */
  options?: OptionsInput;
  /**
   * Takes what is mounted below the source along. The options that have names of
   * their own then hold for all of it.
   *
   * The handle unmounts all of it at once, lazily, but for what is made shared:
   * that goes one by one.
   *
   * @default {false}
   */
  recursive?: boolean;
  /**
   * Makes the mount point where it is missing, a directory for a directory and
   * an empty file for a file, and what leads to it: with mode 0o755, or the
   * given one, less the umask. When the mount fails, what was made is removed
   * again.
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
   * What becomes of symlinks in the target. `"inRoot"` goes through them as if the
   * directory were the root: an absolute one starts at the directory, and `..`
   * stops there. With `mkdir` what a symlink names that leads nowhere is made, too.
   *
   * @default {"refuse"}
   */
  symlinks?: "refuse" | "inRoot";
  /**
   * The record that the mount is written in before it is attached, so that it can
   * be swept once this process is dead.
   *
   * @default {null}
   */
  record?: Recorder | null;
}

/** Whoever takes `BindOptions` may be given a whole `BindSpec`. */
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
