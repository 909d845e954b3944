import { errnoText } from "../sys/errno.ts";
import { printable } from "../base/text.ts";
import { MountError } from "../error/error.ts";
import { UnsupportedError } from "../sys/error.ts";

/** Data could not be written to stdout. */
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

/**
 * Prints a message on stderr, without what would steer a terminal. Where that
 * can't be written, nothing else is different: what is done does not depend on
 * who reads.
 */
export function printMessage(text: string): void {
  try {
    console.error(text.split("\n").map(printable).join("\n"));
  } catch {
    // There is nowhere left to say so.
  }
}

/** The exit status when some of several mounts or unmounts failed: mount(8). */
export const SOME_FAILED = 64;

/**
 * Prints data, and then in any case what failed: nobody need read the data.
 *
 * @param print Prints the data.
 * @param tell Says what failed, and returns the exit status.
 * @returns The exit status.
 */
export function printAndTell(print: () => void, tell: () => number): number {
  let unprinted: unknown = null;
  try {
    print();
  } catch (error) {
    unprinted = error;
  }
  const status = tell();
  if (unprinted === null) return status;
  if (status === 0) throw unprinted;
  return Math.max(status, report(unprinted));
}

/** The hints that were printed: what goes for many mounts is said once. */
const hinted = new Set<string>();

/**
 * Says on stderr what went wrong, and what to do about it.
 *
 * @param error The failure.
 * @param status The exit status of a mount or unmount that failed.
 * @param subcommand The subcommand, whose help tells how it is used.
 * @returns The exit status: 1 for wrong usage or a missing permission.
 * @throws Any error that is a mistake in this program, and not a failure of the
 * caller or the system.
 */
export function report(
  error: unknown,
  status = 1,
  subcommand = "",
): number {
  // The reader of the output may stop early.
  if (error instanceof Deno.errors.BrokenPipe) return 0;
  if (error instanceof SuppressedError) {
    // The first failure comes first, then the one of undoing it.
    return Math.max(
      report(error.suppressed, status, subcommand),
      report(error.error, status, subcommand),
    );
  }
  if (error instanceof UsageError) {
    printMessage(`mountat: ${error.message}`);
    const words = ["mountat", subcommand, "--help"].filter((word) => word);
    printMessage(`Try '${words.join(" ")}'.`);
  } else if (error instanceof MountError) {
    printMessage(`mountat: ${error.message}`);
    if (error.hint !== undefined && !hinted.has(error.hint)) {
      hinted.add(error.hint);
      printMessage(`  hint: ${error.hint}`);
    }
    return error.code === "EPERM" ? 1 : status;
  } else if (
    error instanceof UnsupportedError ||
    error instanceof Deno.errors.NotCapable
  ) {
    printMessage(`mountat: ${error.message}`);
    return error instanceof UnsupportedError ? status : 1;
  } else if (isSystemError(error)) {
    printMessage(`mountat: ${error.message}`);
  } else {
    throw error;
  }
  return 1;
}

/**
 * Prints failures for a program, in a line: `error` in docs/schema.json.
 *
 * @param failures The errors, the first one first; for none nothing is printed.
 * @param print Prints the line.
 */
export function reportAsJson(
  failures: readonly unknown[],
  print: (text: string) => void = printData,
): void {
  const [error, ...others] = failures.flatMap(flatten).map(toData);
  if (error === undefined) return;
  const data = { error, ...(others.length === 0 ? {} : { others }) };
  try {
    print(formatJson(data, 0));
  } catch {
    // It was said on stderr, too.
  }
}

/** Takes an error apart that came while what another had left was undone. */
function flatten(error: unknown): unknown[] {
  return error instanceof SuppressedError
    ? [...flatten(error.suppressed), ...flatten(error.error)]
    : [error];
}

function toData(failure: unknown): Record<string, unknown> {
  const { message } = failure as Error;
  if (failure instanceof MountError) {
    const { target, syscall, errno, code, hint } = failure;
    const advice = hint === undefined ? {} : { hint };
    return { message, target, syscall, errno, code, ...advice };
  }
  return isSystemError(failure) ? { message, code: failure.code } : { message };
}

/** True if an error is one that Deno has from the system, of a full disk, say. */
function isSystemError(error: unknown): error is Error & { code: string } {
  return error instanceof Error && "code" in error &&
    typeof error.code === "string";
}
/** Arguments that make no sense; the message says which. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
/**
 * Prints data as JSON, in a single line if `indent` is 0. Control characters in names are escaped, those too that
 * JSON allows: they must not steer a terminal.
 */
export function formatJson(data: unknown, indent = 2): string {
  return JSON.stringify(data, null, indent).replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) =>
      `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The most levels of deep data that are indented. */
const MOST_LEVELS = 64;

/**
 * Prints data as JSON, as deep as it may be: JSON.stringify() would overflow the
 * stack. What is very deep is indented no further, for the spaces alone would be
 * gigabytes.
 */
export function formatDeepJson(data: unknown): string {
  const printed: string[] = [];
  const waiting: (string | { value: unknown; level: number })[] = [
    { value: data, level: 0 },
  ];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (typeof next === "string") {
      printed.push(next);
      continue;
    }
    const { value, level } = next;
    const isList = Array.isArray(value);
    const entries = Object.entries(Object(value));
    if (typeof value !== "object" || entries.length === 0) {
      printed.push(formatJson(value));
      continue;
    }
    const margin = `\n${"  ".repeat(Math.min(level, MOST_LEVELS))}`;
    waiting.push(`${margin}${isList ? "]" : "}"}`);
    for (const [i, [key, inside]] of entries.entries().toArray().reverse()) {
      const before = i > 0 ? "," : isList ? "[" : "{";
      const name = isList ? "" : `${formatJson(key)}: `;
      waiting.push({ value: inside, level: level + 1 });
      waiting.push(`${before}${margin}  ${name}`);
    }
  }
  return printed.join("");
}
