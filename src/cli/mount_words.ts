/** What `mount`, `bind` and `remount` share. */
import { GENERIC_OPTIONS } from "../mount_options.ts";
import type { OptionDescription, Words } from "./command.ts";
import { UsageError } from "./usage_error.ts";

/** The words that `--make-*` may end in. */
const PROPAGATIONS = ["private", "shared", "slave", "unbindable"]
  .flatMap((word) => [word, `r${word}`]);

/** Options of all three. */
export const COMMON: Readonly<Record<string, OptionDescription>> = {
  options: {
    short: "o",
    value: "list",
    repeat: true,
    choices: GENERIC_OPTIONS,
    list: true,
    help: "options as mount(8) spells them, separated by commas",
  },
  "read-only": { short: "r", help: "make it read-only" },
  ...Object.fromEntries(PROPAGATIONS.map((word) => [
    `make-${word}`,
    {
      help: word.startsWith("r")
        ? `make it and what is mounted below ${word.slice(1)}`
        : `make it ${word}`,
    },
  ])),
};

/** Options of those that mount. */
export const PLACING: Readonly<Record<string, OptionDescription>> = {
  beneath: { help: "put it beneath what is topmost there" },
  mkdir: {
    short: "m",
    value: "mode",
    implied: "0755",
    help: "make the mount point where it is missing, by default with 0755",
  },
};

/**
 * The words that the options mean.
 *
 * @throws {UsageError} For several propagations.
 */
export function parseCommon(
  { switches, values }: Words,
): { options: string; readonly?: true } {
  const made = PROPAGATIONS.filter((word) => switches.has(`make-${word}`));
  if (made.length > 1) {
    throw new UsageError(
      `Only one of ${made.map((word) => `--make-${word}`).join(", ")}`,
    );
  }
  return {
    options: [...values["options"] ?? [], ...made].join(","),
    ...(switches.has("read-only") ? { readonly: true } : {}),
  };
}

/**
 * Where and how it is mounted.
 *
 * @throws {UsageError} For a mode that is none.
 */
export function parsePlacing(
  { switches, values }: Words,
): { mkdir?: number; beneath: boolean } {
  const [mode] = values["mkdir"] ?? [];
  if (mode !== undefined && !/^[0-7]{1,4}$/.test(mode)) {
    throw new UsageError(`The mode must be octal, like 0755: "${mode}"`);
  }
  return {
    beneath: switches.has("beneath"),
    ...(mode === undefined ? {} : { mkdir: parseInt(mode, 8) }),
  };
}
