import { programTest, run } from "../support/program.ts";
import { assert, assertEquals } from "@std/assert";
import {
  gatedTest,
  missingCommand,
  missingPermission,
  ROOT,
} from "../support/testing.ts";
import type { CommandDescription } from "../../src/cli/command.ts";
import { formatManual } from "../../src/cli/help.ts";

/** Runs a program on a manual page; what it prints on stderr comes first. */
function process(command: string[], page: string): [string, string] {
  const path = Deno.makeTempFileSync();
  try {
    Deno.writeTextFileSync(path, page);
    const [program, ...args] = command;
    const { stdout, stderr } = new Deno.Command(program!, {
      args: [...args, path],
      env: { LC_ALL: "C" },
    }).outputSync();
    const text = new TextDecoder();
    return [text.decode(stderr), text.decode(stdout)];
  } finally {
    Deno.removeSync(path);
  }
}

/** What a reader sees, words alone. */
function read(page: string): string {
  const [, text] = process(["mandoc", "-T", "ascii", "-O", "width=1000"], page);
  // Overstriking is how a terminal without colours shows bold and italics.
  // deno-lint-ignore no-control-regex
  return text.replace(/.\x08/g, "").replace(/\s+/g, " ");
}

programTest("help --man prints what man/mountat.1 is", () => {
  const { code, stdout, stderr } = run(["help", "--man"]);
  assertEquals([code, stderr], [0, ""]);
  const committed = Deno.readTextFileSync(`${ROOT}man/mountat.1`);
  assertEquals(stdout, committed, "Run deno task man");
});

gatedTest(
  "man/mountat.1 has no mistake that groff or mandoc finds",
  missingPermission(["write"]) ?? missingCommand(["groff", "mandoc"]),
  () => {
    const page = Deno.readTextFileSync(`${ROOT}man/mountat.1`);
    assertEquals(process(["groff", "-man", "-ww", "-z"], page)[0], "");
    const found = process(["mandoc", "-T", "lint"], page).join("").trim();
    // It changes with the descriptions, and they have no date.
    assertEquals(found.replace(/^.*missing date.*$/m, ""), "");
  },
);

const ODD: CommandDescription = {
  name: "odd",
  synopsis: ["odd --this|--that [-o <list>] <one directory> [name]"],
  summary: `Do "it"

'Begins with a quote, and goes on so that the next line begins with a name like
.dot that is no request. A backslash is \\, \\fB is no bold; ~ ^ \` and 'this' stay.
  .literal  \\e 'x'
  - dash`,
  options: {
    mkdir: { short: "m", value: "mode", implied: "1", help: ".x is made" },
  },
  examples: [{ call: "odd 'a\\b' --x=~", does: "it's \\done" }],
};

gatedTest(
  "formatManual() lets every character through",
  missingPermission(["write"]) ?? missingCommand(["groff", "mandoc"]),
  () => {
    const page = formatManual([ODD]);
    assertEquals(process(["groff", "-man", "-ww", "-z"], page)[0], "");
    const text = read(page);
    for (
      const words of [
        "mountat odd --this|--that [-o list] one directory [name]",
        `Do "it".`,
        "'Begins with a quote, and",
        "a name like .dot that is no request.",
        "A backslash is \\, \\fB is no bold; ~ ^ ` and 'this' stay.",
        ".literal \\e 'x' - dash",
        "-m, --mkdir[=mode] .x is made.",
        "odd 'a\\b' --x=~ It's \\done.",
      ]
    ) {
      assert(text.includes(words), `${words}\n${text}`);
    }
  },
);

programTest("man/mountat.1 has all that --help tells", () => {
  const page = read(Deno.readTextFileSync(`${ROOT}man/mountat.1`));
  const overview = run(["--help"]).stdout;
  const names = [...overview.matchAll(/^ {2}([a-z][\w-]+) {2,}\S/gm)]
    .map(([, name]) => name!);
  for (const name of ["", ...names]) {
    const help = name === "" ? overview : run([name, "--help"]).stdout;
    const [, ...parts] = help.replaceAll(/<([^<>\n]+)>/g, "$1").split("\n\n");
    for (const part of parts) {
      if (part.startsWith("Subcommands")) continue;
      for (const row of part.split("\n")) {
        if (row === "Options:" || row === "Examples:") continue;
        const words = row.trim().split(/ {2,}/).map((cell) =>
          // Capital or not, depends on what is before it.
          cell.replace(/^[a-z]/i, "")
        );
        for (const word of words) {
          assert(page.includes(word), `${name}: ${word}`);
        }
      }
    }
  }
}, { commands: ["mandoc"] });
