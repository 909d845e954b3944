import { program } from "../program.ts";

/** The names of options of the library that the program has under another. */
const OF_PROGRAM: Readonly<Record<string, string>> = {
  makePrivate: "make-private",
};

/**
 * Names an option as the reader of a message gives it: the program's reader at
 * the command line, the library's in code.
 *
 * @param name The library's name of the option.
 */
export function optionName(name: string): string {
  return program.url === null
    ? `the option ${name}`
    : `--${OF_PROGRAM[name] ?? name}`;
}
