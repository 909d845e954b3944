/**
 * Room `cli`: The program: a file a subcommand; words in, text out.
 */
import { UsageError } from "./print.ts";
import { printable, quote } from "../base/text.ts";
import { parseTarget, type Target } from "../options/target.ts";

/** An option of a subcommand. */
export interface OptionDescription {
  /** Its one-letter name. */
  readonly short?: string;
  /** The name of its value; an option without one is a switch. */
  readonly value?: string;
  /** Its value where it is given without one: that is written `--name=value`. */
  readonly implied?: string;
  /** True if its value may be empty. */
  readonly empty?: boolean;
  /** True if it may be given several times; the values are collected. */
  readonly repeat?: boolean;
  /** The words that its value can be, for completion. */
  readonly choices?: readonly string[];
  /** True if its value is a list of such words, separated by commas. */
  readonly list?: boolean;
  /** True if only the program gives it, to itself: no help tells of it. */
  readonly hidden?: boolean;
  /** A line for `--help`: what it does. */
  readonly help: string;
}

/**
 * The kind of an argument, for completion: a directory, a directory or file, a name
 * in the directory before it, a mount point below the first argument, something
 * that can't be known, or one of some words.
 */
export type Operand =
  | "directory"
  | "file"
  | "name"
  | "mount point"
  | "nothing"
  | readonly string[];

/**
 * The description of a subcommand: for its parser, for `--help`, the manual page
 * and the shells' completion.
 */
export interface CommandDescription {
  /** Its name. */
  readonly name: string;
  /** The ways to call it, without the program's name. */
  readonly synopsis: readonly string[];
  /**
   * A line that says what it does, and after an empty one more if need be.
   * Paragraphs are filled, lines that begin with a space stay as they are.
   */
  readonly summary: string;
  /**
   * The number of arguments before a command line. All that follows them is that
   * command's, options too.
   */
  readonly beforeCommand?: number;
  /**
   * The kinds of its arguments, in order.
   *
   * @default {["directory"]}
   */
  readonly operands?: readonly Operand[];
  /** Its options by long name; the common ones come on top of them. */
  readonly options?: Readonly<Record<string, OptionDescription>>;
  /** Calls with what they do. */
  readonly examples?: readonly { call: string; does: string }[];
}

/** The words of a call, before a subcommand makes sense of them. */
export interface Words {
  /** The arguments that are no options, in order. */
  readonly positionals: readonly string[];
  /** The switches that were given. */
  readonly switches: ReadonlySet<string>;
  /** The values of the other options, in order. */
  readonly values: Readonly<Record<string, readonly string[]>>;
}

/** The way a subcommand prints: the options that all have. */
export interface Manner {
  /** Data as JSON. */
  readonly json: boolean;
  /** Nothing but data and errors. */
  readonly quiet: boolean;
  /** The milliseconds until a terminal is told of the progress. */
  readonly progressAfter: number;
}

/** A subcommand. */
export interface Command<T = unknown> {
  readonly description: CommandDescription;
  /**
   * Makes sense of the words.
   *
   * @throws {UsageError} When there is none in them.
   */
  parse(words: Words): T;
  /** Does it, and returns the exit status. */
  run(parsed: T, manner: Manner): number | Promise<number>;
  /** The exit status of a failure that `run` throws. */
  readonly failureStatus: number;
  /**
   * The exit status of wrong usage.
   *
   * @default {1}
   */
  readonly usageStatus?: number;
}

/** The options that users are told of. */
export function shownOptions(
  options: Readonly<Record<string, OptionDescription>>,
): [name: string, option: OptionDescription][] {
  return Object.entries(options).filter(([, { hidden }]) => !hidden);
}

/** The options that every subcommand takes. */
export const COMMON_OPTIONS: Readonly<Record<string, OptionDescription>> = {
  help: { short: "h", help: "show this help" },
  json: { help: "print data as JSON" },
  quiet: { short: "q", help: "print only data and errors" },
  trace: { help: "print each system call on stderr, as strace does" },
  version: { help: "show the version" },
};

/**
 * Takes the words of a call apart.
 *
 * @throws {UsageError} For an unknown option, one without its value, one that is
 * given twice.
 */
