/**
 * Every job is ended by signals at random moments, and in bad surroundings.
 * Nothing is left of what is promised to go, and `sweep` takes the rest. A
 * sample is run with the other tests; `deno task test:kill` does it KILL_RUNS
 * times, from KILL_SEED on.
 */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { commandLine, run, shellCommand } from "../support/program.ts";
import { mountsBelow, numberOf, SCRATCH, timesOf } from "../support/testing.ts";
import { recordingTest, recordNames } from "../support/records.ts";
import { makeRoot } from "../support/run_root.ts";
import { umount2 } from "../../src/sys/mount.ts";
import { MNT_DETACH } from "../../src/sys/constants.ts";

/** Something that goes on until it is ended. */
interface Job {
  /** The arguments, in an empty directory. */
  readonly args: readonly string[];
  /** What must be there before, in words of sh. */
  readonly before?: string;
  /** True if SIGKILL leaves mounts that no record has. */
  readonly unrecorded?: boolean;
}

/**
 * A command whose child leaves the session, ignores signals and has a child that
 * does so, too. All hold what it writes to.
 */
const STUBBORN = `trap '' HUP INT QUIT TERM
  setsid sh -c 'sh -c "sleep 1000" & sleep 1000' & echo; wait`;

/** The same for a command that is ended with its process group alone. */
const IN_GROUP = `trap '' HUP INT QUIT TERM
  sh -c 'sh -c "sleep 1000" & sleep 1000' & echo; wait`;

function runs(script: string, ...options: string[]): Job {
  return {
    before: "cp -a ../root root",
    args: [
      ...["run", ...options, "root", "/bin/sh", "-c"],
      // The command itself ends, and by that all that it started.
      `(${script}) & echo; exec sleep 1000`,
    ],
  };
}

const HOLD =
  "mkdir -p root/a root/b; printf 'none /a tmpfs\\nnone /b tmpfs\\n' > fstab";

const JOBS: Readonly<Record<string, Job>> = {
  main: { args: ["new/root", "1000"] },
  bb_mounter: {
    before: "mkdir root",
    args: ["bb_mounter", "root", "1000"],
    unrecorded: true,
  },
  "apply --hold": {
    before: HOLD,
    args: ["apply", "--hold", "--fstab", "fstab", "root"],
  },
  run: runs(STUBBORN),
  "run --uid": runs(STUBBORN, "--uid", "65534"),
  "run --as-pid-1": runs(STUBBORN, "--as-pid-1"),
  "run --rootless": runs(STUBBORN, "--rootless"),
  "run --host-pid": runs(IN_GROUP, "--host-pid"),
};

const SIGNALS = ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"] as const;

const RUNS = timesOf("KILL_RUNS", 1_000);
const SEED = numberOf("KILL_SEED") ?? (RUNS === undefined ? 1 : Date.now());

/** How long nobody waits: something stays then. */
const PATIENCE = 60_000;

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function* numbers(seed: number): Generator<number, never> {
  for (let state = seed >>> 0;;) {
    state = state + 0x6d2b_79f5 >>> 0;
    let mixed = Math.imul(state ^ state >>> 15, state | 1);
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61);
    yield ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
  }
}

/** A job in a directory of its own. */
interface Stage {
  readonly directory: string;
  /** Stands in the environment of all that it starts. */
  readonly mark: string;
  readonly child: Deno.ChildProcess;
  /** True once it has written something, false when it has ended without. */
  readonly atWork: Promise<boolean>;
  /** Nobody holds what it writes to. */
  readonly ended: Promise<void>;
}

let stages = 0;

