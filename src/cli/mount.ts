import type { MountOptions } from "../options/spec.ts";
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
import { UsageError } from "./print.ts";
import { planMount } from "../mount/mountat.ts";
import {
  type OptionsInput,
  parseMountOptions,
} from "../options/mount_options.ts";

/** The parsed arguments of `mount`. */
export type Arguments = Placed<MountOptions>;

/** The subcommands that do what these words make mount(8) do. */
const SUBCOMMANDS: Readonly<Record<string, string>> = {
  bind: "bind",
  rbind: "bind --recursive",
  move: "move",
  remount: "remount",
};

/** `mountat mount -t <type> [source] <directory> <name>`. */
export const mount: Command<Arguments> = {
  description: {
    name: "mount",
    synopsis: ["mount -t <type> [options] [source] <directory> <name>"],
    summary: `Mount a file system on a name in a directory

The mount stays until it is unmounted. The name is resolved beneath the directory and
through no symlink. The source is the one of mount(8), such as a device; many file
systems need none.

Generic words of -o (ro, nosuid, nodev, noexec, noatime, ...) become attributes of the
mount; all other words go to the file system. So ro makes the mount read-only, and
ro=fs the file system.

${IDMAP_SUMMARY}

Exit status: 0 if it was done, 1 for wrong usage or no permission, 32 if it failed.`,
    operands: ["file", "name", "name"],
    options: {
      types: { short: "t", value: "type", help: "the file system's type" },
      ...COMMON,
      ...PLACING,
    },
    examples: [{
      call: "mountat mount -t tmpfs -o nosuid,size=64m --mkdir /srv/root tmp",
      does: "/srv/root/tmp is a tmpfs until it is unmounted",
    }],
  },
  failureStatus: 32,
  parse(words) {
    const { positionals, values } = words;
    expectPositionals(this.description, positionals, 2, 3);
    const [name, directory, source] = positionals.toReversed();
    const common = takeIdmap(parseCommon(words));
    checkArguments(() => refuseSubcommand(common.options));
    const [type] = values["types"] ?? [];
    if (type === undefined) {
      throw new UsageError(
        "Option --types (-t) is missing: it names the type, such as tmpfs or ext4",
      );
    }
    const options = {
      type,
      ...(source === undefined ? {} : { source }),
      ...common,
      ...parsePlacing(words),
    };
    const path = parseTargetArgument(name!).path;
    checkArguments(() => planMount(path, options));
    return { directory: directory!, name: path, options };
  },
  run(placed, manner) {
    const { name, options } = placed;
    return mountAndKeep(placed, manner, (root) => root.mount(name, options));
  },
};

function refuseSubcommand(options: OptionsInput): void {
  for (const { key } of parseMountOptions(options).parameters) {
    if (!Object.hasOwn(SUBCOMMANDS, key)) continue;
    throw new UsageError(
      `For the option ${key} there is mountat ${SUBCOMMANDS[key]}`,
    );
  }
}
