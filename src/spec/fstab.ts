import type { MountSpec } from "../options/spec.ts";
import { checkOptions, type OptionNames } from "../base/check.ts";
import {
  checkSpecText,
  Malformed,
  parseText,
  SpecSyntaxError,
} from "./malformed.ts";
import {
  placedWords,
  sortWords,
  targetOf,
  typeOf,
  type Word,
} from "./words.ts";
import { byteCharacter, decodeText, encodeText, quote } from "../base/text.ts";

/** Options of {@linkcode parseFstab}. */
export interface ParseFstabOptions {
  /**
   * A function that is called for each entry that is left out: an entry with
   * `nofail` that can't be done here, and a line that mount(8) ignores with a
   * warning (it has fewer than three fields, or a fifth or sixth field that is
   * not a number).
   *
   * @default {undefined; such a line is an error}
   */
  warn?: (fault: SpecSyntaxError) => void;
}

const FSTAB_NAMES: OptionNames<ParseFstabOptions> = { warn: true };

/**
 * Parses an fstab(5).
 *
 * Read as `mount -a` reads it:
 *
 * - Entries with `noauto`, of type `swap`, and for `/` are left out.
 * - Fields may be escaped: `\040` is a space. In the options, double quotes
 *   protect commas.
 * - `UUID=`, `LABEL=`, `PARTUUID=`, `PARTLABEL=` and `ID=` are looked up among
 *   the links that udev makes in `/dev/disk`.
 * - An entry with `bind` or `rbind` is a bind, whatever its type.
 * - `nofail` makes an entry optional. If it asks for something that can't be done
 *   here, it is left out; if it can't be mounted, `applyMounts` passes it over.
 * - `X-mount.mkdir[=MODE]` makes the mount point; so does `x-mount.mkdir`.
 * - `X-mount.idmap=` shows files with other owners, for an `rbind` in all its mounts.
 *   `u:0:1000:1` shows user 0 of the file system as user 1000, for 1 id. `g:` is for
 *   groups, `b:` or nothing for both. Further ranges follow after `\040`. The value
 *   may also be the path of a user namespace.
 * - `user` and `users` imply `noexec`, `nosuid` and `nodev`; `owner` and `group` imply
 *   `nosuid` and `nodev`.
 * - `_netdev`, `x-systemd.automount` and the like have no effect.
 *
 * In contrast to `mount -a`, every mount point and the source of a bind must be
 * absolute, and the type must be given. `auto`, lists of types, `..`,
 * `remount`, `move` and other words that begin with `X-mount.` are refused.
 *
 * @example Parse an entry
 * ```ts
 * import { parseFstab } from "@meroton/mountat/spec";
 * import { assertEquals } from "@std/assert";
 *
 * const [spec] = parseFstab("LABEL=my\\040disk /srv ext4 ro,user,exec,nofail");
 * assertEquals(spec, {
 *   type: "ext4",
 *   source: "/dev/disk/by-label/my\\x20disk",
 *   target: "srv",
 *   options: ["ro", "noexec", "nosuid", "nodev", "exec"],
 *   optional: true,
 *   place: "line 1",
 * });
 * ```
 *
 * @param text The file's text.
 * @param options A function that is called for entries that are left out.
 * @returns The mounts, in the order to make them in.
 * @throws {SpecSyntaxError} If an entry is malformed, or asks for something
 * that can't be done.
 * @throws {TypeError} If the text is not a string.
 */
export function parseFstab(
  text: string,
  options: ParseFstabOptions = {},
): MountSpec[] {
  checkOptions(options, FSTAB_NAMES);
  const { warn } = options;
  return parseText(text, () => {
    let offset = 0;
    return text.split("\n").flatMap((line, index) => {
      const start = offset;
      offset += line.length + 1;
      try {
        return parseLine(line.replace(/\r$/, ""), start, `line ${index + 1}`);
      } catch (error) {
        const ignored = error instanceof Optional ||
          error instanceof NoEntry && warn !== undefined;
        if (!ignored) throw error;
        const column = error.offset - start + 1;
        warn?.(new SpecSyntaxError(index + 1, column, error.message));
        return [];
      }
    });
  });
}

/** A fault of an entry with `nofail`: the entry is left out. */
class Optional extends Malformed {}

/** A fault of a line that mount(8) ignores. */
class NoEntry extends Malformed {}

