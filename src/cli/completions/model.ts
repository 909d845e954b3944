/** What the shells' scripts are made of. */
import {
  type CommandDescription,
  COMMON_OPTIONS,
  type Operand,
  type OptionDescription,
  shownOptions,
} from "../command.ts";

/** What a word can be. */
export type Kind =
  | Exclude<Operand, readonly string[]>
  | "type"
  | "words";

/** What is expected at some place. */
export interface Expected {
  readonly kind: Kind;
  /** Those of the kind `words`. */
  readonly words: readonly string[];
  /** Whether there may be several, separated by commas. */
  readonly list: boolean;
}

/** An option to complete. */
export interface Option {
  /** How it is written: the long name, then the short one. */
  readonly names: readonly string[];
  /** What it does. */
  readonly help: string;
  /** Whether it may be given several times. */
  readonly repeat: boolean;
  /** What its value is called and is; null for a switch. */
  readonly value: string | null;
  readonly expected: Expected;
  /** Whether its value may be missing, and is in the same word else. */
  readonly optional: boolean;
}

/** A subcommand to complete. */
export interface Subcommand {
  readonly name: string;
  /** What it does, in a line. */
  readonly help: string;
  readonly options: readonly Option[];
  readonly operands: readonly Expected[];
  /** How many arguments precede a command line. */
  readonly beforeCommand: number | null;
}

/** The subcommand that a directory stands for. */
export const DEFAULT = "bb_mounter_at";

/** The kinds of values that are called so. */
const VALUE_KINDS: Readonly<Record<string, Kind>> = {
  directory: "directory",
  file: "file",
  path: "file",
  type: "type",
  types: "type",
};

/** Takes from a description what completion needs of it. */
export function toSubcommand(description: CommandDescription): Subcommand {
  const { name, summary, options, operands, beforeCommand } = description;
  return {
    name,
    help: summary.split("\n")[0]!,
    options: shownOptions({ ...options, ...COMMON_OPTIONS }).map(toOption),
    operands: (operands ?? ["directory"]).map((operand) =>
      typeof operand === "string"
        ? { kind: operand, words: [], list: false }
        : { kind: "words", words: operand, list: false }
    ),
    beforeCommand: beforeCommand ?? null,
  };
}

function toOption(
  [name, option]: [string, OptionDescription],
): Option {
  const { short, value, implied, repeat, choices, list, help } = option;
  return {
    names: [`--${name}`, ...short === undefined ? [] : [`-${short}`]],
    help,
    repeat: repeat === true,
    value: value ?? null,
    expected: {
      kind: choices === undefined
        ? VALUE_KINDS[value ?? ""] ?? "nothing"
        : "words",
      words: choices ?? [],
      list: list === true,
    },
    optional: implied !== undefined,
  };
}
