/** `X-mount.idmap` of mount(8). */
import { type IdMap, type IdMaps, parseIdmap } from "../attribute_options.ts";
import { quote } from "../sys/format.ts";

/** Whether a word of the options is this one. */
export function isIdmapWord(word: string): boolean {
  return /^X-mount\.idmap(=|$)/.test(word);
}

/**
 * Parses `X-mount.idmap=[u:|g:|b:]INSIDE:OUTSIDE:LENGTH[ …]` or
 * `X-mount.idmap=/proc/PID/ns/user`.
 *
 * The first id is the one that the file system has, the second what it is seen
 * as: so mount(8) does it, whose page has said the opposite since 2.39.
 *
 * @returns The maps, or the path of a user namespace.
 * @throws {TypeError | RangeError} Where the word is malformed.
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
