/** The output of `list`: columns, filters, the tree, the table, and its way out. */
import type { MountInfo } from "../list/mount_info.ts";
import type { MountEvent } from "../list/watch_mounts.ts";
import { isUniqueId } from "../kernel/mount_id.ts";
import { OutputError, UsageError } from "./print.ts";
import { encodeText, quote } from "../base/text.ts";
import { pipe2, writeElsewhere } from "../sys/file.ts";
import { isErrno, SyscallError } from "../sys/error.ts";
import { EAGAIN, EPIPE } from "../sys/errno.ts";
import { POLLOUT, ppoll } from "../sys/event.ts";
import { OwnedFd } from "../fd/owned_fd.ts";

/** The mount that a line is about. */
export interface Row {
  /** The mount, null when no more than its id is known. */
  readonly mount: MountInfo | null;
  /** The event, while mounts are watched. */
  readonly event?: MountEvent;
}

/** The content of a column: null for nothing, as findmnt's JSON has it. */
export type Cell = string | number | null;

/** A column. */
export interface Column {
  /** Its name, which in JSON is in lower case. */
  readonly name: string;
  /** A line that says what it shows. */
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
    "the source; in brackets the part of it, if not all is mounted",
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
  ofMount(
    "FSROOT",
    "the part of the file system that is mounted",
    ({ root }) => root,
  ),
  ofMount(
    "MAJ:MIN",
    "the file system's device",
    ({ deviceNumber }) => deviceNumber,
  ),
  ofMount(
    "PROPAGATION",
    "shared, private, slave or unbindable",
    propagation,
  ),
  ofMount("OPT-FIELDS", "its peer groups, as in mountinfo", optionalFields),
  ofMount("ID", "its id in mountinfo", ({ tableId }) => tableId),
  ofMount(
    "PARENT",
    "the mountinfo id of the mount that it is on",
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
    help: "the mount point before a move: with --watch",
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
 * @param watch True if there are events.
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
    throw new UsageError(
      `There is no column "${name}"; the columns are ${words}`,
    );
  });
}

/** Stands for a list of all columns. */
export const ALL: unique symbol = Symbol("all");

/** A row by the columns' names, as findmnt(8) has it in JSON. */
export function toObject(
  row: Row,
  columns: readonly Column[],
): Record<string, Cell> {
  return Object.fromEntries(columns.map(({ name, cell }) => {
    const value = cell(row);
    return [name.toLowerCase(), value === "" ? null : value];
  }));
}

/** A row's cells for a person. */
export function shown(row: Row, columns: readonly Column[]): string[] {
  return columns.map(({ cell }) => visible(cell(row)));
}

/** A name as it is, unless that would mislead or steer a terminal. */
export function visible(cell: Cell): string {
  if (typeof cell !== "string") return String(cell ?? "");
  const quoted = quote(cell);
  return cell !== "" && quoted === `"${cell}"` ? cell : quoted;
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

/**
 * True if a type is one of a list, as mount(8) reads it: one that begins with
 * `no` means all other types. Upper and lower case are the same.
 */
export function matchesTypes(type: string, list: string): boolean {
  const sought = type.toLowerCase();
  const negated = list.startsWith("no");
  for (const word of (negated ? list.slice(2) : list).split(",")) {
    if (word.startsWith("no") && word.slice(2).toLowerCase() === sought) {
      return false;
    }
    if (word.toLowerCase() === sought) return !negated;
  }
  return negated;
}

/**
 * True if a mount has all options of a list, as mount(8) reads it: `no` before an
 * option means that it is not set, `+` that its name begins so. A value must be
 * equal, too. An empty value counts as none, and an empty word is skipped.
 */
export function matchesOptions(mount: MountInfo, list: string): boolean {
  const options = allOptions(mount);
  const words = list.split(",").filter((word) => word !== "");
  return words.every((pattern) => {
    const negated = pattern.startsWith("no");
    const word = pattern.slice(negated ? 2 : pattern.startsWith("+") ? 1 : 0)
      .replace(/^([^=]+)=$/, "$1");
    const isSet = options.some((option) =>
      option === word || (!word.includes("=") && option.startsWith(`${word}=`))
    );
    return isSet !== negated;
  });
}

/** A mount that is shown, with those in it. */
export interface Node {
  readonly mount: MountInfo;
  readonly children: Node[];
}

/**
 * Makes a tree of mounts, in their order. One whose parent is not shown stands
 * below the nearest one above it that is.
 *
 * @param mounts All that are known.
 * @param isShown Tells if a mount is shown.
 */
export function toTree(
  mounts: readonly MountInfo[],
  isShown: (mount: MountInfo) => boolean,
): Node[] {
  const byId = new Map(mounts.map((mount) => [mount.id, mount]));
  const nodes = new Map(
    mounts.filter(isShown).map((mount): [bigint, Node] => [
      mount.id,
      { mount, children: [] },
    ]),
  );
  const roots: Node[] = [];
  for (const node of nodes.values()) {
    // A root is on itself; and what moves while it is listed may go in circles.
    const seen = new Set([node.mount.id]);
    let above = byId.get(node.mount.parentId);
    while (above !== undefined && !nodes.has(above.id) && !seen.has(above.id)) {
      seen.add(above.id);
      above = byId.get(above.parentId);
    }
    const parent = above === node.mount
      ? undefined
      : nodes.get(above?.id ?? 0n);
    (parent?.children ?? roots).push(node);
  }
  return roots;
}

/** A line of a tree that is drawn. */
export interface Line {
  readonly mount: MountInfo;
  /** The branches before it. */
  readonly prefix: string;
}

/**
 * Draws a tree as findmnt(8) does, a line for each mount. That they are thousands
 * on each other is no matter.
 */
export function drawTree(roots: readonly Node[]): Line[] {
  const lines: Line[] = [];
  const waiting = roots.map((node) => ({ node, prefix: "", below: "" }));
  waiting.reverse();
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { node: { mount, children }, prefix, below } = next;
    lines.push({ mount, prefix });
    for (const [i, node] of children.toReversed().entries()) {
      const isLast = i === 0;
      waiting.push({
        node,
        prefix: below + (isLast ? "└─" : "├─"),
        below: below + (isLast ? "  " : "│ "),
      });
    }
  }
  return lines;
}

