/** Named options of a mount: each stands for a word of `options`. */
import { checkOptions, type OptionNames, received } from "../base/check.ts";
import { quote } from "../base/text.ts";

/** A range of user or group ids, for {@linkcode IdMaps}. */
export interface IdMap {
  /** The first id in the file system, on disk. */
  inside: number;
  /** The first id that this process sees through the mount. */
  outside: number;
  /** The number of ids. */
  length: number;
}

/**
 * The owners of files, seen through an id-mapped mount. A file of `inside`
 * appears as a file of `outside`, and a file that `outside` makes belongs to
 * `inside` on disk. An id in no range appears as 65534 (nobody), and can make
 * no files.
 */
export interface IdMaps {
  /** The user ids. */
  uids: readonly IdMap[];
  /** The group ids. */
  gids: readonly IdMap[];
  /**
   * Applies to all mounts below, too.
   *
   * @default {as the bind itself}
   */
  recursive?: boolean;
}

/**
 * Attributes of a mount. Each option stands for a generic word of mount(8), and
 * means the same.
 */
export interface AttributeOptions {
  /**
   * Nothing can be written through the mount. `false` allows writing through a bind
   * of a read-only mount.
   */
  readonly?: boolean;
  /**
   * Programs can't gain other ids or capabilities by being executed.
   * `false` takes the attribute away from a bind whose source has it.
   */
  nosuid?: boolean;
  /**
   * Device files can't be used.
   * `false` takes the attribute away from a bind whose source has it.
   */
  nodev?: boolean;
  /**
   * Nothing can be executed.
   * `false` takes the attribute away from a bind whose source has it.
   */
  noexec?: boolean;
  /**
   * No symlink is followed (since Linux 5.14).
   * `false` takes the attribute away from a bind whose source has it.
   */
  nosymfollow?: boolean;
  /**
   * Access times of directories are not kept.
   * `false` takes the attribute away from a bind whose source has it.
   */
  nodiratime?: boolean;
  /** The access times that are kept. */
  atime?: "relatime" | "noatime" | "strictatime";
  /**
   * The propagation, mount_namespaces(7): the other places at which mounts inside
   * this one appear.
   *
   * - `private`: nowhere.
   * - `shared`: in all its peers; and mounts inside a peer appear here.
   * - `slave`: nowhere; but mounts inside its masters appear here.
   * - `unbindable`: nowhere; and the mount can't be bound.
   *
   * By default, a bind of a shared mount is its slave (since Linux 5.12):
   * mounts made there appear here, and nothing done here reaches there. (If it
   * were a peer, unmounting inside the bind would unmount inside the original.)
   * Every other mount is private.
   *
   * Under a shared mount, the kernel makes every new mount shared, with a copy in
   * each peer. So any other propagation is set once more right after the mount is
   * attached. (For mounts in a mount tree: after the tree is attached, and only
   * since Linux 6.15.) The copies stay shared. If several mounts were attached at
   * once, their copies stay mounted when the mounts are unmounted.
   */
  propagation?: "private" | "shared" | "slave" | "unbindable";
}

/** Options of a mount that is not attached yet. */
export interface NewAttributeOptions extends AttributeOptions {
  /**
   * Shows files with other owners. The value is maps, or a user namespace that
   * has the maps: by a descriptor (which needs no /proc), or by an absolute
   * path such as `/proc/PID/ns/user`. Since Linux 5.12, if the file system
   * supports it. Replacing the id map of a mount that has one needs Linux 6.15.
   */
  idmap?: IdMaps | number | string;
}

/** The names of {@linkcode AttributeOptions}. */
export const ATTRIBUTE_NAMES: OptionNames<AttributeOptions> = {
  readonly: true,
  nosuid: true,
  nodev: true,
  noexec: true,
  nosymfollow: true,
  nodiratime: true,
  atime: true,
  propagation: true,
};

/** The names of {@linkcode NewAttributeOptions}. */
export const NEW_ATTRIBUTE_NAMES: OptionNames<NewAttributeOptions> = {
  ...ATTRIBUTE_NAMES,
  idmap: true,
};

