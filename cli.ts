/**
 * The program: `mountat <directory> [delay]` and its subcommands.
 *
 * ```sh
 * deno run --allow-ffi jsr:@meroton/mountat /srv/root 5
 * ```
 *
 * @module
 */
import { report } from "./src/cli/report.ts";

/** A subcommand: takes its arguments and returns the exit status. */
type Command = (args: string[]) => number | Promise<number>;

/** The subcommands; each is loaded when it is called for. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  bb_mounter_at: async () =>
    (await import("./src/cli/bb_mounter_at.ts")).bbMounterAt,
  help: async () => (await import("./src/cli/help.ts")).help,
};

/**
 * Runs the program.
 *
 * A first argument that is the name of a subcommand is one; a directory of such
 * a name is written `./list`. Anything else is `bb_mounter_at`.
 *
 * @param args The arguments.
 * @returns The exit status: 0 when it was done, 1 for wrong usage, a missing
 * permission or, of `bb_mounter_at`, any failure.
 */
export async function main(args: string[]): Promise<number> {
  const word = args[0] ?? "";
  const named = Object.hasOwn(COMMANDS, word);
  const load = COMMANDS[named ? word : "bb_mounter_at"]!;
  try {
    const command = await load();
    return await command(named ? args.slice(1) : args);
  } catch (error) {
    return report(error);
  }
}

if (import.meta.main) Deno.exitCode = await main(Deno.args);
