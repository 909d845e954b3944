import { quote } from "./format.ts";
import { nearest } from "./nearest.ts";

/** The names of all options of a type: what lacks one does not compile. */
export type OptionNames<Options> = {
  readonly [Name in keyof Options]-?: true;
};

/**
 * Checks that there is no option among a caller's that nobody would read: a
 * misspelt `readonly` must not let a mount be written to.
 *
 * @param options What the caller gave; the object's own properties count.
 * @param known The names that there are.
 * @param what What a message calls the options.
 * @throws {TypeError} For another name, or what is no object.
 */
export function checkOptions<Options extends object>(
  options: Options,
  known: OptionNames<Options>,
  what = "Options",
): void {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(
      `${what} must be an object, not ${
        options === null ? "null" : typeof options
      }`,
    );
  }
  for (const name in options) {
    if (Object.hasOwn(options, name) && !Object.hasOwn(known, name)) {
      throw new TypeError(
        `Unknown option ${quote(name)}${nearest(name, Object.keys(known))}`,
      );
    }
  }
}
