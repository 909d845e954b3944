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
  "goal",
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

/** Formats the median, and the least. */
function spreadText({ min, median }: Spread, unit: Figure["unit"]): string {
  return min === median
    ? quantity(median, unit)
    : `${quantity(median, unit)} (${quantity(min, unit)})`;
}

/** Formats a ratio; a small one as a fraction. */
function ratioText(ratio: number): string {
  return ratio < 0.2 ? `1/${Math.round(1 / ratio)}` : ratio.toFixed(2);
}

/** A user's question, and the figure that answers it. */
interface Question {
  readonly text: string;
  readonly row: number;
  readonly what: string;
  readonly against?: string;
}

/** The questions that users ask first. */
const QUESTIONS: readonly Question[] = [
  {
    text: "Mount a tmpfs and unmount it",
    row: 1,
    what: "tmpfs",
    against: "C loop of mount(2) by path",
  },
  {
    text: "Bind a directory and unmount it",
    row: 1,
    what: "bind",
    against: "C loop of mount(2) by path",
  },
  {
    text: "Unmount a tmpfs",
    row: 4,
    what: "a tmpfs",
    against: "umount(8) of a tmpfs",
  },
  {
    text: "Unmount a device among 10,000 other mounts",
    row: 5,
    what: "10,000 more",
    against: "umount(8) of a device",
  },
  {
    text: "Build an action's root of 11 mounts, and remove it",
    row: 2,
    what: "11 mounts",
    against: "C loop of mount(2) by path",
  },
  {
    text: "Mount an overlay of 64 layers and unmount it",
    row: 11,
    what: "64 layers",
    against: "C loop of mount(2)",
  },
  {
    text: "Run a command in a root",
    row: 7,
    what: "one at a time",
    against: "bwrap(1)",
  },
  {
    text: "Run 8 commands in roots at once",
    row: 7,
    what: "8 at once",
    against: "bwrap(1)",
  },
  {
    text: "Run an action for a Buildbarn worker",
    row: 12,
    what: "one call",
    against: "bb_runner",
  },
  {
    text: "List 1,000 mounts",
    row: 6,
    what: "1,000 more",
    against: "findmnt(8)",
  },
  {
    text: "Start the program, mount /proc and /sys, unmount them, exit",
    row: 8,
    what: "cli.ts DIR 0, --allow-ffi",
    against: "deno run of an empty file",
  },
  {
    text: "Import the library and make the first mount",
    row: 9,
    what: "import and mount",
  },
];

/** The answers to those questions that were measured. */
function answers(rows: readonly RowResult[]): string {
  const header = ["to", "mountat takes", "beside", "which takes"];
  const found = QUESTIONS.flatMap(({ text, row, what, against }) => {
    const figure = rows.find((result) => result.row === row)?.figures
      .find((figure) => figure.what === what && figure.against === against);
    if (figure?.ours === undefined) return [];
    const { theirs, unit } = figure;
    return [[
      text,
      quantity(figure.ours.median, unit),
      theirs === undefined ? "" : against!,
      theirs === undefined ? "" : quantity(theirs.median, unit),
    ]];
  });
  return markdown([header, ...found]);
}

function markdown([header, ...rows]: readonly (readonly string[])[]): string {
  return [header!, header!.map(() => "---"), ...rows]
    .map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/**
 * The page of the documentation.
 *
 * @param notes The texts of each row, by its number.
 */
export function performancePage(
  { machine, rows }: Results,
  notes: Readonly<Record<number, { note: string; missed?: string }>>,
): string {
  return [
    "<!-- `deno task bench` writes this file. -->",
    "# Performance",
    machineText(machine),
    "## What it costs",
    answers(rows),
    AFTER_ANSWERS,
    "## How to read the rows",
    LEGEND,
    ...rows.map((row) => section(row, notes[row.row]?.note ?? "")),
    ...missedText(rows, notes),
  ].join("\n\n") + "\n";
}

const AFTER_ANSWERS =
  `The last two rows are for a new process: they include Deno's start, or the import
of the library. A program that stays up pays that once. The other rows are for a
program that runs already. To compare with what you use on your own machine, run
\`npx -y deno@2.9.6 task bench\`, as root with a C compiler.`;

const LEGEND =
  `A time is the median; the least is in brackets. A ratio is the median of the
ratios within one round, with the middle 80 % in brackets; in the charts, thin
lines are the middle 80 %. The programs that are compared took turns in one run, a
few milliseconds each. The last column has the goal for mountat's ratio or time:
goals are ambitious, and the last section says why some are missed. To see if
rows 1, 2 or 8 became a third slower, run \`deno task bench:check\`.`;

function machineText({ processor, processors, linux, deno }: Machine): string {
  return `On ${processors} × ${processor}, Linux ${linux}, Deno ${deno}.`;
}

function section(row: RowResult, note: string): string {
  const { row: number, work, figures } = row;
  const table = markdown([HEADER, ...cells(figures)]);
  const chart = `![${work}](charts/${chartName(row)})`;
  return `## ${number}. ${work}\n\n${note}\n\n${chart}\n\n${table}`;
}

/** The reasons for the goals that are missed. */
function missedText(
  rows: readonly RowResult[],
  notes: Readonly<Record<number, { missed?: string }>>,
): string[] {
  const reasons = rows.flatMap(({ row, work, figures }) => {
    const missed = notes[row]?.missed;
    const isMissed = figures.some((figure) => reached(figure) === false);
    return missed !== undefined && isMissed
      ? [`**${row}. ${work}.** ${missed}`]
      : [];
  });
  return reasons.length === 0
    ? []
    : ["## Why some goals are missed", ...reasons];
}
