import {
  type CommandDescription,
  COMMON_OPTIONS,
  type OptionDescription,
  shownOptions,
} from "./command.ts";

/** The program as a whole. */
export const PROGRAM = {
  synopsis: [
    "<directory> [delay]",
    "<subcommand> [options] [argument...]",
  ],
  summary: `Mount and unmount file systems relative to a directory

The directory is opened once. All else is found from its descriptor, beneath it
and through no symlink, with Linux's new mount API.

Without a subcommand, /proc and /sys are mounted into the directory for some
seconds, as by bb_mounter_at. A directory that is called like a subcommand is
written ./list, say.

Data, and what was done, goes to stdout, what went wrong to stderr. With --json
data is JSON, where there is some: docs/schema.json in the repository describes
it.`,
  examples: [{
    call: "mountat /srv/root 10",
    does: "/proc and /sys are mounted in /srv/root for ten seconds",
  }, {
    call: "mountat mount -t tmpfs --mkdir /srv/root tmp",
    does: "/srv/root/tmp is a tmpfs until it is unmounted",
  }, {
    call: "mountat doctor",
    does: "what works here, and what to do about what does not",
  }],
} as const;

/** The most columns that help takes. */
const WIDTH = 80;

/** What `--help` of a subcommand prints. */
export function formatHelp(description: CommandDescription): string {
  const { synopsis, summary, options = {}, examples = [] } = description;
  return [
    formatUsage(synopsis),
    formatSummary(summary),
    formatOptions({ ...options, ...COMMON_OPTIONS }),
    ...formatExamples(examples),
  ].join("\n\n");
}

/** What `mountat --help` prints. */
export function formatOverview(
  commands: readonly CommandDescription[],
): string {
  const rows = commands.map(({ name, summary }) =>
    [`  ${name}`, summary.split("\n")[0]!] as const
  );
  return [
    formatUsage(PROGRAM.synopsis),
    formatSummary(PROGRAM.summary),
    `Subcommands, of which "mountat help <subcommand>" tells more:\n${
      formatRows(rows)
    }`,
    formatOptions(COMMON_OPTIONS),
    ...formatExamples(PROGRAM.examples),
  ].join("\n\n");
}

/** How the program is called, a line for each way. */
export function formatUsage(synopsis: readonly string[]): string {
  return `Usage: mountat ${synopsis.join("\n   or: mountat ")}`;
}

function formatSummary(summary: string): string {
  return summary.split("\n\n").map((part) =>
    parseSummary(part).flatMap(({ lines, literal }) =>
      literal ? lines : fill(lines.join(" "), WIDTH)
    ).join("\n")
  ).join("\n\n");
}

/** A part of a summary. */
export interface Block {
  readonly lines: readonly string[];
  /** Whether its lines stay as they are. */
  readonly literal: boolean;
}

/** Takes a summary apart. */
export function parseSummary(summary: string): Block[] {
  return summary.split("\n\n").flatMap((part) => {
    const lines = part.split("\n");
    const at = lines.findIndex((line) => line.startsWith(" "));
    const text = at === -1 ? lines : lines.slice(0, at);
    return [
      { lines: text, literal: false },
      { lines: lines.slice(text.length), literal: true },
    ].filter(({ lines }) => lines.length > 0);
  });
}

function formatOptions(
  options: Readonly<Record<string, OptionDescription>>,
): string {
  const rows = shownOptions(options).map(([name, option]) => {
    const { short } = option;
    const letter = short === undefined ? "    " : `-${short}, `;
    return [`  ${letter}--${name}${formatValue(option)}`, option.help] as const;
  });
  return `Options:\n${formatRows(rows)}`;
}

/** What follows the name of an option. */
export function formatValue({ value, implied }: OptionDescription): string {
  if (value === undefined) return "";
  return implied === undefined ? ` <${value}>` : `[=<${value}>]`;
}

function formatExamples(
  examples: readonly { call: string; does: string }[],
): string[] {
  if (examples.length === 0) return [];
  const lines = examples.flatMap(({ call, does }) => [
    `  ${call}`,
    ...fill(does, WIDTH - 6).map((line) => `      ${line}`),
  ]);
  return [`Examples:\n${lines.join("\n")}`];
}

/** Names, and beside them what they mean. */
function formatRows(rows: readonly (readonly [string, string])[]): string {
  const column = Math.max(...rows.map(([name]) => name.length)) + 2;
  return rows.flatMap(([name, text]) =>
    fill(text, WIDTH - column)
      .map((line, i) => (i === 0 ? name : "").padEnd(column) + line)
  ).join("\n");
}

/** Breaks text into lines. */
export function fill(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && longer.length <= width) {
      lines[lines.length - 1] = longer;
    } else lines.push(word);
  }
  return lines;
}
