import type { Attempt } from "./hint/hint.ts";
import { explain, MountError } from "./error.ts";
import { attachLoopDevice, type LoopImage } from "./loop_device.ts";
import type { Parameter } from "./mount_options.ts";
import { OwnedFd } from "./owned_fd.ts";
import { MOUNT_ATTR_RDONLY } from "./sys/constants.ts";
import { EACCES, EROFS } from "./sys/errno.ts";
import { SyscallError } from "./sys/error.ts";
import {
  fsconfigCreate,
  fsconfigSetBinary,
  fsconfigSetFd,
  fsconfigSetFlag,
  fsconfigSetString,
} from "./sys/fsconfig.ts";
import { fsmount } from "./sys/fsmount.ts";
import { fsopen } from "./sys/fsopen.ts";
import { quote } from "./sys/format.ts";
import { readLog } from "./sys/read_log.ts";

/** A file system to mount. */
export interface FileSystem {
  /** Its type, as in /proc/filesystems. */
  readonly type: string;
  /** Its parameters, in order. */
  readonly parameters: readonly Parameter[];
  /** `MOUNT_ATTR_*` of the mount. */
  readonly attributes: number;
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
  const { type, attributes, parameters, loop } = fileSystem;
  const readOnly = (attributes & MOUNT_ATTR_RDONLY) !== 0;
  if (loop !== undefined) {
    const onlyRead = readOnly || isReadOnly(parameters);
    using device = attachLoopDevice(loop, onlyRead, attempted);
    const source = { key: "source", value: device.path };
    const ofDevice = { type, attributes, parameters: [source, ...parameters] };
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
  { type, parameters, attributes }: FileSystem,
  attempted: Attempt,
): OwnedFd {
  let context: OwnedFd | undefined;
  let last: Parameter | undefined;
  try {
    context = new OwnedFd(fsopen(type));
    for (const parameter of parameters) {
      last = parameter;
      setParameter(context.fd, parameter);
    }
    fsconfigCreate(context.fd);
    return new OwnedFd(fsmount(context.fd, undefined, attributes), "mount");
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    throw explain(attempted, error, {
      log: context === undefined
        ? []
        : readLog(context.fd).map(({ message }) => message),
      // Some file systems, overlay for one, say nothing: then this is what
      // the kernel looked at last.
      ...(last === undefined || error.syscall !== "fsconfig" ? {} : {
        detail: `the option set last was ${parameterText(last)}`,
      }),
    });
  } finally {
    context?.close();
  }
}

function setParameter(fd: number, { key, value }: Parameter): void {
  if (value === true) fsconfigSetFlag(fd, key);
  else if (typeof value === "string") fsconfigSetString(fd, key, value);
  else if (value instanceof Uint8Array) fsconfigSetBinary(fd, key, value);
  else fsconfigSetFd(fd, key, value.fd);
}

function parameterText({ key, value }: Parameter): string {
  if (value === true) return quote(key);
  if (typeof value === "string") return quote(`${key}=${value}`);
  return value instanceof Uint8Array
    ? `${quote(key)} of ${value.length} bytes`
    : `${quote(key)} with descriptor ${value.fd}`;
}
