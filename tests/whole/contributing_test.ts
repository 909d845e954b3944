import { readTest, ROOT, SCRATCH } from "../support/testing.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { programTest } from "../support/program.ts";
import { succeed } from "../distribution/process.ts";

/** What CONTRIBUTING.md says. */
function text(): string {
  return Deno.readTextFileSync(`${ROOT}CONTRIBUTING.md`);
}

/** A block of a recipe. */
interface Block {
  file: string;
  /** The table that it is rows of; without one it is a file, or its end. */
  table: string | undefined;
  text: string;
}

/** The blocks of its recipes. */
function blocks(): Block[] {
  return [
    ...text().matchAll(/^```ts\n\/\/ (\S+?)(?:, in (.+))?\n([^]*?)^```$/gm),
  ].map(([, file, table, text]) => ({ file: file!, table, text: text! }));
}

/** Does what a block says in a copy of the repository. */
function apply(copy: string, { file, table, text }: Block): void {
  const path = `${copy}/${file}`;
  if (table === undefined) {
    Deno.writeTextFileSync(path, text, { append: true });
    return;
  }
  const lines = Deno.readTextFileSync(path).split("\n");
  const at = lines.findIndex((line) =>
    line.includes(table) && /[{[]$/.test(line)
  );
  assert(at !== -1, `${file} has no ${table}`);
  Deno.writeTextFileSync(path, lines.toSpliced(at + 1, 0, text).join("\n"));
}

readTest("CONTRIBUTING.md has its recipes", () => {
  assertEquals(blocks().map(({ file }) => file), [
    "src/sys/calls.ts",
    "src/sys/file.ts",
    "src/sys/mod.ts",
    "tests/sys/syncfs_test.ts",
    "src/options/mount_options.ts",
    "tests/options/mount_options_test.ts",
    "src/cli/count.ts",
    "cli.ts",
    "tests/cli/examples_test.ts",
    "tests/cli/count_test.ts",
  ]);
});

programTest(
  "CONTRIBUTING.md's recipes pass the checks that they name",
  async () => {
    const recipes = blocks();
    const copy = `${SCRATCH}/copy`;
    Deno.mkdirSync(copy);
    const parts = [
      "cli.ts",
      "deno.json",
      "deno.lock",
      "mod.ts",
      "runner.ts",
      "src",
    ]
      .concat(["docs", "man", "tests", "third_party", "tools"])
      .concat(["README.md"]).map((name) => ROOT + name);
    await succeed(["cp", "-r", ...parts, copy]);
    for (const block of recipes) apply(copy, block);
    const deno = (...args: string[]) =>
      succeed([Deno.execPath(), ...args], {
        cwd: copy,
      });
    const files = (tables: boolean) =>
      recipes.filter(({ table }) => tables || table === undefined)
        .map(({ file }) => file).filter((file) => file !== "src/sys/mod.ts");
    await deno("fmt", "--check", ...files(false));
    await deno("fmt", "--quiet", ...files(true));
    await deno("task", "--quiet", "man");
    const tests = files(true).filter((file) => file.endsWith("_test.ts"));
    const numbers = ["--filter", "CALLS equals"];
    const headers = "tests/sys/headers_test.ts";
    // What goes through all subcommands.
    const named = ["--filter", "/README.md's table|every subcommand|manual/"];
    const alls = ["whole/docs", "cli/streams", "cli/man"]
      .map((name) => `tests/${name}_test.ts`);
    // Types are checked once, for all.
    const test = ["test", "-A", "--no-check"];
    const [added, compared] = await Promise.all([
      deno(...test, ...tests),
      deno(...test, ...numbers, headers),
      deno(...test, ...named, ...alls),
      deno("lint", "--quiet", ...files(true)),
      deno("check", "--quiet", "cli.ts", ...tests, headers, ...alls),
      deno("doc", "--lint", "src/sys/mod.ts"),
    ]);
    for (const name of ["syncfs", "count", "parseMountOptions"]) {
      assertMatch(added, new RegExp(`^${name}\\b.* ok `, "m"));
    }
    // Where the headers of a processor are missing, the test says so, ignored.
    assertMatch(compared, /^ok \| [12] passed .*\| 0 failed/m);
    assertEquals(compared.match(/^CALLS equals .* (ok|ignored) /gm)?.length, 2);
  },
  { commands: ["cc", "cp"] },
);

readTest("CONTRIBUTING.md names files that are there", () => {
  const names = [...text().matchAll(/`((?:src|tests|\.ci)(?:\/[\w./]+)?)`/g)];
  assert(names.length > 0);
  for (const [, name] of names) Deno.statSync(ROOT + name);
});

readTest("one version of Deno is named everywhere", () => {
  const workflows = [...Deno.readDirSync(`${ROOT}.github/workflows`)]
    .map(({ name }) => `.github/workflows/${name}`);
  const files = ["README.md", "CONTRIBUTING.md", ".ci/run", ...workflows];
  const versions = files.flatMap((file) =>
    Deno.readTextFileSync(ROOT + file).match(/\bdeno@[\w.]+/g) ?? []
  );
  assert(versions.length >= 5);
  assertEquals(new Set(versions).size, 1, versions.join(" "));
});
