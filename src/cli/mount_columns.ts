/** The columns that mounts are listed in: findmnt(8)'s, as far as they are known. */
import { isUniqueId } from "../mount_id.ts";
import type { MountEvent } from "../mount_changes.ts";
import type { MountInfo } from "../mount_info.ts";
import { UsageError } from "./usage_error.ts";

/** What a line is about. */
export interface Row {
  /** The mount, null when no more than its id is known. */
  readonly mount: MountInfo | null;
  /** What happened to it, while mounts are watched. */
  readonly event?: MountEvent;
}

/** What is in a column: null for nothing, as findmnt's JSON has it. */
export type Cell = string | number | null;

/** A column. */
export interface Column {
  /** Its name, which in JSON is in lower case. */
  readonly name: string;
  /** What it shows. */
  readonly help: string;
  /** The cell of a row. */
  readonly cell: (row: Row) => Cell;
}

function ofMount(
  name: string,
  help: string,
  cell: (mount: MountInfo) => Cell,
): Column {
  const ofRow = ({ mount }: Row) => mount === null ? null : cell(mount);
  return { name, help, cell: ofRow };
}

/** All columns; the last ones are for `--watch` alone. */
export const COLUMNS: readonly Column[] = [
  ofMount("TARGET", "the mount point", ({ target }) => target),
  ofMount(
    "SOURCE",
    "what was mounted, and in brackets what of it if not all",
    ({ source, root }) => root === "/" ? source : `${source}[${root}]`,
  ),
  ofMount("FSTYPE", "the file system's type", ({ type }) => type),
  ofMount("OPTIONS", "all options", (mount) => allOptions(mount).join()),
  ofMount(
    "VFS-OPTIONS",
    "the mount's own options",
    ({ options }) => options.join(),
  ),
  ofMount(
    "FS-OPTIONS",
    "the file system's options",
    ({ superOptions }) => superOptions.join(),
  ),
  ofMount("FSROOT", "what of the file system is mounted", ({ root }) => root),
  ofMount(
    "MAJ:MIN",
    "the file system's device",
    ({ deviceNumber }) => deviceNumber,
  ),
  ofMount("PROPAGATION", "where mounts in it appear, too", propagation),
  ofMount("OPT-FIELDS", "its peer groups, as in mountinfo", optionalFields),
  ofMount("ID", "its id in mountinfo", ({ tableId }) => tableId),
  ofMount(
    "PARENT",
    "the id there of the mount that it is on",
    ({ parentTableId }) => parentTableId,
  ),
  {
    name: "UNIQ-ID",
    help: "its unique id, since Linux 6.8",
    cell({ mount, event }) {
      const id = mount?.id ?? event!.id;
      return isUniqueId(id) ? Number(id) : null;
    },
  },
  {
    name: "ACTION",
    help: "mount, unmount or move: with --watch",
    cell: ({ event }) => event!.kind,
  },
  {
    name: "OLD-TARGET",
    help: "where it was before a move: with --watch",
    cell: ({ event }) => event!.from?.target ?? null,
  },
];

/** The columns that need no option. */
const DEFAULT = ["TARGET", "SOURCE", "FSTYPE", "OPTIONS"];
const WATCH_ONLY = ["ACTION", "OLD-TARGET"];

/**
 * The columns that a list of names means; one that begins with `+` adds to the
 * default ones.
 *
 * @param list The names, null for the default, and `ALL` for all.
 * @param watch Whether there are events.
 * @throws {UsageError} For a name that no column has.
 */
export function parseColumns(
  list: string | null | typeof ALL,
  watch: boolean,
): Column[] {
  const usual = watch ? ["ACTION", ...DEFAULT, "OLD-TARGET"] : DEFAULT;
  const known = COLUMNS.filter(({ name }) =>
    watch || !WATCH_ONLY.includes(name)
  );
  if (list === ALL) return known;
  const given = list === null ? [] : list.replace(/^\+/, "").split(",");
  const names = list === null || list.startsWith("+")
    ? [...usual, ...given]
    : given;
  return names.map((name) => {
    const column = known.find((column) => column.name === name.toUpperCase());
    if (column !== undefined) return column;
    const words = known.map(({ name }) => name).join(", ");
    throw new UsageError(`There is no column "${name}", but: ${words}`);
  });
}

/** Stands for a list of all columns. */
export const ALL: unique symbol = Symbol("all");

/** A row by the columns' names, as findmnt(8) has it in JSON. */
export function toObject(
  row: Row,
  columns: readonly Column[],
): Record<string, unknown> {
  return Object.fromEntries(columns.map(({ name, cell }) => {
    const value = cell(row);
    return [name.toLowerCase(), value === "" ? null : value];
  }));
}

/** The options of both the mount and the file system, as findmnt(8) has them. */
export function allOptions({ options, superOptions }: MountInfo): string[] {
  const [, ...own] = options;
  const [access, ...others] = superOptions;
  const readOnly = options[0] === "ro" || access === "ro";
  return [readOnly ? "ro" : "rw", ...own, ...others];
}

function propagation({ propagation, master }: MountInfo): string {
  const first = propagation === "shared" ? "shared" : "private";
  const others = [
    ...(master === undefined ? [] : ["slave"]),
    ...(propagation === "unbindable" ? ["unbindable"] : []),
  ];
  return [first, ...others].join();
}

function optionalFields(mount: MountInfo): string {
  const { propagation, peerGroup, master, propagateFrom } = mount;
  const fields = {
    shared: peerGroup,
    master,
    propagate_from: propagateFrom,
  };
  const words = Object.entries(fields)
    .filter(([, group]) => group !== undefined)
    .map(([name, group]) => `${name}:${group}`);
  if (propagation === "unbindable") words.push("unbindable");
  return words.join(" ");
}
