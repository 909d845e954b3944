/** The parts that `mount`, `bind` and `remount` share. */
import {
  checkArguments,
  type Manner,
  type OptionDescription,
  type Words,
} from "./command.ts";
import { GENERIC_OPTIONS, splitWords } from "../options/mount_options.ts";
import type { IdMaps } from "../options/attributes.ts";
import { isIdmapWord, parseIdmapWord } from "../spec/words.ts";
import { formatJson, OutputError, printData, UsageError } from "./print.ts";
import { Directory } from "../directory.ts";
import type { Mount } from "../mount/mount.ts";

/** The words that `--make-*` may end in. */
const PROPAGATIONS = ["private", "shared", "slave", "unbindable"]
  .flatMap((word) => [word, `r${word}`]);

/** Options of all three. */
export const COMMON: Readonly<Record<string, OptionDescription>> = {
  options: {
    short: "o",
    value: "list",
    repeat: true,
    choices: GENERIC_OPTIONS,
    list: true,
    help: "options as mount(8) spells them, separated by commas",
  },
  "read-only": { short: "r", help: "make it read-only" },
  ...Object.fromEntries(PROPAGATIONS.map((word) => [
    `make-${word}`,
    {
      help: word.startsWith("r")
        ? `make it ${word.slice(1)}, and all mounts below it`
        : `make it ${word}`,
    },
  ])),
};

/** The mode of a mount point that is made, where none is given. */
const DEFAULT_MODE = "0755";

/** Options of those that mount. */
export const PLACING: Readonly<Record<string, OptionDescription>> = {
  beneath: { help: "put it beneath the topmost mount on the name" },
  mkdir: {
    short: "m",
    value: "mode",
    implied: DEFAULT_MODE,
    help: "make the mount point if it is missing, by default with mode 0755",
  },
};

/** The help of the option that {@linkcode takeIdmap} takes. */
export const IDMAP_SUMMARY =
  `-o X-mount.idmap=u:INSIDE:OUTSIDE:LENGTH shows other owners: a file of user INSIDE in
the file system appears as a file of user OUTSIDE, and so on for LENGTH ids. g: maps
groups; b: or no letter maps both. Separate ranges with spaces; there must be ranges
for users and for groups. The value can also be the path of a user namespace that has
the maps, /proc/PID/ns/user.`;

/**
 * Takes the id map out of options, and the mode to make the mount point with.
 *
 * @throws {UsageError} For one that is malformed.
 */
export function takeIdmap<T extends { options: string }>(
  common: T,
): Omit<T, "options"> & {
  options: string | string[];
  idmap?: IdMaps | string;
  mkdir?: number;
} {
  return checkArguments(() => {
    const words = splitWords(common.options);
    const word = words.findLast(isIdmapWord);
    const mkdir = words.findLast(isMkdirWord);
    if (word === undefined && mkdir === undefined) return common;
    return {
      ...common,
      options: words.filter((word) => !isIdmapWord(word) && !isMkdirWord(word)),
      ...(word === undefined ? {} : { idmap: parseIdmapWord(word) }),
      ...(mkdir === undefined
        ? {}
        : { mkdir: parseMkdirMode(mkdir.split("=")[1] ?? DEFAULT_MODE) }),
    };
  });
}

/** True if a word is `X-mount.mkdir`, which mount(8) takes in lower case, too. */
function isMkdirWord(word: string): boolean {
  return /^[xX]-mount\.mkdir(=|$)/.test(word);
}

function parseMkdirMode(mode: string): number {
  if (/^[0-7]{1,4}$/.test(mode)) return parseInt(mode, 8);
  throw new UsageError(`The mode must be octal, like 0755: "${mode}"`);
}

/**
 * Parses the options {@linkcode COMMON}.
 *
 * @throws {UsageError} For several propagations.
 */
export function parseCommon(
  { switches, values }: Words,
): { options: string; readonly?: true } {
  const made = PROPAGATIONS.filter((word) => switches.has(`make-${word}`));
  if (made.length > 1) {
    throw new UsageError(
      `Only one of ${made.map((word) => `--make-${word}`).join(", ")}`,
    );
  }
  return {
    options: [...values["options"] ?? [], ...made].join(","),
    ...(switches.has("read-only") ? { readonly: true } : {}),
  };
}

/** The parsed arguments of `mount`, and a part of those of the other two. */
export interface Placed<Options> {
  /** The directory. */
  readonly directory: string;
  /** The mount point in it. */
  readonly name: string;
  /** Options of the mount, or of its change. */
  readonly options: Options;
}

/** Mounts in a directory, leaves the mount there, and returns the exit status. */
export function mountAndKeep(
  { directory, name }: Placed<unknown>,
  { json }: Manner,
  mount: (root: Directory) => Mount,
): number {
  using root = Directory.open(directory);
  using made = mount(root);
  try {
    if (json) printData(formatJson({ id: Number(made.id), directory, name }));
  } catch (error) {
    // The exit status says that nothing was done.
    if (!(error instanceof OutputError)) made.keep();
    throw error;
  }
  made.keep();
  return 0;
}

/**
 * Parses the options {@linkcode PLACING}.
 *
 * @throws {UsageError} For a mode that is out of range.
 */
export function parsePlacing(
  { switches, values }: Words,
): { mkdir?: number; beneath: boolean } {
  const [mode] = values["mkdir"] ?? [];
  return {
    beneath: switches.has("beneath"),
    ...(mode === undefined ? {} : { mkdir: parseMkdirMode(mode) }),
  };
}
