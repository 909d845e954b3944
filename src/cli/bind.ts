import type { BindOptions } from "../options/spec.ts";
import {
  checkArguments,
  type Command,
  expectPositionals,
  parseTargetArgument,
} from "./command.ts";
import {
  COMMON,
  IDMAP_SUMMARY,
  mountAndKeep,
  parseCommon,
  parsePlacing,
  type Placed,
  PLACING,
  takeIdmap,
} from "./mount_words.ts";
import { planBind } from "../mount/bindat.ts";

/** The parsed arguments of `bind`. */
export interface Arguments extends Placed<BindOptions> {
  /** The path of the directory or file to bind. */
  readonly source: string;
}

/** `mountat bind <source> <directory> <name>`. */
export const bind: Command<Arguments> = {
  description: {
    name: "bind",
    synopsis: ["bind [options] <source> <directory> <name>"],
    summary: `Show a directory or file on a name in a directory

The mount stays until it is unmounted. The name is resolved beneath the directory and
through no symlink; the path of the source may lead through symlinks. Attributes that
-o does not name are those of the source.

Without --recursive, mounts below the source are not shown. With --recursive,
--read-only covers all mounts of the bind, but -o ro covers only the topmost one. Use
-o ro=recursive or -o rro to cover all.

${IDMAP_SUMMARY} With --recursive it covers all mounts of the bind.

Exit status: 0 if it was done, 1 for wrong usage or no permission, 32 if it failed.`,
    operands: ["file", "directory", "name"],
    options: {
      recursive: {
        short: "R",
        help: "include what is mounted below the source",
      },
      ...COMMON,
      ...PLACING,
    },
    examples: [{
      call: "mountat bind --recursive --read-only /usr /srv/root usr",
      does: "/srv/root/usr shows /usr, and nobody can write to it",
    }, {
      call: "mountat bind -o X-mount.idmap=0:1000:1 /srv/data /srv/root data",
      does: "root's files in /srv/data are user 1000's in /srv/root/data",
    }],
  },
  failureStatus: 32,
  parse(words) {
    const { positionals, switches } = words;
    expectPositionals(this.description, positionals, 3, 3);
    const [source, directory, name] = positionals;
    const options = {
      recursive: switches.has("recursive"),
      ...takeIdmap(parseCommon(words)),
      ...parsePlacing(words),
    };
    const path = parseTargetArgument(name!).path;
    checkArguments(() => planBind(path, source!, options));
    return { source: source!, directory: directory!, name: path, options };
  },
  run(placed, manner) {
    const { source, name, options } = placed;
    return mountAndKeep(
      placed,
      manner,
      (root) => root.bind(source, name, options),
    );
  },
};
