/** Writes the documentation's tables and charts: `deno task bench:draw`. */
import { readResults, type Results } from "./results.ts";
import { performancePage } from "./table.ts";
import { NOTES } from "./rows.ts";
import { chart, chartName } from "./charts.ts";

/** The files, by their paths from the repository's root. */
export function pages(results: Results): Record<string, string> {
  return {
    "docs/performance.md": performancePage(results, NOTES),
    ...Object.fromEntries(
      results.rows.map((row) => [`docs/charts/${chartName(row)}`, chart(row)]),
    ),
  };
}

/** Writes the files. */
export function draw(results: Results): void {
  const root = new URL("../", import.meta.url);
  Deno.mkdirSync(new URL("docs/charts", root), { recursive: true });
  for (const [path, content] of Object.entries(pages(results))) {
    Deno.writeTextFileSync(new URL(path, root), content);
  }
}

if (import.meta.main) {
  const results = readResults();
  if (results === null) {
    throw new Error("There are no results: run deno task bench");
  }
  draw(results);
}
