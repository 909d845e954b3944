import { lookupOf, lookupOfCaller } from "../error/attempt.ts";
import { type Command, expectPositionals, type Manner } from "./command.ts";
import { printData, report, reportAsJson, UsageError } from "./print.ts";
import { quote } from "../base/text.ts";
import { parseTarget } from "../options/target.ts";
import { Interrupt } from "./interrupt.ts";
import { CreatedPaths } from "../mount/mount_point.ts";
import { AT_FDCWD, MOUNT_ATTR_NOEXEC } from "../sys/constants.ts";
import { compileNothing } from "../sys/libc.ts";
import { createMount, type Mount } from "../mount/mount.ts";
import { attachBeneath } from "../mount/attach.ts";
import { createDetachedMount } from "../mount/detached.ts";
import type { OwnedFd } from "../fd/owned_fd.ts";
import { attempt, explainLate, MountError } from "../error/error.ts";
import type { MountRecord } from "../record/record.ts";
import { mayRecord } from "../record/file.ts";

/** The parsed arguments of `bb_mounter_at`. */
export interface Arguments {
  /** The directory to mount in. */
  readonly directory: string;
  /** The seconds to wait. */
  readonly delay: number;
}

/** The two file systems that the reference mounts. */
const FILE_SYSTEMS = [
  { name: "proc", type: "proc", source: "/proc" },
  { name: "sys", type: "sysfs", source: "/sys" },
] as const;

const DEFAULT_DELAY = 5;

/** `mountat <directory> [delay]`. */
export const bbMounterAt: Command<Arguments> = {
  description: {
    name: "bb_mounter_at",
    synopsis: ["<directory> [delay]", "bb_mounter_at <directory> [delay]"],
    summary: `Mount /proc and /sys into a directory for some seconds

The directory is made if it is missing, and opened. Everything else is done through
its descriptor. The mount points proc and sys are made in it with mode 0700. After the
delay (by default 5 seconds) both are unmounted.

Ctrl-C (SIGINT), Ctrl-\\ (SIGQUIT), SIGTERM, the terminal's hang-up and every other
signal that would end the program end the delay. If the program is killed, "mountat
sweep" finds its mounts, provided that Deno may write to /run/mountat.

Exit status: 0 if all was done, 1 if not; 128 plus the signal's number, such as 130,
if a signal ended the delay.`,
    examples: [{
      call: "mountat /srv/root 60",
      does: "/srv/root/proc and /srv/root/sys are there for a minute",
    }],
  },
  failureStatus: 1,
  parse({ positionals }) {
    expectPositionals(this.description, positionals, 1, 2);
    const [directory, delay] = positionals;
    return {
      directory: directory!,
      delay: delay === undefined ? DEFAULT_DELAY : parseDelay(delay),
    };
  },
  run,
};

/**
 * Parses a number of seconds.
 *
 * @throws {UsageError} When it is no whole number.
 */
export function parseDelay(text: string): number {
  const delay = /^(0|[1-9]\d*)$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(delay)) return delay;
  throw new UsageError(
    `The delay must be a whole number of seconds, like 0 or 10: ${quote(text)}`,
  );
}

function run(parsed: Arguments, manner: Manner): Promise<number> {
  compileNothing();
  return explaining(() => mountAndWait(parsed, manner));
}

async function mountAndWait(
  { directory: path, delay }: Arguments,
  { json, quiet }: Manner,
): Promise<number> {
  // There is no data in these lines.
  const say = quiet || json ? () => {} : printData;
  // From here on a signal waits until what is mounted can be unmounted.
  using interrupt = new Interrupt();
  using record = await openRecord();
  // A failure undoes all this, the last first.
  using leading = new CreatedPaths();
  using directory = await explaining(() =>
    makeDirectory(leading, AT_FDCWD, path, 0o755, 0)
  );
  using mountPoints = new CreatedPaths();
  using undo = new DisposableStack();
  const mounts: Mount[] = [];
  await explaining(() => {
    for (const fileSystem of FILE_SYSTEMS) {
      const { name, source } = fileSystem;
      say(
        `Mounting ${source} into ${directory.fd} (file descriptor for) ${path}.`,
      );
      makeDirectory(mountPoints, directory.fd, name, 0o700).close();
      mounts.push(undo.use(mount(directory.fd, fileSystem, record)));
    }
    if (delay > 0) interrupt.catchAll();
    say(`Sleeping ${delay} second${delay === 1 ? "" : "s"}.`);
  }, directory.fd);
  await interrupt.sleep(delay);
  mountPoints.keep();
  leading.keep();
  const failures = await unmountAll(mounts, directory.fd, say);
  if (json) reportAsJson(failures);
  const status = failures.length > 0 ? bbMounterAt.failureStatus : 0;
  return status || (interrupt.status ?? 0);
}

