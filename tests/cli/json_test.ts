import { formatDeepJson, formatJson } from "../../src/cli/print.ts";
import { assertEquals } from "@std/assert";

Deno.test("formatJson() leaves no control character, and loses none", () => {
  const data = { name: 'a\n\x1b\x7f\x9b\u2028\udcff"\\', list: [1, null] };
  const text = formatJson(data);
  assertEquals(JSON.parse(text), data);
  // deno-lint-ignore no-control-regex
  assertEquals(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/.test(text), false);
  assertEquals(text.isWellFormed(), true);
  assertEquals(text.split("\n").length, 7);
});

Deno.test("formatDeepJson() prints what formatJson() does", () => {
  for (
    const data of [
      { list: [1, null, [], {}, ["a", { "\x7f": true }]], "\udcff": {} },
      [],
      {},
      null,
      "\x9b",
      1.5,
    ]
  ) {
    assertEquals(formatDeepJson(data), formatJson(data));
  }
});

Deno.test("formatDeepJson() prints data however deep it is", () => {
  let data: unknown[] = [];
  for (let depth = 1; depth < 100_000; depth++) data = [data];
  const text = formatDeepJson(data);
  assertEquals(text.replace(/\s/g, ""), "[".repeat(1e5) + "]".repeat(1e5));
  assertEquals(text.match(/^ *\[/gm)!.at(-1)!.length, 2 * 65 + 1);
});
