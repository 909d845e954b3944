import { quote } from "./text.ts";

/** The names of all options of a type: code that lacks one does not compile. */
export type OptionNames<Options> = {
  readonly [Name in keyof Options]-?: true;
};

/**
 * Checks that a caller's options have no unknown name: a misspelt `readonly`
 * must not make a mount writable.
 *
 * @param options The caller's options; the object's own properties count.
 * @param known The names of all options.
 * @param what The options' name in a message.
 * @throws {TypeError} For an unknown name, or if `options` is no object.
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
  refuseRevoked(what, options);
  for (const name in options) {
    if (!Object.hasOwn(options, name)) continue;
    if (!Object.hasOwn(known, name)) {
      throw new TypeError(
        `Unknown option ${quote(name)}${nearest(name, Object.keys(known))}`,
      );
    }
    // Do not call a getter here: it is called once, when the option is read.
    const { value } = Object.getOwnPropertyDescriptor(options, name) ?? {};
    refuseRevoked(`"${name}"`, value);
  }
}

/**
 * Refuses a revoked proxy: the engine would throw on any access to it.
 *
 * @param what The value's name in a message.
 * @throws {TypeError}
 */
export function refuseRevoked(what: string, value: unknown): void {
  try {
    Array.isArray(value);
  } catch (error) {
    throw new TypeError(`${what} must be no proxy that was revoked`, {
      cause: error,
    });
  }
}

/**
 * Checks that a value is an object with a property for each name. A Map would
 * look empty, and an array would give its indices as names.
 *
 * @param what The value's name in a message.
 * @throws {TypeError}
 */
export function checkRecord(what: string, value: object): void {
  refuseRevoked(what, value);
  const isRecord = typeof value === "object" && value !== null &&
    !(Symbol.iterator in value);
  if (isRecord) return;
  throw new TypeError(
    `${what} must be an object with a property for each name: received ${
      received(value)
    }`,
  );
}

/** Words for a caller's value of a wrong type, for a message. */
export function received(value: unknown): string {
  switch (typeof value) {
    case "string":
      return quote(value);
    case "symbol":
    case "function":
      return `a value of type ${typeof value}`;
    case "object":
      return value === null ? "null" : "a value of type object";
    default:
      return String(value);
  }
}

/**
 * Asks if the caller meant another word.
 *
 * @param word The word that was written.
 * @param names The words that exist.
 * @returns The question; empty if no word is spelt alike.
 */
export function nearest(word: string, names: readonly string[]): string {
  const [name] = spelledAlike(word, names);
  return name === undefined ? "" : `; did you mean "${name}"?`;
}
/** The most names that {@linkcode spelledAlike} returns. */
const MOST = 3;

/**
 * Picks the names that are spelt like a word: one begins with the other, or few
 * letters differ.
 *
 * @param word The word.
 * @param names The names.
 * @returns The nearest names, at the most three, the nearest first.
 */
export function spelledAlike(word: string, names: readonly string[]): string[] {
  const wanted = word.toLowerCase();
  const most = wanted.length < 8 ? 1 : 2;
  return [...new Set(names)]
    .map((name) => {
      const spare = Math.abs(wanted.length - name.length);
      // The lengths differ by more than `most`: there are too many edits.
      const edits = spare > most
        ? spare
        : countEdits(wanted, name.toLowerCase());
      return { name, edits };
    })
    .filter(({ name, edits }) =>
      edits <= most || name.length >= 3 && wanted.startsWith(name) ||
      wanted.length >= 3 && name.startsWith(wanted)
    )
    .sort((a, b) => a.edits - b.edits)
    .slice(0, MOST)
    .map(({ name }) => name);
}

/**
 * Counts the edits between two words: a letter is inserted, removed, replaced,
 * or exchanged with the next one (optimal string alignment).
 */
export function countEdits(from: string, to: string): number {
  const rows = [Array.from({ length: to.length + 1 }, (_, column) => column)];
  for (let i = 1; i <= from.length; i++) {
    const [before, last] = [rows[i - 2], rows[i - 1]!];
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = last[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      const exchanged = from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]
        ? before![j - 2]! + 1
        : Infinity;
      row.push(Math.min(last[j]! + 1, row[j - 1]! + 1, replaced, exchanged));
    }
    rows.push(row);
  }
  return rows.at(-1)!.at(-1)!;
}
