import { RESULTS } from "./results.ts";
import { chart } from "../../bench/charts.ts";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";

Deno.test("chart() draws a bar for each contestant", () => {
  const [row] = RESULTS.rows;
  const svg = chart(row!);
  assertEquals(svg.match(/<rect class="ours"/g)?.length, 2);
  assertEquals(svg.match(/<rect class="others"/g)?.length, 3);
  const widths = [...svg.matchAll(/<rect class="o\w+".* width="([\d.]+)"/g)]
    .map(([, width]) => Number(width));
  // As long as the times.
  const [proc, loop, twice] = widths as [number, number, number];
  assertEquals(loop, twice);
  assert(Math.abs(proc / loop - 1.04) < 0.01, svg);
  assertStringIncludes(svg, "Mounts &#38; &#34;more&#34;");
});

Deno.test("chart() draws lines for a row with a scale", () => {
  const svg = chart(RESULTS.rows[1]!);
  assertEquals(svg.match(/<path class="(ours|others)"/g)?.length, 2);
  assertEquals(svg.match(/<circle class="ours"/g)?.length, 2);
  assertEquals(svg.match(/<circle class="others"/g)?.length, 2);
});

Deno.test("chart() draws the same each time, and nothing that is no number", () => {
  for (const row of RESULTS.rows) {
    const svg = chart(row);
    assertEquals(chart(structuredClone(row)), svg);
    assert(!/NaN|Infinity|undefined/.test(svg), svg);
    assertEquals(svg.match(/<text/g)?.length, svg.match(/<\/text>/g)?.length);
  }
});
