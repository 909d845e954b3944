/** Rows 4 and 5: one unmount, compared with ways that start a process. */
import { bindat, Directory, mountat, unmountat } from "../../mod.ts";
import { SCRATCH } from "../../tests/support/testing.ts";
import type { Absent, Contestant } from "../measure.ts";
import {
  command,
  compile,
  COMPILER,
  installed,
  whyMissing,
} from "../programs.ts";
import { compare, type Match, type Row } from "./row.ts";
import { among, crowd, CROWDS, sizeOf } from "./crowd.ts";

/** A mount to unmount. */
export interface Job {
  readonly what: string;
  readonly target: string;
  /** Makes the mount; its time does not count. */
  mount(root: Directory): void;
}

/** A mount on a directory. */
export const DIRECTORY: Job = {
  what: "a tmpfs",
  target: "directory",
  mount(root) {
    mountat(root, this.target, { type: "tmpfs", source: "tmpfs" }).keep();
  },
};

/** A mount on a file. */
export const FILE: Job = {
  what: "a device",
  target: "file",
  mount(root) {
    bindat(root, this.target, "/dev/null").keep();
  },
};

/** Makes the mount points, and opens their directory. */
export function openHolder(): Directory {
  const path = `${SCRATCH}/holder`;
  Deno.mkdirSync(`${path}/${DIRECTORY.target}`, { recursive: true });
  Deno.writeTextFileSync(`${path}/${FILE.target}`, "");
  return Directory.open(path);
}

function unmounter(
  name: string,
  times: number,
  root: Directory,
  job: Job,
  unmount: () => void,
): Contestant {
  return {
    name,
    times,
    mounts: 1,
    time(times) {
      let elapsed = 0;
      for (let i = 0; i < times; i++) {
        job.mount(root);
        const begin = performance.now();
        unmount();
        elapsed += performance.now() - begin;
      }
      return elapsed;
    },
  };
}

function ours(root: Directory, job: Job): Contestant {
  const name = `unmountat of ${job.what}`;
  return unmounter(name, 20, root, job, () => unmountat(root, job.target));
}

function umount8(root: Directory, job: Job): Contestant | Absent {
  const { run } = command("umount", [`${SCRATCH}/holder/${job.target}`]);
  const name = `umount(8) of ${job.what}`;
  return installed("umount", unmounter(name, 1, root, job, run));
}

/** Row 4. */
export const oneUnmount: Row = {
  row: 4,
  work: "One unmount",
  note:
    "The subprocess is written in C. It inherits the directory's descriptor, and calls fchdir(2) and umount2(2).",
  async measure(seconds) {
    using root = openHolder();
    using inherited = root.inheritable();
    const job = DIRECTORY;
    const args = ["relative-unmount", String(inherited.fd), job.target];
    const name = "a subprocess with fchdir";
    const missing = whyMissing(COMPILER);
    const subprocess = missing === null
      ? unmounter(
        name,
        1,
        root,
        job,
        command(compile("contestants"), args).run,
      )
      : { name, missing };
    const limit = 1 / 20;
    return await compare([{
      what: job.what,
      ours: ours(root, job),
      others: [{ by: subprocess, limit }, { by: umount8(root, job), limit }],
    }], 3 * seconds);
  },
};

/** Row 5. */
export const unmountInCrowd: Row = {
  row: 5,
  work: "One unmount among other mounts",
  note:
    "The number of mounts is in addition to the system's own. For a file, such as a device's mount point, and with --lazy or --force, umount(8) reads the whole mount table; for most directories it asks statfs(2) and reads nothing.",
  missed:
    "For a tmpfs, umount(8) does not read the table: it takes as long among 10,000 mounts as among 10. 1/200 of that is 7 µs, less than umount2(2) itself takes.",
  async measure(seconds) {
    using stack = new DisposableStack();
    const most = Math.max(...CROWDS);
    const places = CROWDS.map((count) => {
      const place = stack.use(crowd(count));
      return { place, root: stack.use(place.inside(openHolder)) };
    });
    const matches = [DIRECTORY, FILE].flatMap((job) => {
      let first: Contestant | undefined;
      return places.map(({ place, root }): Match => {
        const own = among(place, ours(root, job));
        first ??= own;
        const limited = (limit: number) =>
          place.count === most ? { limit } : {};
        return {
          what: sizeOf(place),
          scale: place.count,
          ours: own,
          others: [
            ...first === own ? [] : [{
              by: first,
              as: `${first.name} at ${CROWDS[0]}`,
              ...limited(2.5),
            }],
            { by: among(place, umount8(root, job)), ...limited(1 / 200) },
          ],
        };
      });
    });
    return await compare(matches, 10 * seconds);
  },
};
