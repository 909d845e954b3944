import { Directory } from "../directory.ts";
import {
  type Command,
  expectPositionals,
  parseTargetArgument,
} from "./command.ts";

/** What the arguments of `relative-mount` mean. */
export interface Arguments {
  /** The directory. */
  readonly directory: string;
  /** The mount point in it. */
  readonly name: string;
}

/** `mountat relative-mount <directory> <mountpoint>`. */
export const relativeMount: Command<Arguments> = {
  description: {
    name: "relative-mount",
    synopsis: ["relative-mount <directory> <mountpoint>"],
    summary: `Mount a procfs on a name in a directory, and leave it there

The mount point is made where it is missing; the mount is nosuid and nodev. For
other options there is "mountat mount".

Exit status: 0 when it was done, 1 for wrong usage or without permission, 32 when
it failed.`,
    operands: ["directory", "name"],
    examples: [{
      call: "mountat relative-mount /srv/root proc",
      does: "/srv/root/proc is a procfs until it is unmounted",
    }],
  },
  failureStatus: 32,
  parse({ positionals }) {
    expectPositionals(this.description, positionals, 2, 2);
    const [directory, name] = positionals;
    return { directory: directory!, name: parseTargetArgument(name!).path };
  },
  run({ directory, name }) {
    using root = Directory.open(directory);
    using mount = root.mount(name, {
      type: "proc",
      source: "/proc",
      options: "nosuid,nodev",
      mkdir: 0o700,
    });
    mount.keep();
    return 0;
  },
};
