/** Records as tests see them, and such as they write themselves. */
import { type Needs, SCRATCH } from "./testing.ts";
import { kernelTestSince, missingSince } from "./since.ts";
import { commandLine, programTest, type RunOptions } from "./program.ts";
import { formatEntry, formatOwner, type Owner } from "../../src/record/file.ts";
import { thisNamespace, thisProcess } from "../../src/record/store.ts";
import { type Held, hold } from "./held.ts";
import { libc, NR } from "../../src/sys/libc.ts";

/** Where root's records are. */
export const RECORDS = "/run/mountat";

type Test = () => void | Promise<void>;

/** Registers a test that records mounts, which takes ids that are never used again. */
export function recordTest(name: string, fn: Test, needs: Needs = {}): void {
  kernelTestSince("6.8", name, fn, needs);
}

/** Registers a test that runs the program, and records mounts. */
export function recordingTest(name: string, fn: Test, needs: Needs = {}): void {
  programTest(name, fn, { missing: missingSince("6.8", {}), ...needs });
}

/** The names of the records that are there. */
export function recordNames(directory = RECORDS): string[] {
  return [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
}

/** The lines of the only record. */
export function recordLines(directory = RECORDS): Record<string, unknown>[] {
  const [name, ...others] = recordNames(directory);
  if (name === undefined || others.length > 0) {
    throw new Error(`There is not one record: ${[name, ...others]}`);
  }
  return Deno.readTextFileSync(`${directory}/${name}`).split("\n")
    .filter((line) => line !== "").map((line) => JSON.parse(line));
}

/** A process of this boot that is no more: no process has this number. */
export const DEAD: Owner = { ...thisOwner(), pid: 2 ** 30, startTime: 1 };

function thisOwner(): Owner {
  try {
    return thisProcess();
  } catch {
    // Without the permission for FFI no test runs that asks.
    return { pid: 0, startTime: 0, bootId: "" };
  }
}

/** The text of a record of mounts in this thread's mount namespace. */
export function recordText(
  mounts: Iterable<bigint>,
  owner: Owner = DEAD,
): string {
  const namespace = thisNamespace();
  return formatOwner(owner) +
    [...mounts].map((id) =>
      formatEntry({ id, target: "/recorded", namespace, whole: false })
    )
      .join("");
}

let written = 0;

/** Writes a record as if a process had left it, and returns its path. */
export function writeRecord(text: string): string {
  Deno.mkdirSync(RECORDS, { mode: 0o700, recursive: true });
  const path = `${RECORDS}/${recordName(written++)}`;
  Deno.writeTextFileSync(path, text, { mode: 0o600 });
  return path;
}

/** A name that a record may have. */
export function recordName(number: number): string {
  const digits = String(number).padStart(12, "0");
  return `${DEAD.pid}-00000000-0000-4000-8000-${digits}.jsonl`;
}

/** The command of a process that records: see fixtures/recorder.ts. */
export function recorderCommand(
  what: "hold" | "keep",
  path: string,
  names: string[],
  options: RunOptions = {},
): string[] {
  return commandLine([what, path, ...names], {
    permissions: ["-A"],
    entry: "tests/fixtures/recorder.ts",
    ...options,
  });
}

/** Starts a process that mounts tmpfs, records them, and waits to be killed. */
export function recorder(
  path: string,
  names: string[],
  options: RunOptions = {},
): Promise<Held> {
  return hold(recorderCommand("hold", path, names, options));
}

/** Mounts tmpfs on names in a directory by a process that is then killed. */
export async function leaveMounts(
  path: string,
  names: string[],
): Promise<number> {
  await using killed = await recorder(path, names);
  return killed.pid;
}

/** Makes a cache that every user may write to. */
export function makeCache(): string {
  const path = `${SCRATCH}/cache`;
  Deno.mkdirSync(path);
  Deno.chmodSync(path, 0o777);
  return path;
}

/** The command that makes a process another user's, who may mount. */
export const OTHER_USER = [
  "setpriv",
  "--reuid=65534",
  "--regid=65534",
  "--clear-groups",
  // This checkout may lie in a directory that is not for everybody.
  "--inh-caps=+sys_admin,+dac_read_search",
  "--ambient-caps=+sys_admin,+dac_read_search",
];

/** The calls that recording and sweeping make, but for close(2). */
const CALLS = [
  "flock",
  "getdents64",
  "mkdirat",
  "openat2",
  "read",
  "readlinkat",
  "statmount",
  "statx",
  "umount2",
  "unlinkat",
  "write",
] as const;

/** Does something while a call fails, and returns what it threw. */
export type Failing = (work: () => void) => unknown;

/**
 * Runs a test for each call that a part of it makes, which then fails with
 * EBADF.
 *
 * @param test Is told which call, and given what that part is to run in.
 * @returns How many there were.
 */
export function failEachCall(
  test: (call: string, failing: Failing) => void,
): number {
  let failed = 0;
  for (const call of CALLS) {
    const real = libc[call] as (...args: unknown[]) => number;
    for (let nth = 1, hit = true; hit; nth++) {
      let calls = 0;
      test(call, (work) => {
        Object.defineProperty(libc, call, {
          value: (...args: unknown[]) =>
            ++calls === nth ? libc.close(NR.close, -1) : real(...args),
        });
        try {
          work();
          return undefined;
        } catch (error) {
          return error;
        } finally {
          Object.defineProperty(libc, call, { value: real });
        }
      });
      hit = calls >= nth;
      if (hit) failed++;
    }
  }
  return failed;
}
