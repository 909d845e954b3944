/** Row 7: a command in a root of its own. */
import { SCRATCH } from "../../tests/support/testing.ts";
import { compile, COMPILER, installed, whyMissing } from "../programs.ts";
import type { Contestant } from "../measure.ts";
import { compare, type Match, type Row } from "./row.ts";
import { Directory, run as runInRoot } from "../../mod.ts";

/** Makes a root with nothing in it but a static `true`, and mount points. */
function makeRoot(): string {
  const path = `${SCRATCH}/run`;
  for (const name of ["bin", "dev", "proc", "sys"]) {
    Deno.mkdirSync(`${path}/${name}`, { recursive: true });
  }
  Deno.copyFileSync(
    compile("true", "-static", "-nostdlib"),
    `${path}/bin/true`,
  );
  return path;
}

/** One that does something so many times at once. */
function atOnce(
  count: number,
  name: string,
  start: () => Promise<{ code: number | null }>,
): Contestant {
  return {
    name,
    times: 1,
    async time(times) {
      const begin = performance.now();
      for (let i = 0; i < times; i++) {
        const ended = await Promise.all(Array.from({ length: count }, start));
        if (ended.some(({ code }) => code !== 0)) {
          throw new Error(`${name} failed`);
        }
      }
      return performance.now() - begin;
    },
  };
}

function starts(program: string, args: string[]) {
  const command = new Deno.Command(program, {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  });
  return async () => await command.spawn().status;
}

/** Row 7. */
export const run: Row = {
  row: 7,
  work: "A command in a root with proc, sys and dev",
  note:
    "bwrap and unshare make a PID and a mount namespace and mount a procfs and devices, as run does; for sys, run and unshare mount a sysfs, and bwrap, which mounts none, binds that of the host. The root holds nothing but a static true. All are started from this one process.",
  async measure(seconds) {
    const missing = whyMissing(COMPILER);
    if (missing !== null) {
      return [{ what: "a static true", unit: "µs", name: "run", missing }];
    }
    const path = makeRoot();
    using root = Directory.open(path);
    const bwrap = ["--unshare-pid", "--die-with-parent", "--bind", path, "/"]
      .concat("--proc", "/proc", "--dev", "/dev", "--ro-bind", "/sys", "/sys")
      .concat("/bin/true");
    const script = `mount -t proc proc ${path}/proc &&
      mount -t sysfs -o ro sysfs ${path}/sys &&
      mount --rbind /dev ${path}/dev && exec unshare --root=${path} /bin/true`;
    const unshare = ["--mount", "--pid", "--fork", "--kill-child"]
      .concat("sh", "-c", script);
    const rivals = {
      bwrap: starts("bwrap", bwrap),
      unshare: starts("unshare", unshare),
      true: starts(`${path}/bin/true`, []),
    };
    const matches = [1, 8].map((count): Match => {
      const { bwrap, unshare, true: alone } = rivals;
      return {
        what: count === 1 ? "one at a time" : `${count} at once`,
        ours: atOnce(count, "run", () => runInRoot(root, ["/bin/true"])),
        others: [
          {
            by: installed("bwrap", atOnce(count, "bwrap(1)", bwrap)),
            limit: 1,
          },
          { by: installed("unshare", atOnce(count, "unshare(1)", unshare)) },
          { by: atOnce(count, "spawning true alone", alone) },
        ],
      };
    });
    return await compare(matches, 8 * seconds);
  },
};
