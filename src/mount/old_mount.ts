/**
 * mount(2), for parameters that fsconfig(2) does not take. A thread mounts in a
 * mount namespace of its own. The result is a detached copy of that mount.
 */
import { type OldMount, oldMount, shortened } from "../options/long_values.ts";
import { afterChange, bindable, changeAttributes } from "./change.ts";
import type { FileSystem } from "./detached.ts";
import type { Attempt } from "../error/attempt.ts";
import { explain, MountError } from "../error/error.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import { detachedTmpfs } from "../kernel/probe.ts";
import { mkdirat } from "../sys/names.ts";
import { type Fallback, fallBack, SyscallError } from "../sys/error.ts";
import { EINVAL } from "../sys/errno.ts";
import {
  CLONE_NEWNS,
  MNT_DETACH,
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_RDONLY,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from "../sys/constants.ts";
import {
  mountPrivately,
  moveToRoot,
  SyscallThread,
  type ThreadCall,
  unshareCall,
} from "../sys/thread.ts";
import { MOUNT_FLAGS, OPEN_TREE_FLAGS, UMOUNT_FLAGS } from "../sys/mount.ts";
import { cString, flagNames } from "../sys/call.ts";
import { quote } from "../base/text.ts";

/** The name of the mount point in the tmpfs that is moved onto the root. */
const NAME = "m";

/** The mount point. "/" leads beneath the tmpfs on the root, "/.." into it. */
const PLACE = `/../${NAME}`;

/**
 * Makes a file system with a parameter that is too long for fsconfig(2):
 * overlay by a parameter for each layer if possible, else by mount(2).
 *
 * @param make Makes a file system by fsconfig(2).
 * @returns A detached mount of it.
 * @throws {MountError} What the kernel answers.
 * @throws {UnsupportedError} When no thread can be started.
 */
export function makeLong(
  fileSystem: FileSystem,
  attempted: Attempt,
  make: (fileSystem: FileSystem, attempted: Attempt) => OwnedFd,
): OwnedFd {
  const { type, parameters, change, mapIds } = fileSystem;
  const split = shortened(type, parameters);
  const old = oldMount(type, parameters);
  let mount: OwnedFd;
  if (split === null) {
    mount = mountDetached(type, old!, attempted);
  } else {
    try {
      return make({ ...fileSystem, parameters: split }, attempted);
    } catch (error) {
      const missing = old === null ? null : missingFor(error);
      if (missing === null) throw error;
      fallBack(missing);
      mount = mountInstead(error, () => mountDetached(type, old!, attempted));
    }
  }
  return afterChange(mount, () => {
    changeAttributes(
      mount.fd,
      0,
      bindable({
        ...change,
        // mount(2) sets these by the file system's flags, or by default.
        attrClr: MOUNT_ATTR_RDONLY | MOUNT_ATTR__ATIME,
      }),
    );
    mapIds?.(mount);
  });
}

/**
 * The feature that overlay lacks according to its error; null if it lacks none.
 * Before Linux 6.5, overlay checks no parameter until it is created, and gives
 * no reason.
 */
function missingFor(error: unknown): Fallback | null {
  if (!(error instanceof MountError && error.errno === EINVAL)) return null;
  const { log, cause: { message } } = error;
  if (/FSCONFIG_SET_STRING, "(lower|data)dir\+"/.test(message)) {
    return "fsconfig, with lowerdir+";
  }
  return log.length === 0 && message.includes("FSCONFIG_CMD_CREATE")
    ? "fsconfig, of overlay"
    : null;
}

/** Mounts after an error. If that fails with EINVAL, throws the first error. */
function mountInstead(error: unknown, mount: () => OwnedFd): OwnedFd {
  try {
    return mount();
  } catch (failure) {
    throw failure instanceof MountError && failure.errno === EINVAL
      ? error
      : failure;
  }
}

/**
 * Mounts a file system by mount(2). No path of another thread shows the mount.
 * If the process ends meanwhile, the mount is gone.
 *
 * Paths in the options start where the calling thread's paths start.
 *
 * @param type Its type, with the subtype.
 * @param mount The other arguments of mount(2).
 * @param attempted What is attempted, for messages.
 * @returns The mount, detached.
 * @throws {MountError} What mount(2) answers; EINVAL if this process's root is
 * not the root of a mount.
 * @throws {UnsupportedError} When no thread can be started.
 */
function mountDetached(
  type: string,
  mount: OldMount,
  attempted: Attempt,
): OwnedFd {
  using bench = detachedTmpfs();
  mkdirat(bench.fd, NAME, 0o755);
  const thread = new SyscallThread();
  try {
    const fd = thread.make([
      unshareCall(CLONE_NEWNS),
      mountPrivately(),
      moveToRoot(bench.fd),
      mountCall(type, mount),
      cloneCall(bench.fd),
    ], [unmountCall()]);
    return new OwnedFd(fd, "mount", true);
  } catch (error) {
    if (!(error instanceof SyscallError) || error.syscall !== "mount") {
      throw error;
    }
    throw explain(attempted, error, {
      detail:
        "the reason, if there is more to tell, is in the kernel's log (dmesg)",
    });
  } finally {
    thread.end();
  }
}

function mountCall(
  type: string,
  { source, flags, data }: OldMount,
): ThreadCall {
  return {
    name: "mount",
    args: [
      source === null ? null : cString("source", source),
      cString("target", PLACE),
      cString("type", type),
      flags,
      cString("data", data),
    ],
    text: [
      quote(source),
      quote(PLACE),
      quote(type),
      flagNames(flags, MOUNT_FLAGS),
      quote(data),
    ],
  };
}

function cloneCall(bench: number): ThreadCall {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  return {
    name: "open_tree",
    args: [bench, cString("path", NAME), flags],
    text: [{ fd: bench }, quote(NAME), flagNames(flags, OPEN_TREE_FLAGS)],
  };
}

/** Unmounts now. The end of the thread's namespace would, too, but later. */
function unmountCall(): ThreadCall {
  return {
    name: "umount2",
    args: [cString("target", PLACE), MNT_DETACH],
    text: [quote(PLACE), flagNames(MNT_DETACH, UMOUNT_FLAGS)],
  };
}
