import { assertEquals } from "@std/assert";
import { formatTable } from "../../src/cli/table.ts";

Deno.test("formatTable() makes each column as wide as its widest cell", () => {
  assertEquals(
    formatTable([["a", "b", "c"], ["long", "", "longer"], ["ä😀", "bb", ""]]),
    "a     b   c\nlong      longer\nä😀    bb  ",
  );
});

Deno.test("formatTable() leaves what follows the last cell of a row", () => {
  assertEquals(formatTable([["a"], ["long", "b"]]), "a\nlong  b");
  assertEquals(formatTable([]), "");
});
