import { encodeText } from "../base/text.ts";

/**
 * A text that violates its format, or asks for something that can't be done.
 */
export class SpecSyntaxError extends Error {
  /** The class's name. */
  override readonly name: string = "SpecSyntaxError";
  /** The line, counted from 1. */
  readonly line: number;
  /** The column in the line, counted from 1, in UTF-16 code units. */
  readonly column: number;

  /**
   * Makes the error of a text.
   *
   * @param line The line, counted from 1.
   * @param column The column in the line, counted from 1.
   * @param what The fault, in words.
   */
  constructor(line: number, column: number, what: string) {
    super(`Line ${line}, column ${column}: ${what}`);
    this.line = line;
    this.column = column;
  }
}

/** A place in a text. */
export interface TextPlace {
  /** The number of UTF-16 code units before it. */
  readonly offset: number;
  /** A name for the place, if the text has names. */
  readonly place?: string;
}

/** A fault at a place in the parsed text. */
export class Malformed extends Error {
  /** The place in the text. */
  readonly offset: number;

  constructor({ offset, place }: TextPlace, what: string) {
    super(place === undefined ? what : `${place}: ${what}`);
    this.offset = offset;
  }
}

/**
 * Parses a text.
 *
 * @throws {TypeError} If it is no string.
 * @throws {SpecSyntaxError} For a {@linkcode Malformed} that `parse` threw.
 */
export function parseText<T>(text: string, parse: () => T): T {
  if (typeof text !== "string") {
    throw new TypeError(`The text must be a string, not ${typeof text}`);
  }
  try {
    return parse();
  } catch (error) {
    throw error instanceof Malformed ? placeFault(text, error) : error;
  }
}

/** Makes the error that tells the line and column of a fault. */
function placeFault(
  text: string,
  { offset, message }: Malformed,
): SpecSyntaxError {
  const before = text.slice(0, offset).split("\n");
  const column = before.at(-1)!.length + 1;
  return new SpecSyntaxError(before.length, column, message);
}

/**
 * Checks that a text can go to the kernel.
 *
 * @throws {Malformed} For a NUL, or a surrogate that stands for no byte.
 */
export function checkSpecText(at: TextPlace, text: string): string {
  if (text.includes("\0")) {
    throw new Malformed(at, "The text must not contain a NUL character");
  }
  try {
    encodeText(text);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new Malformed(at, error.message);
  }
  return text;
}
