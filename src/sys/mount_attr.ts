import { int32, setUint64 } from "./argument.ts";
import {
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
} from "./constants.ts";
import { flagNames } from "./format.ts";
import { LITTLE_ENDIAN, MOUNT_ATTR } from "./layout.ts";
import { checkOptions, type OptionNames } from "./options.ts";

/** How a mount is to change: `struct mount_attr`. */
export interface MountAttr {
  /**
   * `MOUNT_ATTR_*` to set.
   *
   * @default {0}
   */
  attrSet?: number | bigint;
  /**
   * `MOUNT_ATTR_*` to clear, before the others are set. To set a kind of access
   * time, clear all of `MOUNT_ATTR__ATIME`.
   *
   * @default {0}
   */
  attrClr?: number | bigint;
  /**
   * `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`; 0 leaves it as it is.
   *
   * @default {0}
   */
  propagation?: number | bigint;
  /**
   * A descriptor of the user namespace whose id maps `MOUNT_ATTR_IDMAP` gives
   * the mount.
   *
   * @default {0}
   */
  usernsFd?: number;
}

const ATTR_NAMES: OptionNames<MountAttr> = {
  attrSet: true,
  attrClr: true,
  propagation: true,
  usernsFd: true,
};

const ATTRIBUTES = {
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_STRICTATIME,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_NOSYMFOLLOW,
};

const PROPAGATION = { MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED };

/** Used again by each call. */
const buffer = new Uint8Array(new ArrayBuffer(MOUNT_ATTR.SIZE));
const view = new DataView(buffer.buffer);

/**
 * Encodes `struct mount_attr`, for the very next call, and says how it is
 * printed.
 */
export function mountAttr(
  attr: MountAttr,
): { buffer: Uint8Array<ArrayBuffer>; format: () => string } {
  checkOptions(attr, ATTR_NAMES);
  const { attrSet = 0, attrClr = 0, propagation = 0, usernsFd = 0 } = attr;
  setUint64(view, MOUNT_ATTR.attr_set, "attrSet", attrSet);
  setUint64(view, MOUNT_ATTR.attr_clr, "attrClr", attrClr);
  setUint64(view, MOUNT_ATTR.propagation, "propagation", propagation);
  const low = int32("usernsFd", usernsFd);
  view.setInt32(MOUNT_ATTR.userns_fd, low, LITTLE_ENDIAN);
  // As C converts an int to the field's type: -1 sets every bit.
  view.setInt32(MOUNT_ATTR.userns_fd + 4, low >> 31, LITTLE_ENDIAN);
  return {
    buffer,
    format: () =>
      `{attr_set=${flagNames(attrSet, ATTRIBUTES)}, attr_clr=${
        flagNames(attrClr, ATTRIBUTES)
      }, propagation=${
        flagNames(propagation, PROPAGATION)
      }, userns_fd=${usernsFd}}`,
  };
}
