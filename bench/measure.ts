/** Contestants take turns; what counts is the ratio of those next to each other. */

/** One of those that do the same work. */
export interface Contestant {
  /** What tables call it. */
  readonly name: string;
  /** How many times it does the work in a turn. */
  readonly times: number;
  /** How many mounts it makes each time, which is looked at before it counts. */
  readonly mounts?: number;
  /** Does something where its mounts are; by default this thread sees them. */
  inside?<T>(body: () => T): T;
  /**
   * Does the work.
   *
   * @returns How many milliseconds it took.
   */
  time(times: number): number | Promise<number>;
}

/** One that can't take part. */
export interface Absent {
  readonly name: string;
  /** Why. */
  readonly missing: string;
}

/** Where the values lie: the least, the middle, and where the middle 80 % end. */
export interface Spread {
  readonly min: number;
  readonly low: number;
  readonly median: number;
  readonly high: number;
}

/**
 * Lets contestants take turns for a while, forwards and backwards in alternate
 * rounds, so that whatever slows the machine down hits them all alike.
 *
 * @param seconds How long; the first tenth does not count.
 * @returns For each contestant the microseconds that the work took once, round
 * by round.
 */
export async function takeTurns(
  contestants: readonly Contestant[],
  seconds: number,
): Promise<number[][]> {
  const samples = contestants.map((): number[] => []);
  const numbered = [...contestants.entries()];
  const backwards = numbered.toReversed();
  const begin = performance.now();
  const warm = begin + seconds * 100;
  const end = begin + seconds * 1000;
  for (let round = 0;; round++) {
    // Signals, and what is to be done for dropped handles, have a turn, too.
    await new Promise((resolve) => setTimeout(resolve));
    const now = performance.now();
    if (now >= end && samples[0]!.length >= LEAST_ROUNDS) return samples;
    for (const [i, contestant] of round % 2 ? backwards : numbered) {
      const { times } = contestant;
      const elapsed = await contestant.time(times);
      if (now >= warm) samples[i]!.push(elapsed * 1000 / times);
    }
  }
}

const LEAST_ROUNDS = 5;

/** How long some work takes that is done in this process. */
export function stopwatch(work: () => void): (times: number) => number {
  return (times) => {
    const begin = performance.now();
    for (let i = 0; i < times; i++) work();
    return performance.now() - begin;
  };
}

/** Where the values lie. */
export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  return {
    min: sorted[0]!,
    low: quantile(sorted, 0.1),
    median: quantile(sorted, 0.5),
    high: quantile(sorted, 0.9),
  };
}

function quantile(sorted: readonly number[], part: number): number {
  const at = part * (sorted.length - 1);
  const below = sorted[Math.floor(at)]!;
  const above = sorted[Math.ceil(at)]!;
  return below + (above - below) * (at % 1);
}

/**
 * The ratios of the values of each round. A round in which theirs is 0 has none:
 * the kernel counts processor time in steps.
 */
export function ratios(
  ours: readonly number[],
  theirs: readonly number[],
): number[] {
  return ours.map((value, round) => value / theirs[round]!)
    .filter((ratio) => Number.isFinite(ratio));
}