/**
 * Does a thing. Where that fails it loads what it takes to say why, and to undo
 * what was done, before any of that is undone.
 *
 * @param dirfd The directory that is mounted in.
 * @throws {MountError} In place of what could not be explained before.
 */
async function explaining<T>(
  work: () => T | Promise<T>,
  dirfd?: number,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await import("../late.ts");
    throw explainLate(error, dirfd);
  }
}

/**
 * Mounts one of the file systems as `mountat()` would. The options that this
 * takes apart, which would have to be loaded, are but one here.
 */
function mount(
  dirfd: number,
  { name, type, source }: (typeof FILE_SYSTEMS)[number],
  record: MountRecord | null,
): Mount {
  const attempted = {
    action: `mount ${type} on ${quote(name)}`,
    target: name,
    type,
    source,
    mkdir: false,
  };
  const { id, mountPoint, created } = attachBeneath(dirfd, {
    target: parseTarget(name),
    mode: null,
    beneath: false,
    inRoot: false,
    whole: false,
    attempted,
    make: () =>
      createDetachedMount({
        type,
        parameters: [{ key: "source", value: source }],
        change: { attrSet: MOUNT_ATTR_NOEXEC, attrClr: 0, propagation: 0 },
        mapIds: null,
      }, attempted),
    finish: null,
    record,
  });
  created.keep();
  return createMount(id, name, mountPoint, "mounted");
}

function makeDirectory(
  created: CreatedPaths,
  dirfd: number,
  path: string,
  mode: number,
  resolve?: number,
): OwnedFd {
  return attempt(
    {
      action: `open or create directory ${quote(path)}`,
      target: path,
      ...(resolve === undefined
        ? lookupOf(dirfd, path)
        : lookupOfCaller(path, "target")),
    },
    () => created.makeDirectory(dirfd, path, mode, resolve),
  );
}

/**
 * Unmounts in mount order, each whether or not the others could be.
 *
 * @returns The errors of those that stay, which were reported.
 */
async function unmountAll(
  mounts: Mount[],
  dirfd: number,
  say: (line: string) => void,
): Promise<unknown[]> {
  const failures: unknown[] = [];
  for (const mount of mounts) {
    say(
      `Unmounting ${mount.target} from ${dirfd} (directory file descriptor).`,
    );
    try {
      await unmount(mount);
    } catch (error) {
      failures.push(error);
      report(error);
    }
    // One that could not be unmounted stays, as the message says.
    mount.keep();
  }
  return failures;
}

/** Unmounts, and once more with all that is needed to do it, or to say why not. */
async function unmount(mount: Mount): Promise<void> {
  try {
    mount.unmount();
  } catch {
    await import("../late.ts");
    mount.unmount();
  }
}

/** Opens a record of what is mounted, null where that may not or can't be. */
export async function openRecord(): Promise<MountRecord | null> {
  if (!mayRecord()) return null;
  const { MountRecord } = await import("../record/record.ts");
  try {
    return await explaining(() => MountRecord.open());
  } catch (error) {
    if (!(error instanceof MountError)) throw error;
    // It is no reason not to mount.
    report(error);
    return null;
  }
}

/** Ends a record where a failure changes nothing that was asked for. */
export function closeRecord(record: MountRecord | null): void {
  try {
    record?.close();
  } catch (error) {
    if (!(error instanceof MountError)) throw error;
    report(error);
  }
}