/** The boolean options, each with its words for true and for false. */
const SWITCHES = [
  ["readonly", "ro", "rw"],
  ["nosuid", "nosuid", "suid"],
  ["nodev", "nodev", "dev"],
  ["noexec", "noexec", "exec"],
  ["nosymfollow", "nosymfollow", "symfollow"],
  ["nodiratime", "nodiratime", "diratime"],
] as const;

/** The options whose value is one of several words. */
const CHOICES = [
  ["atime", ["relatime", "noatime", "strictatime"]],
  ["propagation", ["private", "shared", "slave", "unbindable"]],
] as const;

/**
 * The generic words that named options stand for.
 *
 * @param recursive True if the options apply to all mounts below, too.
 * @throws {TypeError} If an option does not take its value.
 */
export function namedWords(
  options: AttributeOptions,
  recursive = false,
): string[] {
  const words: string[] = [];
  for (const [name, yes, no] of SWITCHES) {
    const value = options[name];
    if (value === undefined) continue;
    if (typeof value !== "boolean") {
      throw new TypeError(
        `"${name}" must be true or false: received ${received(value)}`,
      );
    }
    words.push(value ? yes : no);
  }
  for (const [name, choices] of CHOICES) {
    const value = options[name];
    if (value === undefined) continue;
    if (!(choices as readonly string[]).includes(value)) {
      throw new TypeError(
        `"${name}" must be one of ${choices.join(", ")}: received ${
          received(value)
        }`,
      );
    }
    words.push(value);
  }
  return recursive ? words.map((word) => `r${word}`) : words;
}

/**
 * Checks an id map.
 *
 * @throws {TypeError | RangeError}
 */
export function parseIdmap(
  idmap: IdMaps | number | string | undefined,
): IdMaps | number | string | null {
  if (idmap === undefined) return null;
  if (typeof idmap === "string") {
    if (idmap.startsWith("/") && !idmap.includes("\0")) return idmap;
    throw new TypeError(
      `"idmap" must be the absolute path of a user namespace: received ${
        quote(idmap)
      }`,
    );
  }
  if (typeof idmap === "number") {
    if (Number.isInteger(idmap) && idmap >= 0) return idmap + 0;
    throw new TypeError(
      `"idmap" must be an open descriptor: received ${idmap}`,
    );
  }
  checkOptions(idmap, MAPS_NAMES, '"idmap"');
  const { uids, gids, ...more } = idmap;
  return {
    ...more,
    uids: parseMaps("uids", uids),
    gids: parseMaps("gids", gids),
  };
}

const MAPS_NAMES: OptionNames<IdMaps> = {
  uids: true,
  gids: true,
  recursive: true,
};

const MAP_NAMES: OptionNames<IdMap> = {
  inside: true,
  outside: true,
  length: true,
};

/** user_namespaces(7): "the maximum length … is 340 lines". */
const MOST_MAPS = 340;

function parseMaps(name: string, maps: unknown): IdMap[] {
  if (!Array.isArray(maps) || maps.length === 0 || maps.length > MOST_MAPS) {
    throw new TypeError(
      `"${name}" must be a list of 1 to ${MOST_MAPS} id ranges`,
    );
  }
  return Array.from(maps, (map) => {
    checkOptions(map, MAP_NAMES, `Each of "${name}"`);
    const length = parseId("length", map.length, 1, MOST_IDS);
    const last = MOST_IDS - length;
    return {
      inside: parseId("inside", map?.inside, 0, last),
      outside: parseId("outside", map?.outside, 0, last),
      length,
    };
  });
}

/** The number of ids: 0xffffffff itself is no id. */
const MOST_IDS = 0xffff_ffff;

function parseId(
  name: string,
  value: unknown,
  least: number,
  most: number,
): number {
  if (typeof value !== "number") {
    throw new TypeError(
      `"${name}" of an id range must be a number: received ${received(value)}`,
    );
  }
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(
      `"${name}" of an id range must be ${least} to ${most}: received ${value}`,
    );
  }
  return value + 0;
}
