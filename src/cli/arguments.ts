import { openDirectoryAt, readFile } from "../fd/open.ts";
import { SyscallError } from "../sys/error.ts";
import { encodeText } from "../base/text.ts";
import { countEdits, spelledAlike } from "../base/check.ts";
import { AT_FDCWD } from "../sys/constants.ts";

/**
 * This process's arguments as the kernel has them. Deno replaces bytes that are
 * no UTF-8 by U+FFFD, which would name another file.
 *
 * @param args The arguments as Deno has them.
 * @returns The arguments, such bytes as lone surrogates; `args` itself where
 * they are not those that this process was started with.
 */
export function exactArguments(args: string[]): string[] {
  let line: string;
  try {
    line = readFile("/proc/self/cmdline");
  } catch (error) {
    if (error instanceof SyscallError) return args;
    throw error;
  }
  const words = line.split("\0").slice(0, -1).slice(-args.length);
  const lossy = new TextDecoder();
  const same = words.length === args.length &&
    words.every((word, i) => lossy.decode(encodeText(word)) === args[i]);
  return same ? words : args;
}

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
  const name = directory.length < 3
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
