/**
 * Room `options`: What a caller asks for, checked before any call: targets,
 * option words, id maps. Pure.
 *
 * Translates mount options, as mount(8) spells them, for the new mount API. A
 * generic word changes an attribute or the propagation of the mount. Any other
 * word is a parameter of the file system.
 */
import { received } from "../base/check.ts";
import type { HasFd } from "../fd/owned_fd.ts";
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
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
} from "../sys/constants.ts";
import { encodeText } from "../base/text.ts";

/**
 * The value of a file system's parameter: `true` if it takes no value, a
 * `Directory` or `{ fd }` if it takes a descriptor.
 */
export type ParameterValue =
  | string
  | true
  | number
  | Uint8Array
  | { readonly fd: number };

/** Mount options: text as for mount(8), a list of words, or a record. */
export type OptionsInput =
  | string
  | readonly string[]
  | Readonly<Record<string, ParameterValue | readonly ParameterValue[]>>;

/** A parameter of the file system, for fsconfig(2). */
export interface Parameter {
  /** Its name. */
  readonly key: string;
  /** Its value; `true` for a flag. */
  readonly value: string | true | Uint8Array | HasFd;
  /** True if the parameter is left out when the file system refuses it. */
  readonly optional?: true;
}

/** A change of a mount's attributes and propagation, for mount_setattr(2). */
export interface AttributeChange {
  /** `MOUNT_ATTR_*` to set. */
  readonly attrSet: number;
  /** `MOUNT_ATTR_*` to clear, before the others are set. */
  readonly attrClr: number;
  /** `MS_SHARED` and the like; 0 leaves the propagation as it is. */
  readonly propagation: number;
}

/** A change of nothing. */
export const UNCHANGED: AttributeChange = {
  attrSet: 0,
  attrClr: 0,
  propagation: 0,
};

/** Options, sorted by the call that takes them. */
export interface ParsedOptions {
  /** The change of the mount alone; it follows the change `recursive`. */
  readonly own: AttributeChange;
  /** The change of the mount and of all mounts below it. */
  readonly recursive: AttributeChange;
  /** The file system's parameters, in the caller's order. */
  readonly parameters: readonly Parameter[];
  /** The loop device, if the source is a file for one. */
  readonly loop?: LoopOptions;
}

/** The effect of a generic word: `clear` first, then `set`. */
interface GenericWord {
  readonly clear: number;
  readonly set: number;
  readonly propagation?: number;
}

function sets(attribute: number): GenericWord {
  return { clear: 0, set: attribute };
}

function clears(attribute: number): GenericWord {
  return { clear: attribute, set: 0 };
}

/** The kind of access times is a field with three values; 0 is relatime. */
function accessTime(value: number): GenericWord {
  return { clear: MOUNT_ATTR__ATIME, set: value };
}

function propagates(propagation: number): GenericWord {
  return { clear: 0, set: 0, propagation };
}

/**
 * The generic words (mount(8), "filesystem-independent mount options"). With a
 * prefix `r` each is recursive (the OCI runtime specification, "mounts").
 */
const GENERIC_WORDS: ReadonlyMap<string, GenericWord> = new Map([
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
  ["private", propagates(MS_PRIVATE)],
  ["shared", propagates(MS_SHARED)],
  ["slave", propagates(MS_SLAVE)],
  ["unbindable", propagates(MS_UNBINDABLE)],
]);

/**
 * The words that say who may mount. They imply safe attributes, unless later
 * words say otherwise, as in mount(8).
 */
const MOUNTERS: ReadonlyMap<string, GenericWord> = new Map(
  [["user", "users"], ["owner", "group"]].flatMap((words, i) =>
    words.map((word) => [
      word,
      sets(
        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
          (i === 0 ? MOUNT_ATTR_NOEXEC : 0),
      ),
    ])
  ),
);

/**
 * The words of mount(8) that change nothing here. `silent` would keep messages
 * from the console, which go to the context here. File systems decide on
 * i_version by themselves. The other words are for programs.
 */
