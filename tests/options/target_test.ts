import { assertEquals, assertThrows } from "@std/assert";
import { parseTarget } from "../../src/options/target.ts";

Deno.test("parseTarget() splits off the last component", () => {
  assertEquals(parseTarget("a/b/c"), {
    path: "a/b/c",
    parent: "a/b",
    name: "c",
  });
  assertEquals(parseTarget("proc"), {
    path: "proc",
    parent: ".",
    name: "proc",
  });
});

Deno.test("parseTarget() drops empty and . components", () => {
  assertEquals(parseTarget("./a//b/./"), {
    path: "a/b",
    parent: "a",
    name: "b",
  });
  for (const itself of [".", "./", "././"]) {
    assertEquals(parseTarget(itself), { path: ".", parent: ".", name: "." });
  }
});

Deno.test("parseTarget() leaves .. to the kernel", () => {
  assertEquals(parseTarget("../a"), { path: "../a", parent: "..", name: "a" });
});

Deno.test("parseTarget() throws when the text can be no target", () => {
  assertThrows(() => parseTarget(""), TypeError, "empty");
  assertThrows(() => parseTarget("/proc"), TypeError, "absolute");
  assertThrows(() => parseTarget("a\0b"), TypeError, "NUL");
  assertThrows(() => parseTarget("a/\ud800"), TypeError, "surrogate");
  assertThrows(() => parseTarget(7 as unknown as string), TypeError, "number");
});
