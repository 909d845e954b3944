/** Which mounts are listed: findmnt(8)'s -t and -O. */
import type { MountInfo } from "../mount_info.ts";
import { allOptions } from "./mount_columns.ts";

/**
 * Whether a type is one of a list, as mount(8) reads it: one that begins with
 * `no` means all other types.
 */
export function matchesTypes(type: string, list: string): boolean {
  const negated = list.startsWith("no");
  const types = (negated ? list.slice(2) : list).split(",");
  if (types.includes(`no${type}`)) return false;
  return types.includes(type) !== negated;
}

/**
 * Whether a mount has all options of a list, as mount(8) reads it: `no` before
 * one means that it is not set, and `+` that its name begins so. With a value
 * that must be equal, too.
 */
export function matchesOptions(mount: MountInfo, list: string): boolean {
  const options = allOptions(mount);
  return list.split(",").every((pattern) => {
    const negated = pattern.startsWith("no");
    const word = pattern.slice(negated ? 2 : pattern.startsWith("+") ? 1 : 0);
    const isSet = options.some((option) =>
      option === word || (!word.includes("=") && option.startsWith(`${word}=`))
    );
    return isSet !== negated;
  });
}
