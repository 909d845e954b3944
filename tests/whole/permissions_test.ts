/** The tests themselves, where fewer permissions are granted than all. */
import { gatedTest, missingPermission, ROOT } from "../support/testing.ts";
import { execute } from "../distribution/process.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";

/** The files of tests in a folder, and in the folders there. */
function testsIn(path: string): string[] {
  return [...Deno.readDirSync(path)].flatMap(({ name, isDirectory }) => {
    if (isDirectory) return testsIn(`${path}/${name}`);
    return name.endsWith("_test.ts") ? [`${path}/${name}`] : [];
  });
}

/**
 * Runs test files as one module, which loads what they share once: Deno takes
 * longer to load them apart than to run what needs no permission.
 */
async function runTogether(
  files: string[],
  permissions: string[],
): Promise<string> {
  const module = Deno.makeTempFileSync({ suffix: "_test.ts" });
  try {
    Deno.writeTextFileSync(
      module,
      files.map((file) => `import ${JSON.stringify(file)};\n`).join(""),
    );
    const { code, stdout, stderr } = await execute(
      [
        ...[Deno.execPath(), "test", "--no-prompt", "--no-check"],
        ...["--config", `${ROOT}deno.json`, ...permissions, module],
      ],
    );
    const errors = stdout.slice(Math.max(0, stdout.indexOf("\n ERRORS ")));
    assertEquals(code, 0, errors + stderr);
    return stdout;
  } finally {
    Deno.removeSync(module);
  }
}

const missing = missingPermission(["run", "read", "write"]);

gatedTest(
  "every test passes or is ignored with no permission",
  missing,
  async () => {
    const files = testsIn(`${ROOT}tests`);
    const printed = await runTogether(files, []);
    assertMatch(printed, /^ok \| \d{3} passed \| 0 failed \| \d{4} ignored /m);
    // Each that is ignored says why.
    for (const line of printed.match(/^.* \.\.\. ignored/gm)!) {
      assertMatch(line, /\(ignored: .+\) \.\.\. ignored$/);
    }
  },
);

gatedTest(
  "tests pass or are ignored with --allow-ffi alone",
  missing,
  async () => {
    const files = testsIn(`${ROOT}tests`).filter((file) =>
      /^tests\/(?:directory|error\/|fd\/|mount\/|unmount\/)/
        .test(file.slice(ROOT.length))
    );
    const printed = await runTogether(files, ["--allow-ffi"]);
    assert(!/needs --allow-ffi/.test(printed), printed);
  },
);
