import { openDirectoryAt } from "../beneath.ts";
import {
  AT_FDCWD,
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  UMOUNT_NOFOLLOW,
} from "../sys/constants.ts";
import { SyscallError } from "../sys/error.ts";
import { printable } from "../sys/format.ts";
import { fchdir } from "../sys/fchdir.ts";
import { readlinkat } from "../sys/readlinkat.ts";
import { umount2 } from "../sys/umount2.ts";
import type { Target } from "../target.ts";
import {
  type Command,
  expectPositionals,
  type Manner,
  parseTargetArgument,
} from "./command.ts";
import { printData } from "./data.ts";
import { printMessage } from "./message.ts";

/** What the arguments of `relative-unmount` mean. */
export interface Arguments {
  /** The directory's descriptor, as it was written. */
  readonly fd: string;
  /** The mount point. */
  readonly target: Target;
  /** `MNT_*`. */
  readonly flags: number;
}

/** `mountat relative-unmount <directory fd number> <name>`. */
export const relativeUnmount: Command<Arguments> = {
  description: {
    name: "relative-unmount",
    synopsis: ["relative-unmount [options] <directory fd number> <name>"],
    summary: `Unmount a name in a directory whose descriptor was inherited

Changes to the directory of the descriptor, and unmounts the name there. The
descriptor must reach this process without close-on-exec.

Exit status: 0 when it was unmounted, 2 when the first argument is no number, 1
for any other failure. With --json a call that failed is printed on stdout.`,
    operands: [],
    options: {
      lazy: { short: "l", help: "unmount now, end when no longer in use" },
      force: {
        short: "f",
        help: "abort what is pending (network file systems)",
      },
      expire: { help: "unmount only what was not used since the last time" },
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
  { fd, target, flags }: Arguments,
  { json }: Manner,
): number {
  const number = /^\d{1,9}$/.test(fd) ? Number(fd) : null;
  if (number === null) {
    printMessage(`Failed to parse file descriptor: '${printable(fd)}'`);
    return 2;
  }
  const { parent, name } = target;
  let failure = `Failed to change directory to file descriptor: '${fd}'`;
  try {
    fchdir(number);
    failure = `Failed to unmount '${printable(target.path)}' in ${
      pathOf(number)
    }`;
    if (parent !== ".") {
      using holder = openDirectoryAt(AT_FDCWD, parent);
      fchdir(holder.fd);
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

function pathOf(fd: number): string {
  try {
    return printable(readlinkat(AT_FDCWD, `/proc/self/fd/${fd}`));
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return `the directory of descriptor ${fd}`;
  }
}
