/**
 * Every system call of every job, and of all that the library offers, fails once.
 * A sample of it is run with the other tests; `deno task test:faults` runs all of
 * it, FAULTS=JOB that of a job.
 */
import { assert } from "@std/assert";
import {
  commandLine,
  programTest,
  type RunOptions,
} from "../support/program.ts";
import {
  type Fault,
  faultEnvironment,
  faultLibrary,
  loggedCalls,
} from "../support/faults.ts";
import { mountsBelow, ROOT, SCRATCH } from "../support/testing.ts";
import { makeRoot } from "../support/run_root.ts";
import { OPERATIONS } from "../fixtures/operations.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { MNT_DETACH } from "../../src/sys/constants.ts";

/** Something that the program does in an empty directory. */
interface Job {
  /** The arguments. */
  readonly args: readonly string[];
  /** What must be there before, in words of sh. */
  readonly before?: string;
  /** The mounts below the directory afterwards, by their mount points. */
  readonly mounts?: readonly string[];
  readonly options?: RunOptions;
  /** The exit status of a failure, where there is one alone. */
  readonly failed?: number;
  /** A root to run commands in is copied there before. */
  readonly hasRoot?: boolean;
}

/** Runs a command. */
function runs(...options: string[]): Job {
  return {
    hasRoot: true,
    args: ["run", ...options, "root", "/bin/true"],
    options: { permissions: ["-A"] },
    failed: 125,
  };
}

const TMPFS = "mkdir -p root/tmp; mount -t tmpfs none root/tmp";

const JOBS: Readonly<Record<string, Job>> = {
  main: { args: ["new/root", "0"] },
  recorded: { args: ["new/root", "0"], options: { permissions: ["-A"] } },
  bb_mounter: { args: ["bb_mounter", "root", "0"] },
  "relative-mount": {
    before: "mkdir root",
    args: ["relative-mount", "root", "proc"],
    mounts: ["root/proc"],
  },
  mount: {
    args: ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "--mkdir", ".", "a/b"],
    mounts: ["a/b"],
  },
  bind: {
    before: "mkdir source",
    args: ["bind", "--recursive", "--read-only", "--mkdir", "source", ".", "a"],
    mounts: ["a"],
  },
  remount: {
    before: TMPFS,
    args: ["remount", "-o", "ro,size=2m", "root", "tmp"],
    mounts: ["root/tmp"],
  },
  move: {
    before: `${TMPFS}; mkdir other`,
    args: ["move", "--mkdir", "root", "other", "tmp"],
    mounts: ["other/tmp"],
  },
  apply: {
    before:
      `mkdir root; printf 'none /tmp tmpfs x-mount.mkdir\\nnone /a/b tmpfs x-mount.mkdir\\n' > fstab`,
    args: ["apply", "--fstab", "fstab", "root"],
    mounts: ["root/tmp", "root/a/b"],
    options: { permissions: ["-A"] },
  },
  umount: { before: TMPFS, args: ["umount", "root", "tmp"] },
  "umount --recursive": {
    before: `${TMPFS}; mkdir root/tmp/in; mount -t tmpfs none root/tmp/in`,
    args: ["umount", "--recursive", "root"],
  },
  list: { before: TMPFS, args: ["list", "root"], mounts: ["root/tmp"] },
  sweep: { args: ["sweep"], options: { permissions: ["-A"] } },
  "the program's run": runs("--tmpfs", "/tmp", "--bind", "/etc:/etc:ro"),
  "the program's run --host-pid": runs("--host-pid", "--uid", "7"),
  "the program's run --as-pid-1": runs("--as-pid-1", "--strict"),
  "the program's run --rootless": runs("--rootless"),
};

const CODES = ["EPERM", "EBUSY", "ENOMEM", "EMFILE", "EINTR", "ENOSYS", "EIO"];

/** What a call may answer that a failure of the job is told by. */
const TOLD =
  /\b(EPERM|EBUSY|ENOMEM|EMFILE|EINTR|ENOSYS|EIO)\b|no such call|Requires/;

/** What is said where it is the undoing that fails. */
const UNDOING = /Cannot (remove|unmount|end the record)/;

/** The job whose every fault is tried, or `all`. */
const wanted = Deno.permissions.querySync({ name: "env" }).state === "granted"
  ? Deno.env.get("FAULTS")
  : undefined;

