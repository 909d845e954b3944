import { openDirectoryAt } from "../beneath.ts";
import { spelledAlike } from "../hint/spelling.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { quote } from "../sys/format.ts";

/**
 * Asks whether a directory, which would be made, was meant as a subcommand.
 *
 * @param directory The directory.
 * @param names The names of the subcommands.
 * @returns The question, null where there is no reason to ask.
 */
export function askForSubcommand(
  directory: string,
  names: readonly string[],
): string | null {
  // Of three letters too much is spelt alike; and mounts, say, is a likely name.
  const name = directory.length < 4 || directory.includes("/")
    ? undefined
    : spelledAlike(directory, names).find((name) =>
      !directory.startsWith(name)
    );
  if (name === undefined || isThere(directory)) return null;
  return `${
    quote(directory)
  } is taken for a directory; did you mean "mountat ${name}"?`;
}

function isThere(directory: string): boolean {
  try {
    openDirectoryAt(AT_FDCWD, directory, 0).close();
    return true;
  } catch {
    return false;
  }
}
