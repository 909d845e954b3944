import type { AttributeChange, Parameter } from "../options/mount_options.ts";
import type { Attempt } from "../error/attempt.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import { MOUNT_ATTR_RDONLY } from "../sys/constants.ts";
import { explain, MountError } from "../error/error.ts";
import { EACCES, EBUSY, EINVAL, EROFS } from "../sys/errno.ts";
import {
  fsconfigCreate,
  fsconfigSetBinary,
  fsconfigSetFd,
  fsconfigSetFlag,
  fsconfigSetString,
  fsmount,
  fsopen,
  readLog,
} from "../sys/fscontext.ts";
import { afterChange, bindable, changeAttributes } from "./change.ts";
import { isErrno, lacks, SyscallError } from "../sys/error.ts";
import { quote } from "../base/text.ts";

/** A file system to mount. */
export interface FileSystem {
  /** Its type, as in /proc/filesystems. */
  readonly type: string;
  /** Its parameters, in order. */
  readonly parameters: readonly Parameter[];
  /** The attributes that the mount gets. */
  readonly change: AttributeChange;
  /** Gives the mount its id map; null if it gets none. */
  readonly mapIds: ((mount: OwnedFd) => void) | null;
  /** Puts the image file behind a loop device, which becomes the source. */
  readonly attachLoop?: (readOnly: boolean, attempted: Attempt) => LoopDevice;
  /** Makes the file system if a parameter is too long for fsconfig(2). */
  readonly makeLong?: (
    fileSystem: FileSystem,
    attempted: Attempt,
    make: typeof createNew,
  ) => OwnedFd;
  /** How to create it, if a mount could change a file system that exists. */
  readonly creationOf?: (asked: readonly Parameter[]) => Creation;
}

/** How to create a file system without changing one that exists. */
export interface Creation {
  /** Its parameters, in order. */
  readonly parameters: readonly Parameter[];
  /** Creates or finds the file system, by the context's descriptor. */
  readonly create: (context: number) => void;
}

/** A loop device. It lets go of its file once nothing has the device open. */
export interface LoopDevice extends Disposable {
  /** Its path. */
  readonly path: string;
}

/**
 * Makes a new file system, and a mount of it that is not attached yet.
 *
 * If the mount is to be read-only and the device can't be written to, the file
 * system becomes read-only, too.
 *
 * @param context A context of this type from fsopen(2), which is closed here.
 * By default, one is opened.
 * @returns The mount's descriptor; while it is open, the mount is busy.
 * @throws {MountError} With the kernel's messages.
 * @throws {UnsupportedError} If the kernel lacks the new mount API.
 */
export function createDetachedMount(
  fileSystem: FileSystem,
  attempted: Attempt,
  context?: OwnedFd,
): OwnedFd {
  const { change, parameters } = fileSystem;
  const readOnly = (change.attrSet & MOUNT_ATTR_RDONLY) !== 0;
  if (fileSystem.attachLoop !== undefined) {
    const { attachLoop, ...plain } = fileSystem;
    const onlyRead = readOnly || isReadOnly(parameters);
    using device = attachLoop(onlyRead, attempted);
    const source = { key: "source", value: device.path };
    const ofDevice = { ...plain, parameters: [source, ...parameters] };
    return createDetachedMount(ofDevice, attempted);
  }
  try {
    return createFileSystem(fileSystem, attempted, context);
  } catch (error) {
    if (!readOnly || !isRefusedToWrite(error)) throw error;
    const flag = { key: "ro", value: true } as const;
    return createFileSystem(
      { ...fileSystem, parameters: [...parameters, flag] },
      attempted,
    );
  }
}

/** True if the file system is to be read-only: the last of `ro` and `rw` counts. */
function isReadOnly(parameters: readonly Parameter[]): boolean {
  return parameters.findLast(({ key }) => key === "ro" || key === "rw")?.key ===
    "ro";
}

function isRefusedToWrite(error: unknown): boolean {
  return error instanceof MountError &&
    ["fsconfig", "mount"].includes(error.syscall) &&
    // EBUSY if the file system is mounted already, read-only.
    [EACCES, EROFS, EBUSY].includes(error.errno);
}