/** With a sample, one of so many faults is tried. */
const STRIDE = wanted === undefined ? 61 : 1;

/** With a sample, one of so many faults of a command or the library is tried. */
const LIBRARY_STRIDE = wanted === undefined ? 401 : 1;

interface Outcome {
  readonly code: number;
  readonly stderr: string;
  readonly signal: string | null;
}

/** Runs a job in a new directory, and returns what is wrong about its end. */
async function tryJob(
  job: Job,
  fault: Fault | null,
  number: number,
  log?: string,
): Promise<string | null> {
  const directory = `${SCRATCH}/${number}`;
  Deno.mkdirSync(directory);
  mount("none", directory, "tmpfs", 0, null);
  try {
    if (job.before !== undefined) await shell(directory, job.before);
    if (job.hasRoot) await shell(directory, `cp -a ${SCRATCH}/root root`);
    const before = contents(directory);
    const outcome = await runJob(job, directory, faultEnvironment(fault, log));
    const { code, stderr, signal } = outcome;
    if (signal !== null) return `ended by ${signal}: ${stderr}`;
    const after = contents(directory);
    const done = sameMounts(after.mounts, job.mounts ?? []);
    const kept = processesOf(directory);
    if (kept.length > 0) return `leaves the processes ${kept}: ${stderr}`;
    if (code === 0) {
      return done ? null : `status 0, but there is ${after.mounts}: ${stderr}`;
    }
    if (/Uncaught|\n +at /.test(stderr)) return `crashed: ${stderr}`;
    if (!TOLD.test(stderr)) return `says nothing of it: ${stderr}`;
    if (code !== (job.failed ?? code)) return `exits with ${code}: ${stderr}`;
    // The mount points of a command stay where it is in doubt who has them.
    const inDoubt = job.hasRoot &&
      (job.args.includes("--host-pid") ||
        IN_DOUBT.includes(fault?.call ?? ""));
    if (inDoubt && after.mounts.length === 0) return null;
    const undone = sameMounts(after.mounts, before.mounts) &&
      after.names.join() === before.names.join();
    // Of several unmounts some may be done: 64 says so. What can't be undone
    // is named.
    return undone || code === 64 || UNDOING.test(stderr)
      ? null
      : `leaves ${after.mounts} ${after.names}: ${stderr}`;
  } finally {
    while (mountsBelow(`${directory}`).length > 0) {
      umount2(directory, MNT_DETACH);
    }
    Deno.removeSync(directory, { recursive: true });
  }
}

/** A mount point of a command's stays where it is in doubt who has it. */
const IN_DOUBT = ["flock", "openat2", "statx", "unlinkat"];

/** The processes that work in a directory. */
function processesOf(directory: string): string[] {
  return [...Deno.readDirSync("/proc")].map(({ name }) => name)
    .filter((name) => {
      try {
        return /^\d+$/.test(name) &&
          Deno.readLinkSync(`/proc/${name}/cwd`) === directory;
      } catch {
        // It has ended.
        return false;
      }
    });
}

async function shell(cwd: string, script: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("sh", {
    args: ["-ec", script],
    cwd,
    stdin: "null",
  }).output();
  assert(success, new TextDecoder().decode(stderr));
}

async function runJob(
  { args, options = {} }: Job,
  cwd: string,
  environment: Record<string, string>,
): Promise<Outcome> {
  const [command, ...rest] = commandLine([...args], options);
  const child = new Deno.Command(command!, {
    args: rest,
    cwd,
    env: { NO_COLOR: "1", ...environment },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    signal: AbortSignal.timeout(60_000),
  }).spawn();
  const { code, signal, stderr } = await child.output();
  return { code, signal, stderr: new TextDecoder().decode(stderr) };
}

/** The mount points and the names in a directory, but what a job needed. */
function contents(directory: string): { mounts: string[]; names: string[] } {
  const mounts = mountsBelow(directory).slice(1)
    .map((line) => line.split(" ")[4]!.slice(directory.length + 1));
  const names: string[] = [];
  const walk = (path: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(path)) {
      const inside = `${path}/${name}`.slice(directory.length + 1);
      names.push(inside);
      if (isDirectory && !mounts.includes(inside)) walk(`${path}/${name}`);
    }
  };
  walk(directory);
  return { mounts, names: names.sort() };
}

