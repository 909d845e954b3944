/**
 * The mount table of a process as text: /proc/PID/mountinfo.
 *
 * The grammar, after proc_pid_mountinfo(5). One space stands between two
 * fields. The source may be empty: then two spaces follow each other.
 *
 * ```
 * table        = { line "\n" }
 * line         = id " " parent " " major ":" minor " " root " " mount-point " "
 *                options { " " tag } " - " type " " source " " super-options
 * tag          = "shared:" group | "master:" group | "propagate_from:" group
 *              | "unbindable" | whatever a later kernel adds
 * options      = word { "," word }, as are the super-options
 * id, parent, major, minor, group = decimal digits
 * ```
 *
 * The kernel escapes a character as a backslash with three octal digits: a
 * space, tab, newline or backslash in any field, and a "#" in a type or source.
 * In the super options each file system chooses what it escapes. Some leave
 * spaces as they are: the super options go to the end of the line.
 */
import { byteCharacter, decodeText, encodeText, quote } from "../base/text.ts";
import { readFile } from "../fd/open.ts";

/** A line of the mount table, its escapes decoded. */
export interface MountinfoLine {
  /** The mount's id, which is reused. */
  readonly id: number;
  /** The parent mount's id. The parent need not be in the table. */
  readonly parentId: number;
  /** The device, as `major:minor`. */
  readonly deviceNumber: string;
  /** The part of the file system that is mounted: in most cases a path in it. */
  readonly root: string;
  /** The mount point, as a path from the process's root. */
  readonly mountPoint: string;
  /** The mount's own options. */
  readonly options: string[];
  /** The peer group of a shared mount. */
  readonly shared?: number;
  /** The peer group that a slave receives from. */
  readonly master?: number;
  /** The nearest dominant peer group under the process's root. */
  readonly propagateFrom?: number;
  /** True if the mount can't be the source of a bind. */
  readonly unbindable: boolean;
  /** Optional fields of other names, as they are. */
  readonly otherTags: string[];
  /** The file system's type, with its subtype: `fuse.sshfs`. */
  readonly type: string;
  /** The source that was mounted, or an empty string. */
  readonly source: string;
  /** The file system's options. */
  readonly superOptions: string[];
}

/** The error for a line that does not match the grammar. */
export class MountinfoSyntaxError extends Error {
  override readonly name = "MountinfoSyntaxError";
  /** The line's number, from 1 on. */
  readonly line: number;

  constructor(line: number, what: string) {
    super(`Line ${line} of the mount table: ${what}`);
    this.line = line;
  }
}

/**
 * Parses a mount table.
 *
 * @param text The table, decoded as src/base/text.ts decodes.
 * @returns Its lines, in order.
 * @throws {MountinfoSyntaxError} At the first line that is malformed.
 */
export function parseMountinfo(text: string): MountinfoLine[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines.map((line, index) => {
    try {
      return parseLine(line.split(" "));
    } catch (error) {
      if (!(error instanceof MalformedLine)) throw error;
      throw new MountinfoSyntaxError(index + 1, error.message);
    }
  });
}

/** The directory that /proc has of the calling thread. */
export const THIS_THREAD = "/proc/thread-self";

/**
 * Reads the mount table of a process.
 *
 * @param process The directory that /proc has of the process.
 * @throws {SyscallError} ENOENT if there is no /proc, or no such process.
 */
export function readMountinfo(process: string = THIS_THREAD): MountinfoLine[] {
  return parseMountinfo(readFile(`${process}/mountinfo`));
}

/** The line of a mount, if the table has it. */
export function lineOf(
  table: readonly MountinfoLine[],
  id: number | undefined,
): MountinfoLine | undefined {
  return table.find((line) => line.id === id);
}

/** The same error, thrown where the line's number is not known. */
class MalformedLine extends Error {}

/** The number of fields before the optional ones. */
const FIXED_FIELDS = 6;

function parseLine(fields: string[]): MountinfoLine {
  if (fields.length < FIXED_FIELDS) {
    throw new MalformedLine(
      `${fields.length} of ${FIXED_FIELDS} fields before the optional ones`,
    );
  }
  const end = fields.indexOf("-", FIXED_FIELDS);
  if (end === -1) throw new MalformedLine('No "-" ends the optional fields');
  const [id, parentId, device, root, mountPoint, options] = fields;
  const [type, source, ...superOptions] = fields.slice(end + 1);
  if (superOptions.length === 0) {
    throw new MalformedLine('After the "-" must be type, source and options');
  }
  if (!/^\d+:\d+$/.test(device!)) {
    throw new MalformedLine(`${quote(device!)} is no device number`);
  }
  if (!mountPoint!.startsWith("/")) {
    throw new MalformedLine(
      `The mount point ${quote(mountPoint!)} is not absolute`,
    );
  }
  return {
    id: parseNumber("id", id!),
    parentId: parseNumber("parent id", parentId!),
    deviceNumber: device!,
    root: unescape(nonEmpty("root", root!)),
    mountPoint: unescape(mountPoint!),
    options: splitOptions(nonEmpty("options", options!)),
    ...parseTags(fields.slice(FIXED_FIELDS, end)),
    type: unescape(nonEmpty("type", type!)),
    source: unescape(source!),
    superOptions: splitOptions(
      nonEmpty("super options", superOptions.join(" ")),
    ),
  };
}

function parseNumber(what: string, text: string): number {
  const number = /^\d+$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(number)) return number;
  throw new MalformedLine(`${quote(text)} is no ${what}`);
}

function nonEmpty(what: string, text: string): string {
  if (text === "") throw new MalformedLine(`The ${what} must not be empty`);
  return text;
}

const GROUPS: Readonly<
  Record<string, "shared" | "master" | "propagateFrom">
> = { shared: "shared", master: "master", propagate_from: "propagateFrom" };

function parseTags(
  tags: string[],
): Pick<
  MountinfoLine,
  "shared" | "master" | "propagateFrom" | "unbindable" | "otherTags"
> {
  const groups: { shared?: number; master?: number; propagateFrom?: number } =
    {};
  const otherTags: string[] = [];
  let unbindable = false;
  for (const tag of tags) {
    const [name = "", value] = tag.split(":", 2);
    if (tag === "") {
      throw new MalformedLine("An optional field must not be empty");
    } else if (tag === "unbindable") {
      unbindable = true;
    } else if (Object.hasOwn(GROUPS, name)) {
      groups[GROUPS[name]!] = parseNumber(
        `peer group (${quote(tag)})`,
        value ?? "",
      );
    } else {
      otherTags.push(tag);
    }
  }
  return { ...groups, unbindable, otherTags };
}

/**
 * Splits options at their commas and decodes each. Some values contain commas:
 * an SELinux context, in quotes, which stay; and the nodes of tmpfs's `mpol=`,
 * without quotes.
 */
export function splitOptions(text: string): string[] {
  const words = /="|mpol=/.test(text)
    ? text.match(/[^,=]+="[^"]*"(?=,|$)|mpol=[^,]*(,\d[^,]*)*|[^,]+/g) ?? []
    : text.split(",");
  return words.filter((word) => word !== "").map(unescape);
}

function unescape(text: string): string {
  if (!text.includes("\\")) return text;
  const plain = text.replace(
    /\\([0-3][0-7]{2})/g,
    (_, digits) => byteCharacter(parseInt(digits, 8)),
  );
  // Join escaped bytes that form one character together.
  return plain.isWellFormed() ? plain : decodeText(encodeText(plain));
}
