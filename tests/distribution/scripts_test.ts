import { assertEquals } from "@std/assert";
import { readTest, ROOT } from "../support/testing.ts";

function read(path: string) {
  return JSON.parse(Deno.readTextFileSync(`${ROOT}${path}`));
}

// Deno warns in a fresh clone of each that is neither allowed nor denied.
readTest("deno.json denies every build script of an npm package", () => {
  const packages: Record<string, { scripts?: boolean }> = read("deno.lock").npm;
  const withScripts = Object.entries(packages)
    .filter(([, { scripts }]) => scripts)
    .map(([name]) => `npm:${name.replace(/@[^@]+$/, "")}`);
  assertEquals(read("deno.json").allowScripts, { deny: withScripts });
});
