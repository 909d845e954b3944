import { assertEquals } from "@std/assert";
import { worse } from "../../bench/check.ts";
import type { RowResult } from "../../bench/results.ts";
import { RESULTS } from "./results.ts";

/** The first row, its ratios so many times what they were. */
function slower(factor: number): RowResult {
  const [row] = structuredClone(RESULTS.rows) as [RowResult];
  return {
    ...row,
    figures: row.figures.map((figure) => ({
      ...figure,
      ratio: { ...figure.ratio!, median: figure.ratio!.median * factor },
    })),
  };
}

Deno.test("worse() finds what became more than a third worse", () => {
  assertEquals(worse(RESULTS, [slower(1.3)]), []);
  assertEquals(worse(RESULTS, [slower(1.4)]), [
    "Row 1, proc: 1.46 times C loop, was 1.04",
    "Row 1, proc: 2.10 times C, twice, was 1.50",
    "Row 1, bind: 0.01 times umount(8), was 0.01",
  ]);
});

Deno.test("worse() misses no ratio that is not committed", () => {
  assertEquals(worse({ ...RESULTS, rows: [] }, [slower(1)]).length, 3);
});
