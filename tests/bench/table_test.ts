import { RESULTS } from "./results.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { gatedTest, missingPermission } from "../support/testing.ts";
import { readResults } from "../../bench/results.ts";
import { performancePage, rowText } from "../../bench/table.ts";

Deno.test("rowText() prints medians, the least, ratios and what they are to be", () => {
  const [row1, , row7, row10] = RESULTS.rows;
  assertEquals(
    rowText(row1!),
    `1. Mounts & "more"
   what  ours     time            against    time            ratio                 goal
   proc  mountat  104 µs (52 µs)  C loop     100 µs (50 µs)  1.04 (0.52 … 2.08)    ≤ 1.05: reached
                                  C, twice   100 µs (50 µs)  1.50 (0.75 … 3.00)    ≤ 1.05: missed
   bind  mountat  1 µs (0.5 µs)   umount(8)  100 µs (50 µs)  1/100 (1/200 … 1/50)  ≤ 1/20: reached
`,
  );
  assertStringIncludes(rowText(row7!), "bwrap(1)  bwrap is not installed");
  assertStringIncludes(rowText(row10!), "3,000 KiB (1,500 KiB)");
  assertStringIncludes(rowText(row10!), "≤ 2,048 KiB: missed");
});

Deno.test("performancePage() has a section, a table and a chart for each row", () => {
  const page = performancePage(RESULTS, {
    1: { note: "Of a <kind>.", missed: "Too much." },
    5: { note: "Many.", missed: "Not said of what has no goal." },
  });
  for (const { row, work } of RESULTS.rows) {
    assertStringIncludes(page, `\n## ${row}. ${work}\n`);
    assertStringIncludes(page, `](charts/row-${row}.svg)`);
  }
  assertStringIncludes(page, "\n\nOf a <kind>.\n\n![");
  assertStringIncludes(page, "\n\nMany.\n\n![");
  assertStringIncludes(page, "On 1 × Z80, Linux 6.18.0, Deno 2.9.6.");
  const [, reasons] = page.split("\n## Why some goals are missed\n\n");
  assertEquals(reasons, '**1. Mounts & "more".** Too much.\n');
});

gatedTest(
  "performancePage() answers all questions from the committed results",
  missingPermission(["read"]),
  () => {
    const page = performancePage(readResults()!, {});
    const [, answers] = /## What it costs\n\n([^]*?)\n\n/.exec(page)!;
    // A header, and the line below it.
    const rows = answers!.split("\n").slice(2);
    assert(rows.length >= 11, answers);
    for (const row of rows) assert(!row.includes("undefined"), row);
    assertMatch(
      answers!,
      /^\| Unmount a tmpfs \| \d.* µs \| umount\(8\).* \|$/m,
    );
  },
);
