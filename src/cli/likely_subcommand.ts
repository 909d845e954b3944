import { openDirectoryAt } from "../beneath.ts";
import { countEdits, spelledAlike } from "../sys/spelling.ts";
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
  const name = directory.length < 3 || directory.includes("/")
    ? undefined
    : spelledAlike(directory, names).find((name) =>
      countEdits(directory.toLowerCase(), name) <= 1
        // Mounts, say, is a likely name.
        ? directory !== `${name}s`
        // Of three letters too much is spelt alike.
        : directory.length > 3 && !directory.startsWith(name)
    );
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
