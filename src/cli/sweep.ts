import { type Command, expectPositionals } from "./command.ts";
import {
  type LeftMount,
  sweepCounting,
  type SweepOptions,
  type SweepResult,
} from "../record/sweep.ts";
import { Progress } from "./progress.ts";
import {
  formatJson,
  printAndTell,
  printData,
  printMessage,
  report,
  SOME_FAILED,
} from "./print.ts";
import { quote } from "../base/text.ts";

/** `mountat sweep`. */
export const sweep: Command<Required<SweepOptions>> = {
  description: {
    name: "sweep",
    synopsis: ["sweep [options]"],
    summary: `Unmount what dead processes recorded and left

Records are in /run/mountat, or in $XDG_RUNTIME_DIR/mountat for a user who does not
own /run. Deno must be allowed to write there. A mount is found by the kernel's unique
id, never by its path, so a newer mount at the same place stays. These stay, too:
mounts of processes that are alive, mounts in other mount namespaces, and (even with
--lazy) mounts that have another mount inside or on top that is not swept.

"mountat DIRECTORY" and "mountat apply" record their mounts. Other subcommands record
none.

Exit status: 0 if nothing failed, 1 for no permission, 32 if nothing could be
unmounted, 64 if some of several could not.`,
    operands: [],
    options: {
      "dry-run": {
        short: "n",
        help: "change nothing; tell what would be unmounted",
      },
      lazy: {
        short: "l",
        help: "unmount mounts in use, too, unless a mount is inside them",
      },
    },
    examples: [{
      call: "mountat sweep --dry-run",
      does: "the mounts that dead processes left are named, and stay",
    }],
  },
  failureStatus: 32,
  parse({ positionals, switches }) {
    expectPositionals(this.description, positionals, 0, 0);
    return { dryRun: switches.has("dry-run"), lazy: switches.has("lazy") };
  },
  run(options, manner) {
    const done = options.dryRun ? "To unmount" : "Unmounted";
    using progress = new Progress(done, manner);
    const result = sweepCounting(options, progress.step);
    progress[Symbol.dispose]();
    return printAndTell(() => {
      if (manner.json) printData(formatJson(toData(result)));
      else if (!manner.quiet) tell(result, options);
    }, () => reportFailures(result));
  },
};

/** Under the names of JSON; ids as `list` has them. */
function toData({ unmounted, left, ignored }: SweepResult): unknown {
  return {
    unmounted: unmounted.map((mount) => ({ ...mount, id: Number(mount.id) })),
    left: left.map(({ error, ...mount }) => ({
      ...mount,
      id: Number(mount.id),
      ...(error === undefined ? {} : {
        syscall: error.syscall,
        errno: error.errno,
        code: error.code,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      }),
    })),
    ignored,
  };
}

const REASONS: Readonly<Record<LeftMount["reason"], string>> = {
  "owner alive": "which is alive",
  "other namespace": "in another mount namespace",
  "out of sight": "which can't be seen from here",
  "failed": "which could not be unmounted",
};

function tell(
  { unmounted, left }: SweepResult,
  { dryRun }: Required<SweepOptions>,
): void {
  const done = dryRun ? "Would unmount" : "Unmounted";
  for (const { target, pid } of unmounted) {
    printData(`${done} ${quote(target)} of process ${pid}.`);
  }
  for (const { target, pid, reason } of left) {
    printData(`Left ${quote(target)} of process ${pid}, ${REASONS[reason]}.`);
  }
}

/** Says what went wrong, and returns the exit status. */
function reportFailures({ unmounted, left, ignored }: SweepResult): number {
  for (const { path, reason } of ignored) {
    printMessage(`mountat: Ignored ${quote(path)}: ${reason}`);
  }
  let status = ignored.length > 0 ? sweep.failureStatus : 0;
  for (const { error } of left) {
    if (error === undefined) continue;
    status = Math.max(status, report(error, sweep.failureStatus));
  }
  return status !== 0 && unmounted.length > 0 ? SOME_FAILED : status;
}
