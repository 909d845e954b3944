/** A row of the table: some work, and the contestants that do it. */
import type { Figure } from "../results.ts";
import {
  type Absent,
  type Contestant,
  ratios,
  spread,
  takeTurns,
} from "../measure.ts";
import { verify } from "../verify.ts";

/** A row of the table. */
export interface Row {
  readonly row: number;
  readonly work: string;
  /** The text that tells what is compared. */
  readonly note: string;
  /** The reason why a goal is missed. */
  readonly missed?: string;
  /**
   * Measures the row, in an empty directory of a private mount namespace.
   *
   * @param seconds The approximate time that contestants take turns.
   */
  measure(seconds: number): Figure[] | Promise<Figure[]>;
}

/** A contestant that ours is compared to. */
export interface Other {
  readonly by: Contestant | Absent;
  /** The goal of the ratio. */
  readonly limit?: number;
  /** Its name in the tables of this row; by default its own name. */
  readonly as?: string;
}

/** Some work, done by ours and by others. */
export interface Match {
  /** The work's name in tables. */
  readonly what: string;
  /** Its place on the scale, if the row has one. */
  readonly scale?: number;
  readonly ours: Contestant;
  readonly others: readonly Other[];
}

/**
 * Lets all contestants of all matches take turns, and makes a figure for each
 * other.
 *
 * @throws {Error} If a contestant does not do its work.
 */
export async function compare(
  matches: readonly Match[],
  seconds: number,
): Promise<Figure[]> {
  const contestants = new Set<Contestant>();
  for (const { ours, others } of matches) {
    contestants.add(ours);
    for (const { by } of others) if ("time" in by) contestants.add(by);
  }
  for (const contestant of contestants) await verify(contestant);
  const turns = await takeTurns([...contestants], seconds);
  const samples = new Map(
    [...contestants].map((contestant, i) => [contestant, turns[i]!]),
  );
  return matches.flatMap(({ what, scale, ours, others }) => {
    const own = samples.get(ours)!;
    return others.map(({ by, limit, as = by.name }): Figure => ({
      what,
      unit: "µs",
      name: ours.name,
      ours: spread(own),
      against: as,
      ..."time" in by
        ? against(own, samples.get(by)!)
        : { missing: by.missing },
      ...scale === undefined ? {} : { scale },
      ...limit === undefined ? {} : { limit },
    }));
  });
}

function against(ours: readonly number[], theirs: readonly number[]) {
  const found = ratios(ours, theirs);
  if (found.length === 0) return { missing: "too short to be measured" };
  return {
    theirs: spread(theirs),
    ratio: spread(found),
    pairs: ours.length,
  };
}
