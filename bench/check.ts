/**
 * Tells whether rows 1, 2 or 8 became more than a third worse than the committed
 * ratios: `deno task bench:check`. For by hand or every night, not for every
 * change: it takes half a minute, and a quiet machine.
 */
import { readResults, type Results, type RowResult } from "./results.ts";
import { measureRows } from "./rows.ts";

const NUMBERS = [1, 2, 8];
const WORST = 4 / 3;
const TRIES = 3;

/** The figures that became worse, in words. */
export function worse(
  committed: Results,
  rows: readonly RowResult[],
): string[] {
  return rows.flatMap(({ row, figures }) => {
    const before = committed.rows.find((other) => other.row === row);
    return figures.flatMap(({ what, against, ratio, limit }) => {
      if (ratio === undefined || limit === undefined) return [];
      const old = before?.figures.find((figure) =>
        figure.what === what && figure.against === against
      )?.ratio;
      if (old === undefined) {
        return [`Row ${row}, ${what}: no ratio to ${against} is committed`];
      }
      return ratio.median <= WORST * old.median ? [] : [
        `Row ${row}, ${what}: ${
          ratio.median.toFixed(2)
        } times ${against}, was ${old.median.toFixed(2)}`,
      ];
    });
  });
}

async function main(): Promise<number> {
  const committed = readResults();
  if (committed === null) {
    console.error("There are no committed results: run deno task bench");
    return 1;
  }
  let numbers = NUMBERS;
  let found: string[] = [];
  // What only happens once was the machine.
  for (let attempt = 1; attempt <= TRIES && numbers.length > 0; attempt++) {
    const rows = await Array.fromAsync(measureRows(numbers));
    found = worse(committed, rows);
    numbers = rows.filter((row) => worse(committed, [row]).length > 0)
      .map(({ row }) => row);
  }
  for (const line of found) console.error(line);
  return found.length === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exitCode = await main();
