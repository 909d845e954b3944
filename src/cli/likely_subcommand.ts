import { openDirectoryAt } from "../beneath.ts";
import { spelledAlike } from "../sys/spelling.ts";
import { AT_FDCWD } from "../sys/constants.ts";

/**
 * Finds the subcommand that may be meant by what is taken for a directory.
 *
 * @param directory The directory.
 * @param names The names of the subcommands.
 * @returns The subcommand, null where the directory is there, or spelt like none.
 */
export function likelySubcommand(
  directory: string,
  names: readonly string[],
): string | null {
  // Of three letters too much is spelt alike; and mounts, say, is a likely name.
  const name = directory.length < 4 || directory.includes("/")
    ? undefined
    : spelledAlike(directory, names)
      .find((name) => !directory.startsWith(name));
  return name === undefined || isThere(directory) ? null : name;
}

function isThere(directory: string): boolean {
  try {
    openDirectoryAt(AT_FDCWD, directory, 0).close();
    return true;
  } catch {
    return false;
  }
}
