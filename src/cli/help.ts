import {
  type CommandDescription,
  COMMON_OPTIONS,
  type OptionDescription,
} from "./command.ts";

/** What `--help` of a subcommand prints. */
export function formatHelp(description: CommandDescription): string {
  const { synopsis, summary, options = {}, examples = [] } = description;
  const sections = [
    `Usage: mountat ${synopsis.join("\n   or: mountat ")}`,
    summary,
    `Options:\n${formatOptions({ ...options, ...COMMON_OPTIONS })}`,
  ];
  if (examples.length > 0) {
    sections.push(
      `Examples:\n${
        examples.map(({ call, does }) => `  ${call}\n      ${does}`).join("\n")
      }`,
    );
  }
  return sections.join("\n\n");
}

function formatOptions(
  options: Readonly<Record<string, OptionDescription>>,
): string {
  const rows = Object.entries(options).map(([name, option]) => {
    const { short, value, implied, help } = option;
    const letter = short === undefined ? "    " : `-${short}, `;
    const operand = value === undefined
      ? ""
      : implied === undefined
      ? ` <${value}>`
      : `[=<${value}>]`;
    return [`  ${letter}--${name}${operand}`, help] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return rows.map(([left, help]) => left.padEnd(width) + help).join("\n");
}

/** The list of subcommands that `mountat help` prints. */
export function formatOverview(
  commands: readonly CommandDescription[],
): string {
  const width = Math.max(...commands.map(({ name }) => name.length)) + 2;
  const rows = commands.map(({ name, summary }) =>
    `  ${name.padEnd(width)}${summary.split("\n")[0]}`
  );
  return `Subcommands ("mountat help <name>" tells more):\n${rows.join("\n")}`;
}
