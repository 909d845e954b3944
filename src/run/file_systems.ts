/** The file systems that a command expects, mounted on nothing yet. */
import { openAt, openDirectoryAt } from "../beneath.ts";
import { cloneTree } from "../bindat.ts";
import { createDetachedMount } from "../detached_mount.ts";
import { MountError } from "../error.ts";
import type { OptionsInput } from "../mount_options.ts";
import { parseFileSystem } from "../mountat.ts";
import type { OwnedFd } from "../owned_fd.ts";
import type { Staging } from "../staging.ts";
import { close } from "../sys/close.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MS_PRIVATE,
  O_CLOEXEC,
  O_CREAT,
  O_EXCL,
  RESOLVE_BENEATH,
} from "../sys/constants.ts";
import { EPERM } from "../sys/errno.ts";
import { quote } from "../sys/format.ts";
import { mkdirat } from "../sys/mkdirat.ts";
import { mountSetattr } from "../sys/mount_setattr.ts";
import { openat2 } from "../sys/openat2.ts";
import { symlinkat } from "../sys/symlinkat.ts";

/** The devices that every command may expect. */
const DEVICES = ["null", "zero", "full", "random", "urandom", "tty"];

/** The links in /dev, and what they say. */
const DEVICE_LINKS = {
  fd: "/proc/self/fd",
  stdin: "/proc/self/fd/0",
  stdout: "/proc/self/fd/1",
  stderr: "/proc/self/fd/2",
  ptmx: "pts/ptmx",
} as const;

/** A sysfs; in a user namespace that may mount none, what there is at /sys. */
export function makeSys(): OwnedFd {
  try {
    return make("sysfs", "ro,nosuid,nodev,noexec", "sys");
  } catch (error) {
    if (!(error instanceof MountError && error.errno === EPERM)) throw error;
  }
  const clone = cloneTree(AT_FDCWD, "/sys", AT_RECURSIVE);
  try {
    mountSetattr(clone.fd, "", AT_EMPTY_PATH | AT_RECURSIVE, {
      attrSet: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
        MOUNT_ATTR_NOEXEC,
      propagation: MS_PRIVATE,
    });
    return clone;
  } catch (error) {
    clone.close();
    throw error;
  }
}

/**
 * A /dev: devices by bind, for a user namespace can't make them.
 *
 * @param staging Where it is held then.
 */
export function makeDev(staging: Staging): OwnedFd {
  using owned = new DisposableStack();
  const dev = owned.use(make("tmpfs", "nosuid,mode=755", "dev"));
  staging.hold(dev);
  for (const name of DEVICES) {
    makeFile(dev.fd, name);
    using device = cloneTree(AT_FDCWD, `/dev/${name}`, 0);
    // What the command mounts on it would be mounted on the host's, too.
    mountSetattr(device.fd, "", AT_EMPTY_PATH, { propagation: MS_PRIVATE });
    using at = openAt(dev.fd, name);
    staging.attach(device, at);
  }
  for (const [name, target] of Object.entries(DEVICE_LINKS)) {
    symlinkat(target, dev.fd, name);
  }
  for (
    const [name, type, options] of [
      ["shm", "tmpfs", "nosuid,nodev,mode=1777"],
      ["pts", "devpts", "nosuid,noexec,mode=620,ptmxmode=666"],
    ] as const
  ) {
    mkdirat(dev.fd, name, 0o755);
    using mount = make(type, options, `dev/${name}`);
    using at = openDirectoryAt(dev.fd, name);
    staging.attach(mount, at);
  }
  owned.move();
  return dev;
}

/**
 * A procfs.
 *
 * @param options As of a mount.
 * @param pidns The PID namespace that it shows, null for this thread's.
 */
export function makeProc(
  options: OptionsInput,
  pidns: OwnedFd | null,
): OwnedFd {
  return make("proc", options, "proc", pidns);
}

/** A file system that is mounted on nothing yet. */
export function make(
  type: string,
  options: OptionsInput,
  target: string,
  pidns: OwnedFd | null = null,
): OwnedFd {
  const fileSystem = parseFileSystem({ type, source: type, options });
  const parameters = pidns === null
    ? fileSystem.parameters
    : [...fileSystem.parameters, { key: "pidns", value: pidns }];
  return createDetachedMount(
    { ...fileSystem, parameters },
    { action: `mount ${type} on ${quote(target)}`, target, type },
  );
}

/** Makes an empty file, where nothing of its name may be. */
export function makeFile(dirfd: number, name: string): void {
  const flags = O_CREAT | O_EXCL | O_CLOEXEC;
  close(openat2(dirfd, name, { flags, mode: 0o644, resolve: RESOLVE_BENEATH }));
}