function sameMounts(found: readonly string[], wanted: readonly string[]) {
  return found.toSorted().join() === wanted.toSorted().join();
}

/** Every fault of a job: each of its calls, each time, with each error. */
async function faultsOf(job: Job): Promise<Fault[]> {
  const log = `${SCRATCH}/log`;
  const wrong = await tryJob(job, null, 0, log);
  assert(wrong === null, wrong ?? "");
  const counts = new Map<string, number>();
  const faults: Fault[] = [];
  for (const call of loggedCalls(log)) {
    const when = (counts.get(call) ?? 0) + 1;
    counts.set(call, when);
    for (const code of CODES) faults.push({ call, when, code });
  }
  Deno.removeSync(log);
  return faults;
}

for (const [name, job] of Object.entries(JOBS)) {
  if (wanted !== undefined && wanted !== "all" && wanted !== name) continue;
  programTest(`${name} says what failed, and leaves nothing`, async () => {
    if (job.hasRoot) makeRoot();
    const stride = job.hasRoot ? LIBRARY_STRIDE : STRIDE;
    const faults = (await faultsOf(job)).filter((_, at) => at % stride === 0);
    const failures: string[] = [];
    let next = 0;
    await Promise.all([0, 1].map(async () => {
      for (let at = next++; at < faults.length; at = next++) {
        const fault = faults[at]!;
        const wrong = await tryJob(job, fault, at + 1);
        if (wrong === null) continue;
        const { call, when, code } = fault;
        failures.push(`${call} ${when} ${code}: ${wrong}`);
      }
    }));
    console.log(`${name}: ${faults.length} faults`);
    assert(failures.length === 0, failures.join("\n"));
  }, { commands: ["busybox", "cc", "cp", "sh"] });
}

/** What is tried in a user namespace, too. */
const UNPRIVILEGED = ["run", "run, with mounts", "mountat", "bindat"];

const GROUPS: Readonly<Record<string, string[]>> = wanted === undefined
  ? { "the library": Object.keys(OPERATIONS) }
  : Object.fromEntries(Object.keys(OPERATIONS).map((name) => [name, [name]]));

/** Does it in a process of its own, which goes on after each fault. */
async function tryLibrary(
  operations: readonly string[],
  wrapper: readonly string[] = [],
): Promise<void> {
  const root = makeRoot();
  Deno.mkdirSync(`${root}/etc`);
  Deno.writeTextFileSync(`${root}/etc/passwd`, "me:x:7:8::/:/bin/sh\n");
  const library = faultLibrary();
  const [command, ...args] = [
    ...wrapper,
    ...["env", `LD_PRELOAD=${library}`, Deno.execPath(), "run", "-A"],
    ...["--no-prompt", `${ROOT}tests/fixtures/faulty.ts`],
    ...[library, SCRATCH, String(LIBRARY_STRIDE), ...operations],
  ];
  const { code, signal, stdout, stderr } = await new Deno.Command(command!, {
    args,
    env: { NO_COLOR: "1" },
    stdin: "null",
    signal: AbortSignal.timeout(600_000),
  }).output();
  const text = new TextDecoder();
  const lines = text.decode(stdout).trimEnd().split("\n");
  const said = `${lines.at(-1)}: ${signal ?? code} ${text.decode(stderr)}`;
  const wrong = lines.filter((line) => line.startsWith("wrong"));
  if (wanted !== undefined) console.log(lines.at(-1));
  assert(wrong.length === 0, wrong.join("\n"));
  assert(code === 0, said);
}

for (const [name, operations] of Object.entries(GROUPS)) {
  if (wanted !== undefined && wanted !== "all" && wanted !== name) continue;
  programTest(
    `${name} leaves nothing and goes on, whatever fails`,
    async () => {
      await tryLibrary(operations);
    },
    { commands: ["busybox", "cc", "env"] },
  );
  const unprivileged = operations.filter((one) => UNPRIVILEGED.includes(one));
  if (unprivileged.length === 0) continue;
  programTest(`${name} does so in a user namespace`, async () => {
    await tryLibrary(unprivileged, ["unshare", "-Urmpf", "--mount-proc"]);
  }, { commands: ["busybox", "cc", "env", "unshare"] });
}
