/**
 * Compares mountat with what users would take instead.
 *
 * ```sh
 * deno task bench                  # all rows; writes the results and the charts
 * deno task bench 1 5              # these rows; writes nothing
 * deno task bench --save 5         # writes them in place of the older ones
 * deno task bench --seconds=0.2 1  # in a fifth of the time
 * ```
 *
 * Needs root and a C compiler. Other programs that are not installed are named
 * as missing.
 */
import { parseArgs } from "@std/cli/parse-args";
import { measureRows, NUMBERS } from "./rows.ts";
import { rowText } from "./table.ts";
import { machine, merge, readResults, writeResults } from "./results.ts";
import { draw } from "./draw.ts";

const { _: words, save, seconds } = parseArgs(Deno.args, {
  boolean: ["save"],
  string: ["seconds", "_"],
  default: { seconds: "1" },
  unknown: (word, key) => {
    if (key === undefined && NUMBERS.includes(Number(word))) return true;
    throw new TypeError(`There is no option or row "${word}"`);
  },
});

const share = Number(seconds);

if (!(share >= 0 && share < Infinity)) {
  throw new TypeError(`The seconds must be a number: received "${seconds}"`);
}

const numbers = words.length === 0 ? NUMBERS : words.map(Number);

const rows = [];

for await (const row of measureRows(numbers, share)) {
  console.log(rowText(row));
  rows.push(row);
}

if (save || words.length === 0) {
  writeResults(merge(readResults(), { machine: machine(), rows }));
  draw(readResults()!);
}
