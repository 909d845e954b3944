import deno from "../../deno.json" with { type: "json" };
import {
  type CommandDescription,
  COMMON_OPTIONS,
  type OptionDescription,
  shownOptions,
} from "./command.ts";
import { fill, formatValue, parseSummary, PROGRAM } from "./help.ts";

/** Sections that no description has. */
const ENVIRONMENT = [
  ["NO_COLOR", "If it is set and not empty, nothing is coloured."],
  [
    "XDG_RUNTIME_DIR",
    "Where mounts are recorded, in its directory mountat, by who does not own /run.",
  ],
] as const;

const FILES = [
  ["/run/mountat", "The records of what processes have mounted, for sweep."],
] as const;

const EXIT_STATUS = [
  ["0", "It was done."],
  ["1", "Wrong usage, not permitted, or any failure of bb_mounter_at."],
  ["32", "A mount or unmount failed."],
  ["64", "Some of several failed."],
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
    ...formatOptions(COMMON_OPTIONS),
    ".SH SUBCOMMANDS",
    ...commands.flatMap(formatCommand),
    ".SH EXIT STATUS",
    ...formatTerms(EXIT_STATUS),
    ".SH ENVIRONMENT",
    ...formatTerms(ENVIRONMENT),
    ".SH FILES",
    ...formatTerms(FILES),
    ".SH EXAMPLES",
    ...formatExamples(PROGRAM.examples).slice(1),
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
    ...formatOptions(options),
    ...formatExamples(examples),
  ];
}

/** What is literal in bold, what stands for something in italics. */
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

function formatOptions(
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

function formatExamples(
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
