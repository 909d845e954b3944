/** Results as tables: for a terminal, and for the documentation. */
import {
  type Figure,
  type Machine,
  quantity,
  reached,
  type Results,
  type RowResult,
} from "./results.ts";
import { formatTable } from "../src/cli/list_format.ts";
import type { Spread } from "./measure.ts";
import { chartName } from "./charts.ts";

const HEADER = [
  "what",
  "ours",
  "time",
  "against",
  "time",
  "ratio",
  "to reach",
];

/** A row's figures, for a terminal. */
export function rowText({ row, work, figures }: RowResult): string {
  const table = formatTable([HEADER, ...cells(figures)]);
  return `${row}. ${work}\n${table.replace(/^/gm, "   ").trimEnd()}\n`;
}

function cells(figures: readonly Figure[]): string[][] {
  let last: Figure | undefined;
  return figures.map((figure) => {
    const { what, name, unit, ours, against = "", theirs, ratio } = figure;
    const { missing } = figure;
    const own = [what, name, ours === undefined ? "" : spreadText(ours, unit)];
    const isSame = last?.what === what && last.name === name;
    last = figure;
    return [
      ...isSame ? own.map(() => "") : own,
      against,
      theirs === undefined ? missing ?? "" : spreadText(theirs, unit),
      ratio === undefined
        ? ""
        : `${ratioText(ratio.median)} (${ratioText(ratio.low)} … ${
          ratioText(ratio.high)
        })`,
      verdict(figure),
    ];
  });
}

function verdict(figure: Figure): string {
  const { limit, unit, ratio } = figure;
  const isReached = reached(figure);
  if (isReached === null) return "";
  const asked = ratio === undefined
    ? quantity(limit!, unit)
    : ratioText(limit!);
  return `≤ ${asked}: ${isReached ? "reached" : "missed"}`;
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

/**
 * The page of the documentation.
 *
 * @param notes What one has to know to read each row, by its number.
 */
export function performancePage(
  { machine, rows }: Results,
  notes: Readonly<Record<number, string>>,
): string {
  return [
    "<!-- `deno task bench` writes this file. -->",
    "# Performance",
    PREFACE,
    machineText(machine),
    ...rows.map((row) => section(row, notes[row.row] ?? "")),
  ].join("\n\n") + "\n";
}

const PREFACE =
  `What mountat does, beside what one would take instead. Those who are compared
took turns in one run, a few milliseconds each, forwards and backwards. A ratio
is the median of those within one round, and in brackets is where the middle
80 % of them lie; a time is the median, and in brackets is the least. In the
charts thin lines are the middle 80 %.
\`npx -y deno@2.9.6 task bench\`, as root with a C compiler, does it again, and
\`task bench:check\` tells whether rows 1, 2 or 8 became slower by a third.`;

function machineText({ processor, processors, linux, deno }: Machine): string {
  return `On ${processors} × ${processor}, Linux ${linux}, Deno ${deno}.`;
}

function section(row: RowResult, note: string): string {
  const { row: number, work, figures } = row;
  const table = [HEADER, HEADER.map(() => "---"), ...cells(figures)]
    .map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  const chart = `![${work}](charts/${chartName(row)})`;
  return `## ${number}. ${work}\n\n${table}\n\n${note}\n\n${chart}`;
}
