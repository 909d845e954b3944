import { pathArgument } from "../options/target.ts";
import { checkOptions, type OptionNames } from "../base/check.ts";
import { type JsonNode, parseJson } from "./json.ts";
import {
  checkSpecText,
  Malformed,
  parseText,
  type TextPlace,
} from "./malformed.ts";
import type { MountSpec } from "../options/spec.ts";
import {
  placedWords,
  type SortedWords,
  sortWords,
  targetOf,
  typeOf,
} from "./words.ts";
import { quote } from "../base/text.ts";
import type { IdMap, IdMaps } from "../options/attributes.ts";

/** Options of {@linkcode parseOciMounts}. */
export interface ParseOciMountsOptions {
  /**
   * The bundle: the directory of the config.json, where the relative sources of
   * binds start.
   *
   * @default {undefined; relative sources are refused}
   */
  bundle?: string | URL;
}

const OCI_NAMES: OptionNames<ParseOciMountsOptions> = { bundle: true };

/** A value of the configuration, with its place. */
interface Value extends JsonNode, TextPlace {}

/**
 * Parses the `mounts` of an OCI runtime configuration: a whole `config.json`,
 * as `runc spec` prints it.
 *
 * Read as runc reads it:
 *
 * - An entry with `bind` or `rbind` among its options is a bind, whatever its
 *   type. For a bind, flags of a file system such as `sync` are dropped, and
 *   other options of a file system are refused.
 * - The type `cgroup` is a recursive bind of `/sys/fs/cgroup`: it shows the
 *   hierarchies of the host.
 * - In an idmap, `containerID` is the id in the source's file system, and
 *   `hostID` the id that the mount shows. An `idmap` or `ridmap` without
 *   mappings uses those of `linux`.
 * - Missing mount points are made.
 * - A property that is null, or an empty list of mappings, counts as not given.
 * - A destination must not contain `..`.
 *
 * `remount` and `tmpcopyup` are refused. Words that the specification does not
 * have mean what they mean to mount(8): see {@linkcode parseFstab}. Other
 * properties, and the rest of the configuration, are ignored.
 *
 * @example See what runc would mount
 * ```ts
 * import { parseOciMounts } from "@meroton/mountat/spec";
 * import { assertEquals } from "@std/assert";
 *
 * const config = `{"mounts": [
 *   {
 *     "destination": "/data",
 *     "type": "none",
 *     "source": "/volumes/testing",
 *     "options": ["rbind", "ro", "rslave"]
 *   }
 * ]}`;
 * assertEquals(parseOciMounts(config), [{
 *   type: "bind",
 *   source: "/volumes/testing",
 *   recursive: true,
 *   target: "data",
 *   options: ["ro", "rslave"],
 *   mkdir: true,
 *   place: "mounts[0]",
 * }]);
 * ```
 *
 * @param text The configuration.
 * @param options The directory that relative sources start at.
 * @returns The mounts, in the order to make them in.
 * @throws {SpecSyntaxError} If the text is not JSON, violates the
 * specification, or asks for something that can't be done.
 * @throws {TypeError} If the text is not a string, and for an unknown option.
 */
export function parseOciMounts(
  text: string,
  options: ParseOciMountsOptions = {},
): MountSpec[] {
  checkOptions(options, OCI_NAMES);
  const bundle = options.bundle === undefined
    ? undefined
    : pathArgument("The bundle", options.bundle);
  return parseText(text, () => {
    const config = parseJson(text);
    const mounts = member(config, "mounts");
    return mounts === undefined ? [] : items(mounts).map((mount) => {
      const target = parseDestination(mount);
      const type = member(mount, "type");
      const words = parseOptions(
        member(mount, "options"),
        type && string(type),
      );
      return {
        ...parseWhat(mount, type, words, bundle),
        target,
        options: words.options,
        mkdir: words.mkdir ?? true,
        ...parseIdMap(config, mount, words),
        ...(words.optional ? { optional: true } : {}),
        place: mount.place!,
      };
    });
  });
}

function parseOptions(
  options: Value | undefined,
  type: string | undefined,
): SortedWords {
  if (options === undefined) return { options: [] };
  // runc joins options that it doesn't know with commas; the kernel splits them.
  return sortWords(
    items(options).filter(({ value }) => value !== null).flatMap((option) =>
      placedWords(Array.from(string(option), (text) => ({ ...option, text })))
    ),
    type,
  );
}

function parseDestination(mount: Value): string {
  const destination = member(mount, "destination");
  if (destination === undefined) {
    throw new Malformed(mount, "A mount must have a destination");
  }
  return targetOf(destination, nonEmpty(destination));
}

