/** Writes the README's table of subcommands from what `mountat --help` lists. */

/** The line before the table, and the one behind it. */
const BEGIN = "<!-- The subcommands: written by `deno task man` -->";
const END = "<!-- End of the subcommands -->";

/**
 * The README with a table of what the help lists.
 *
 * @param readme The README's text.
 * @param help What `mountat --help` prints.
 */
export function withSubcommands(readme: string, help: string): string {
  const rows = [
    ...help.matchAll(/^ {2}([a-z][\w-]+) {2,}(\S.*(?:\n {12,}\S.*)*)$/gm),
  ].map(([, name, summary]) =>
    `| \`${name}\` | ${summary!.replaceAll(/\s+/g, " ")} |`
  );
  const begin = readme.indexOf(BEGIN) + BEGIN.length;
  const end = readme.indexOf(END);
  if (end < begin) throw new Error("The README has no place for the table");
  const table = ["| subcommand | what it does |", "| --- | --- |", ...rows];
  return `${readme.slice(0, begin)}\n\n${table.join("\n")}\n\n${
    readme.slice(end)
  }`;
}

if (import.meta.main) {
  const { stdout } = new Deno.Command(Deno.execPath(), {
    args: ["run", "cli.ts", "--help"],
    stderr: "inherit",
  }).outputSync();
  const help = new TextDecoder().decode(stdout);
  const readme = Deno.readTextFileSync("README.md");
  Deno.writeTextFileSync("README.md", withSubcommands(readme, help));
}
