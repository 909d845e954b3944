/**
 * Tells whether rows 1, 2 or 8 became more than a third worse than the
 * committed ratios: `deno task bench:check`. Run it by hand or every night, not
 * for every change: it takes half a minute, and needs a quiet machine. An
 * argument names a file of other results. `--seconds` is that of `deno task
 * bench`.
 */
import { readResults, type Results, type RowResult } from "./results.ts";
import { measureRows } from "./rows.ts";
import { parseArgs } from "@std/cli/parse-args";

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
    return figures.flatMap(({ what, against, ratio, limit, missing }) => {
      if (limit === undefined) return [];
      if (ratio === undefined) return [`Row ${row}, ${what}: ${missing}`];
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

/**
 * Measures the rows, measures again those that became worse, and reports those
 * that stay worse.
 *
 * @param committed The results to compare with.
 * @param measure Measures rows by their numbers.
 * @returns The exit status: 0 if no row became worse.
 */
export async function check(
  committed: Results | null,
  measure: (numbers: readonly number[]) => AsyncIterable<RowResult> = (
    numbers,
  ) => measureRows(numbers),
): Promise<number> {
  if (committed === null) {
    console.error("There are no committed results: run deno task bench");
    return 1;
  }
  let numbers: readonly number[] = NUMBERS;
  let found: string[] = [];
  // If a row is worse only once, the machine was the cause.
  for (let attempt = 1; attempt <= TRIES && numbers.length > 0; attempt++) {
    const rows = await Array.fromAsync(measure(numbers));
    found = worse(committed, rows);
    numbers = rows.filter((row) => worse(committed, [row]).length > 0)
      .map(({ row }) => row);
  }
  for (const line of found) console.error(line);
  return found.length === 0 ? 0 : 1;
}

if (import.meta.main) {
  const { _: [file], seconds } = parseArgs(Deno.args, {
    string: ["seconds", "_"],
    default: { seconds: "1" },
  });
  Deno.exitCode = await check(
    readResults(file as string | undefined),
    (numbers) => measureRows(numbers, Number(seconds)),
  );
}
