import type { IdMaps } from "./attribute_options.ts";
import {
  bindable,
  changeAttributes,
  changed,
  idmapAttributes,
  openIdmap,
} from "./change_mount.ts";
import type { Attempt } from "./hint/hint.ts";
import { MountError } from "./error.ts";
import { inContext } from "./context.ts";
import { attachLoopDevice, type LoopImage } from "./loop_device.ts";
import {
  type AttributeChange,
  type Parameter,
  UNCHANGED,
} from "./mount_options.ts";
import { OwnedFd } from "./owned_fd.ts";
import { AT_EMPTY_PATH, MOUNT_ATTR_RDONLY } from "./sys/constants.ts";
import { EACCES, EROFS } from "./sys/errno.ts";
import { fsconfigCreate } from "./sys/fsconfig.ts";
import { fsmount } from "./sys/fsmount.ts";
import { fsopen } from "./sys/fsopen.ts";
import { mountSetattr } from "./sys/mount_setattr.ts";

/** A file system to mount. */
export interface FileSystem {
  /** Its type, as in /proc/filesystems. */
  readonly type: string;
  /** Its parameters, in order. */
  readonly parameters: readonly Parameter[];
  /** What the mount gets. */
  readonly change: AttributeChange;
  /** Its id map, null for none. */
  readonly idmap: IdMaps | number | string | null;
  /** The file that a loop device shows it, which is the source then. */
  readonly loop?: LoopImage;
}

/**
 * Makes a mount of a new file system that is not attached anywhere yet.
 *
 * A read-only mount of a device that can only be read takes a read-only file
 * system, too, and gets it.
 *
 * @returns Its descriptor; while that is open, the mount is busy.
 * @throws {MountError} With what the kernel said of it.
 * @throws {UnsupportedError} Where the kernel has not the new mount API.
 */
export function createDetachedMount(
  fileSystem: FileSystem,
  attempted: Attempt,
): OwnedFd {
  const { change, parameters } = fileSystem;
  const readOnly = (change.attrSet & MOUNT_ATTR_RDONLY) !== 0;
  if (fileSystem.loop !== undefined) {
    const { loop, ...plain } = fileSystem;
    const onlyRead = readOnly || isReadOnly(parameters);
    using device = attachLoopDevice(loop, onlyRead, attempted);
    const source = { key: "source", value: device.path };
    const ofDevice = { ...plain, parameters: [source, ...parameters] };
    return createDetachedMount(ofDevice, attempted);
  }
  try {
    return create(fileSystem, attempted);
  } catch (error) {
    if (!readOnly || !isRefusedToWrite(error)) throw error;
    const flag = { key: "ro", value: true } as const;
    return create(
      { ...fileSystem, parameters: [...parameters, flag] },
      attempted,
    );
  }
}

/** Whether the file system is to be read-only: the later of two opposites wins. */
function isReadOnly(parameters: readonly Parameter[]): boolean {
  return parameters.findLast(({ key }) => key === "ro" || key === "rw")?.key ===
    "ro";
}

function isRefusedToWrite(error: unknown): boolean {
  return error instanceof MountError && error.syscall === "fsconfig" &&
    (error.errno === EACCES || error.errno === EROFS);
}

function create(
  { type, parameters, change, idmap }: FileSystem,
  attempted: Attempt,
): OwnedFd {
  return inContext(() => fsopen(type), parameters, attempted, (context) => {
    fsconfigCreate(context);
    const { attrSet, propagation } = change;
    const fd = fsmount(context, undefined, attrSet);
    const mount = new OwnedFd(fd, "mount", true);
    return changed(mount, () => {
      changeAttributes(mount.fd, 0, bindable({ ...UNCHANGED, propagation }));
      if (idmap !== null) mapIds(mount, idmap);
    });
  });
}

function mapIds(mount: OwnedFd, idmap: IdMaps | number | string): void {
  using namespace = openIdmap(idmap);
  mountSetattr(mount.fd, "", AT_EMPTY_PATH, idmapAttributes(namespace));
}