function start(job: Job, shell = 'exec "$@"'): Stage {
  const number = stages++;
  const directory = `${SCRATCH}/${number}`;
  const mark = `mark-${Deno.pid}-${number}-`;
  Deno.mkdirSync(directory);
  const script = `${job.before ?? ":"}; ${shell}`;
  const child = new Deno.Command("sh", {
    args: [
      ...["-ec", script, "sh"],
      ...commandLine([...job.args], { permissions: ["-A"] }),
    ],
    cwd: directory,
    env: { NO_COLOR: "1", MARK: mark },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  const atWork = reader.read().then(({ done }) => !done);
  const ended = atWork.then(async (goesOn) => {
    while (goesOn) goesOn = !(await reader.read()).done;
  });
  return { directory, child, mark, atWork, ended };
}

/**
 * Waits for the end of a job, and of all that it has started: they hold what it
 * writes to. Gives what is wrong, and takes away what is left.
 */
async function endOf(
  job: Job,
  { directory, child, mark, atWork, ended }: Stage,
  killed: boolean,
  outcomes: Record<string, number> = {},
): Promise<string | null> {
  let waited = true;
  const timer = setTimeout(() => {
    waited = false;
    for (const pid of processesOf(mark)) Deno.kill(pid, "SIGKILL");
    kill(child, "SIGKILL");
  }, PATIENCE);
  try {
    const said = await new Response(child.stderr).text();
    const worked = await atWork;
    await ended;
    const { code, signal } = await child.status;
    const outcome = `${killed ? "SIGKILL" : signal ?? code}${
      worked ? " at work" : ""
    }`;
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    if (!waited) return `does not end: ${said}`;
    if (/panicked|Uncaught|\n +at /.test(said)) return `crashes: ${said}`;
    // One may have closed what it writes to, and still be ending.
    while (waited && processesOf(mark).length > 0) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    if (!waited) return `leaves processes: ${said}`;
    const dead = killed || signal !== null;
    if (dead && !job.unrecorded && mountsBelow(directory).length > 0) {
      outcomes["swept"] = (outcomes["swept"] ?? 0) + 1;
      const swept = run(["sweep"], { permissions: ["-A"] });
      if (swept.code !== 0) return `can't be swept: ${swept.stderr}`;
    }
    const left = mountsBelow(directory);
    const may = job.unrecorded && killed;
    if (left.length > 0 && !may) return `leaves ${left} (${code} ${signal})`;
    return null;
  } finally {
    clearTimeout(timer);
    for (const line of mountsBelow(directory).reverse()) {
      umount2(line.split(" ")[4]!, MNT_DETACH);
    }
    Deno.removeSync(directory, { recursive: true });
  }
}

/** The processes that have inherited a mark in their environment. */
function processesOf(mark: string): number[] {
  return [...Deno.readDirSync("/proc")].map(({ name }) => Number(name))
    .filter((pid) => {
      try {
        return pid > 0 &&
          Deno.readTextFileSync(`/proc/${pid}/environ`).includes(mark);
      } catch {
        // It has ended.
        return false;
      }
    });
}

/** Sends a signal to what may have ended by itself. */
function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

/** How many milliseconds it takes a job to be at work. */
async function timeOf(job: Job): Promise<number> {
  const began = performance.now();
  const stage = start(job);
  assert(await stage.atWork);
  const time = performance.now() - began;
  kill(stage.child, "SIGKILL");
  await endOf(job, stage, true);
  return time;
}

function passes(count: number): number {
  return RUNS === undefined
    ? count
    : Math.ceil(RUNS / Object.keys(JOBS).length);
}

for (const [at, [name, job]] of Object.entries(JOBS).entries()) {
  recordingTest(`${name} leaves nothing when it is killed`, async () => {
    makeRoot();
    const random = numbers(SEED + at);
    const failures: string[] = [];
    const outcomes: Record<string, number> = {};
    const time = await timeOf(job);
    let left = passes(6);
    await Promise.all([0, 1].map(async () => {
      while (left-- > 0) {
        const signal = SIGNALS[Math.floor(random.next().value * 5)]!;
        const [early, share] = [random.next().value, random.next().value];
        const stage = start(job);
        // As it starts, or once it is at work and starts others.
        const moment = early < 0.5 ? share * time : share * 50;
        if (early >= 0.5) await stage.atWork;
        await new Promise((resolve) => setTimeout(resolve, moment));
        kill(stage.child, signal);
        const killed = signal === "SIGKILL";
        const wrong = await endOf(job, stage, killed, outcomes);
        if (wrong !== null) {
          const when = `${Math.round(moment)} ms ${early < 0.5 ? "in" : "on"}`;
          failures.push(`${signal} ${when}: ${wrong}`);
        }
      }
    }));
    if (RUNS !== undefined) {
      console.log(`${name}, seed ${SEED}: ${JSON.stringify(outcomes)}`);
    }
    assert(failures.length === 0, failures.join("\n"));
    assertEquals(recordsLeft(), []);
  }, { commands: ["busybox", "setsid", "sh"] });
}

function recordsLeft(): string[] {
  run(["sweep"], { permissions: ["-A"] });
  try {
    return recordNames();
  } catch (error) {
    // Nothing was recorded.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return [];
  }
}

/** The same jobs, which end by themselves. */
const SHORT: Readonly<Record<string, readonly string[]>> = {
  main: ["new/root", "0"],
  bb_mounter: ["bb_mounter", "root", "0"],
  run: ["run", "root", "/bin/true"],
  "run --uid": ["run", "--uid", "65534", "root", "/bin/true"],
  "run --rootless": ["run", "--rootless", "root", "/bin/true"],
  "run --host-pid": ["run", "--host-pid", "root", "/bin/true"],
};

/** With fewer Deno itself panics now and then, as it starts. */
const FEWEST = 28;

/** A file system of its own with no inode left for another file or directory. */
const FULL_DISK = `mkdir full; mount -t tmpfs -o nr_inodes=1000 none full
  test ! -e root || cp -a root full; cd full; i=0
  while true > $i; do i=$((i + 1)); done 2>/dev/null
  trap '' HUP; "$@" && status=0 || status=$?
  cd ..; umount full; exit $status`;

const SURROUNDINGS = [
  FULL_DISK,
  'exec "$@" >&-',
  'exec "$@" >/dev/full',
  'exec "$@" 2>&-',
  ...Array.from(
    { length: 24 },
    (_, more) => `ulimit -n ${FEWEST + more}; exec "$@"`,
  ),
];

for (const [name, args] of Object.entries(SHORT)) {
  recordingTest(`${name} leaves nothing in bad surroundings`, async () => {
    makeRoot();
    const failures: string[] = [];
    const stride = RUNS === undefined ? 5 : 1;
    for (let at = 0; at < SURROUNDINGS.length; at += at < 4 ? 1 : stride) {
      const job: Job = { before: "cp -a ../root root", args };
      const wrong = await endOf(job, start(job, SURROUNDINGS[at]), false);
      if (wrong !== null) failures.push(`${SURROUNDINGS[at]}: ${wrong}`);
    }
    assert(failures.length === 0, failures.join("\n"));
    assertEquals(recordsLeft(), []);
  }, { commands: ["busybox", "sh"] });
}

recordingTest("nothing is left where there may be no more mounts", () => {
  const most = Number(Deno.readTextFileSync("/proc/sys/fs/mount-max"));
  const program = shellCommand(commandLine([], { permissions: ["-A"] }));
  // A tree of so many is bound as often as there is room, then smaller ones.
  const script = `fill() {
      mkdir $1; mount -t tmpfs none $1
      for i in $(seq $2); do mkdir $1/$i; mount --rbind $1 $1/$i; done
      mkdir $1s; i=0
      while mkdir $1s/$i; mount --rbind $1 $1s/$i 2> /dev/null; do
        i=$((i + 1)); done
    }
    mkdir root; fill a 12; fill b 6; fill c 0
    before=$(wc -l < /proc/self/mountinfo); echo $before
    ${program} --quiet new/root 0; echo "main $?"
    ${program} bb_mounter --quiet root 0; echo "bb_mounter $?"
    ${program} mount -t tmpfs root .; echo "mount $?"
    after=$(wc -l < /proc/self/mountinfo)
    echo "$((after - before)) more"; find root new -mindepth 1 2> /dev/null | wc -l`;
  Deno.mkdirSync(`${SCRATCH}/full`);
  const { stdout, stderr } = new Deno.Command("unshare", {
    args: ["-m", "--propagation", "private", "sh", "-c", script],
    cwd: `${SCRATCH}/full`,
    env: { NO_COLOR: "1" },
  }).outputSync();
  const text = new TextDecoder();
  const [before, ...lines] = text.decode(stdout).trim().split("\n");
  // What was above the fill is counted, too, but not listed here.
  assertGreater(Number(before), most * 0.9);
  assertEquals(lines, ["main 1", "bb_mounter 32", "mount 32", "0 more", "0"]);
  const refused = text.decode(stderr).match(/ENOSPC/g);
  assertEquals(refused?.length, 3, text.decode(stderr));
}, { commands: ["sh", "unshare"] });
