import { type JsonNode, parseJson } from "../../src/spec/json.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Malformed } from "../../src/spec/malformed.ts";
import { readTest } from "../support/testing.ts";
import { randomText } from "./random_text.ts";

/** What `JSON.parse` makes of the same. */
function plain({ value }: JsonNode): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!(value instanceof Map)) return value;
  return Object.fromEntries(
    [...value].map(([name, member]) => [name, plain(member)]),
  );
}

/** That both parse a text, to the same, or neither does. */
function compare(text: string): boolean {
  let expected: unknown;
  try {
    expected = JSON.parse(text);
  } catch {
    assertThrows(() => parseJson(text), Malformed, undefined, text);
    return false;
  }
  assertEquals(plain(parseJson(text)), expected, text);
  return true;
}

Deno.test("parseJson() takes what JSON.parse() takes", () => {
  for (
    const text of [
      "0",
      "-0",
      "-1.5e+3",
      " [ ] ",
      "\t{\n}\r\n",
      '{"a":{"b":[1,true,false,null,"c"]},"a":2}',
      '{"__proto__":1,"":{}}',
      '"\\u00e9\\ud83d\\ude00\\ud800 \\"\\\\\\/\\b\\f\\n\\r\\t"',
      '"é😀\u2028\u007f"',
    ]
  ) {
    assert(compare(text), text);
  }
});

Deno.test("parseJson() throws where JSON.parse() throws", () => {
  for (
    const text of [
      "",
      " ",
      "\ufeff{}",
      "01",
      "+1",
      "1.",
      ".5",
      "-",
      "1e",
      "NaN",
      "nul",
      "truer",
      "[1,]",
      "[,1]",
      "[1 2]",
      '{"a":1,}',
      "{a:1}",
      "{'a':1}",
      '{"a" 1}',
      '{"a":}',
      "[1}",
      "{]",
      '"a',
      '"\\x"',
      '"\\u12g4"',
      '"a\nb"',
      '"a\tb"',
      "[] []",
      "// a\n1",
      "\u00a01",
    ]
  ) {
    assert(!compare(text), text);
  }
});

Deno.test("parseJson() takes and refuses random text as JSON.parse() does", () => {
  const pieces = [
    ...'{}[]:," \n\\-+.e01u',
    '"a"',
    "true",
    "null",
    '{"a":',
    "[1,",
    "\\u0041",
    "é",
    "\0",
  ];
  let taken = 0;
  for (let seed = 1; seed <= 20_000; seed++) {
    if (compare(randomText(seed, pieces, 7))) taken++;
  }
  assert(taken > 500, `${taken}`);
});

readTest("parseJson() refuses parts of a file as JSON.parse() does", () => {
  const config = Deno.readTextFileSync(
    new URL("../testdata/oci/containerd.json", import.meta.url),
  );
  for (let at = 0; at < config.length; at++) {
    compare(config.slice(0, at));
    compare(config.slice(0, at) + config.slice(at + 1));
  }
});

Deno.test("parseJson() says where each value is", () => {
  const text = ' {"a": [1, {"b": "c"}]}';
  const { offset, value } = parseJson(text);
  assertEquals(offset, 1);
  const list = (value as Map<string, JsonNode>).get("a")!;
  assertEquals(text.slice(list.offset), '[1, {"b": "c"}]}');
  const [one, object] = list.value as JsonNode[];
  assertEquals(text.slice(one!.offset, one!.offset + 1), "1");
  const inner = (object!.value as Map<string, JsonNode>).get("b")!;
  assertEquals(text.slice(inner.offset), '"c"}]}');
});

Deno.test("parseJson() throws at depth instead of running out of stack", () => {
  const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
  parseJson(nested(500));
  const { offset } = assertThrows(() => parseJson(nested(501)), Malformed);
  assertEquals(offset, 500);
  assertThrows(() => parseJson("[".repeat(1_000_000)), Malformed, "levels");
  assertThrows(() => parseJson('{"a":'.repeat(1_000_000)), Malformed, "levels");
});
