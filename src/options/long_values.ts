/** Other ways to the kernel for values that are too long for fsconfig(2). */
import { encodeText } from "../base/text.ts";
import {
  MS_DIRSYNC,
  MS_LAZYTIME,
  MS_MANDLOCK,
  MS_RDONLY,
  MS_SYNCHRONOUS,
} from "../sys/constants.ts";
import { isLongText, MOST_BYTES, type Parameter } from "./mount_options.ts";

/** The most bytes that mount(2) takes: of all options, and of a source. */
const MOST_DATA = 4095;

/** The arguments of mount(2), except the target and the type. */
export interface OldMount {
  readonly source: string | null;
  /** `MS_*`. */
  readonly flags: number;
  readonly data: string;
}

/**
 * Checks if a parameter is too long for fsconfig(2), and if another way exists.
 *
 * @returns True if a parameter is too long for fsconfig(2).
 * @throws {RangeError} If no call takes the parameters.
 */
export function hasLong(
  type: string,
  parameters: readonly Parameter[],
): boolean {
  const long = parameters.find(isLong);
  if (long === undefined) return false;
  const isTaken = shortened(type, parameters) !== null ||
    oldMount(type, parameters) !== null;
  if (isTaken) return true;
  throw tooLong(long);
}

/** Splits long parameters for fsconfig(2); null if it still can't take them. */
export function shortened(
  type: string,
  parameters: readonly Parameter[],
): readonly Parameter[] | null {
  const split = type === "overlay" ? splitLayers(parameters) : parameters;
  return split.some(isLong) ? null : split;
}

/** Makes the error for a value that no call takes, with advice. */
export function tooLong({ key, value }: Parameter): RangeError {
  const { length } = encodeText(String(value));
  const advice = /^(lowerdir|upperdir|workdir|datadir)/.test(key)
    ? `name the layers by a shorter way (a bind, a symlink, a path relative to the working directory) or, in the library, by descriptors: { "lowerdir+": [{ fd }, …] }`
    : "a shorter one must do";
  return new RangeError(
    `The value of the option "${key}" has ${length} bytes: fsconfig(2) takes ${MOST_BYTES}, mount(2) ${MOST_DATA} of all options together; ${advice}`,
  );
}

/** True if a value is too long for fsconfig(2). */
export function isLong({ value }: Parameter): boolean {
  return typeof value === "string" && isLongText(value);
}

/** Makes a parameter of each overlay layer: its path, without escapes. */
function splitLayers(parameters: readonly Parameter[]): readonly Parameter[] {
  return parameters.flatMap((parameter) => {
    const { key, value } = parameter;
    if (key !== "lowerdir" || typeof value !== "string") return [parameter];
    return layersOf(value) ?? [parameter];
  });
}

/**
 * The layers of `lowerdir=one:two::data::more`. A backslash makes the character
 * after it a part of the path.
 *
 * @returns null if the kernel would refuse the value, and is to report it:
 * ovl_parse_param_lowerdir() and ovl_parse_param_split_lowerdirs().
 */
export function layersOf(lowerdir: string): Parameter[] | null {
  const layers: Parameter[] = [];
  let separator = "";
  for (const part of lowerdir.match(/(\\.|[^:\\])+|:+|\\$/gs) ?? []) {
    if (/^:+$|^\\$/.test(part)) {
      separator = part;
      continue;
    }
    const isFirst = layers.length === 0;
    const key = separator === "::" ? "datadir+" : "lowerdir+";
    const afterData = layers.at(-1)?.key === "datadir+" && key === "lowerdir+";
    const wanted = isFirst ? separator === "" : /^::?$/.test(separator);
    if (!wanted || afterData) return null;
    layers.push({ key, value: part.replace(/\\(.)/gs, "$1") });
    separator = "";
  }
  return separator === "" && layers.length > 0 ? layers : null;
}

/** The words that are flags of mount(2): the flags each clears and sets. */
const FLAGS: ReadonlyMap<string, readonly [clear: number, set: number]> =
  new Map([
    ["ro", [0, MS_RDONLY]],
    ["rw", [MS_RDONLY, 0]],
    ["sync", [0, MS_SYNCHRONOUS]],
    ["async", [MS_SYNCHRONOUS, 0]],
    ["dirsync", [0, MS_DIRSYNC]],
    ["lazytime", [0, MS_LAZYTIME]],
    ["nolazytime", [MS_LAZYTIME, 0]],
    ["mand", [0, MS_MANDLOCK]],
    ["nomand", [MS_MANDLOCK, 0]],
  ]);

/**
 * Translates parameters to arguments of mount(2).
 *
 * @returns null if mount(2) can't take them: a value is no text, or contains a
 * comma that the file system would not unescape, or all fill more than a page.
 */
export function oldMount(
  type: string,
  parameters: readonly Parameter[],
): OldMount | null {
  let source: string | null = null;
  let flags = 0;
  const words: string[] = [];
  for (const { key, value, optional } of parameters) {
    const flag = value === true ? FLAGS.get(key) : undefined;
    if (key === "source" && typeof value === "string") {
      source = value;
    } else if (flag !== undefined) {
      flags = flags & ~flag[0] | flag[1];
    } else if (key !== "subtype" && !optional) {
      // mount(2) takes the subtype from the type.
      const word = wordOf(type, key, value);
      if (word === null) return null;
      words.push(word);
    }
  }
  const data = words.join(",");
  const fits = encodeText(data).length <= MOST_DATA &&
    encodeText(source ?? "").length <= MOST_DATA;
  return fits ? { source, flags, data } : null;
}

function wordOf(
  type: string,
  key: string,
  value: Parameter["value"],
): string | null {
  if (key.includes(",")) return null;
  if (value === true) return key;
  if (typeof value !== "string") return null;
  if (type === "overlay") {
    return `${key}=${
      value.replace(/\\.|,/gs, (it) => it === "," ? "\\," : it)
    }`;
  }
  return value.includes(",") ? null : `${key}=${value}`;
}
