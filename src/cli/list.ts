import { lookupOfCaller } from "../error/attempt.ts";
import {
  ALL,
  type Column,
  COLUMNS,
  drawTree,
  formatColumns,
  formatTable,
  matchesOptions,
  matchesTypes,
  type Node,
  parseColumns,
  print,
  Reader,
  type Row,
  shown,
  toObject,
  toTree,
} from "./list_format.ts";
import {
  type Command,
  expectPositionals,
  type Manner,
  type Words,
} from "./command.ts";
import { GENERIC_OPTIONS } from "../options/mount_options.ts";
import { isBelow, listMounts } from "../list/list_mounts.ts";
import { formatDeepJson, formatJson, UsageError } from "./print.ts";
import { quote } from "../base/text.ts";
import type { MountInfo } from "../list/mount_info.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { attempt } from "../error/error.ts";
import { idInTableAt } from "../kernel/mount_id.ts";
import { watchMounts } from "../list/watch_mounts.ts";
import { Interrupt } from "./interrupt.ts";

/** The parsed arguments of `list`. */
export interface Arguments {
  /** Only what is mounted on this directory and below it. */
  readonly directory: string | null;
  /** The columns that are shown of each mount. */
  readonly columns: readonly Column[];
  /** Only these types, as mount(8) has them. */
  readonly types: string | null;
  /** Only mounts with these options, as mount(8) has them. */
  readonly options: string | null;
  /** Only the mounts that these paths lead to. */
  readonly targets: readonly string[];
  /** The process whose mounts are meant. */
  readonly namespace: number | null;
  /** The form: a line for each, a tree, or a line for each that comes or goes. */
  readonly as: "list" | "tree" | "events";
}

/** `mountat list [directory]`. */
export const list: Command<Arguments> = {
  description: {
    name: "list",
    synopsis: ["list [options] [directory]"],
    summary: `List mounts, all or those on a directory and below it

Mounts are listed in the order of the mount table, including those that others cover.
On a terminal, and with --tree, the output is a table, and names with control
characters or quotes are quoted. Otherwise there is a line for each mount, with tabs
between the columns; backslashes and control characters are printed as in
/proc/self/mountinfo, "\\134" and "\\011". --json prints the JSON of findmnt(8): a flat
list, as with its --list, or nested with --tree. A byte of a name that is not UTF-8
becomes "\\udc80" to "\\udcff". If nothing matches, the exit status is still 0.

With --watch each mount, unmount and move is printed when it happens, until Ctrl-C or
the end of the process that --namespace names. With --json each event is an object in
a line of its own. If a mount was gone before it could be looked at, only its id is
known, and it is printed regardless of filters.

Columns:
${COLUMNS.map(({ name, help }) => `  ${name.padEnd(13)}${help}`).join("\n")}`,
    options: {
      output: {
        short: "o",
        value: "columns",
        choices: COLUMNS.map(({ name }) => name),
        list: true,
        help: "show these columns; with + before them, these in addition",
      },
      "output-all": { help: "show all columns" },
      tree: { help: "show a tree: what is mounted inside what" },
      types: {
        short: "t",
        value: "types",
        list: true,
        help: "only these types; notmpfs is all types but tmpfs",
      },
      options: {
        short: "O",
        value: "options",
        empty: true,
        choices: GENERIC_OPTIONS,
        list: true,
        help:
          "only mounts with these options; noexec means without exec, +noexec with noexec",
      },
      target: {
        short: "T",
        value: "path",
        repeat: true,
        help: "only the mount that this path leads to; may be repeated",
      },
      namespace: {
        short: "N",
        value: "pid",
        help: "the mounts that this process sees; paths are absolute there",
      },
      watch: { help: "print mounts, unmounts and moves as they happen" },
    },
    examples: [{
      call: "mountat list /srv/root",
      does: "what is mounted on /srv/root and below it",
    }, {
      call: "mountat list --json | jq '.filesystems[].target'",
      does: "all mount points",
    }, {
      call: "mountat list --tree -t nosysfs,proc,cgroup2 -o +PROPAGATION",
      does: "a tree without these types, with the propagation of each mount",
    }, {
      call: "mountat list --watch --namespace $(pidof dockerd)",
      does: "what a daemon mounts and unmounts",
    }],
  },
  failureStatus: 1,
  parse,
  async run(args, manner) {
    const isShown = filter(args);
    if (args.as === "events") return await watch(args, isShown, manner);
    const mounts = listMounts(place(args));
    const text = format(mounts, isShown ?? (() => true), args, manner);
    if (text !== "") await print(text);
    return 0;
  },
};

