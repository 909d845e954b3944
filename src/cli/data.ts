import { errnoText } from "../sys/errno.ts";

/** What can't be written to stdout. */
export class OutputError extends Error {
  /** The class's name. */
  override readonly name = "OutputError";
  /** The error's name, like "ENOSPC". */
  readonly code: string;

  /**
   * Makes the error of a failed write.
   *
   * @param code The error's name.
   * @param errno Its number.
   */
  constructor(code: string, errno: number) {
    super(
      `Cannot write to standard output: ${code} (${errnoText(errno)})`,
    );
    this.code = code;
  }
}

/**
 * Prints data and a newline on stdout.
 *
 * @throws {OutputError} When it can't be written.
 * @throws {Deno.errors.BrokenPipe} When nobody reads.
 */
export function printData(text: string): void {
  try {
    console.log(text);
  } catch (error) {
    throw explainWrite(error);
  }
}

/** Deno's error has the number in its message alone. */
function explainWrite(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof Deno.errors.BrokenPipe) {
    return error;
  }
  const [, number] = /\(os error (\d+)\)$/.exec(error.message) ?? [];
  const code = "code" in error ? error.code : undefined;
  return number === undefined || typeof code !== "string"
    ? error
    : new OutputError(code, Number(number));
}
