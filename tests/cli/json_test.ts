import { assertEquals } from "@std/assert";
import { formatJson } from "../../src/cli/json.ts";

Deno.test("formatJson() leaves no control character, and loses none", () => {
  const data = { name: 'a\n\x1b\x7f\x9b\u2028\udcff"\\', list: [1, null] };
  const text = formatJson(data);
  assertEquals(JSON.parse(text), data);
  // deno-lint-ignore no-control-regex
  assertEquals(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/.test(text), false);
  assertEquals(text.isWellFormed(), true);
  assertEquals(text.split("\n").length, 7);
});
