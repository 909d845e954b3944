/** Row 7: a command in a root of its own. */
import { ROOT, SCRATCH } from "../../tests/support/testing.ts";
import {
  compile,
  COMPILER,
  installed,
  Rival,
  whyMissing,
} from "../programs.ts";
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

/** Starts a command, and waits for its end. */
type Start = () => Promise<{ code: number | null }>;

/** A contestant that starts this number of commands at once. */
function atOnce(count: number, name: string, start: Start): Contestant {
  return {
    name,
    times: 1,
    async time(times) {
      const begin = performance.now();
      for (let i = 0; i < times; i++) await startAll(count, name, start);
      return performance.now() - begin;
    },
  };
}

async function startAll(
  count: number,
  name: string,
  start: Start,
): Promise<void> {
  const ended = await Promise.all(Array.from({ length: count }, start));
  if (ended.some(({ code }) => code !== 0)) throw new Error(`${name} failed`);
}

/** The goal for the processor time of a command, in microseconds. */
const MOST_PROCESSOR_TIME = 1600;

/** Enough commands to take several ticks of the clock. */
const CPU_TIMES = 50;

/**
 * A contestant measured by processor time: of this process and its children.
 */
function byProcessorTime(name: string, start: Start): Contestant {
  return {
    name,
    times: CPU_TIMES,
    async time(times) {
      const begin = processorTime();
      for (let i = 0; i < times; i++) await startAll(1, name, start);
      return processorTime() - begin;
    },
  };
}

/** The processor time in milliseconds: proc_pid_stat(5). */
function processorTime(): number {
  const text = Deno.readTextFileSync("/proc/self/stat");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  // utime, stime, cutime and cstime, in ticks of 10 milliseconds.
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) *
    10;
}

function starts(program: string, args: string[]): Start {
  const command = new Deno.Command(program, {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  });
  return async () => await command.spawn().status;
}

/** The reason why goals are missed. */
const MISSED =
  "As the first process of its PID namespace, the command has an init of ours outside, in a PID namespace around its own: it tells how the command ended and what it used, and passes signals on. That is one process and one namespace more than the C program and bwrap have. Otherwise both make the same mounts and processes; of ours, 0.2 to 0.3 ms are the library's own work: checking arguments, building the tree, describing the calls to the init, and a turn of Deno's event loop, on another thread of which the end is waited for. Where other work keeps the processors busy, that turn takes several times as long.";

/** Row 7. */
export const run: Row = {
  row: 7,
  work: "A command in a root with proc, sys and dev",
  note:
    "The root holds nothing but a static true. All make a PID and a mount namespace, a procfs and devices; run and unshare mount a sysfs, bwrap binds the host's. bwrap and run start an init, except as the first process (asPid1, --as-pid-1). The C program prepares devices and sysfs once and copies them; it starts commands by clone3(2). Processor time is that of the starter and all that it starts. `mountat run` as a whole program is `deno run -A cli.ts`, and takes Deno's start.",
  missed: MISSED,
  async measure(seconds) {
    const missing = whyMissing(COMPILER);
    if (missing !== null) {
      return [{ what: "a static true", unit: "µs", name: "run", missing }];
    }
    const path = makeRoot();
    using root = Directory.open(path);
    await using stack = new AsyncDisposableStack();
    const init = compile(
      "init",
      "-static",
      "-nostdlib",
      "-fno-stack-protector",
    );
    const inC = (job: string, how: string, count = 1) =>
      Rival.start(
        stack,
        { name: "C program", times: job === "run" ? 1 : CPU_TIMES },
        [job, how, String(count), path, init, "/bin/true"],
      );
    const bwrap = ["--unshare-pid", "--die-with-parent", "--bind", path, "/"]
      .concat("--proc", "/proc", "--dev", "/dev", "--ro-bind", "/sys", "/sys");
    const script = `mount -t proc proc ${path}/proc &&
      mount -t sysfs -o ro sysfs ${path}/sys &&
      mount --rbind /dev ${path}/dev && exec unshare --root=${path} /bin/true`;
    const unshare = ["--mount", "--pid", "--fork", "--kill-child"]
      .concat("sh", "-c", script);
    const by = {
      run: () => runInRoot(root, ["/bin/true"]),
      first: () => runInRoot(root, ["/bin/true"], { asPid1: true }),
      bwrap: starts("bwrap", [...bwrap, "/bin/true"]),
      bwrapFirst: starts("bwrap", [...bwrap, "--as-pid-1", "/bin/true"]),
      unshare: starts("unshare", unshare),
      program: starts(Deno.execPath(), [
        ...["run", "-A", `${ROOT}cli.ts`, "run", path, "--", "/bin/true"],
      ]),
      true: starts(`${path}/bin/true`, []),
    };
    const matches = await Promise.all([1, 8].map(async (count) => ({
      what: count === 1 ? "one at a time" : `${count} at once`,
      ours: atOnce(count, "run", by.run),
      others: [
        { by: await inC("run", "init", count), limit: count === 1 ? 1.6 : 2 },
        {
          by: installed("bwrap", atOnce(count, "bwrap(1)", by.bwrap)),
          limit: 1,
        },
        { by: installed("unshare", atOnce(count, "unshare(1)", by.unshare)) },
        { by: atOnce(count, "spawning true alone", by.true) },
      ],
    })));
    const first: Match = {
      what: "as the first process",
      ours: atOnce(1, "run", by.first),
      others: [
        { by: await inC("run", "first"), limit: 1.6 },
        {
          by: installed("bwrap", atOnce(1, "bwrap(1)", by.bwrapFirst)),
          limit: 1,
        },
      ],
    };
    const whole: Match = {
      what: "as a whole program",
      ours: atOnce(1, "mountat run", by.program),
      others: [{ by: installed("bwrap", atOnce(1, "bwrap(1)", by.bwrap)) }],
    };
    const processor: Match = {
      what: "processor time",
      ours: byProcessorTime("run", by.run),
      others: [
        { by: await inC("run-cpu", "init") },
        { by: installed("bwrap", byProcessorTime("bwrap(1)", by.bwrap)) },
        { by: byProcessorTime("spawning true alone", by.true) },
      ],
    };
    const all = [...matches, first, whole, processor];
    const figures = await compare(all, 12 * seconds);
    const { what, unit, name, ours } = figures.findLast((figure) =>
      figure.what === processor.what
    )!;
    return [
      ...figures,
      { what, unit, name, ...ours && { ours }, limit: MOST_PROCESSOR_TIME },
    ];
  },
};
