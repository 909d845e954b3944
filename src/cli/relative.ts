import {
  type Command,
  expectPositionals,
  type Manner,
  parseTargetArgument,
} from "./command.ts";
import { Directory } from "../directory.ts";
import type { Target } from "../options/target.ts";
import {
  AT_FDCWD,
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  UMOUNT_NOFOLLOW,
} from "../sys/constants.ts";
import { printData, printMessage, reportAsJson, UsageError } from "./print.ts";
import { printable, quote } from "../base/text.ts";
import { placeOfDescriptor } from "../kernel/place.ts";
import { isRootOfProcess } from "../unmount/unmountat.ts";
import { EBUSY } from "../sys/errno.ts";
import { fchdir } from "../sys/file.ts";
import { openDirectoryAt, pathOf } from "../fd/open.ts";
import { umount2 } from "../sys/mount.ts";
import { SyscallError } from "../sys/error.ts";

/** The parsed arguments of `relative-mount`. */
export interface MountArguments {
  /** The directory. */
  readonly directory: string;
  /** The mount point in it. */
  readonly name: string;
}

/** `mountat relative-mount <directory> <mountpoint>`. */
export const relativeMount: Command<MountArguments> = {
  description: {
    name: "relative-mount",
    synopsis: ["relative-mount <directory> <mountpoint>"],
    summary: `Mount a procfs on a name in a directory, and leave it there

The mount point is made if it is missing. The mount is nosuid and nodev. For other
options use "mountat mount".

Exit status: 0 if it was done, 1 for wrong usage or no permission, 32 if it failed.`,
    operands: ["directory", "name"],
    examples: [{
      call: "mountat relative-mount /srv/root proc",
      does: "/srv/root/proc is a procfs until it is unmounted",
    }],
  },
  failureStatus: 32,
  parse({ positionals }) {
    expectPositionals(this.description, positionals, 2, 2);
    const [directory, name] = positionals;
    return { directory: directory!, name: parseTargetArgument(name!).path };
  },
  run({ directory, name }) {
    using root = Directory.open(directory);
    using mount = root.mount(name, {
      type: "proc",
      source: "/proc",
      options: "nosuid,nodev",
      mkdir: 0o700,
    });
    mount.keep();
    return 0;
  },
};

/** The parsed arguments of `relative-unmount`. */
export interface UnmountArguments {
  /** The directory's descriptor, as it was written. */
  readonly fd: string;
  /** The mount point. */
  readonly target: Target;
  /** `MNT_*`. */
  readonly flags: number;
}

/** `mountat relative-unmount <directory fd number> <name>`. */
export const relativeUnmount: Command<UnmountArguments> = {
  description: {
    name: "relative-unmount",
    synopsis: ["relative-unmount [options] <directory fd number> <name>"],
    summary: `Unmount a name in a directory whose descriptor was inherited

relative-unmount changes to the directory of the descriptor, and unmounts the name
there. The caller must pass the descriptor on without close-on-exec.

Exit status: 0 if it was unmounted, 2 if the first argument is not a number, 1 for any
other failure. With --json a failed call is printed on stdout.`,
    operands: [],
    options: {
      lazy: {
        short: "l",
        help: "detach it now; it ends when it is no longer in use",
      },
      force: {
        short: "f",
        help: "abort pending requests of a network file system",
      },
      expire: {
        help: "unmount it only if it was not used since the last --expire",
      },
    },
    examples: [{
      call: "mountat relative-unmount 3 proc 3< /srv/root",
      does: "/srv/root/proc is unmounted, without naming /srv/root again",
    }],
  },
  failureStatus: 1,
  parse({ positionals, switches }) {
    expectPositionals(this.description, positionals, 2, 2);
    const [fd, name] = positionals;
    return {
      fd: fd!,
      target: parseTargetArgument(name!),
      flags: (switches.has("lazy") ? MNT_DETACH : 0) |
        (switches.has("force") ? MNT_FORCE : 0) |
        (switches.has("expire") ? MNT_EXPIRE : 0),
    };
  },
  run: unmount,
};

function unmount(
  { fd, target, flags }: UnmountArguments,
  { json }: Manner,
): number {
  const number = /^\d{1,9}$/.test(fd) ? Number(fd) : null;
  if (number === null) {
    const message = `Failed to parse file descriptor: '${printable(fd)}'`;
    printMessage(message);
    if (json) reportAsJson([new UsageError(message)]);
    return 2;
  }
  const { parent, name } = target;
  let failure = `Failed to change directory to file descriptor: '${fd}'`;
  try {
    fchdir(number);
    failure = `Failed to unmount '${printable(target.path)}' in ${
      directoryText(number)
    }`;
    if (parent !== ".") {
      using holder = openDirectoryAt(AT_FDCWD, parent);
      fchdir(holder.fd);
    }
    if (name === "." && isRootOfProcess(placeOfDescriptor(number))) {
      throw new SyscallError("umount2", EBUSY, [quote("/"), "0"]);
    }
    umount2(name, flags | UMOUNT_NOFOLLOW);
    return 0;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    printMessage(failure);
    printMessage(error.message);
    const { syscall, errno, code } = error;
    if (json) printData(JSON.stringify({ syscall, errno, code }));
    return 1;
  }
}

function directoryText(fd: number): string {
  try {
    return printable(pathOf(fd));
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return `the directory of descriptor ${fd}`;
  }
}