/**
 * Lays rows out in columns, each as wide as its widest cell and two spaces from
 * the next. Cells are printed as they are: what strangers chose is quoted before.
 */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const columns = most(rows, (row) => row.length);
  const widths = Array.from(
    { length: columns },
    (_, column) => most(rows, (row) => width(row[column] ?? "")),
  );
  return rows.map((row) =>
    row.map((cell, column) =>
      // Nothing follows the last one.
      column === row.length - 1
        ? cell
        : cell + " ".repeat(widths[column]! - width(cell))
    ).join("  ")
  ).join("\n");
}

/** The largest number; there may be more than a call takes arguments. */
function most<T>(values: readonly T[], count: (value: T) => number): number {
  return values.reduce((found, value) => Math.max(found, count(value)), 0);
}

/** In characters, each of which is taken to be as wide as any other. */
function width(cell: string): number {
  return [...cell].length;
}

/**
 * Lays rows out for a program: a line each, a tab between two cells. Backslashes
 * and control characters are printed as the mount table prints them: `\011`.
 */
export function formatColumns(rows: readonly (readonly string[])[]): string {
  return rows.map((row) => row.map(escapeCell).join("\t")).join("\n");
}

function escapeCell(cell: string): string {
  return cell.replace(
    // deno-lint-ignore no-control-regex
    /[\u0000-\u001f\\\u007f-\u009f\u2028\u2029\ud800-\udfff]/gu,
    (character) =>
      Array.from(
        encodeText(character),
        (byte) => `\\${byte.toString(8).padStart(3, "0")}`,
      ).join(""),
  );
}

const STDOUT = 1;

/**
 * Prints text and a newline on stdout. Another thread waits until there is room:
 * meanwhile signals are heard.
 *
 * @returns True if somebody reads.
 * @throws {OutputError} When it can't be written.
 */
export async function print(text: string): Promise<boolean> {
  let rest = new TextEncoder().encode(`${text}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(await writeElsewhere(STDOUT, rest));
    } catch (error) {
      if (isErrno(error, EPIPE)) return false;
      if (!isErrno(error, EAGAIN)) {
        throw error instanceof SyscallError
          ? new OutputError(error.code, error.errno)
          : error;
      }
      // Whoever shares it has set O_NONBLOCK.
      await ppoll([{ fd: STDOUT, events: POLLOUT }]);
    }
  }
  return true;
}

/** Notices when nobody reads stdout any more, until disposed of. */
export class Reader implements AsyncDisposable {
  /** A pipe: closing the end that is written to ends the waiting. */
  readonly #waker: OwnedFd;
  readonly #waited: Promise<void>;

  /** @param gone Is called once nobody reads. */
  constructor(gone: () => void) {
    const [wakes, waker] = pipe2().map((fd) => new OwnedFd(fd));
    this.#waker = waker!;
    // If that can't be waited for, the next write fails.
    this.#waited = this.#wait(wakes!, gone).catch(() => {});
  }

  async #wait(wakes: OwnedFd, gone: () => void): Promise<void> {
    using end = wakes;
    const [ended] = await ppoll([
      // Errors and a hang-up need not be asked for.
      { fd: STDOUT, events: 0 },
      { fd: end.fd, events: 0 },
    ]);
    if (ended) gone();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#waker.close();
    await this.#waited;
  }
}
