import type { Attempt } from "./hint.ts";
import { explain } from "./error.ts";
import type { Parameter } from "./mount_options.ts";
import { OwnedFd } from "./owned_fd.ts";
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
import { readLog } from "./sys/read_log.ts";

/** A file system to mount. */
export interface FileSystem {
  /** Its type, as in /proc/filesystems. */
  readonly type: string;
  /** Its parameters, in order. */
  readonly parameters: readonly Parameter[];
  /** `MOUNT_ATTR_*` of the mount. */
  readonly attributes: number;
}

/**
 * Makes a mount of a new file system that is not attached anywhere yet.
 *
 * @returns Its descriptor; while that is open, the mount is busy.
 * @throws {MountError} With what the kernel said of it.
 * @throws {UnsupportedError} Where the kernel has not the new mount API.
 */
export function createDetachedMount(
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
      ...(last === undefined ? {} : {
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
  if (value === true) return `"${key}"`;
  if (typeof value === "string") return `"${key}=${value}"`;
  return value instanceof Uint8Array
    ? `"${key}" of ${value.length} bytes`
    : `"${key}" with descriptor ${value.fd}`;
}
