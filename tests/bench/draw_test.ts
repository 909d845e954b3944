import { gatedTest, missingPermission, ROOT } from "../support/testing.ts";
import { readResults } from "../../bench/results.ts";
import { pages } from "../../bench/draw.ts";
import { assertEquals } from "@std/assert";

gatedTest(
  "the documentation shows the committed results",
  missingPermission(["read"]),
  () => {
    const results = readResults();
    const drawn = results === null ? {} : pages(results);
    assertEquals(committed(), drawn);
  },
);

/** What is there of all that is drawn. */
function committed(): Record<string, string> {
  const found: Record<string, string> = {};
  for (const folder of ["docs/charts", "docs"]) {
    for (const { name } of entries(`${ROOT}${folder}`)) {
      if (folder === "docs" && name !== "performance.md") continue;
      const path = `${folder}/${name}`;
      found[path] = Deno.readTextFileSync(ROOT + path);
    }
  }
  return found;
}

function entries(path: string): Deno.DirEntry[] {
  try {
    return [...Deno.readDirSync(path)];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
