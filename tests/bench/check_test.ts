import {
  readResults,
  type Results,
  type RowResult,
} from "../../bench/results.ts";
import { RESULTS } from "./results.ts";
import { assertEquals } from "@std/assert";
import { check, worse } from "../../bench/check.ts";
import { kernelTest, ROOT, SCRATCH } from "../support/testing.ts";

/** A row, its ratios so many times what they were. */
function slower(factor: number, row: RowResult = RESULTS.rows[0]!): RowResult {
  return {
    ...row,
    figures: row.figures.map((figure) => ({
      ...figure,
      ...figure.ratio &&
        { ratio: { ...figure.ratio, median: figure.ratio.median * factor } },
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

Deno.test("worse() misses none that could not be measured", () => {
  const row = RESULTS.rows.find(({ row }) => row === 7)!;
  assertEquals(worse(RESULTS, [row]), ["Row 7, one: bwrap is not installed"]);
});

Deno.test("worse() misses no ratio that is not committed", () => {
  assertEquals(worse({ ...RESULTS, rows: [] }, [slower(1)]).length, 3);
});

/** Results of the rows that are checked. */
const COMMITTED: Results = {
  ...RESULTS,
  rows: [1, 2, 8].map((row) => ({ ...RESULTS.rows[0]!, row })),
};

/** Checks with ratios that are so many times as high, by row and attempt. */
async function checked(factors: Record<number, number[]>) {
  const asked: (readonly number[])[] = [];
  const status = await check(COMMITTED, async function* (numbers) {
    asked.push(numbers);
    for (const row of COMMITTED.rows) {
      if (!numbers.includes(row.row)) continue;
      yield slower(factors[row.row]?.[asked.length - 1] ?? 1, row);
    }
  });
  return { status, asked };
}

Deno.test("check() measures rows 1, 2 and 8, and what was worse again", async () => {
  assertEquals(await checked({}), { status: 0, asked: [[1, 2, 8]] });
  for (const row of [1, 2, 8]) {
    assertEquals(await checked({ [row]: [2, 1] }), {
      status: 0,
      asked: [[1, 2, 8], [row]],
    });
    assertEquals(await checked({ [row]: [2, 2, 2] }), {
      status: 1,
      asked: [[1, 2, 8], [row], [row]],
    });
  }
  assertEquals(await check(null), 1);
});

kernelTest("deno task bench:check fails when a row became worse", () => {
  const committed = readResults()!;
  // Of row 2 nothing can be as quick, of the others anything is.
  const rows = committed.rows.map((row) =>
    slower(row.row === 2 ? 0 : 1e6, row)
  );
  const file = `${SCRATCH}/results.json`;
  Deno.writeTextFileSync(file, JSON.stringify({ ...committed, rows }));
  const { code, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", `${ROOT}bench/check.ts`, "--seconds=0.001", file],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).outputSync();
  const lines = new TextDecoder().decode(stderr).trimEnd().split("\n");
  assertEquals(lines.map((line) => line.split(":")[0]), ["Row 2, 11 mounts"]);
  assertEquals(code, 1);
}, { permissions: ["run", "read", "write", "env"], commands: ["cc"] });
