import { pathOf } from "../fd/open.ts";
import { lookupOfCaller } from "../error/attempt.ts";
import { type Command, expectPositionals, type Manner } from "./command.ts";
import { parseDelay } from "./bb_mounter_at.ts";
import { Interrupt } from "./interrupt.ts";
import { CreatedPaths } from "../mount/mount_point.ts";
import { attempt, explain } from "../error/error.ts";
import { quote } from "../base/text.ts";
import { AT_FDCWD, MS_BIND, UMOUNT_NOFOLLOW } from "../sys/constants.ts";
import { printData, report, reportAsJson, SOME_FAILED } from "./print.ts";
import { parseTarget } from "../options/target.ts";
import { bindat } from "../mount/bindat.ts";
import { mountat } from "../mount/mountat.ts";
import { mount, umount2 } from "../sys/mount.ts";

/** The parsed arguments of `bb_mounter`. */
export interface Arguments {
  /** The directory to mount in. */
  readonly directory: string;
  /** The seconds to wait before all is undone. */
  readonly delay: number;
  /** True to mount by paths, with mount(2). */
  readonly legacy: boolean;
}

/** One of the mounts: a file system, or a bind of what the host has. */
interface MountEntry {
  readonly target: string;
  readonly source: string;
  /** The file system's type; a bind has none. */
  readonly type?: string;
  /** True if the mount point is a file. */
  readonly file?: boolean;
}

const DEVICES = ["full", "null", "random", "tty", "urandom", "zero"];

const ENTRIES: readonly MountEntry[] = [
  { target: "proc", source: "/proc", type: "proc" },
  { target: "sys", source: "/sys", type: "sysfs" },
  { target: "run", source: "/run" },
  ...DEVICES.map((name) => ({
    target: `dev/${name}`,
    source: `/dev/${name}`,
    file: true,
  })),
];

/** `mountat bb_mounter <directory> [delay]`. */
export const bbMounter: Command<Arguments> = {
  description: {
    name: "bb_mounter",
    synopsis: ["bb_mounter [options] <directory> [delay]"],
    summary: `Mount what a chroot needs for some seconds

bb_mounter mounts /proc and /sys, and binds /run and /dev/full, null, random, tty,
urandom and zero into a directory. It waits, and then undoes everything in reverse
order: the mounts, and the directories and files that it made for them. By default the delay is 0
seconds. Ctrl-C (SIGINT), Ctrl-\\ (SIGQUIT), SIGTERM, the terminal's hang-up and every
other signal that would end the program end the delay.

With --legacy each mount is made and undone by its path, as mount(8) does: symlinks on
the way are followed. Use it only for directories that nobody else can write to.

Exit status: 0 if all was done and undone, 1 for wrong usage or no permission, 32 if
something could not be mounted or undone, 64 if some mounts could not be unmounted;
128 plus the signal's number, such as 130, if a signal ended the delay.`,
    options: {
      legacy: {
        help: "mount and unmount by paths, through symlinks (mount(2))",
      },
    },
    examples: [{
      call: "mountat bb_mounter /srv/root 60",
      does: "for a minute /srv/root has what programs in it expect",
    }],
  },
  failureStatus: 32,
  parse({ positionals, switches }) {
    expectPositionals(this.description, positionals, 1, 2);
    const [directory, delay = "0"] = positionals;
    return {
      directory: directory!,
      delay: parseDelay(delay),
      legacy: switches.has("legacy"),
    };
  },
  run: mountAndWait,
};

async function mountAndWait(
  { directory: path, delay, legacy }: Arguments,
  { json, quiet }: Manner,
): Promise<number> {
  using interrupt = new Interrupt();
  interrupt.catchAll();
  // All this is undone at the end or after a failure, the last first.
  using leading = new CreatedPaths();
  using directory = attempt(
    {
      action: `open or create directory ${quote(path)}`,
      target: path,
      ...lookupOfCaller(path, "target"),
    },
    () => leading.makeDirectory(AT_FDCWD, path, 0o755, 0),
  );
  using mountPoints = new CreatedPaths();
  const undo: (() => void)[] = [];
  let status = 0;
  const failures: unknown[] = [];
  try {
    for (const entry of ENTRIES) {
      if (!quiet && !json) printData(`mounting '${path}/${entry.target}'.`);
      makeMountPoint(mountPoints, directory.fd, entry);
      undo.push(
        legacy ? mountByPath(path, entry) : mountByFd(directory.fd, entry),
      );
    }
    leading.keep();
    await interrupt.sleep(delay);
  } finally {
    let failed = 0;
    for (const step of undo.reverse()) {
      try {
        step();
      } catch (error) {
        failures.push(error);
        report(error);
        failed++;
      }
    }
    if (failed > 0) status = failed < undo.length ? SOME_FAILED : 32;
    for (const { parent, name, cause } of mountPoints.remove()) {
      const left = `${pathOf(parent)}/${name}`;
      const action = `remove ${quote(left)}`;
      const failure = explain({ action, target: name }, cause);
      failures.push(failure);
      report(failure);
      status ||= 32;
    }
    if (json) reportAsJson(failures);
  }
  return status || (interrupt.status ?? 0);
}

function makeMountPoint(
  created: CreatedPaths,
  dirfd: number,
  { target, file }: MountEntry,
): void {
  const { path, parent, name } = parseTarget(target);
  attempt({ action: `create ${quote(target)}`, target }, () => {
    using holder = created.makeDirectory(dirfd, file ? parent : path, 0o755);
    if (file) created.makeFile(holder.fd, name, 0o644).close();
  });
}

function mountByFd(
  dirfd: number,
  { target, source, type }: MountEntry,
): () => void {
  const mount = type === undefined
    ? bindat(dirfd, target, source)
    : mountat(dirfd, target, { type, source });
  return () => mount[Symbol.dispose]();
}

function mountByPath(
  directory: string,
  { target, source, type }: MountEntry,
): () => void {
  const path = `${directory}/${target}`;
  attempt(
    { action: `mount ${quote(source)} on ${quote(path)}`, target },
    () =>
      type === undefined
        ? mount(source, path, null, MS_BIND, null)
        : mount(source, path, type, 0, null),
  );
  return () =>
    attempt(
      { action: `unmount ${quote(path)}`, target },
      () => umount2(path, UMOUNT_NOFOLLOW),
    );
}