function parseLine(line: string, start: number, place: string): MountSpec[] {
  const fields: Word[] = [...line.matchAll(/[^ \t]+/g)].map(
    ({ 0: text, index }) => ({ text, offset: start + index }),
  );
  const [source, mountPoint, type, options, ...rest] = fields;
  if (source === undefined || source.text.startsWith("#")) return [];
  if (mountPoint === undefined || type === undefined) {
    throw new NoEntry(
      { offset: start + line.length },
      "An entry must have a source, a mount point and a type",
    );
  }
  checkRest(rest);
  const path = decode(mountPoint);
  const words = options === undefined
    ? []
    : placedWords(characters(options)).map(joined);
  const leftOut = type.text === "swap" || path === "/" ||
    words.some(({ text }) => text === "noauto");
  if (leftOut) return [];
  try {
    return [parseEntry({ source, mountPoint, type }, path, words, place)];
  } catch (error) {
    const optional = words.some(({ text }) => text === "nofail");
    if (!(error instanceof Malformed && optional)) throw error;
    throw new Optional(error, error.message);
  }
}

function parseEntry(
  { source, mountPoint, type }: Record<"source" | "mountPoint" | "type", Word>,
  path: string,
  words: readonly Word[],
  place: string,
): MountSpec {
  if (!path.startsWith("/")) {
    throw new Malformed(
      mountPoint,
      `The mount point ${quote(path)} must be absolute`,
    );
  }
  const sorted = sortWords(words);
  if (sorted.idmap !== undefined) {
    const { word } = sorted.idmap;
    throw new Malformed(word, `No mappings for ${quote(word.text)}`);
  }
  const common = {
    target: targetOf(mountPoint, path),
    options: sorted.options,
    ...(sorted.mkdir === undefined ? {} : { mkdir: sorted.mkdir }),
    ...(sorted.mapped === undefined ? {} : { idmap: sorted.mapped.idmap }),
    ...(sorted.optional ? { optional: true } : {}),
    place,
  };
  return sorted.bind === undefined
    ? { type: parseType(type), source: parseSource(source), ...common }
    : { type: "bind", source: parseBound(source), ...sorted.bind, ...common };
}

/** Checks the fifth and sixth field, and the text after them. */
function checkRest([dump, pass, extra]: Word[]): void {
  for (const field of [dump, pass]) {
    if (field !== undefined && !/^\d+$/.test(field.text)) {
      throw new NoEntry(field, `${quote(field.text)} is no number`);
    }
  }
  // mount(8) ignores the rest of the line: some files have comments there.
  if (extra === undefined || extra.text.startsWith("#")) return;
  throw new Malformed(
    extra,
    `An entry has six fields: write a space in a field as \\040`,
  );
}

function parseType(field: Word): string {
  const type = typeOf(field, decode(field));
  if (type === "auto" || type.includes(",")) {
    throw new Malformed(
      field,
      `The type ${quote(type)} must name one file system`,
    );
  }
  return type;
}

function parseBound(field: Word): string {
  const source = decode(field);
  if (source.startsWith("/")) return source;
  throw new Malformed(
    field,
    `The source ${quote(source)} of a bind must be absolute`,
  );
}

/** Parses a source; a tag becomes the path of the link that udev makes. */
function parseSource(field: Word): string {
  const source = decode(field);
  const [, tag, value] =
    /^(UUID|LABEL|PARTUUID|PARTLABEL|ID)=(.*)$/s.exec(source) ?? [];
  if (tag === undefined) return source;
  const name = value!.replace(/^"(.*)"$/s, "$1");
  if (name === "") throw new Malformed(field, `The ${tag} must not be empty`);
  return `/dev/disk/by-${tag.toLowerCase()}/${udevEncoded(name)}`;
}

/** Encodes as udev does in the names of links (encode_devnode_name()). */
function udevEncoded(name: string): string {
  return name.replace(
    /[^\w#+\-.:=@\u{80}-\u{d7ff}\u{e000}-\u{10ffff}]/gu,
    (character) => {
      // A lone surrogate stands for the byte in its low bits.
      const byte = character.charCodeAt(0) & 0xff;
      return `\\x${byte.toString(16).padStart(2, "0")}`;
    },
  );
}

function decode(field: Word): string {
  const text = characters(field).map(({ text }) => text).join("");
  return joined({ ...field, text }).text;
}

/** The characters of a field, its escapes decoded to bytes. */
function characters({ text, offset }: Word): Word[] {
  return [...text.matchAll(/\\([0-3][0-7]{2})|./gsu)].map(
    ({ 0: character, 1: digits, index }) => ({
      text: digits === undefined
        ? character
        : byteCharacter(parseInt(digits, 8)),
      offset: offset + index,
    }),
  );
}

/** Joins escaped bytes that form one character together. */
function joined(word: Word): Word {
  checkSpecText(word, word.text);
  return word.text.isWellFormed()
    ? word
    : { ...word, text: decodeText(encodeText(word.text)) };
}