function parse({ positionals, switches, values }: Words): Arguments {
  expectPositionals(list.description, positionals, 0, 1);
  const [path = null] = positionals;
  if (path === "") throw new UsageError("The directory must not be empty");
  const [output = null] = values["output"] ?? [];
  const [types = null] = values["types"] ?? [];
  const [options = null] = values["options"] ?? [];
  const [pid] = values["namespace"] ?? [];
  const namespace = pid === undefined ? null : parsePid(pid);
  const given = values["target"] ?? [];
  const paths = path === null ? given : [path, ...given];
  const relative = paths.find((path) => !path.startsWith("/"));
  if (namespace !== null && relative !== undefined) {
    throw new UsageError(
      `With --namespace a path must be absolute: ${quote(relative)}`,
    );
  }
  // There, paths are only compared.
  const [directory, targets] = namespace === null
    ? [path, given]
    : [path === null ? null : normalize(path), given.map(normalize)];
  const watches = switches.has("watch");
  if (watches && switches.has("tree")) {
    throw new UsageError("Either --tree or --watch");
  }
  // A path leads to something else after each mount on it.
  if (watches && targets.length > 0) {
    throw new UsageError("Either --target or --watch");
  }
  const all = switches.has("output-all");
  if (all && output !== null) {
    throw new UsageError("Either --output or --output-all");
  }
  return {
    directory,
    columns: parseColumns(all ? ALL : output, watches),
    types,
    options,
    targets,
    namespace,
    as: watches ? "events" : switches.has("tree") ? "tree" : "list",
  };
}

function parsePid(text: string): number {
  const pid = /^[1-9]\d*$/.test(text) ? Number(text) : NaN;
  if (pid <= 0x7fff_ffff) return pid;
  throw new UsageError(`The namespace must be a process id: ${quote(text)}`);
}

/** An absolute path without `.`, `..` and needless slashes, by its text. */
function normalize(path: string): string {
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (name === "..") names.pop();
    else if (name !== "" && name !== ".") names.push(name);
  }
  return `/${names.join("/")}`;
}

/** The directory and the mount namespace that mounts are looked for in. */
function place(
  { directory, namespace }: Arguments,
): { below?: string; namespace?: number } {
  return {
    ...(directory === null ? {} : { below: directory }),
    ...(namespace === null ? {} : { namespace }),
  };
}

type Filter = (mount: MountInfo) => boolean;

/** null where all are shown. */
function filter(args: Arguments): Filter | null {
  const { types, options, targets, namespace } = args;
  if (types === null && options === null && targets.length === 0) return null;
  const mounts = namespace === null || targets.length === 0
    ? null
    : listMounts({ namespace });
  const found = targets.map((path) =>
    mounts === null ? tableIdAt(path) : findByPath(path, mounts)
  );
  return (mount) =>
    (types === null || matchesTypes(mount.type, types)) &&
    (options === null || matchesOptions(mount, options)) &&
    (targets.length === 0 || found.includes(mount.tableId));
}

/** The mount that a path leads to, symlinks and all. */
function tableIdAt(path: string): number {
  return attempt(
    {
      action: `look at ${quote(path)}`,
      target: path,
      ...lookupOfCaller(path, "target"),
    },
    () => idInTableAt(AT_FDCWD, path),
  );
}

/**
 * The mount that a path leads to, by its text: from the root on from each mount
 * to the first that is on the way. What those cover is never come to.
 */
