import { int32, uint64 } from "./argument.ts";
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

/** Encodes `struct mount_attr`, and says how it is printed. */
export function mountAttr(
  attr: MountAttr,
): { buffer: Uint8Array<ArrayBuffer>; format: () => string } {
  const attrSet = uint64("attrSet", attr.attrSet ?? 0);
  const attrClr = uint64("attrClr", attr.attrClr ?? 0);
  const propagation = uint64("propagation", attr.propagation ?? 0);
  const usernsFd = int32("usernsFd", attr.usernsFd ?? 0);
  const view = new DataView(new ArrayBuffer(MOUNT_ATTR.SIZE));
  view.setBigUint64(MOUNT_ATTR.attr_set, attrSet, LITTLE_ENDIAN);
  view.setBigUint64(MOUNT_ATTR.attr_clr, attrClr, LITTLE_ENDIAN);
  view.setBigUint64(MOUNT_ATTR.propagation, propagation, LITTLE_ENDIAN);
  // As C converts an int to the field's type: -1 sets every bit.
  view.setBigInt64(MOUNT_ATTR.userns_fd, BigInt(usernsFd), LITTLE_ENDIAN);
  return {
    buffer: new Uint8Array(view.buffer),
    format: () =>
      `{attr_set=${flagNames(attrSet, ATTRIBUTES)}, attr_clr=${
        flagNames(attrClr, ATTRIBUTES)
      }, propagation=${
        flagNames(propagation, PROPAGATION)
      }, userns_fd=${usernsFd}}`,
  };
}
