import { quote } from "../sys/format.ts";
import {
  type Command,
  type CommandDescription,
  expectPositionals,
} from "./command.ts";
import { formatBash } from "./completions/bash.ts";
import { formatFish } from "./completions/fish.ts";
import { toSubcommand } from "./completions/model.ts";
import { formatZsh } from "./completions/zsh.ts";
import { nearest } from "../sys/nearest.ts";
import { printData } from "./data.ts";
import { UsageError } from "./usage_error.ts";

const SHELLS = { bash: formatBash, fish: formatFish, zsh: formatZsh } as const;

type Shell = keyof typeof SHELLS;

const NAMES = Object.keys(SHELLS);

function isShell(name: string): name is Shell {
  return Object.hasOwn(SHELLS, name);
}

/**
 * `mountat completions bash|fish|zsh`.
 *
 * @param describe Describes all subcommands.
 */
export function completions(
  describe: () => Promise<CommandDescription[]>,
): Command<Shell> {
  return {
    description: {
      name: "completions",
      synopsis: [`completions ${NAMES.join("|")}`],
      summary: `Print a script that completes mountat's arguments in a shell

It is complete in itself: mountat is not run when Tab is pressed. For a shell
that is running, and in the file that it reads at its start:

  source <(mountat completions bash)
  source <(mountat completions zsh)         after compinit
  mountat completions fish | source

Or once and for all, for shells to come, into a file that they look for:

  ~/.local/share/bash-completion/completions/mountat
  _mountat in a directory of zsh's $fpath
  ~/.config/fish/completions/mountat.fish`,
      operands: [NAMES],
      examples: [{
        call: "mountat completions bash > mountat.bash && . ./mountat.bash",
        does: "from now on the Tab key completes what begins with mountat",
      }],
    },
    failureStatus: 1,
    parse({ positionals }) {
      expectPositionals(this.description, positionals, 1, 1);
      const [name] = positionals as [string];
      if (isShell(name)) return name;
      throw new UsageError(
        `There are completions for ${NAMES.join(", ")}, not for ${quote(name)}${
          nearest(name, NAMES)
        }`,
      );
    },
    async run(shell) {
      printData(SHELLS[shell]((await describe()).map(toSubcommand)));
      return 0;
    },
  };
}