export const WITHOUT_EFFECT: readonly string[] = [
  ...["defaults", "silent", "loud", "iversion", "noiversion", "nofail"],
  ...["auto", "noauto", "_netdev", "nouser", "nousers", "noowner", "nogroup"],
];

/**
 * Matches the beginning of words that change nothing. mount(8)'s own among them
 * say how it finds the target, the loop device, and the type, which is never
 * guessed here.
 */
export const WITHOUT_EFFECT_PATTERN =
  /^[xX]-(?!mount\.)|^X-mount\.(nocanonicalize|noloop|auto-fstypes)(=|$)|^(comment|helper|uhelper)=/;

/** The words by which mount(8) changes the root of the new mount. */
const ROOT_CHANGING_PATTERN = /^X-mount\.(mode|owner|group)(=|$)/;

/** The flags that every file system has (show_sb_opts() in the kernel). */
export const SUPERBLOCK_FLAGS: readonly string[] = [
  ...["ro", "rw", "sync", "async", "dirsync"],
  ...["mand", "nomand", "lazytime", "nolazytime"],
];

/** The options of the mount itself, which every file system allows. */
export const GENERIC_OPTIONS: readonly string[] = [
  ...GENERIC_WORDS.keys(),
  "defaults",
];

/**
 * Sorts options by the call that takes them.
 *
 * @param options One string: words separated by commas, with double quotes
 * around text that contains commas. Or a list of words, or a record: they are
 * not split. A list of values in a record sets its option once for each.
 * @param more Words to add at the end.
 * @throws {TypeError} For a wrong type, an empty name, a NUL, a quote that is
 * not closed, or a generic word with a value.
 * @throws {RangeError} For a name or value that fsconfig(2) can't take.
 */
export function parseMountOptions(
  options: OptionsInput,
  more: readonly string[] = [],
): ParsedOptions {
  if (options === "" && more.length === 0) return NOTHING;
  const own = new Change();
  const recursive = new Change();
  const parameters: Parameter[] = [];
  for (const [key, value] of [...entries(options), ...more.map(splitWord)]) {
    const generic = genericWord(key, value);
    if (hasNoEffect(key, value)) continue;
    if (generic === null) {
      // ro=fs and rw=fs are for the file system alone.
      const isFlag = value === "fs" && (key === "ro" || key === "rw");
      const given = parameter(key, isFlag ? true : value);
      // "user=" is a parameter of cifs. For other file systems it is a note of
      // mount(8)'s, which they refuse.
      parameters.push(key === "user" ? { ...given, optional: true } : given);
    } else if (generic.recursive) {
      recursive.apply(generic.word);
      own.supersede(generic.word);
    } else {
      own.apply(generic.word);
    }
  }
  return {
    own: own.result(),
    recursive: recursive.result(),
    ...takeLoopOptions(parameters),
  };
}

const NOTHING: ParsedOptions = {
  own: UNCHANGED,
  recursive: UNCHANGED,
  parameters: [],
};

/** The generic word of an option; null for an option of the file system. */
function genericWord(
  key: string,
  value: ParameterValue,
): { word: GenericWord; recursive: boolean } | null {
  const mounters = value === true ? MOUNTERS.get(key) : undefined;
  if (mounters !== undefined) return { word: mounters, recursive: false };
  const own = GENERIC_WORDS.get(key);
  const word = own ??
    (key.startsWith("r") ? GENERIC_WORDS.get(key.slice(1)) : undefined);
  if (word === undefined) return null;
  if (value === true) return { word, recursive: own === undefined };
  if (own !== undefined && word.propagation === undefined) {
    if (value === "recursive") return { word, recursive: true };
    if (key === "ro" || key === "rw") {
      if (value === "fs") return null;
      if (value === "vfs") return { word, recursive: false };
    }
  }
  throw wrongValue(key, value);
}

