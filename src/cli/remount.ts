import { parseRemount, type RemountOptions } from "../mount/remountat.ts";
import {
  checkArguments,
  type Command,
  expectPositionals,
  parseTargetArgument,
} from "./command.ts";
import { COMMON, parseCommon, type Placed } from "./mount_words.ts";
import { splitWords } from "../options/mount_options.ts";
import { isIdmapWord } from "../spec/words.ts";
import { UsageError } from "./print.ts";
import { Directory } from "../directory.ts";

/** The parsed arguments of `remount`. */
export type Arguments = Placed<RemountOptions>;

/** `mountat remount -o <list> <directory> <name>`. */
export const remount: Command<Arguments> = {
  description: {
    name: "remount",
    synopsis: ["remount [options] <directory> <name>"],
    summary: `Change the mount on a name, or its file system

Generic words of -o change the mount; all other words change the file system, and so
all mounts of it. So ro makes the mount read-only, and ro=fs the file system. Options
that are not named stay as they are. If a part is refused, nothing is changed. The name "." is
the mount on the directory itself.

Exit status: 0 if it was done, 1 for wrong usage or no permission, 32 if it failed.`,
    operands: ["directory", "mount point"],
    options: {
      recursive: {
        short: "R",
        help: "apply --read-only to all mounts below, too",
      },
      ...COMMON,
    },
    examples: [{
      call: "mountat remount -o ro,size=1g /srv/root tmp",
      does: "/srv/root/tmp is read-only, and its file system has another size",
    }, {
      call: "mountat remount --make-rslave /srv/root .",
      does: "mounts below /srv/root appear nowhere else",
    }],
  },
  failureStatus: 32,
  parse(words) {
    const { positionals, switches } = words;
    expectPositionals(this.description, positionals, 2, 2);
    const [directory, name] = positionals;
    const options = {
      recursive: switches.has("recursive"),
      ...parseCommon(words),
    };
    const path = parseTargetArgument(name!).path;
    checkArguments(() => {
      if (splitWords(options.options).some(isIdmapWord)) {
        throw new UsageError("X-mount.idmap is for a new mount");
      }
      parseRemount(options);
    });
    return { directory: directory!, name: path, options };
  },
  run({ directory, name, options }) {
    using root = Directory.open(directory);
    root.remount(name, options);
    return 0;
  },
};
