import { assertEquals } from "@std/assert";
import { formatColumns, formatTable } from "../../src/cli/list_format.ts";

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

Deno.test("formatTable() takes more rows than a call takes arguments", () => {
  const text = formatTable(Array.from({ length: 1e6 }, () => ["a", "b"]));
  assertEquals(text.length, 5e6 - 1);
});

Deno.test("formatColumns() escapes what would break a line or a terminal", () => {
  assertEquals(
    formatColumns([["a b", ""], ["t\tn\nb\\", "\x1b[31m\x7f\x9b"], [
      "ä\udcff",
      "\u2028",
    ]]),
    "a b\t\nt\\011n\\012b\\134\t\\033[31m\\177\\302\\233\nä\\377\t\\342\\200\\250",
  );
  assertEquals(formatColumns([]), "");
});
