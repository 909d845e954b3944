/**
 * Mount options as mount(8) spells them, and what the new mount API makes of
 * each: a generic word is an attribute of the mount, all else is a parameter
 * of the file system.
 */
import {
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
} from "./sys/constants.ts";
import { encodeText } from "./sys/text.ts";
import type { Directory } from "./directory.ts";
import type { HasFd } from "./dirfd.ts";

/** The value of a file system's parameter: `true` where it takes none. */
export type ParameterValue = string | true | number | Uint8Array | Directory;

/** Options as a caller gives them. */
export type OptionsInput =
  | string
  | readonly string[]
  | Readonly<Record<string, ParameterValue>>;

/** A parameter of the file system, for fsconfig(2). */
export interface Parameter {
  /** Its name. */
  readonly key: string;
  /** Its value; `true` for a flag. */
  readonly value: string | true | Uint8Array | HasFd;
}

/** Options, sorted by whom they go to. */
export interface ParsedOptions {
  /** `MOUNT_ATTR_*`, for fsmount(2). */
  readonly attributes: number;
  /** For the file system, in the caller's order. */
  readonly parameters: readonly Parameter[];
}

/** What a generic word does to the attributes: `clear` first, then `set`. */
interface AttributeWord {
  readonly clear: number;
  readonly set: number;
}

function sets(attribute: number): AttributeWord {
  return { clear: 0, set: attribute };
}

function clears(attribute: number): AttributeWord {
  return { clear: attribute, set: 0 };
}

/** How access times are kept is one field of three values, 0 for relatime. */
function accessTime(value: number): AttributeWord {
  return { clear: MOUNT_ATTR__ATIME, set: value };
}

/** The generic words (mount(8), "filesystem-independent mount options"). */
const ATTRIBUTE_WORDS: ReadonlyMap<string, AttributeWord> = new Map([
  [
    "defaults",
    clears(
      MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
        MOUNT_ATTR_NOEXEC,
    ),
  ],
  ["ro", sets(MOUNT_ATTR_RDONLY)],
  ["rw", clears(MOUNT_ATTR_RDONLY)],
  ["nosuid", sets(MOUNT_ATTR_NOSUID)],
  ["suid", clears(MOUNT_ATTR_NOSUID)],
  ["nodev", sets(MOUNT_ATTR_NODEV)],
  ["dev", clears(MOUNT_ATTR_NODEV)],
  ["noexec", sets(MOUNT_ATTR_NOEXEC)],
  ["exec", clears(MOUNT_ATTR_NOEXEC)],
  ["nodiratime", sets(MOUNT_ATTR_NODIRATIME)],
  ["diratime", clears(MOUNT_ATTR_NODIRATIME)],
  ["nosymfollow", sets(MOUNT_ATTR_NOSYMFOLLOW)],
  ["symfollow", clears(MOUNT_ATTR_NOSYMFOLLOW)],
  ["noatime", accessTime(MOUNT_ATTR_NOATIME)],
  ["strictatime", accessTime(MOUNT_ATTR_STRICTATIME)],
  ["relatime", accessTime(0)],
  // The negations leave relatime, the kernel's default.
  ["atime", clears(MOUNT_ATTR_NOATIME)],
  ["nostrictatime", clears(MOUNT_ATTR_STRICTATIME)],
  ["norelatime", clears(0)],
]);

/** fsconfig(2) takes keys and string values of 255 bytes at the most. */
const MOST_BYTES = 255;

/**
 * Sorts options by whom they go to.
 *
 * @param options One string, words separated by commas, with double quotes
 * around what has commas of its own; or a list of words, or a record, whose
 * values are taken as they are.
 * @throws {TypeError} For a wrong type, an empty name, a NUL, a quote that is
 * not closed, or a generic word with a value.
 * @throws {RangeError} For a name or value that fsconfig(2) can't take.
 */
export function parseMountOptions(options: OptionsInput): ParsedOptions {
  let attributes = 0;
  const parameters: Parameter[] = [];
  for (const [key, value] of entries(options)) {
    const word = ATTRIBUTE_WORDS.get(key);
    if (value === "fs" && (key === "ro" || key === "rw")) {
      parameters.push({ key, value: true });
    } else if (word === undefined) {
      parameters.push(parameter(key, value));
    } else if (value === true) {
      attributes = (attributes & ~word.clear | word.set) >>> 0;
    } else {
      throw new TypeError(`The option "${key}" takes no value`);
    }
  }
  return { attributes, parameters };
}

function entries(options: OptionsInput): [string, ParameterValue][] {
  if (typeof options === "string") {
    return splitWords(options).map((word) => splitWord(word));
  }
  if (Array.isArray(options)) {
    return options.map((word: unknown) => {
      if (typeof word !== "string") {
        throw new TypeError(`An option must be a string, not ${typeof word}`);
      }
      return splitWord(word);
    });
  }
  if (!isRecord(options)) {
    throw new TypeError(
      `Options must be a string, a list or a plain record, not ${
        options === null ? "null" : typeof options
      }`,
    );
  }
  return Object.entries(options);
}

/** Whether a value is a plain object: not a Map, say, which has no entries so. */
function isRecord(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/** Splits at commas outside double quotes that no backslash escapes. */
function splitWords(text: string): string[] {
  const words: string[] = [];
  let word = "";
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (character === "\\" && !quoted && text[at + 1] === ",") {
      // The file system unescapes it, as mount(8) leaves it to do.
      word += "\\,";
      at++;
    } else if (character === '"') {
      quoted = !quoted;
    } else if (character === "," && !quoted) {
      words.push(word);
      word = "";
    } else {
      word += character;
    }
  }
  if (quoted) {
    throw new TypeError(`A quote is not closed in the options: ${text}`);
  }
  words.push(word);
  return words.filter((word) => word !== "");
}

function splitWord(word: string): [string, string | true] {
  const end = word.indexOf("=");
  return end === -1 ? [word, true] : [word.slice(0, end), word.slice(end + 1)];
}

function parameter(key: string, value: ParameterValue): Parameter {
  if (key === "") throw new TypeError("An option must have a name");
  checkText(`The option name "${key}"`, key);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) {
      throw new RangeError(`The option "${key}" can't be ${value}`);
    }
    return { key, value: String(value) };
  }
  if (typeof value === "string") {
    checkText(`The value of the option "${key}"`, value);
    return { key, value };
  }
  if (
    value === true || value instanceof Uint8Array ||
    Number.isInteger(value?.fd) && value.fd >= 0
  ) {
    return { key, value };
  }
  throw new TypeError(
    `The option "${key}" must be a string, true, a number, bytes or a Directory: received ${value}`,
  );
}

/** Checks what goes to fsconfig(2) as a string. */
export function checkText(what: string, text: string): void {
  if (text.includes("\0")) {
    throw new TypeError(`${what} must not contain a NUL character`);
  }
  const { length } = encodeText(text);
  if (length > MOST_BYTES) {
    throw new RangeError(
      `${what} has ${length} bytes, and fsconfig(2) takes ${MOST_BYTES}`,
    );
  }
}
