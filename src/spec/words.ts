/**
 * Room `spec`: fstab(5) and OCI configurations, read into `MountSpec`. Pure.
 *
 * Sorts the option words of mount(8) and of the OCI runtime specification by
 * their effects. `TABLE` and `PATTERNS` have them all.
 */
import { Malformed, type TextPlace } from "./malformed.ts";
import { type IdMap, type IdMaps, parseIdmap } from "../options/attributes.ts";
import { quote } from "../base/text.ts";
import { parseTarget } from "../options/target.ts";
import {
  scanWords,
  WITHOUT_EFFECT,
  WITHOUT_EFFECT_PATTERN,
} from "../options/mount_options.ts";

/** A word or character of the options, and its place in the text. */
export interface Word extends TextPlace {
  readonly text: string;
}

/** Options, sorted by their meaning. */
export interface SortedWords {
  /** Words for the mount and, if it is no bind, its file system; in order. */
  options: string[];
  /** The mount is a bind. */
  bind?: { recursive: boolean };
  /** The mount has an id map, which is written elsewhere. */
  idmap?: { word: Word; recursive: boolean };
  /** The mount has an id map, which the word itself contains. */
  mapped?: { word: Word; idmap: IdMaps | string };
  /** The entry is skipped if it fails. */
  optional?: true;
  /** The mount point is made if missing; a number is its mode. */
  mkdir?: true | number;
}

/** The kind of mount; `cgroup` binds the system's own cgroup mounts. */
type Kind = "file system" | "bind" | "cgroup";

/** The effect of a word. */
type Effect = (sorted: SortedWords, word: Word, kind: Kind) => void;

/** A word for an attribute or the propagation of the mount. */
const mount: Effect = ({ options }, { text }, kind) => {
  const recursive = `r${text}`;
  // cgroup version 1 consists of several mounts.
  const isForAll = kind === "cgroup" && EFFECTS.has(recursive);
  options.push(isForAll ? recursive : text);
};

/** A file system's option; a bind's file system is mounted already. */
const fileSystem: Effect = ({ options }, word, kind) => {
  if (kind === "bind") {
    throw new Malformed(
      word,
      `A bind has no options of a file system: ${quote(word.text)}`,
    );
  }
  if (kind === "file system") options.push(word.text);
};

/** A file system's flag; mount(2) ignores it for a bind. */
const superblock: Effect = ({ options }, { text }, kind) => {
  if (kind === "file system") options.push(text);
};

const nothing: Effect = () => {};

/**
 * A word for who may mount: it implies safe words; later ones override them.
 */
function implies(...words: string[]): Effect {
  return ({ options }) => options.push(...words);
}

function refused(why: string): Effect {
  return (_, word) => {
    throw new Malformed(word, `No option ${quote(word.text)} here: ${why}`);
  };
}

const TABLE: [Effect, string][] = [
  [nothing, WITHOUT_EFFECT.join(" ")],
  [mount, "ro rw suid nosuid dev nodev exec noexec symfollow nosymfollow"],
  [mount, "atime noatime relatime norelatime strictatime nostrictatime"],
  [mount, "diratime nodiratime"],
  // The runtime-spec's names for mount(8)'s `ro=recursive`. Its table forgets
  // rnodev, its features.md does not.
  [mount, "rro rrw rsuid rnosuid rdev rnodev rexec rnoexec rsymfollow"],
  [mount, "rnosymfollow ratime rnoatime rrelatime rnorelatime rstrictatime"],
  [mount, "rnostrictatime rdiratime rnodiratime"],
  [mount, "private shared slave unbindable"],
  [mount, "rprivate rshared rslave runbindable"],
  // fsconfig(2) takes these for every file system.
  [superblock, "sync async dirsync lazytime nolazytime mand nomand"],
  [implies("noexec", "nosuid", "nodev"), "user users"],
  [implies("nosuid", "nodev"), "owner group"],
  [(sorted) => sorted.bind ??= { recursive: false }, "bind"],
  [(sorted) => sorted.bind = { recursive: true }, "rbind"],
  [(sorted, word) => sorted.idmap ??= { word, recursive: false }, "idmap"],
  [(sorted, word) => sorted.idmap = { word, recursive: true }, "ridmap"],
  [(sorted) => sorted.optional = true, "nofail"],
  [refused("what it changes could not be changed back"), "remount"],
  [refused("it makes no mount"), "move"],
  [refused("nothing is copied into a tmpfs"), "tmpcopyup"],
];

const IDMAP = /^X-mount\.idmap(=|$)/;

/** Effects of words that begin in a known way; the first match counts. */
const PATTERNS: [Effect, RegExp][] = [
  [
    (sorted, word) => sorted.mkdir = parseMkdirWord(word),
    /^[xX]-mount\.mkdir(=|$)/,
  ],
  [
    (sorted, word) => sorted.mapped = { word, idmap: parseMapped(word) },
    IDMAP,
  ],
  [nothing, WITHOUT_EFFECT_PATTERN],
  [refused("only mount(8) does that"), /^[xX]-mount\./],
];

