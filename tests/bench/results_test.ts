import { RESULTS } from "./results.ts";
import { assertEquals } from "@std/assert";
import { merge } from "../../bench/results.ts";

Deno.test("merge() puts new rows in place of old ones, on the same machine", () => {
  const [row] = RESULTS.rows;
  const again = { ...row!, work: "again" };
  const newer = { ...RESULTS, rows: [again] };
  assertEquals(merge(RESULTS, newer).rows, [again, ...RESULTS.rows.slice(1)]);
  const other = { ...RESULTS.machine, linux: "6.19.0" };
  assertEquals(merge(RESULTS, { ...newer, machine: other }).rows, [again]);
  assertEquals(merge(null, newer), newer);
});
