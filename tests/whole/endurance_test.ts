/**
 * What a process has does not grow with what it has done. Samples are run with
 * the other tests; `deno task test:long` does it LONG_CYCLES and LONG_RUNS times,
 * and prints what there is after each tenth.
 */
import { kernelTest, ROOT, SCRATCH, timesOf } from "../support/testing.ts";
import { assertFlat, type Possessions } from "../support/possessions.ts";
import { makeRoot } from "../support/run_root.ts";
import { assert } from "@std/assert";

const CYCLES = timesOf("LONG_CYCLES", 1_000_000);

const RUNS = timesOf("LONG_RUNS", 20_000);

/** What the heap for new objects grows to would be many times what else grows. */
const FLAGS = "--v8-flags=--expose-gc,--max-semi-space-size=1";

/**
 * How many KiB more a process may have at the end. The heaps of eight Workers
 * grow by about a third of that until all is compiled. A piece of malloc(3) has
 * 32 bytes at least: one lost in each of 900,000 cycles is 28,125 KiB, and 900
 * bytes lost in each of 18,000 runs are 15,820.
 */
const MEMORY = 24_000;

/** Runs a program to its end, which prints what it has after each tenth. */
async function tenthsOf(
  fixture: string,
  args: readonly string[],
  wrapper: readonly string[] = [],
): Promise<Possessions[]> {
  const deno = [Deno.execPath(), "run", "-A", FLAGS];
  const [command, ...rest] = [...wrapper, ...deno];
  const child = new Deno.Command(command!, {
    args: [...rest, `${ROOT}tests/fixtures/${fixture}`, ...args],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const tenths: Possessions[] = [];
  const lines = child.stdout.pipeThrough(new TextDecoderStream());
  let text = "";
  for await (const piece of lines) {
    text += piece;
    for (let end; (end = text.indexOf("\n")) >= 0; text = text.slice(end + 1)) {
      const line = text.slice(0, end);
      if (CYCLES !== undefined || RUNS !== undefined) console.log(line);
      tenths.push(JSON.parse(line));
    }
  }
  assert((await child.status).success);
  return tenths;
}

const mounted = CYCLES ?? 600;

const workers = CYCLES === undefined ? 2 : 8;

kernelTest(
  `${workers} Workers have nothing more after ${mounted} mounts and unmounts`,
  async () => {
    const args = [SCRATCH, `${mounted}`, `${workers}`];
    assertFlat(await tenthsOf("mounting.ts", args), MEMORY);
  },
  { permissions: ["run", "read", "write", "env"] },
);

for (
  const [user, count, wrapper] of [
    ["initial", Math.ceil((RUNS ?? 200) * 3 / 4), []],
    ["mapped", Math.ceil((RUNS ?? 200) / 4), ["unshare", "-Urm"]],
  ] as const
) {
  kernelTest(
    `a process in the ${user} user namespace has nothing more after ${count} commands`,
    async () => {
      const args = [makeRoot(), `${count}`, user];
      assertFlat(await tenthsOf("running.ts", args, wrapper), MEMORY);
    },
    {
      permissions: ["run", "read", "write", "env"],
      commands: ["busybox", "unshare"],
    },
  );
}