/** Parses the type, and the source of a bind or of a file system. */
function parseWhat(
  mount: Value,
  type: Value | undefined,
  { bind }: SortedWords,
  bundle: string | undefined,
):
  | { type: "bind"; source: string; recursive: boolean }
  | { type: string; source?: string } {
  const source = member(mount, "source");
  if (bind !== undefined) {
    if (source === undefined) {
      throw new Malformed(mount, "A bind must have a source");
    }
    return { type: "bind", source: parseSource(source, bundle), ...bind };
  }
  if (type === undefined) {
    throw new Malformed(mount, "A mount must have a type, unless it is a bind");
  }
  const name = typeOf(type, nonEmpty(type));
  if (name === "cgroup") {
    return { type: "bind", source: "/sys/fs/cgroup", recursive: true };
  }
  return {
    type: name,
    ...(source === undefined || source.value === ""
      ? {}
      : { source: string(source) }),
  };
}

function parseSource(source: Value, bundle: string | undefined): string {
  const path = nonEmpty(source);
  if (path.startsWith("/")) return path;
  if (bundle !== undefined) return `${bundle}/${path}`;
  throw new Malformed(
    source,
    `The source ${quote(path)} is relative, and the bundle is not given`,
  );
}

function parseIdMap(
  config: Value,
  mount: Value,
  { idmap, mapped }: SortedWords,
): { idmap?: IdMaps | string } {
  let maps = idMapsOf(mount);
  if (mapped !== undefined) {
    if (maps === null && idmap === undefined) return { idmap: mapped.idmap };
    throw new Malformed(
      mapped.word,
      `${quote(mapped.word.text)} can't go with other mappings`,
    );
  }
  if (idmap !== undefined && maps === null) {
    const linux = member(config, "linux");
    maps = linux === undefined ? null : idMapsOf(linux);
    if (maps === null) {
      throw new Malformed(
        idmap.word,
        `No mappings for ${quote(idmap.word.text)}`,
      );
    }
  }
  if (maps === null) return {};
  return { idmap: { ...maps, recursive: idmap?.recursive ?? false } };
}

function idMapsOf(holder: Value): IdMaps | null {
  const uids = mappingsOf(holder, "uidMappings");
  const gids = mappingsOf(holder, "gidMappings");
  if (uids === undefined && gids === undefined) return null;
  if (uids === undefined || gids === undefined) {
    throw new Malformed(
      uids ?? gids!,
      "uidMappings and gidMappings must be given together",
    );
  }
  return { uids: idMappings(uids), gids: idMappings(gids) };
}

/** @returns Undefined for a missing, null or empty list. */
function mappingsOf(holder: Value, name: string): Value | undefined {
  const mappings = member(holder, name);
  return mappings === undefined || items(mappings).length === 0
    ? undefined
    : mappings;
}

function idMappings(mappings: Value): IdMap[] {
  return items(mappings).map((mapping) => ({
    inside: id(mapping, "containerID"),
    outside: id(mapping, "hostID"),
    length: id(mapping, "size"),
  }));
}

function id(mapping: Value, name: string): number {
  const found = member(mapping, name);
  if (found === undefined) throw new Malformed(mapping, `${name} is missing`);
  const { value } = found;
  const least = name === "size" ? 1 : 0;
  if (typeof value !== "number") throw unexpected(found, "a number");
  if (Number.isInteger(value) && value >= least && value <= 0xffff_ffff) {
    return value;
  }
  throw new Malformed(found, `${value} is no ${name}`);
}

function member(parent: Value, name: string): Value | undefined {
  if (!(parent.value instanceof Map)) throw unexpected(parent, "an object");
  const found = parent.value.get(name);
  // Go's encoder writes null for a missing value, and runc reads it as such.
  if (found === undefined || found.value === null) return undefined;
  const { place } = parent;
  return { ...found, place: place === undefined ? name : `${place}.${name}` };
}

function items(list: Value): Value[] {
  if (!Array.isArray(list.value)) throw unexpected(list, "an array");
  return list.value.map((item, index) => ({
    ...item,
    place: `${list.place}[${index}]`,
  }));
}

function string(at: Value): string {
  if (typeof at.value !== "string") throw unexpected(at, "a string");
  return checkSpecText(at, at.value);
}

function nonEmpty(at: Value): string {
  const text = string(at);
  if (text === "") throw new Malformed(at, "It must not be empty");
  return text;
}

function unexpected(at: Value, what: string): Malformed {
  const { value } = at;
  const found = value === null
    ? "null"
    : value instanceof Map
    ? "an object"
    : Array.isArray(value)
    ? "an array"
    : `a ${typeof value}`;
  return new Malformed(at, `Expected ${what}, not ${found}`);
}
