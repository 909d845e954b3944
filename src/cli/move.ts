import {
  type Command,
  expectPositionals,
  parseTargetArgument,
} from "./command.ts";
import { Directory } from "../directory.ts";
import { moveat } from "../mount/moveat.ts";
import { formatJson, printData, printMessage } from "./print.ts";
import { quote } from "../base/text.ts";

/** The parsed arguments of `move`. */
export interface Arguments {
  /** The directory that the mount is in. */
  readonly from: string;
  /** The directory that it goes to. */
  readonly to: string;
  /** The mount point, in both. */
  readonly name: string;
  /** True to make a shared holder private first. */
  readonly makePrivate: boolean;
  /** True to make the new mount point where it is missing. */
  readonly mkdir: boolean;
}

/** `mountat move <initial directory> <destination directory> [name]`. */
export const move: Command<Arguments> = {
  description: {
    name: "move",
    synopsis: [
      "move [options] <initial directory> <destination directory> [name]",
    ],
    summary: `Move the mount on a name to another directory

By default the name is proc. The mount moves with everything mounted inside it. The
kernel moves nothing out of a shared mount. In that case, a copy is attached at the
new place, and the original is unmounted. The output tells if the mount was moved or
copied.

Exit status: 0 if it was done, 1 for wrong usage or no permission, 32 if it failed.`,
    operands: ["directory", "directory", "mount point"],
    options: {
      "make-private": {
        help:
          "make a shared parent mount private first, so that the mount itself moves",
      },
      mkdir: { help: "make the new mount point if it is missing" },
    },
    examples: [{
      call: "mountat move /srv/old /srv/new proc",
      does: "/srv/old/proc is now /srv/new/proc",
    }],
  },
  failureStatus: 32,
  parse({ positionals, switches }) {
    expectPositionals(this.description, positionals, 2, 3);
    const [from, to, name = "proc"] = positionals;
    return {
      from: from!,
      to: to!,
      name: parseTargetArgument(name).path,
      makePrivate: switches.has("make-private"),
      mkdir: switches.has("mkdir"),
    };
  },
  run({ from, to, name, makePrivate, mkdir }, { json, quiet }) {
    using source = Directory.open(from);
    using destination = Directory.open(to);
    using mount = moveat(source, name, destination, name, {
      makePrivate,
      mkdir,
    });
    mount.keep();
    const { made, id } = mount;
    if (json) {
      printData(formatJson({ made, name, from, to, id: Number(id) }));
    } else if (!quiet) {
      const what = made === "moved" ? "Moved" : "Cloned and unmounted";
      printData(
        `${what} ${quote(name)} from ${quote(from)} to ${quote(to)}.`,
      );
      if (made === "cloned") {
        printMessage(
          "The mount that held it is shared; with --make-private the mount itself moves.",
        );
      }
    }
    return 0;
  },
};
