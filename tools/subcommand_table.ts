/** Writes the README's table of subcommands from what `mountat --help` lists. */

/** The table: its heading, and the rows below. */
const TABLE = /^\| subcommand .*\n(?:\|.*\n)*/m;

/**
 * Returns the README with a table of the subcommands that the help lists.
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
  if (!TABLE.test(readme)) throw new Error("The README has no such table");
  const table = ["| subcommand | what it does |", "| --- | --- |", ...rows];
  return readme.replace(TABLE, () => `${table.join("\n")}\n`);
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
