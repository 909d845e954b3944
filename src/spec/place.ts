import { encodeText } from "../sys/text.ts";
import { SpecSyntaxError } from "./syntax_error.ts";

/** A place in a text. */
export interface Place {
  /** How many UTF-16 code units are before it. */
  readonly offset: number;
  /** A name for it, where the text has names. */
  readonly place?: string;
}

/** What is wrong at a place of the text that is parsed. */
export class Malformed extends Error {
  /** The place in the text. */
  readonly offset: number;

  constructor({ offset, place }: Place, what: string) {
    super(place === undefined ? what : `${place}: ${what}`);
    this.offset = offset;
  }
}

/**
 * Parses a text.
 *
 * @throws {TypeError} When it is no string.
 * @throws {SpecSyntaxError} For a {@linkcode Malformed} that `parse` threw.
 */
export function parseText<T>(text: string, parse: () => T): T {
  if (typeof text !== "string") {
    throw new TypeError(`The text must be a string, not ${typeof text}`);
  }
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    const before = text.slice(0, error.offset).split("\n");
    const column = before.at(-1)!.length + 1;
    throw new SpecSyntaxError(before.length, column, error.message);
  }
}

/**
 * Checks that a text can go to the kernel.
 *
 * @throws {Malformed} For a NUL, or a surrogate that stands for no byte.
 */
export function checkText(at: Place, text: string): string {
  if (text.includes("\0")) {
    throw new Malformed(at, "There must be no NUL character");
  }
  try {
    encodeText(text);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new Malformed(at, error.message);
  }
  return text;
}