function findByPath(
  path: string,
  mounts: readonly MountInfo[],
): number | undefined {
  const ids = new Set(mounts.map(({ id }) => id));
  const onTheWay = Map.groupBy(
    mounts.filter(({ target }) => isBelow(path, target)),
    ({ id, parentId }) =>
      parentId !== id && ids.has(parentId) ? parentId : null,
  );
  let found: MountInfo | undefined;
  let next = onTheWay.get(null);
  while (next !== undefined) {
    found = next.reduce((first, mount) =>
      mount.target.length < first.target.length ? mount : first
    );
    // A path begins in the root, whatever is mounted on that.
    next = onTheWay.get(found.id)?.filter(({ target }) => target !== "/");
  }
  return found?.tableId;
}

/** Formats mounts as they are printed. */
export function format(
  mounts: readonly MountInfo[],
  isShown: Filter,
  { columns, as }: Pick<Arguments, "columns" | "as">,
  { json, quiet }: Manner,
  isTerminal = Deno.stdout.isTerminal(),
): string {
  if (as === "list") {
    const rows = mounts.filter(isShown).map((mount) => ({ mount }));
    if (json) {
      return formatJson({
        filesystems: rows.map((row) => toObject(row, columns)),
      });
    }
    return isTerminal
      ? formatForTerminal(
        columns,
        rows.map((row) => shown(row, columns)),
        quiet,
      )
      : formatColumns(rows.map((row) => plain(row, columns)));
  }
  const tree = toTree(mounts, isShown);
  if (json) {
    return formatDeepJson({ filesystems: toObjects(tree, columns) });
  }
  const drawn = columns.findIndex(({ name }) => name === "TARGET");
  const cells = drawTree(tree).map(({ mount, prefix }) =>
    shown({ mount }, columns).map((cell, i) =>
      (i === drawn ? prefix : "") + cell
    )
  );
  return formatForTerminal(columns, cells, quiet);
}

/** Nests rows as findmnt(8) has them in JSON. */
function toObjects(
  roots: readonly Node[],
  columns: readonly Column[],
): unknown[] {
  const objects: unknown[] = [];
  const waiting = [{ nodes: roots, into: objects }];
  // Nodes that are added during the loop are visited, too.
  for (const { nodes, into } of waiting) {
    for (const { mount, children } of nodes) {
      const inside: unknown[] = [];
      into.push({
        ...toObject({ mount }, columns),
        ...(children.length === 0 ? {} : { children: inside }),
      });
      waiting.push({ nodes: children, into: inside });
    }
  }
  return objects;
}

/** The table for a person. */
function formatForTerminal(
  columns: readonly Column[],
  rows: string[][],
  quiet: boolean,
): string {
  const header = columns.map(({ name }) => name);
  return formatTable(quiet || rows.length === 0 ? rows : [header, ...rows]);
}

/** A row's cells for a program. */
function plain(row: Row, columns: readonly Column[]): string[] {
  return columns.map(({ cell }) => String(cell(row) ?? ""));
}

async function watch(
  args: Arguments,
  isShown: Filter | null,
  { json }: Manner,
): Promise<number> {
  const { columns } = args;
  await using events = watchMounts(place(args));
  const interrupted = Promise.withResolvers<false>();
  using interrupt = new Interrupt(() => {
    events.close();
    interrupted.resolve(false);
  });
  const isTerminal = Deno.stdout.isTerminal();
  // A signal says when a terminal hangs up.
  await using _reader = isTerminal ? null : new Reader(() => events.close());
  for await (const event of events) {
    const { mount, from } = event;
    const places = [mount, from].filter((place) => place != null);
    if (isShown && mount !== null && !places.some(isShown)) continue;
    const row = { mount, event };
    const line = json
      ? formatJson(toObject(row, columns), 0)
      : isTerminal
      ? shown(row, columns).join("  ")
      : formatColumns([plain(row, columns)]);
    if (!await Promise.race([print(line), interrupted.promise])) break;
  }
  return interrupt.status ?? 0;
}
