/**
 * The program: `mountat <directory> [delay]` and its subcommands.
 *
 * ```sh
 * deno run --allow-ffi jsr:@meroton/mountat /srv/root 5
 * ```
 *
 * @module
 */
import {
  type Command,
  type CommandDescription,
  parseWords,
} from "./src/cli/command.ts";
import {
  printData,
  printMessage,
  report,
  reportAsJson,
} from "./src/cli/print.ts";
import { quote } from "./src/base/text.ts";
import { merged } from "./src/cli/merged.ts";
import { runProgram } from "./src/program.ts";

/** The subcommands; each is loaded when it is called for. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  mount: async () => (await import("./src/cli/mount.ts")).mount,
  bind: async () => (await import("./src/cli/bind.ts")).bind,
  umount: async () => (await import("./src/cli/umount.ts")).umount,
  remount: async () => (await import("./src/cli/remount.ts")).remount,
  move: async () => (await import("./src/cli/move.ts")).move,
  apply: async () => (await import("./src/cli/apply.ts")).apply,
  list: async () => (await import("./src/cli/list.ts")).list,
  run: async () => (await import("./src/cli/run.ts")).run,
  runner: async () => (await import("./src/cli/runner.ts")).runner,
  sweep: async () => (await import("./src/cli/sweep.ts")).sweep,
  doctor: async () => (await import("./src/cli/doctor.ts")).doctor,
  bb_mounter_at: async () =>
    (await import("./src/cli/bb_mounter_at.ts")).bbMounterAt,
  bb_mounter: async () => (await import("./src/cli/bb_mounter.ts")).bbMounter,
  "relative-mount": async () =>
    (await import("./src/cli/relative.ts")).relativeMount,
  "relative-unmount": async () =>
    (await import("./src/cli/relative.ts")).relativeUnmount,
  completions: async () =>
    (await import("./src/cli/completions.ts")).completions(describeAll),
  help: async () =>
    (await import("./src/cli/help.ts")).help(
      Object.keys(COMMANDS),
      describeAll,
    ),
};

async function describeAll(): Promise<CommandDescription[]> {
  return await Promise.all(
    Object.values(COMMANDS).map(async (load) => (await load()).description),
  );
}

/**
 * Runs the program.
 *
 * A first argument that is the name of a subcommand is one; a directory of such
 * a name is written `./list`. Anything else is `bb_mounter_at`. When it is done,
 * exit: what nobody reads may still wait to be written.
 *
 * @param args The arguments.
 * @returns The exit status: 0 when it was done, 1 for wrong usage, a missing
 * permission or, of `bb_mounter_at`, any failure; of `run` 125 for those.
 */
export async function main(args: string[]): Promise<number> {
  // Deno puts this in place of bytes that are not UTF-8.
  if (args.some((arg) => arg.includes("\ufffd"))) {
    const { exactArguments } = await import("./src/cli/arguments.ts");
    args = exactArguments(args);
  }
  const [word, rest] = splitSubcommand(args);
  try {
    return await runCommand(word, rest);
  } catch (error) {
    return report(error, 1, word);
  }
}

/**
 * The subcommand, which the common switches may precede, and the other
 * arguments; an empty word where there is none.
 */
function splitSubcommand(args: string[]): [word: string, rest: string[]] {
  const at = args.findIndex((arg) => !COMMON_SWITCHES.includes(arg));
  const word = args[at];
  const isWord = word !== undefined &&
    Object.hasOwn(COMMANDS, word);
  return isWord ? [word, args.toSpliced(at, 1)] : ["", args];
}

/** Switches that may come before a subcommand. */
const COMMON_SWITCHES = ["--json", "--quiet", "-q", "--trace"];

async function runCommand(word: string, args: string[]): Promise<number> {
  const name = word || "bb_mounter_at";
  const [command] = await Promise.all([
    COMMANDS[name]!(),
    // bb_mounter_at loads it only if something fails.
    ...name === "bb_mounter_at" ? [] : [import("./src/late.ts")],
  ]);
  try {
    return await runLoaded(command, word, args);
  } catch (error) {
    const status = report(error, 1, word);
    if (status !== 0 && asksForJson(word, args)) reportFor(word, error);
    return status && (command.usageStatus ?? status);
  }
}

async function runLoaded(
  command: Command,
  word: string,
  args: string[],
): Promise<number> {
  if (word === "" && !await meansDirectory(args)) return 1;
  const words = await parseWords(command.description, args);
  if (words.switches.has("help")) {
    const { formatHelp, formatOverview } = await import("./src/cli/help.ts");
    printData(
      word === ""
        ? formatOverview(await describeAll())
        : formatHelp(command.description),
    );
    return 0;
  }
  if (words.switches.has("version")) {
    const { default: { version } } = await import("./deno.json", {
      with: { type: "json" },
    });
    printData(`mountat ${version}`);
    return 0;
  }
  const { switches } = words;
  const silent = ["json", "quiet", "trace"].some((name) => switches.has(name));
  const manner = {
    json: switches.has("json"),
    quiet: switches.has("quiet"),
    progressAfter: silent ? Infinity : 1000,
  };
  if (word === "" && words.positionals.length === 0) {
    const { UsageError } = await import("./src/cli/print.ts");
    const { formatUsage, PROGRAM } = await import("./src/cli/help.ts");
    throw new UsageError(formatUsage(PROGRAM.synopsis));
  }
  const parsed = command.parse(words);
  using _trace = words.switches.has("trace") ? await traceToStderr() : null;
  try {
    return await command.run(parsed, manner);
  } catch (error) {
    const status = report(error, command.failureStatus, word);
    if (manner.json && status !== 0) reportFor(word, error);
    return status;
  }
}

/** Prints what went wrong as JSON; with `run` stdout is the command's. */
function reportFor(word: string, error: unknown): void {
  reportAsJson([error], word === "run" ? printMessage : printData);
}

/** True if arguments ask for JSON, which may be none that can be parsed. */
function asksForJson(word: string, args: readonly string[]): boolean {
  const end = args.findIndex((arg) =>
    // The words after it are the command.
    word === "run" ? !arg.startsWith("-") : arg === "--"
  );
  return args.slice(0, end === -1 ? undefined : end).includes("--json");
}

/**
 * Finds out if a directory is meant that is not there and is spelt like a
 * subcommand: a person is asked.
 *
 * @throws {UsageError} Where nobody can be.
 */
async function meansDirectory(args: readonly string[]): Promise<boolean> {
  const directory = args.find((arg) => !arg.startsWith("-"));
  if (directory === undefined) return true;
  // Behind "--" is no subcommand either.
  if (directory.includes("/") || args.includes("--")) return true;
  const { likelySubcommand } = await import("./src/cli/arguments.ts");
  const name = likelySubcommand(directory, Object.keys(COMMANDS));
  if (name === null) return true;
  const question = `${
    quote(directory)
  } is not a subcommand, and there is no such directory; did you mean "mountat ${name}"?`;
  if (Deno.stdin.isTerminal() && Deno.stdout.isTerminal()) {
    return confirm(`${question} Make the directory and mount in it?`);
  }
  const { UsageError } = await import("./src/cli/print.ts");
  throw new UsageError(
    `${question} To make a directory of that name, write ${
      quote(`./${directory}`)
    }`,
  );
}

async function traceToStderr(): Promise<Disposable> {
  const { trace } = await import("./src/sys/strace.ts");
  return trace(printMessage);
}

// Not awaited: a module that awaits can't be bundled as a script.
if (import.meta.main && !merged) {
  runProgram(import.meta.url, main);
}
