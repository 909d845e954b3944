/**
 * Runs every file of tests in a process of its own, several at a time: `deno
 * task test`. With `--shuffle` or `--shuffle=SEED`, the tests of each file run
 * in a random order, the same for the same seed. With other arguments, it runs
 * `deno test -A` with them.
 *
 * A file needs its own process because its tests look at the process: at its
 * descriptors, its threads, its children. Its mounts and records are in mount
 * namespaces of their own.
 */

const OUTCOMES = ["passed", "failed", "ignored"] as const;

/** The number of tests with an outcome, and of steps of tests. */
export interface Count {
  tests: number;
  steps: number;
}

/** The outcomes of the tests of a process. */
export type Counts = Record<typeof OUTCOMES[number], Count>;

/**
 * Reads the counts from the last line that `deno test` prints.
 *
 * @param output The output of `deno test`.
 * @returns null if it did not reach its end.
 */
export function countsIn(output: string): Counts | null {
  // deno-lint-ignore no-control-regex
  const plain = output.replace(/\x1b\[[\d;]*m/g, "");
  const line = plain.match(/^(?:ok|FAILED) \| \d+ passed.*$/gm)?.at(-1);
  return line === undefined ? null : countsBy((outcome) => {
    const [, tests, steps] =
      new RegExp(`(\\d+) ${outcome}(?: \\((\\d+) steps?\\))?`).exec(line) ?? [];
    return { tests: Number(tests ?? 0), steps: Number(steps ?? 0) };
  });
}

/** A last line for several processes, much as `deno test` prints it. */
export function formatCounts(
  all: readonly Counts[],
  files: number,
  seconds: number,
): string {
  const sums = countsBy((outcome) => ({
    tests: all.reduce((sum, counts) => sum + counts[outcome].tests, 0),
    steps: all.reduce((sum, counts) => sum + counts[outcome].steps, 0),
  }));
  const parts = OUTCOMES.map((outcome) => {
    const { tests, steps } = sums[outcome];
    return `${tests} ${outcome}${steps === 0 ? "" : ` (${steps} steps)`}`;
  });
  return `${sums.failed.tests === 0 ? "ok" : "FAILED"} | ` +
    `${parts.join(" | ")} (${Math.round(seconds)}s, ${files} files)`;
}

function countsBy(
  count: (outcome: typeof OUTCOMES[number]) => Count,
): Counts {
  return {
    passed: count("passed"),
    failed: count("failed"),
    ignored: count("ignored"),
  };
}

/** The files of tests in a folder and its subfolders, with their sizes. */
export function testsIn(folder: string): { path: string; size: number }[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) => {
    const path = `${folder}/${name}`;
    if (isDirectory) return testsIn(path);
    if (!/_test\.ts$/.test(name)) return [];
    return [{ path, size: Deno.statSync(path).size }];
  });
}

/** Files that take long for their size: they make millions of calls. */
const LONG = ["tests/sys/errno_test.ts"];

function weight({ path, size }: { path: string; size: number }): number {
  return LONG.includes(path) ? Number.MAX_SAFE_INTEGER : size;
}

/** Runs Deno to its end; returns its output, and true if it succeeded. */
async function deno(...args: string[]): Promise<[string, boolean]> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    env: COLOURS,
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return [text.decode(stdout) + text.decode(stderr), success];
}

/** Children use colours if this program's output goes to a terminal. */
const COLOURS: Record<string, string> =
  import.meta.main && Deno.stdout.isTerminal() && !Deno.noColor
    ? { FORCE_COLOR: "1" }
    : {};

const NONE: Counts = countsBy(() => ({ tests: 0, steps: 0 }));

/** A process that fails without a failed test counts as one failed test. */
const BROKEN: Counts = { ...NONE, failed: { tests: 1, steps: 0 } };

/** A file that takes more seconds than this gets a line. */
const SLOW = 10;

/**
 * The seed that `--shuffle` gives, or a new one.
 *
 * @param args The arguments.
 * @returns null without that option, undefined if there are other arguments.
 */
export function seedIn(args: readonly string[]): number | null | undefined {
  if (args.length === 0) return null;
  const match = /^--shuffle(?:=(\d+))?$/.exec(args.join(" "));
  if (match === null) return undefined;
  return Number(match[1] ?? Math.floor(Math.random() * 2 ** 32));
}

/**
 * Runs every file of tests below `tests`.
 *
 * @param seed The seed for the order of the tests in a file; null: no
 * shuffling.
 * @returns The exit status.
 */
async function runAll(seed: number | null): Promise<number> {
  const began = performance.now();
  const order = seed === null ? [] : [`--shuffle=${seed}`];
  if (seed !== null) console.log(`Shuffled with the seed ${seed}`);
  // The largest files tend to take longest: they start first, so that none runs
  // alone at the end.
  const files = testsIn("tests")
    .toSorted((a, b) => weight(b) - weight(a)).map(({ path }) => path);
  const count = files.length;
  const all: Counts[] = [];
  const broken: string[] = [];
  const times: [seconds: number, file: string][] = [];
  // Check types as deno test does, but once for all files.
  const checking = deno("check", "--quiet", ...files);
  async function work(): Promise<void> {
    for (let file = files.shift(); file !== undefined; file = files.shift()) {
      const started = performance.now();
      const [output, success] = await deno(
        ...["test", "-A", "--no-check", ...order, file],
      );
      times.push([(performance.now() - started) / 1000, file]);
      console.log(output.trimEnd());
      const counts = countsIn(output) ?? NONE;
      all.push(counts);
      if (success) continue;
      broken.push(file);
      if (counts.failed.tests === 0) all.push(BROKEN);
    }
  }
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  const [checked, isRight] = await checking;
  if (!isRight) {
    console.log(checked.trimEnd());
    all.push(BROKEN);
    broken.push("deno check");
  }
  if (broken.length > 0) console.log(`\nFailed: ${broken.sort().join(" ")}`);
  const slow = times.filter(([seconds]) => seconds >= SLOW)
    .toSorted(([a], [b]) => b - a)
    .map(([seconds, file]) => `${file} (${Math.round(seconds)}s)`);
  if (slow.length > 0) console.log(`\nSlow: ${slow.join(" ")}`);
  const seconds = (performance.now() - began) / 1000;
  console.log(`\n${formatCounts(all, count, seconds)}`);
  return broken.length === 0 ? 0 : 1;
}

/** The number of files that run at a time. */
const AT_A_TIME = Math.max(2, Math.min(navigator.hardwareConcurrency, 4));

if (import.meta.main) {
  const seed = seedIn(Deno.args);
  if (seed !== undefined) Deno.exit(await runAll(seed));
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", ...Deno.args],
  }).spawn().status;
  Deno.exit(code);
}
