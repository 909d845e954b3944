import { listMounts } from "../list_mounts.ts";
import type { MountInfo } from "../mount_info.ts";
import { quote } from "../sys/format.ts";
import { type Command, expectPositionals, type Manner } from "./command.ts";
import { formatJson } from "./json.ts";
import { formatColumns, formatTable } from "./table.ts";
import { UsageError } from "./usage_error.ts";

/** What the arguments of `list` mean. */
export interface Arguments {
  /** Only what is mounted on this directory and below it. */
  readonly directory: string | null;
}

/** `mountat list [directory]`. */
export const list: Command<Arguments> = {
  description: {
    name: "list",
    synopsis: ["list [directory]"],
    summary: `List mounts, all or those on a directory and below it

In the order of the mount table; those that others cover are listed, too. On a
terminal this is a table; a name that has control characters or quotes is quoted.
Otherwise it is a line for each mount, with tabs between target, source, type and
options; backslashes and control characters are printed as in
/proc/self/mountinfo, "\\134" and "\\011". --json has findmnt's names of the
columns, and more of them.`,
    examples: [{
      call: "mountat list /srv/root",
      does: "what is mounted on /srv/root and below it",
    }, {
      call: "mountat list --json | jq '.filesystems[].target'",
      does: "all mount points",
    }],
  },
  failureStatus: 1,
  parse({ positionals }) {
    expectPositionals(this.description, positionals, 0, 1);
    const [directory] = positionals;
    if (directory !== "") return { directory: directory ?? null };
    throw new UsageError("The directory must not be empty");
  },
  run({ directory }, manner) {
    const mounts = listMounts(directory === null ? {} : { below: directory });
    const text = manner.json
      ? formatJson({ filesystems: mounts.map(toFileSystem) })
      : Deno.stdout.isTerminal()
      ? formatForTerminal(mounts, manner)
      : formatColumns(mounts.map(toRow));
    if (text !== "") console.log(text);
    return 0;
  },
};

const HEADER = ["TARGET", "SOURCE", "FSTYPE", "OPTIONS"];

function toRow(mount: MountInfo): string[] {
  return [mount.target, mount.source, mount.type, allOptions(mount).join(",")];
}

/** The table for a person. */
export function formatForTerminal(
  mounts: MountInfo[],
  { quiet }: Pick<Manner, "quiet">,
): string {
  const rows = mounts.map((mount) => toRow(mount).map(visible));
  return formatTable(quiet || rows.length === 0 ? rows : [HEADER, ...rows]);
}

/** A name as it is, unless that would mislead or steer a terminal. */
function visible(name: string): string {
  const quoted = quote(name);
  return name !== "" && quoted === `"${name}"` ? name : quoted;
}

/** A mount under findmnt(8)'s names. */
export function toFileSystem(mount: MountInfo): Record<string, unknown> {
  return {
    target: mount.target,
    source: mount.source,
    fstype: mount.type,
    options: allOptions(mount).join(","),
    "vfs-options": mount.options.join(","),
    "fs-options": mount.superOptions.join(","),
    fsroot: mount.root,
    "maj:min": mount.deviceNumber,
    propagation: mount.propagation,
    id: Number(mount.id),
    parent: Number(mount.parentId),
  };
}

/** The options of both the mount and the file system, as findmnt(8) has them. */
function allOptions({ options, superOptions }: MountInfo): string[] {
  const [, ...own] = options;
  const [access, ...others] = superOptions;
  const readOnly = options[0] === "ro" || access === "ro";
  return [readOnly ? "ro" : "rw", ...own, ...others];
}