export async function parseWords(
  { options = {}, beforeCommand = Infinity }: CommandDescription,
  args: readonly string[],
): Promise<Words> {
  // Most calls give no option: they need not load the parser.
  if (!args.some((arg) => arg.startsWith("-"))) {
    return { positionals: args, switches: new Set(), values: {} };
  }
  const all = { ...COMMON_OPTIONS, ...options };
  const names = Object.keys(all);
  const valued = names.filter((name) => all[name]!.value !== undefined);
  const [before, rest] = joinValues(args, all, beforeCommand);
  // The parser keeps the other words under this name, among single letters too.
  const taken = before.find((arg) =>
    /^(--_(?![\w-])|-(?!-)[^=]*_|-=)/.test(arg)
  );
  if (taken !== undefined) {
    throw new UsageError(`Unknown option ${quote(taken)}`);
  }
  const given = before.map((arg) => /^-(?:-([^=]+)|([^-=]))=/.exec(arg));
  const valueless = names.find((name) =>
    !valued.includes(name) &&
    given.some((found) =>
      found !== null &&
      (found[1] === name ||
        found[2] !== undefined && found[2] === all[name]!.short)
    )
  );
  if (valueless !== undefined) {
    throw new UsageError(`Option --${valueless} takes no value`);
  }
  const { parseArgs } = await import("@std/cli/parse-args");
  let unknown: string | undefined;
  const parsed = parseArgs(before, {
    alias: Object.fromEntries(
      names.flatMap((name) => {
        const { short } = all[name]!;
        return short === undefined ? [] : [[name, short]];
      }),
    ),
    boolean: names.filter((name) => !valued.includes(name)),
    collect: valued,
    string: ["_", ...valued],
    unknown(arg, key) {
      if (key === undefined) return true;
      unknown ??= arg;
      return false;
    },
  });
  if (unknown !== undefined) {
    const { nearest } = await import("../base/check.ts");
    throw new UsageError(
      `Unknown option ${quote(unknown)}${
        nearest(
          unknown.replace(/=.*$/s, ""),
          shownOptions(all).map(([name]) => `--${name}`),
        )
      }`,
    );
  }
  const values: Record<string, string[]> = {};
  for (const name of valued) {
    const given: string[] = parsed[name];
    if (given.length === 0) continue;
    if (given.includes("") && !all[name]!.empty) {
      throw new UsageError(`Option --${name} needs a value`);
    }
    if (given.length > 1 && !all[name]!.repeat) {
      throw new UsageError(`Option --${name} is given more than once`);
    }
    values[name] = given;
  }
  return {
    positionals: [...parsed._, ...rest],
    switches: new Set(
      names.filter((name) => !valued.includes(name) && parsed[name] === true),
    ),
    values,
  };
}

/**
 * Joins each option to its value, which may begin with a dash, and keeps apart
 * what is no option whatever it looks like.
 */
function joinValues(
  args: readonly string[],
  options: Readonly<Record<string, OptionDescription>>,
  beforeCommand: number,
): [before: string[], rest: string[]] {
  const names = new Map(
    Object.entries(options).flatMap(([name, { short, value }]) =>
      value === undefined ? [] : [
        [`--${name}`, name],
        ...short === undefined ? [] : [[
          `-${short}`,
          name,
        ]],
      ] as [string, string][]
    ),
  );
  const before: string[] = [];
  let positionals = 0;
  for (let at = 0; at < args.length; at++) {
    const arg = args[at]!;
    if (arg === "--") return [before, args.slice(at + 1)];
    if (!arg.startsWith("-") || arg === "-") {
      if (positionals++ === beforeCommand) return [before, args.slice(at)];
      before.push(arg);
      continue;
    }
    const long = names.get(arg);
    const short = arg.startsWith("--") ? undefined : names.get(arg.slice(0, 2));
    const implied = long === undefined ? undefined : options[long]!.implied;
    if (implied !== undefined) {
      before.push(`--${long}=${implied}`);
    } else if (long !== undefined && at + 1 < args.length) {
      before.push(`--${long}=${args[++at]}`);
    } else if (long !== undefined) {
      throw new UsageError(`Option --${long} needs a value`);
    } else if (short !== undefined) {
      before.push(`--${short}=${arg.slice(2).replace(/^=/, "")}`);
    } else {
      before.push(arg);
    }
  }
  return [before, []];
}

/**
 * Checks how many positional arguments there are.
 *
 * @throws {UsageError} When there are too few or too many.
 */
export function expectPositionals(
  { name, synopsis }: CommandDescription,
  positionals: readonly string[],
  least: number,
  most: number,
): void {
  if (positionals.length < least) {
    throw new UsageError(
      `Usage: mountat ${synopsis.join(`\n   or: mountat `)}`,
    );
  }
  if (positionals.length > most) {
    const excess = positionals.slice(most).map(quote).join(" ");
    throw new UsageError(`Too many arguments for ${name}: ${excess}`);
  }
  const empty = positionals.slice(0, most).indexOf("");
  if (empty !== -1 && empty < least) {
    throw new UsageError(`Argument ${empty + 1} is empty`);
  }
}

/**
 * Checks an argument that is a target.
 *
 * @throws {UsageError} When its text can be none.
 */
export function parseTargetArgument(text: string): Target {
  if (text.startsWith("/")) {
    throw new UsageError(
      `A name must be relative to its directory, not absolute: ${
        quote(text)
      }. Write a mount point as a directory and a name in it, such as /srv/root tmp`,
    );
  }
  return checkArguments(() => parseTarget(text));
}

/**
 * Checks arguments as the library does.
 *
 * @throws {UsageError} For what it would refuse before any system call.
 */
export function checkArguments<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    const refused = error instanceof TypeError || error instanceof RangeError;
    throw refused ? new UsageError(printable(error.message)) : error;
  }
}
