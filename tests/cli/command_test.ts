import {
  type CommandDescription,
  expectPositionals,
  parseWords,
} from "../../src/cli/command.ts";
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { formatHelp, formatManual } from "../../src/cli/help.ts";
import { UsageError } from "../../src/cli/print.ts";
import { toSubcommand } from "../../src/cli/completions.ts";

const description: CommandDescription = {
  name: "thing",
  synopsis: ["thing [options] <what>"],
  summary: "Do a thing",
  options: {
    lazy: { short: "l", help: "take time" },
    options: { short: "o", value: "list", repeat: true, help: "options" },
    depth: { value: "n", help: "how deep" },
  },
};

function words(...args: string[]) {
  return parseWords(description, args);
}

Deno.test("parseWords() keeps arguments as they were written", async () => {
  const { positionals } = await words("007", "1e3", "true", "--lazy", "0x10");
  assertEquals(positionals, ["007", "1e3", "true", "0x10"]);
});

Deno.test("parseWords() tells switches from options with values", async () => {
  const parsed = await words(
    "-l",
    "a",
    "-o",
    "ro",
    "--options=x=1,y",
    "b",
    "--depth",
    "007",
  );
  assertEquals(parsed.positionals, ["a", "b"]);
  assertEquals([...parsed.switches], ["lazy"]);
  assertEquals(parsed.values, { options: ["ro", "x=1,y"], depth: ["007"] });
});

Deno.test("parseWords() gives an option its value where it has none", async () => {
  const implied: CommandDescription = {
    ...description,
    options: { mkdir: { short: "m", value: "mode", implied: "1", help: "" } },
  };
  for (
    const [args, mkdir, positionals] of [
      [["--mkdir", "a"], ["1"], ["a"]],
      [["a", "-m"], ["1"], ["a"]],
      [["--mkdir=2", "a"], ["2"], ["a"]],
      [["-m2", "a"], ["2"], ["a"]],
      [["--", "--mkdir"], undefined, ["--mkdir"]],
    ] as const
  ) {
    const parsed = await parseWords(implied, args);
    assertEquals(parsed.positionals, positionals);
    assertEquals(parsed.values["mkdir"], mkdir);
  }
  assertEquals(formatHelp(implied).includes("-m, --mkdir[=<mode>] "), true);
});

Deno.test("parseWords() gives an option an empty value where it may have one", async () => {
  const empty: CommandDescription = {
    ...description,
    options: { what: { short: "w", value: "what", empty: true, help: "" } },
  };
  for (const args of [["-w", ""], ["--what", "", "-q"], ["--what="]]) {
    assertEquals((await parseWords(empty, args)).values, { what: [""] });
  }
  for (const args of [["-w"], ["-q", "--what"]]) {
    await assertRejects(
      () => parseWords(empty, args),
      UsageError,
      "Option --what needs a value",
    );
  }
});

Deno.test("parseWords() takes what follows -- as it is", async () => {
  const parsed = await words("--lazy", "a", "--", "--lazy", "-x");
  assertEquals(parsed.positionals, ["a", "--lazy", "-x"]);
});

Deno.test("parseWords() takes for a value what follows, dash or not", async () => {
  for (
    const args of [
      ["--depth", "-", "a"],
      ["--depth=-", "a"],
      ["-o", "-x", "--depth", "--lazy", "a"],
      ["-o-x", "a", "--depth", "--lazy"],
      ["-o=-x", "--depth=--lazy", "--", "a"],
    ]
  ) {
    const { positionals, switches, values } = await words(...args);
    const depth = args.includes("-o") || args[0]!.startsWith("-o")
      ? { options: ["-x"], depth: ["--lazy"] }
      : { depth: ["-"] };
    assertEquals([positionals, switches.size, values], [["a"], 0, depth]);
  }
});

Deno.test("parseWords() leaves a command its options", async () => {
  const command = { ...description, beforeCommand: 1 };
  for (
    const args of [["root", "ls", "-l", "--", "--nope"], [
      "--lazy",
      "root",
      "--",
      "ls",
      "-l",
      "--",
      "--nope",
    ]]
  ) {
    const { positionals, switches } = await parseWords(command, args);
    assertEquals(positionals, ["root", "ls", "-l", "--", "--nope"]);
    assertEquals(switches.has("lazy"), args[0] === "--lazy");
  }
});

Deno.test("parseWords() takes the common options", async () => {
  const { switches } = await words("--json", "-q", "--trace");
  assertEquals([...switches].sort(), ["json", "quiet", "trace"]);
});

Deno.test("parseWords() throws when an option makes no sense", async () => {
  for (
    const [args, message] of [
      [["--nope"], "Unknown option"],
      [["--lzay"], 'Unknown option "--lzay"; did you mean "--lazy"?'],
      [["--dept=1"], '"--dept=1"; did you mean "--depth"?'],
      [["-lazy"], 'Unknown option "-lazy"; did you mean "--lazy"?'],
      [["--_", "a"], "Unknown option"],
      [["-_=a"], "Unknown option"],
      [["-_x"], "Unknown option"],
      [["-q_", "a"], "Unknown option"],
      [["-=_"], "Unknown option"],
      [["--_.x"], "Unknown option"],
      [["--depth"], "needs a value"],
      [["--lazy=no", "a"], "--lazy takes no value"],
      [["-l=no"], "--lazy takes no value"],
      [["a", "--json=1"], "--json takes no value"],
      [["--depth", "1", "--depth", "2"], "more than once"],
    ] as const
  ) {
    await assertRejects(() => words(...args), UsageError, message);
  }
});

Deno.test("expectPositionals() counts", () => {
  expectPositionals(description, ["a"], 1, 1);
  assertThrows(
    () => expectPositionals(description, [], 1, 1),
    UsageError,
    "Usage: mountat thing",
  );
  assertThrows(
    () => expectPositionals(description, ["a", "b"], 1, 1),
    UsageError,
    '"b"',
  );
  assertThrows(
    () => expectPositionals(description, [""], 1, 1),
    UsageError,
    "empty",
  );
});

Deno.test("formatHelp() lists every option", () => {
  const help = formatHelp(description);
  for (
    const option of [
      "-l, --lazy ",
      "-o, --options <list> ",
      "    --depth <n> ",
      "--trace",
    ]
  ) {
    assertEquals(help.includes(option), true, help);
  }
});

Deno.test("an option that is hidden is taken, and told of nowhere", async () => {
  const hiding: CommandDescription = {
    ...description,
    options: { secret: { value: "n", hidden: true, help: "of the program" } },
  };
  const { values } = await parseWords(hiding, ["--secret=1"]);
  assertEquals(values, { secret: ["1"] });
  const { message } = await assertRejects(
    () => parseWords(hiding, ["--secre=1"]),
    UsageError,
  );
  const told = [
    message,
    formatHelp(hiding),
    formatManual([hiding]),
    JSON.stringify(toSubcommand(hiding)),
  ];
  assertEquals(told.filter((text) => /secret|of the program/.test(text)), []);
});
