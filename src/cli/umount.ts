import { unmountCounting, type UnmountOptions } from "../unmount/unmountat.ts";
import { isStrategy, type UnmountStrategy } from "../unmount/strategy.ts";
import {
  type Command,
  expectPositionals,
  type Manner,
  parseTargetArgument,
} from "./command.ts";
import { Directory } from "../directory.ts";
import { Progress } from "./progress.ts";
import {
  formatJson,
  printAndTell,
  printData,
  report,
  SOME_FAILED,
  UsageError,
} from "./print.ts";
import { quote } from "../base/text.ts";
import { unmountBelow, type Unmounted } from "../unmount/unmount_all.ts";
import { MountError } from "../error/error.ts";

/** The parsed arguments of `umount`. */
export interface Arguments {
  /** The directory. */
  readonly directory: string;
  /** The mount point, relative to it; null for everything below it. */
  readonly target: string | null;
  /** The topmost mount there, all that are stacked, or all below, too. */
  readonly extent: "topmost" | "stack" | "tree";
  /** Options of each unmount. */
  readonly options: UnmountOptions;
}

const STRATEGIES = [
  "procfd",
  "worker",
  "subprocess",
  "mtab",
] as const satisfies readonly UnmountStrategy[];

/** `mountat umount <directory> <name>`. */
export const umount: Command<Arguments> = {
  description: {
    name: "umount",
    synopsis: [
      "umount [options] <directory> <name>",
      "umount --recursive|--all [options] <directory> [name]",
    ],
    summary: `Unmount a name in a directory, or everything below it

The name is resolved beneath the directory and through no symlink. By default the
topmost mount on it is unmounted; with --all the whole stack. --recursive unmounts
everything below the directory or, if there is a name, on the name and below it: the
newest and deepest first, including stacks. The mount that the directory itself lies
in stays. If one mount can't be unmounted, the others still are. Empty mount points
stay.

Exit status: 0 if all was unmounted, 1 for wrong usage or no permission, 32 if nothing
could be unmounted, 64 if some of several could not.`,
    operands: ["directory", "mount point"],
    options: {
      all: {
        help:
          "unmount the whole stack on the name, or everything below the directory",
      },
      expire: {
        help: "unmount it only if it was not used since the last --expire",
      },
      force: {
        short: "f",
        help: "abort pending requests of a network file system",
      },
      lazy: {
        short: "l",
        help: "detach it now; it ends when it is no longer in use",
      },
      recursive: { short: "R", help: "unmount everything mounted inside, too" },
      strategy: {
        value: "way",
        choices: STRATEGIES,
        help:
          "how umount2(2) gets its path: procfd (default), worker, subprocess or mtab",
      },
    },
    examples: [{
      call: "mountat umount /srv/root proc",
      does: "the topmost mount on /srv/root/proc is unmounted",
    }, {
      call: "mountat umount --recursive /srv/root",
      does: "nothing is mounted below /srv/root any more",
    }],
  },
  failureStatus: 32,
  parse({ positionals, switches, values }) {
    const all = switches.has("all");
    const least = switches.has("recursive") || all ? 1 : 2;
    if (positionals.length === 1 && least === 2) {
      throw new UsageError(
        "The name is missing: write a mount point as a directory and a name in it, such as /srv/root tmp. For everything below a directory, use --recursive",
      );
    }
    expectPositionals(this.description, positionals, least, 2);
    const [directory, name] = positionals;
    // All of a directory is what is below it.
    const recursive = switches.has("recursive") || name === undefined;
    return {
      directory: directory!,
      target: name === undefined ? null : parseName(name, recursive),
      extent: recursive ? "tree" : all ? "stack" : "topmost",
      options: {
        lazy: switches.has("lazy"),
        force: switches.has("force"),
        expire: switches.has("expire"),
        ...parseStrategy(values["strategy"]),
      },
    };
  },
  run({ directory: path, target, extent, options }, manner) {
    using directory = Directory.open(path);
    using progress = new Progress("Unmounted", manner);
    const { step } = progress;
    const { unmounted, failures } = extent === "tree"
      ? unmountTree(directory, target, options, step)
      : unmountTarget(
        directory,
        target!,
        { ...options, all: extent === "stack" },
        step,
      );
    progress[Symbol.dispose]();
    return printAndTell(
      () => tell(unmounted, failures, manner),
      () => reportFailures(unmounted, failures),
    );
  },
};

function parseStrategy(
  [text]: readonly string[] = [],
): Pick<UnmountOptions, "strategy"> {
  if (text === undefined) return {};
  if (isStrategy(text)) return { strategy: text };
  throw new UsageError(`There is no strategy ${quote(text)} to unmount by`);
}

function parseName(text: string, recursive: boolean): string {
  const { path, name } = parseTargetArgument(text);
  // With --recursive, mounts below are found by their paths.
  const components = recursive ? path.split("/") : [name];
  if (!components.includes("..")) return path;
  throw new UsageError(
    `The name must not ${recursive ? "have" : "end in"} "..": ${quote(text)}`,
  );
}

function unmountTree(
  directory: Directory,
  target: string | null,
  options: UnmountOptions,
  step: () => void,
): Unmounted {
  const within = target === "." ? null : target;
  const done = unmountBelow(directory.fd, within, options, step);
  const found = done.unmounted.length + done.failures.length > 0;
  // If nothing is mounted there, the kernel's error says why: the name is missing,
  // or a symlink.
  return found || within === null
    ? done
    : unmountTarget(directory, within, options, step);
}

/** Unmounts the topmost mount on a target; with the option `all`, the whole stack. */
function unmountTarget(
  directory: Directory,
  target: string,
  options: UnmountOptions,
  step: () => void,
): Unmounted {
  const unmounted: string[] = [];
  try {
    unmountCounting(directory.fd, target, options, () => {
      unmounted.push(target);
      step();
    });
    return { unmounted, failures: [] };
  } catch (error) {
    if (!(error instanceof MountError)) throw error;
    return { unmounted, failures: [error] };
  }
}

/** Says what was unmounted, and as JSON what not. */
function tell(
  unmounted: string[],
  failures: MountError[],
  { json, quiet }: Manner,
): void {
  if (json) {
    const failed = failures.map(({ target, syscall, errno, code, hint }) => ({
      target,
      syscall,
      errno,
      code,
      ...(hint === undefined ? {} : { hint }),
    }));
    printData(formatJson({ unmounted, failed }));
  } else if (!quiet) {
    for (const target of unmounted) {
      printData(`Unmounted ${quote(target)}.`);
    }
  }
}

/** Says what could not be unmounted, and returns the exit status. */
function reportFailures(unmounted: string[], failures: MountError[]): number {
  let status = 0;
  // Of a stack all but the topmost fail alike.
  const messages = Map.groupBy(failures, ({ message }) => message);
  for (const [failure] of messages.values()) {
    status = Math.max(status, report(failure, umount.failureStatus));
  }
  return status !== 0 && unmounted.length > 0 ? SOME_FAILED : status;
}
