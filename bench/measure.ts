/** Contestants take turns; the ratio of neighbouring turns counts. */

/** A program or function that does the same work as others. */
export interface Contestant {
  /** Its name in tables. */
  readonly name: string;
  /** The number of times that it does the work in a turn. */
  readonly times: number;
  /** The number of mounts that it makes each time; checked before measuring. */
  readonly mounts?: number;
  /** Runs a function in its mount namespace; by default that of this thread. */
  inside?<T>(body: () => T): T;
  /**
   * Does the work.
   *
   * @returns The milliseconds that the work took.
   */
  time(times: number): number | Promise<number>;
}

/** A contestant that can't take part. */
export interface Absent {
  readonly name: string;
  /** The reason. */
  readonly missing: string;
}

/** A distribution of values: the least, the median, and the middle 80 %. */
export interface Spread {
  readonly min: number;
  readonly low: number;
  readonly median: number;
  readonly high: number;
}

/**
 * Lets contestants take turns for a while, forwards and backwards in alternate
 * rounds. So a slowdown of the machine hits all of them alike.
 *
 * @param seconds The time for all turns; the first tenth does not count.
 * @returns For each contestant, the microseconds for one time of the work in
 * each round.
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
    // Handlers of signals, and finalizers of dropped handles, have a turn, too.
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

/** Makes a function that measures work in this process. */
export function stopwatch(work: () => void): (times: number) => number {
  return (times) => {
    const begin = performance.now();
    for (let i = 0; i < times; i++) work();
    return performance.now() - begin;
  };
}

/** The distribution of values. */
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
 * The ratios of the values of each round. A round has no ratio if their value
 * is 0: the kernel counts processor time in steps.
 */
export function ratios(
  ours: readonly number[],
  theirs: readonly number[],
): number[] {
  return ours.map((value, round) => value / theirs[round]!)
    .filter((ratio) => Number.isFinite(ratio));
}
