import { quote } from "../sys/format.ts";
import {
  type Command,
  type CommandDescription,
  expectPositionals,
} from "./command.ts";
import { printData } from "./data.ts";
import { formatHelp, formatOverview } from "./help.ts";
import { nearest } from "../sys/nearest.ts";
import { UsageError } from "./usage_error.ts";

/** What the arguments of `help` mean. */
export interface Arguments {
  /** The subcommand, null for all. */
  readonly subcommand: string | null;
  /** Whether to print the manual page. */
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
      summary: `Tell what there is, or more of a subcommand

With --man this is a manual page of all of it, for man(1).`,
      options: { man: { help: "print the manual page mountat(1)" } },
      operands: [names],
      examples: [{
        call: "mountat help umount",
        does: 'what "mountat umount --help" prints',
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
        const { formatManual } = await import("./man.ts");
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
