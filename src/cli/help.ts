import {
  type Command,
  type CommandDescription,
  COMMON_OPTIONS,
  expectPositionals,
  type OptionDescription,
  shownOptions,
} from "./command.ts";
import { printData, UsageError } from "./print.ts";
import { quote } from "../base/text.ts";
import { nearest } from "../base/check.ts";
import deno from "../../deno.json" with { type: "json" };

/** The program as a whole. */
export const PROGRAM = {
  synopsis: [
    "<directory> [delay]",
    "<subcommand> [options] [argument...]",
  ],
  summary: `Mount and unmount file systems relative to a directory

The directory is opened once. Everything else is found from its descriptor, beneath it
and through no symlink, with Linux's new mount API.

Without a subcommand, /proc and /sys are mounted into the directory for some seconds:
this is the subcommand bb_mounter_at. If a directory has the name of a subcommand, write it with ./
before it, such as ./list.

Data, and reports of what was done, go to stdout; errors go to stderr. With --json,
data and failures are printed as JSON: docs/schema.json in the repository describes
it.`,
  examples: [{
    call: "mountat /srv/root 10",
    does: "/proc and /sys are mounted in /srv/root for ten seconds",
  }, {
    call: "mountat mount -t tmpfs --mkdir /srv/root tmp",
    does: "/srv/root/tmp is a tmpfs until it is unmounted",
  }, {
    call: "mountat doctor",
    does: "what works here, and what to do about the rest",
  }],
} as const;

/** The most columns that help takes. */
const WIDTH = 80;

/** Formats the help of a subcommand. */
export function formatHelp(description: CommandDescription): string {
  const { synopsis, summary, options = {}, examples = [] } = description;
  return [
    formatUsage(synopsis),
    formatSummary(summary),
    formatOptions({ ...options, ...COMMON_OPTIONS }),
    ...formatExamples(examples),
  ].join("\n\n");
}

/** Formats the help of the program: `mountat --help`. */
export function formatOverview(
  commands: readonly CommandDescription[],
): string {
  const rows = commands.map(({ name, summary }) =>
    [`  ${name}`, summary.split("\n")[0]!] as const
  );
  return [
    formatUsage(PROGRAM.synopsis),
    formatSummary(PROGRAM.summary),
    `Subcommands; for more: mountat help <subcommand>\n${formatRows(rows)}`,
    formatOptions(COMMON_OPTIONS),
    ...formatExamples(PROGRAM.examples),
  ].join("\n\n");
}

/** Formats the ways to call the program, a line for each. */
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
  /** True if its lines stay as they are. */
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

/** Formats the value behind the name of an option. */
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

/** The parsed arguments of `help`. */
export interface Arguments {
  /** The subcommand, null for all. */
  readonly subcommand: string | null;
  /** True to print the manual page. */
  readonly man: boolean;
}

/**
 * `mountat help [subcommand]`.
 *
 * @param names The names of the subcommands.
 * @param describe Describes all of them.
 */
export function help(
  names: readonly string[],
  describe: () => Promise<CommandDescription[]>,
): Command<Arguments> {
  return {
    description: {
      name: "help",
      synopsis: ["help [subcommand]", "help --man"],
      summary: `Show help, in general or for a subcommand

With --man it prints the manual page, for man(1).`,
      options: { man: { help: "print the manual page mountat(1)" } },
      operands: [names],
      examples: [{
        call: "mountat help umount",
        does: 'the help of umount, as "mountat umount --help" prints it',
      }, {
        call: "mountat help --man > mountat.1 && man ./mountat.1",
        does: "the manual page is shown",
      }],
    },
    failureStatus: 1,
    parse({ positionals, switches }) {
      const man = switches.has("man");
      expectPositionals(this.description, positionals, 0, man ? 0 : 1);
      const [subcommand = null] = positionals;
      if (subcommand !== null && !names.includes(subcommand)) {
        throw new UsageError(
          `There is no subcommand ${quote(subcommand)}${
            nearest(subcommand, names)
          }`,
        );
      }
      return { subcommand, man };
    },
    async run({ subcommand, man }) {
      const all = await describe();
      const described = all.find(({ name }) => name === subcommand);
      if (man) {
        printData(formatManual(all));
      } else {
        printData(
          described === undefined ? formatOverview(all) : formatHelp(described),
        );
      }
      return 0;
    },
  };
}

/** Sections that no description has. */
const ENVIRONMENT = [
  ["NO_COLOR", "If it is set and not empty, output has no colours."],
  [
    "XDG_RUNTIME_DIR",
    "The records of mounts are in its directory mountat for a user who does not own /run.",
  ],
] as const;

const FILES = [
  ["/run/mountat", "The records of mounts, for sweep."],
] as const;

const EXIT_STATUS = [
  ["0", "It was done."],
  ["1", "Wrong usage, no permission, or any failure of bb_mounter_at."],
  ["2", "The first argument of relative-unmount is not a number."],
  ["32", "A mount or unmount failed."],
  ["64", "Some of several failed."],
  ["124", "The command of run was ended by its --timeout."],
  ["125", "Wrong usage, no permission or any failure of run."],
  ["126", "The command of run could not be executed."],
  ["127", "The command of run was not found."],
  [
    "128 + N",
    "Signal N ended the delay, the --hold of apply, or the command of run.",
  ],
  ["others", "The command of run ended with this status."],
] as const;

