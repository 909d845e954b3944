/** Results as tables: for a terminal, and for the documentation. */
import { formatTable } from "../src/cli/table.ts";
import { chartName } from "./charts.ts";
import type { Spread } from "./measure.ts";
import {
  type Figure,
  type Machine,
  quantity,
  reached,
  type Results,
  type RowResult,
} from "./results.ts";

const HEADER = ["what", "ours", "against", "theirs", "ratio", "to reach"];

/** A row's figures, for a terminal. */
export function rowText(row: RowResult): string {
  const table = formatTable([HEADER, ...row.figures.map(cells)]);
  return `${row.row}. ${row.work}\n${table.replace(/^/gm, "   ").trimEnd()}\n`;
}

function cells(figure: Figure): string[] {
  const { what, name, unit, ours, against, theirs, ratio } = figure;
  const { limit, missing } = figure;
  const asked = limit === undefined
    ? "reported"
    : `≤ ${ratio || missing ? ratioText(limit) : quantity(limit, unit)}`;
  const answers = { true: ", reached", false: ", missed", null: "" };
  return [
    `${what}: ${name}`,
    ours === undefined ? "" : spreadText(ours, unit),
    against ?? "",
    missing === undefined
      ? theirs === undefined ? "" : spreadText(theirs, unit)
      : `missing: ${missing}`,
    ratio === undefined
      ? ""
      : `${ratioText(ratio.median)} (${ratioText(ratio.low)} … ${
        ratioText(ratio.high)
      })`,
    `${asked}${answers[`${reached(figure)}`]}`,
  ];
}

/** The median, and the least. */
function spreadText({ min, median }: Spread, unit: Figure["unit"]): string {
  return min === median
    ? quantity(median, unit)
    : `${quantity(median, unit)} (${quantity(min, unit)})`;
}

/** A ratio, as a fraction where it is small. */
function ratioText(ratio: number): string {
  return ratio < 0.2 ? `1/${Math.round(1 / ratio)}` : ratio.toFixed(2);
}

/** The page of the documentation. */
export function performancePage({ machine, rows }: Results): string {
  return [
    "<!-- `deno task bench` writes this file. -->",
    "# Performance",
    PREFACE,
    machineText(machine),
    ...rows.map(section),
  ].join("\n\n") + "\n";
}

const PREFACE = `What mountat does, beside what one would take instead. All that
is compared took turns in one run, a few milliseconds each, forwards and
backwards. Each ratio is the median of those of neighbours, and in brackets is
where the middle 80 % of them lie; after a time, in brackets, is the least.
\`npx -y deno@2.9.6 task bench\`, as root with a C compiler, does it again, and
\`task bench:check\` tells whether rows 1, 2 or 8 became slower by a third.`;

function machineText({ processor, processors, linux, deno }: Machine): string {
  return `On ${processors} processors (${processor}), Linux ${linux}, Deno ${deno}.`;
}

function section(row: RowResult): string {
  const { row: number, work, note, figures } = row;
  const table = [HEADER, HEADER.map(() => "---"), ...figures.map(cells)]
    .map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  const chart = `![${work}](charts/${chartName(row)})`;
  return `## ${number}. ${work}\n\n${table}\n\n${note}\n\n${chart}`;
}