function hasNoEffect(key: string, value: ParameterValue): boolean {
  if (value !== true && key === "defaults") throw wrongValue(key, value);
  // The patterns look only at the beginning of a word.
  const word = value === true ? key : `${key}=`;
  if (
    value === true && WITHOUT_EFFECT.includes(key) ||
    WITHOUT_EFFECT_PATTERN.test(word)
  ) return true;
  if (ROOT_CHANGING_PATTERN.test(word)) {
    const command = key === "X-mount.mode" ? "chmod" : "chown";
    throw new TypeError(
      `The option "${key}" is only for mount(8): use ${command} once it is mounted`,
    );
  }
  if (/^[xX]-mount\.(mkdir|idmap)=?$/.test(word)) {
    throw new TypeError(`The option "${key}" is only for the program`);
  }
  if (/^[xX]-mount\./.test(word)) {
    throw new TypeError(`The option "${key}" is only for mount(8)`);
  }
  return false;
}

function wrongValue(key: string, value: ParameterValue): TypeError {
  return new TypeError(`The option "${key}" can't be ${received(value)}`);
}

/** Collects the changes that generic words make. */
class Change {
  #set = 0;
  #clear = 0;
  #propagation = 0;

  apply({ clear, set, propagation }: GenericWord): void {
    this.#set = this.#set & ~clear | set;
    this.#clear = this.#clear & ~set | clear;
    this.#propagation = propagation ?? this.#propagation;
  }

  /** Removes attributes from the change again. */
  forget(attributes: number): void {
    this.#set &= ~attributes;
    this.#clear &= ~attributes;
  }

  /** Lets a recursive word override earlier words for the mount itself. */
  supersede({ clear, set, propagation }: GenericWord): void {
    this.forget(wholeFields(clear | set));
    if (propagation !== undefined) this.#propagation = 0;
  }

  result(): AttributeChange {
    return {
      attrSet: this.#set,
      // To set a kind of access times, the kernel wants the whole field cleared
      // (EINVAL otherwise).
      attrClr: this.#clear | wholeFields(this.#set) & MOUNT_ATTR__ATIME,
      propagation: this.#propagation,
    };
  }
}

function wholeFields(attributes: number): number {
  return attributes & MOUNT_ATTR__ATIME
    ? attributes | MOUNT_ATTR__ATIME
    : attributes;
}

/** The change of a new mount, which has no attribute and no mount below it. */
export function changeOfNew(
  { own, recursive }: Pick<ParsedOptions, "own" | "recursive">,
): AttributeChange {
  return {
    attrSet: recursive.attrSet & ~own.attrClr | own.attrSet,
    attrClr: 0,
    propagation: own.propagation || recursive.propagation,
  };
}