const EFFECTS: ReadonlyMap<string, Effect> = new Map(
  TABLE.flatMap(([effect, words]) =>
    words.split(" ").map((word) => [word, effect])
  ),
);

/**
 * Sorts words by their effects.
 *
 * @param type The file system's type; not used if a word makes it a bind.
 * @throws {Malformed} At a word that is refused.
 */
export function sortWords(words: readonly Word[], type?: string): SortedWords {
  const sorted: SortedWords = { options: [] };
  const isBind = words.some(({ text }) => text === "bind" || text === "rbind");
  const kind = isBind ? "bind" : type === "cgroup" ? type : "file system";
  for (const word of words) effectOf(word)(sorted, word, kind);
  return sorted;
}

function effectOf(word: Word): Effect {
  const { text } = word;
  const [name = ""] = text.split("=", 1);
  if (name === "") {
    throw new Malformed(word, `The option ${quote(text)} has no name`);
  }
  const effect = EFFECTS.get(text) ??
    PATTERNS.find(([, pattern]) => pattern.test(text))?.[0];
  if (effect !== undefined) return effect;
  // `ro=recursive`, but cifs has a `user=` of its own.
  return EFFECTS.get(name) === mount ? mount : fileSystem;
}

function parseMapped(word: Word): IdMaps | string {
  try {
    return parseIdmapWord(word.text);
  } catch (error) {
    const malformed = error instanceof TypeError || error instanceof RangeError;
    throw malformed ? new Malformed(word, error.message) : error;
  }
}

function parseMkdirWord(word: Word): true | number {
  const [, digits] = word.text.split("=", 2);
  if (digits === undefined) return true;
  if (!/^[0-7]{1,4}$/.test(digits)) {
    throw new Malformed(word, `The mode in ${quote(word.text)} is not octal`);
  }
  return parseInt(digits, 8);
}

/**
 * Splits options into words: see {@linkcode scanWords}.
 *
 * @param characters The characters, and the place of each.
 * @throws {Malformed} At a quote that is not closed.
 */
export function placedWords(characters: readonly Word[]): Word[] {
  const text = characters.map(({ text }) => text).join("");
  // A character beyond U+FFFF has two units in the text.
  const units = characters.flatMap((one) => Array(one.text.length).fill(one));
  const unclosed = (at: number) =>
    new Malformed(units[at], "A quote in the options is not closed");
  return scanWords(text, unclosed).map(({ text, start }) => ({
    ...units[start],
    text,
  }));
}

/** True if a word of the options is mount(8)'s `X-mount.idmap`. */
export function isIdmapWord(word: string): boolean {
  return IDMAP.test(word);
}

/**
 * Parses `X-mount.idmap=[u:|g:|b:]INSIDE:OUTSIDE:LENGTH[ …]` or
 * `X-mount.idmap=/proc/PID/ns/user`.
 *
 * The first id is the id in the file system, the second the id that processes
 * see. mount(8) does so; its manual page has said the opposite since 2.39.
 *
 * @returns The maps, or the path of a user namespace.
 * @throws {TypeError | RangeError} If the word is malformed.
 */
export function parseIdmapWord(word: string): IdMaps | string {
  const value = word.slice(word.indexOf("=") + 1).trim();
  if (value.startsWith("/")) return parseIdmap(value) as string;
  const uids: IdMap[] = [];
  const gids: IdMap[] = [];
  for (const range of value.split(/ +/)) {
    const [, kind = "b", ...ids] =
      /^(?:([ugb]):)?(\d+):(\d+):(\d+)$/.exec(range) ?? [];
    if (ids.length === 0) {
      throw new TypeError(
        `${
          quote(word)
        } needs the path of a user namespace, or ranges like "u:0:1000:1", "g:0:1000:1" or "0:1000:1", separated by spaces`,
      );
    }
    const [inside, outside, length] = ids.map(Number);
    const map = { inside: inside!, outside: outside!, length: length! };
    if (kind !== "g") uids.push(map);
    if (kind !== "u") gids.push(map);
  }
  if (uids.length === 0 || gids.length === 0) {
    const kind = uids.length === 0 ? "user" : "group";
    throw new TypeError(
      `${quote(word)} maps no ${kind} ids, and the kernel takes no map without`,
    );
  }
  return parseIdmap({ uids, gids }) as IdMaps;
}

/**
 * Converts a path from the root to a target.
 *
 * @throws {Malformed} For a `..`: its meaning depends on symlinks, which the
 * text does not show.
 */
export function targetOf(at: TextPlace, path: string): string {
  if (path.split("/").includes("..")) {
    throw new Malformed(at, `The mount point ${quote(path)} has a ".."`);
  }
  return parseTarget(`./${path}`).path;
}

/**
 * Checks the type of an entry that is no bind.
 *
 * @throws {Malformed} For a type that stands for a bind.
 */
export function typeOf(at: TextPlace, type: string): string {
  if (type === "none" || type === "bind") {
    throw new Malformed(
      at,
      `The type "${type}" needs the option "bind" or "rbind"`,
    );
  }
  return type;
}
