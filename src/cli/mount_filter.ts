/** Which mounts are listed: findmnt(8)'s -t and -O. */
import type { MountInfo } from "../mount_info.ts";
import { allOptions } from "./mount_columns.ts";

/**
 * Whether a type is one of a list, as mount(8) reads it: one that begins with
 * `no` means all other types. Upper and lower case are the same.
 */
export function matchesTypes(type: string, list: string): boolean {
  const sought = type.toLowerCase();
  const negated = list.startsWith("no");
  for (const word of (negated ? list.slice(2) : list).split(",")) {
    if (word.startsWith("no") && word.slice(2).toLowerCase() === sought) {
      return false;
    }
    if (word.toLowerCase() === sought) return !negated;
  }
  return negated;
}

/**
 * Whether a mount has all options of a list, as mount(8) reads it: `no` before
 * one means that it is not set, and `+` that its name begins so. With a value
 * that must be equal, too; an empty one is none, nor is an empty word a word.
 */
export function matchesOptions(mount: MountInfo, list: string): boolean {
  const options = allOptions(mount);
  const words = list.split(",").filter((word) => word !== "");
  return words.every((pattern) => {
    const negated = pattern.startsWith("no");
    const word = pattern.slice(negated ? 2 : pattern.startsWith("+") ? 1 : 0)
      .replace(/^([^=]+)=$/, "$1");
    const isSet = options.some((option) =>
      option === word || (!word.includes("=") && option.startsWith(`${word}=`))
    );
    return isSet !== negated;
  });
}