const SEE_ALSO =
  "mount(8), umount(8), findmnt(8), fsopen(2), fsconfig(2), fsmount(2), move_mount(2), open_tree(2), mount_setattr(2), openat2(2), umount2(2), mount_namespaces(7)";

/** The manual page mountat(1), in the macros of man(7). */
export function formatManual(commands: readonly CommandDescription[]): string {
  const [title, ...paragraphs] = parseSummary(PROGRAM.summary);
  const name = title!.lines.join(" ");
  return [
    '.\\" Made from the descriptions of the subcommands: deno task man',
    `.TH MOUNTAT 1 "" "mountat ${deno.version}" "User Commands"`,
    ".SH NAME",
    escape(`mountat - ${name[0]!.toLowerCase()}${name.slice(1)}`),
    ".SH SYNOPSIS",
    formatSynopsis(PROGRAM.synopsis),
    ".SH DESCRIPTION",
    ...formatBlocks(paragraphs),
    ".SH OPTIONS",
    "These are options of all subcommands.",
    ...formatManOptions(COMMON_OPTIONS),
    ".SH SUBCOMMANDS",
    ...commands.flatMap(formatCommand),
    ".SH EXIT STATUS",
    ...formatTerms(EXIT_STATUS),
    ".SH ENVIRONMENT",
    ...formatTerms(ENVIRONMENT),
    ".SH FILES",
    ...formatTerms(FILES),
    ".SH EXAMPLES",
    ...formatManExamples(PROGRAM.examples).slice(1),
    ".SH SEE ALSO",
    ...prose(SEE_ALSO),
  ].join("\n");
}

function formatCommand(
  { name, synopsis, summary, options = {}, examples = [] }: CommandDescription,
): string[] {
  const [title, ...rest] = parseSummary(summary);
  return [
    `.SS ${escape(name)}`,
    formatSynopsis(synopsis),
    ".PP",
    ...prose(`${title!.lines.join(" ")}.`),
    ...formatBlocks(rest, ".PP"),
    ...formatManOptions(options),
    ...formatManExamples(examples),
  ];
}

/** Sets literal words in bold, and those that stand for something in italics. */
function formatSynopsis(synopsis: readonly string[]): string {
  return synopsis.map((line) => {
    const words = escape(`mountat ${line}`)
      .replace(/<([^>]*)>/g, "\\fI$1\\fR")
      .replace(/(?<=\[)([a-z]+)(?=[\].])/g, "\\fI$1\\fR");
    return `\\fB${words.replace(/^\S+( [a-z][\w\\-]*)?/, "$&\\fR")}`;
  }).join("\n.br\n");
}

function formatBlocks(
  blocks: ReturnType<typeof parseSummary>,
  first?: string,
): string[] {
  return blocks.flatMap(({ lines, literal }, i) => {
    if (literal) {
      const text = lines.map((line) => escape(line.replace(/^ {2}/, "")));
      return [".PP", ".RS 4", ".nf", ...text, ".fi", ".RE"];
    }
    const text = prose(lines.join(" "));
    return [...i === 0 && first === undefined ? [] : [".PP"], ...text];
  });
}

function formatManOptions(
  options: Readonly<Record<string, OptionDescription>>,
): string[] {
  return shownOptions(options).flatMap(([name, option]) => {
    const names = [
      ...option.short === undefined ? [] : [`-${option.short}`],
      `--${name}`,
    ].map((name) => `\\fB${escape(name)}\\fR`).join(", ");
    const value = escape(formatValue(option))
      .replace(/<(.*)>/, "\\fI$1\\fR");
    return [".TP", names + value, ...prose(sentence(option.help))];
  });
}

function formatManExamples(
  examples: readonly { call: string; does: string }[],
): string[] {
  return examples.flatMap(({ call, does }) => [
    ".PP",
    ".RS 4",
    ".nf",
    `\\fB${escape(call)}\\fR`,
    ".fi",
    ".RE",
    ".RS 8",
    ...prose(sentence(does)),
    ".RE",
  ]);
}

function formatTerms(terms: readonly (readonly [string, string])[]): string[] {
  return terms.flatMap((
    [term, text],
  ) => [".TP", `\\fB${escape(term)}\\fR`, ...prose(text)]);
}

function sentence(text: string): string {
  return `${text[0]!.toUpperCase()}${text.slice(1)}.`;
}

/** Lines of text, a new one for each sentence. */
function prose(text: string): string[] {
  return text.split(/(?<=[.:]) /)
    .flatMap((sentence) => fill(escape(sentence), 80));
}

const GLYPHS: Readonly<Record<string, string>> = {
  "\\": "\\e",
  "-": "\\-",
  "'": "\\(aq",
  "^": "\\(ha",
  "`": "\\(ga",
  "~": "\\(ti",
};

/** Text that roff prints as it is. */
function escape(text: string): string {
  return text.replace(/[\\'^`~-]/g, (character) => GLYPHS[character]!)
    // A line that begins so would be a request.
    .replace(/(?<!\S)\./g, "\\&.");
}
