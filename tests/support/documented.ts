/** The commands that the documentation has, checked by what would take them. */
import { ROOT } from "./testing.ts";
import { assert, assertEquals } from "@std/assert";
import {
  type Command,
  COMMON_OPTIONS,
  parseWords,
} from "../../src/cli/command.ts";
import { help } from "../../src/cli/help.ts";
import { completions } from "../../src/cli/completions.ts";
import config from "../../deno.json" with { type: "json" };

const { name: NAME, tasks: TASKS } = config;

/** The names of the subcommands, as `cli.ts` has them. */
export function subcommands(): readonly string[] {
  return [
    ...Deno.readTextFileSync(`${ROOT}cli.ts`)
      .matchAll(/^ {2}"?([\w-]+)"?: async \(\) =>/gm),
  ].map(([, name]) => name!);
}

/** What the stand-ins of {@linkcode callsIn} are called. */
const PROGRAMS = ["deno", "git", "jq", "mktemp", "mountat", "npx", "sudo"];

/**
 * Runs a script with stand-ins for all programs, and gives how they were called.
 * It fails where it calls another.
 */
export function callsIn(script: string): string[][] {
  const directory = Deno.makeTempDirSync();
  try {
    for (const name of PROGRAMS) {
      Deno.writeTextFileSync(
        `${directory}/${name}`,
        `#!/bin/sh\nprintf '%s\\0' ${name} "$@" '\n' >> "$CALLS"\n`,
        { mode: 0o755 },
      );
    }
    const { success, stderr } = new Deno.Command("/bin/sh", {
      args: ["-euc", script],
      clearEnv: true,
      cwd: directory,
      env: { CALLS: `${directory}/calls`, PATH: directory },
      stdin: "null",
    }).outputSync();
    assert(success, script + new TextDecoder().decode(stderr));
    return Deno.readTextFileSync(`${directory}/calls`).split("\0\n\0")
      .slice(0, -1).map((call) => call.split("\0"));
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/**
 * Checks a call.
 *
 * @param whole Whether all its arguments are there.
 */
export async function checkCall(
  [program, ...args]: readonly string[],
  whole: boolean,
): Promise<void> {
  switch (program) {
    case "mountat":
      return await checkProgramCall(args, whole);
    case "deno":
      return await checkDenoCall(args, whole);
    case "npx":
      assertEquals(args[0], "-y");
      assert(/^deno@[\d.]+$/.test(args[1]!), args[1]);
      return await checkCall(["deno", ...args.slice(2)], whole);
    case "sudo":
      assertEquals(args[0], "env");
      return await checkCall(args.slice(2), whole);
    case "git":
    case "jq":
    case "mktemp":
      return;
    default:
      Deno.statSync(ROOT + program);
  }
}

async function checkDenoCall(
  [subcommand, ...args]: readonly string[],
  whole: boolean,
): Promise<void> {
  const at = args.findIndex((arg) => !arg.startsWith("-"));
  const operand = args[at];
  switch (subcommand) {
    case "task":
      return assert(Object.hasOwn(TASKS, operand!), `No task ${operand}`);
    case "run":
      if (operand === `jsr:${NAME}/runner`) {
        return await checkProgramCall(
          ["runner", ...args.slice(at + 1)],
          whole,
        );
      }
      if (operand !== `jsr:${NAME}`) {
        assert(["mod.ts", "cli.ts"].includes(operand!), operand);
      }
      return await checkProgramCall(args.slice(at + 1), whole);
    case "install":
      // From a clone: the test of the delivery has the same words.
      if (operand === "mod.ts") return;
      return assertEquals(operand, `jsr:${NAME}`);
    case "add":
      return assertEquals(operand, `jsr:${NAME}`);
    case "bundle":
    case "test":
      if (operand !== undefined) Deno.statSync(ROOT + operand);
      return;
    default:
      throw new Error(`Nobody knows deno ${subcommand}`);
  }
}

async function checkProgramCall(
  args: readonly string[],
  whole: boolean,
): Promise<void> {
  const [first] = args;
  if (first === undefined) return;
  const isSubcommand = subcommands().includes(first);
  // Not what the program would take for a directory.
  assert(isSubcommand || /[/<]|^DIR$/.test(first), `No subcommand ${first}`);
  const name = isSubcommand ? first : "bb_mounter_at";
  const command = await loadSubcommand(name);
  const words = await parseWords(
    command.description,
    isSubcommand ? args.slice(1) : args,
  );
  if (whole) command.parse(words);
}

/**
 * Checks an option that is named without a call, perhaps with a value that is
 * called in capital letters; a star stands for the rest of several.
 */
export async function checkOption(
  subcommand: string,
  text: string,
): Promise<void> {
  const { description: { options } } = await loadSubcommand(subcommand);
  const known = Object.entries({ ...COMMON_OPTIONS, ...options })
    .flatMap(([name, { short }]) => [`--${name}`, `-${short}`]);
  const [, start, star] = /^(--?[\w-]+)(\*?)(?:\[?=[A-Z]+\]?)?$/.exec(text) ??
    [];
  assert(
    start !== undefined &&
      known.some((name) => star ? name.startsWith(start) : name === start),
    `${subcommand} has no option ${text}`,
  );
}

/** A subcommand, loaded as `cli.ts` does it. */
export async function loadSubcommand(name: string): Promise<Command> {
  const describe = () => Promise.resolve([]);
  if (name === "help") return help(subcommands(), describe);
  if (name === "completions") return completions(describe);
  const [, path, exported] = new RegExp(
    `^ {2}"?${name}"?: async \\(\\) =>\\s*\\(await import\\("\\./(.*)"\\)\\)\\.(\\w+)`,
    "m",
  ).exec(Deno.readTextFileSync(`${ROOT}cli.ts`)) ?? [];
  assert(exported !== undefined, `No subcommand ${name}`);
  return (await import(`../../${path}`))[exported];
}