function entries(options: OptionsInput): [string, ParameterValue][] {
  if (typeof options === "string") {
    return splitWords(options).map((word) => splitWord(word));
  }
  if (Array.isArray(options)) {
    // Array.from() also visits gaps in the list: they are refused.
    return Array.from(options, (word: unknown) => {
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
  return Object.entries(options).flatMap(([key, value]) =>
    [value].flat().map((one): [string, ParameterValue] => [key, one])
  );
}

/** True if a value is a plain object. A Map has no properties to read. */
function isRecord(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/** Splits options into words: see {@linkcode scanWords}. */
export function splitWords(text: string): string[] {
  return scanWords(
    text,
    () => new TypeError(`A quote is not closed in the options: ${text}`),
  ).map((word) => word.text);
}

/**
 * Splits options at commas outside double quotes, and removes the quotes. As in
 * mount(8), a comma after a backslash does not split: the file system unescapes
 * it.
 *
 * @param unclosed Makes the error for the index of a quote that is not closed.
 * @returns The words, and the index of the first character of each.
 */
export function scanWords(
  text: string,
  unclosed: (at: number) => Error,
): { text: string; start: number }[] {
  const words: { text: string; start: number }[] = [];
  let word = "";
  let start = 0;
  let quote: number | null = null;
  const end = () => {
    if (word !== "") words.push({ text: word, start });
    word = "";
  };
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (character === '"') {
      quote = quote === null ? at : null;
      continue;
    }
    if (character === "," && quote === null && !isInWord(word, text[at + 1])) {
      end();
      continue;
    }
    if (word === "") start = at;
    word += character;
    if (character === "\\" && quote === null && text[at + 1] === ",") {
      word += ",";
      at++;
    }
  }
  if (quote !== null) throw unclosed(quote);
  end();
  return words;
}

/**
 * True if a comma belongs to the word before it: in the list of nodes of
 * `mpol=`, before a digit (shmem_next_opt() in the kernel's mm/shmem.c).
 *
 * @param word The word up to the comma.
 * @param next The character after the comma.
 */
function isInWord(word: string, next: string | undefined): boolean {
  return word.startsWith("mpol=") && /^[0-9]/.test(next ?? "");
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
    checkPassable(`The value of the option "${key}"`, value);
    return { key, value };
  }
  if (
    value === true || value instanceof Uint8Array ||
    Number.isInteger(value?.fd) && value.fd >= 0 && value.fd <= 0x7fff_ffff
  ) {
    return { key, value };
  }
  throw new TypeError(
    `The option "${key}" must be a string, true, a number, bytes, a Directory or { fd }: received ${
      received(value)
    }`,
  );
}

/** fsconfig(2) takes keys and string values of 255 bytes at the most. */
export const MOST_BYTES = 255;

/** True if a string is too long for fsconfig(2). */
export function isLongText(text: string): boolean {
  // A UTF-16 unit becomes at most three bytes.
  return text.length > MOST_BYTES / 3 && encodeText(text).length > MOST_BYTES;
}

/** Checks a string for fsconfig(2). */
export function checkText(what: string, text: string): void {
  checkPassable(what, text);
  if (!isLongText(text)) return;
  throw new RangeError(
    `${what} has ${
      encodeText(text).length
    } bytes, and fsconfig(2) takes ${MOST_BYTES}`,
  );
}

/** Checks a string for the kernel, of any length. */
export function checkPassable(what: string, text: string): void {
  if (text.includes("\0")) {
    throw new TypeError(`${what} must not contain a NUL character`);
  }
  // encodeText() refuses a lone surrogate that stands for no byte.
  if (!text.isWellFormed()) encodeText(text);
}

/** The part of a file that a loop device shows, and the device. */
export interface LoopOptions {
  /** The device; undefined for any free one. */
  readonly device?: string;
  /** The offset in the file at which the device begins, in bytes. */
  readonly offset: bigint;
  /** The greatest size of the device, in bytes; 0 is all of the file. */
  readonly sizelimit: bigint;
}

/**
 * Takes the words for a loop device out of the others: `loop`, and with it
 * `offset` and `sizelimit`. Without `loop` those belong to the file system.
 *
 * @throws {TypeError} If one of these words does not take its value.
 */
export function takeLoopOptions(
  parameters: readonly Parameter[],
): { loop?: LoopOptions; parameters: readonly Parameter[] } {
  const valueOf = (name: string) =>
    parameters.findLast(({ key }) => key === name)?.value;
  const device = valueOf("loop");
  if (device === undefined) return { parameters };
  if (device !== true && (typeof device !== "string" || device === "")) {
    throw new TypeError(
      'The option "loop" takes the path of a device, or none',
    );
  }
  return {
    loop: {
      ...(device === true ? {} : { device }),
      offset: bytes("offset", valueOf("offset")),
      sizelimit: bytes("sizelimit", valueOf("sizelimit")),
    },
    parameters: parameters.filter(({ key }) =>
      !["loop", "offset", "sizelimit"].includes(key)
    ),
  };
}

const UNITS = ["", "K", "M", "G", "T"];

/** The kernel takes only smaller numbers: a file offset is signed. */
const MOST = 2n ** 63n;

function bytes(key: string, value: Parameter["value"] = "0"): bigint {
  const [, number, unit] = typeof value === "string"
    ? /^(\d+)(?:([KMGT])(?:iB)?)?$/.exec(value) ?? []
    : [];
  const size = number === undefined
    ? MOST
    : BigInt(number) << BigInt(10 * UNITS.indexOf(unit ?? ""));
  if (size >= MOST) {
    throw new TypeError(
      `The option "${key}" must be a number of bytes, or one of KiB as in 64K, of MiB (M), GiB (G) or TiB (T)`,
    );
  }
  return size;
}
