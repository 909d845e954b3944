/** A text that is not as its format says, or asks for what can't be done. */
export class SpecSyntaxError extends Error {
  /** The class's name. */
  override readonly name: string = "SpecSyntaxError";
  /** The line, from 1 on. */
  readonly line: number;
  /** The column in the line, from 1 on, in UTF-16 code units. */
  readonly column: number;

  /**
   * Makes the error of a text.
   *
   * @param line The line, from 1 on.
   * @param column The column in the line, from 1 on.
   * @param what What is wrong there.
   */
  constructor(line: number, column: number, what: string) {
    super(`Line ${line}, column ${column}: ${what}`);
    this.line = line;
    this.column = column;
  }
}
