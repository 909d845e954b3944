import { readTest, ROOT } from "../support/testing.ts";
import { assert, assertEquals } from "@std/assert";

readTest("docs/buildbarn-protocol.md names tests that there are", () => {
  const folder = `${ROOT}tests/runner`;
  const sources = [...Deno.readDirSync(folder)]
    .filter(({ name }) => name.endsWith("_test.ts"))
    .map(({ name }) => Deno.readTextFileSync(`${folder}/${name}`))
    .join("\n");
  const rows = Deno.readTextFileSync(`${ROOT}docs/buildbarn-protocol.md`)
    .split("\n").filter((line) => /^\| /.test(line))
    .map((line) => line.split(" | ").at(-1)!.replace(/ *\|$/, "").trim())
    .filter((name) => name !== "test" && !/^-+$/.test(name));
  assert(rows.length >= 30);
  const missing = rows.filter((name) =>
    !sources.includes(`"${name.replace(/^fuzz: /, "")}"`)
  );
  assertEquals(missing, []);
});
