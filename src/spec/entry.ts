/** What the entries of both formats have in common. */
import { quote } from "../sys/format.ts";
import { parseTarget } from "../target.ts";
import { Malformed, type Place } from "./place.ts";

/**
 * The target that a path from the root means.
 *
 * @throws {Malformed} For a `..`: it has a meaning only where no name on the
 * way is a symlink, and that the text doesn't tell.
 */
export function targetOf(at: Place, path: string): string {
  if (path.split("/").includes("..")) {
    throw new Malformed(at, `The mount point ${quote(path)} has a ".."`);
  }
  return parseTarget(`./${path}`).path;
}

/**
 * The type of an entry that is no bind.
 *
 * @throws {Malformed} For a type that stands for a bind.
 */
export function typeOf(at: Place, type: string): string {
  if (type === "none" || type === "bind") {
    throw new Malformed(
      at,
      `The type "${type}" needs the option "bind" or "rbind"`,
    );
  }
  return type;
}