function createFileSystem(
  fileSystem: FileSystem,
  attempted: Attempt,
  given?: OwnedFd,
): OwnedFd {
  const { makeLong } = fileSystem;
  if (makeLong === undefined) return createNew(fileSystem, attempted, given);
  given?.close();
  return makeLong(fileSystem, attempted, createNew);
}

function createNew(
  { type, parameters, change, mapIds, creationOf }: FileSystem,
  attempted: Attempt,
  given?: OwnedFd,
): OwnedFd {
  const creation = creationOf?.(parameters);
  const said = creation?.parameters ?? parameters;
  const open = () => given?.release() ?? fsopen(type);
  return inContext(open, said, attempted, (context) => {
    (creation?.create ?? fsconfigCreate)(context);
    const { attrSet, propagation } = change;
    const fd = fsmount(context, undefined, attrSet);
    const mount = new OwnedFd(fd, "mount", true);
    return afterChange(mount, () => {
      const rest = { attrSet: 0, attrClr: 0, propagation };
      changeAttributes(mount.fd, 0, bindable(rest));
      mapIds?.(mount);
    });
  });
}

/**
 * Sets the parameters in a context of a file system, then does `work` there.
 *
 * @param open Opens the context by fsopen(2) or fspick(2). It is closed at the
 * end.
 * @param parameters The parameters, in order.
 * @param attempted What is attempted, for messages.
 * @param work The work; it takes the context's descriptor.
 * @throws {MountError} With the kernel's messages about the context.
 * @throws {UnsupportedError} If the kernel lacks a call.
 */
export function inContext<T>(
  open: () => number,
  parameters: readonly Parameter[],
  attempted: Attempt,
  work: (context: number) => T,
): T {
  let context: OwnedFd | undefined;
  const set: Parameter[] = [];
  try {
    context = new OwnedFd(open(), "context", true);
    for (const parameter of parameters) {
      if (parameter.optional) {
        setIfTaken(context.fd, parameter);
      } else {
        set.push(parameter);
        setParameter(context.fd, parameter);
      }
    }
    return work(context.fd);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const last = set.at(-1);
    const isRefused = error.syscall === "fsconfig" &&
      error.message.includes("FSCONFIG_SET_");
    throw explain({ ...attempted, parameters: set }, error, {
      log: context === undefined ? [] : distinct(
        readLog(context.fd).map(({ message }) => message.trimEnd()),
      ),
      // Some file systems, such as overlay, don't say which option they refuse.
      ...(last !== undefined && isRefused
        ? { detail: `the option is ${parameterText(last)}` }
        : {}),
    });
  } finally {
    context?.close();
  }
}

function setIfTaken(fd: number, parameter: Parameter): void {
  try {
    setParameter(fd, parameter);
  } catch (error) {
    if (!isErrno(error, EINVAL)) throw error;
    readLog(fd);
  }
}

/** The messages, each once: the kernel repeats some. */
function distinct(messages: readonly string[]): string[] {
  return [...new Set(messages)];
}

function setParameter(fd: number, { key, value }: Parameter): void {
  if (value === true) fsconfigSetFlag(fd, key);
  else if (typeof value === "string") fsconfigSetString(fd, key, value);
  else if (value instanceof Uint8Array) fsconfigSetBinary(fd, key, value);
  else setDescriptor(fd, key, value.fd);
}

/** The parameters that are the number of a descriptor (fuse, autofs, 9p). */
const NUMBERS = ["fd", "rfdno", "wfdno"];

function setDescriptor(context: number, key: string, fd: number): void {
  try {
    fsconfigSetFd(context, key, fd);
  } catch (error) {
    // A kernel that takes no descriptor here takes its number as a string.
    const what = "fsconfig, with FSCONFIG_SET_FD for a number";
    if (!NUMBERS.includes(key) || !lacks(what, error, EINVAL)) throw error;
    readLog(context);
    fsconfigSetString(context, key, String(fd));
  }
}

function parameterText({ key, value }: Parameter): string {
  if (value === true) return quote(key);
  if (typeof value === "string") return quote(`${key}=${value}`);
  return value instanceof Uint8Array
    ? `${quote(key)} of ${value.length} bytes`
    : `${quote(key)} with descriptor ${value.fd}`;
}
