import {
  type AttributeChange,
  type LoopOptions,
  type Parameter,
  UNCHANGED,
} from "../options/mount_options.ts";
import type { IdMaps } from "../options/attributes.ts";
import type { Attempt } from "../error/attempt.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import {
  AT_EMPTY_PATH,
  LO_FLAGS_AUTOCLEAR,
  LO_FLAGS_READ_ONLY,
  MOUNT_ATTR_RDONLY,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
} from "../sys/constants.ts";
import { attempt, explain, MountError } from "../error/error.ts";
import { EACCES, EBUSY, EINVAL, ENXIO, EROFS } from "../sys/errno.ts";
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
import {
  afterChange,
  bindable,
  changeAttributes,
  idmapAttributes,
  openIdmap,
} from "./change.ts";
import { mountSetattr } from "../sys/mount.ts";
import { isErrno, SyscallError } from "../sys/error.ts";
import { quote } from "../base/text.ts";
import { loopConfigure, loopCtlGetFree } from "../sys/loop.ts";
import { open } from "../fd/open.ts";

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
    return createFileSystem(fileSystem, attempted);
  } catch (error) {
    if (!readOnly || !isRefusedToWrite(error)) throw error;
    const flag = { key: "ro", value: true } as const;
    return createFileSystem(
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

function createFileSystem(
  { type, parameters, change, idmap }: FileSystem,
  attempted: Attempt,
): OwnedFd {
  return inContext(() => fsopen(type), parameters, attempted, (context) => {
    fsconfigCreate(context);
    const { attrSet, propagation } = change;
    const fd = fsmount(context, undefined, attrSet);
    const mount = new OwnedFd(fd, "mount", true);
    return afterChange(mount, () => {
      changeAttributes(mount.fd, 0, bindable({ ...UNCHANGED, propagation }));
      if (idmap !== null) mapIds(mount, idmap);
    });
  });
}

function mapIds(mount: OwnedFd, idmap: IdMaps | number | string): void {
  using namespace = openIdmap(idmap);
  mountSetattr(mount.fd, "", AT_EMPTY_PATH, idmapAttributes(namespace));
}

/**
 * Does something in a context of a file system, once its parameters are set.
 *
 * @param open Opens the context, which is closed at the end: fsopen(2), fspick(2).
 * @param parameters The parameters, in order.
 * @param attempted What is attempted, for messages.
 * @param work What is done, with the context's descriptor.
 * @throws {MountError} With what the kernel said on the context.
 * @throws {UnsupportedError} Where the kernel lacks a call.
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
      set.push(parameter);
      setParameter(context.fd, parameter);
    }
    return work(context.fd);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const last = set.at(-1);
    const isRefused = error.syscall === "fsconfig" &&
      error.message.includes("FSCONFIG_SET_");
    throw explain({ ...attempted, parameters: set }, error, {
      log: context === undefined
        ? []
        : readLog(context.fd).map(({ message }) => message.trimEnd()),
      // Some file systems, overlay for one, say nothing of what they refuse.
      ...(last !== undefined && isRefused
        ? { detail: `the option is ${parameterText(last)}` }
        : {}),
    });
  } finally {
    context?.close();
  }
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
    // A kernel that takes no descriptor there takes its number.
    if (!NUMBERS.includes(key) || !isErrno(error, EINVAL)) throw error;
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

/** What a loop device is to show. */
export interface LoopImage extends LoopOptions {
  /** The path of the file. */
  readonly image: string;
}

/** A loop device, which lets go of its file when nothing has it open any more. */
export interface LoopDevice extends Disposable {
  /** Its path. */
  readonly path: string;
}

/**
 * Puts a file behind a loop device (loop(4)). A mount of the device keeps it;
 * when neither that nor this object is left, the killed process's included, the
 * kernel takes the device down.
 *
 * @param loop The file, and how it is shown.
 * @param readOnly Whether the file is only read.
 * @param attempted What it is for.
 * @throws {MountError} What openat2(2) and ioctl(2) answer.
 */
export function attachLoopDevice(
  { image, device, offset, sizelimit }: LoopImage,
  readOnly: boolean,
  attempted: Attempt,
): LoopDevice {
  const access = readOnly ? O_RDONLY : O_RDWR;
  const flags = LO_FLAGS_AUTOCLEAR | (readOnly ? LO_FLAGS_READ_ONLY : 0);
  return attempt({ ...attempted, image }, () => {
    // A FIFO is not waited for: it is refused like all that is no file or device.
    using file = open(image, access | O_NONBLOCK);
    for (let tries = 1;; tries++) {
      const path = device ?? freeDevice();
      try {
        using configured = open(path, access | O_NONBLOCK);
        const config = { fd: file.fd, offset, sizelimit, flags };
        loopConfigure(configured.fd, config);
        // A kernel that lets nobody write to mounted devices
        // (CONFIG_BLK_DEV_WRITE_MOUNTED) mounts none that is open for writing.
        const held = open(path, O_RDONLY | O_NONBLOCK);
        return { path, [Symbol.dispose]: () => held.close() };
      } catch (error) {
        // Somebody was quicker: the device has a file, or just lost one.
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
