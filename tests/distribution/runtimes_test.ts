/**
 * Other runtimes: Node.js, and a browser as far as it has no globals of Deno's
 * or of Node.js's. `deno bundle` strips the types; esbuild rewrites `using` for
 * those that don't know it yet (Node.js before 24), as bundlers do.
 */
import { assert, assertEquals } from "@std/assert";
import { gatedTest, missingCommand, ROOT, ROOT_URL } from "../support.ts";
import { bundle, esbuild, missingBundler } from "./bundle.ts";
import { succeed } from "./process.ts";

/** The tests of the pure modules, which run in Node.js as they are. */
const PURE_TESTS = [
  "mount_options_test.ts",
  "mountinfo_test.ts",
  "spec/malformed_test.ts",
  "spec/words_test.ts",
  "sys/text_test.ts",
  "target_test.ts",
];

const { exports: EXPORTS } = JSON.parse(
  Deno.readTextFileSync(`${ROOT}deno.json`),
);

const missing = missingBundler() ?? missingCommand(["node"]);

/** Does something with an empty directory. */
function runtimeTest(
  name: string,
  body: (directory: string) => Promise<void>,
): void {
  gatedTest(name, missing, async () => {
    const directory = Deno.makeTempDirSync();
    try {
      await body(directory);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}

/** The part of Deno's interface for tests that these use, by that of Node.js. */
const NODE_TEST = `
import nodeTest from "node:test";
const Deno = { test: (name, body) => nodeTest(name, body) };
`;

for (const path of PURE_TESTS) {
  runtimeTest(`tests/${path} passes in Node.js`, async (directory) => {
    await bundle(`${ROOT}tests/${path}`, `${directory}/test.mjs`);
    const text = Deno.readTextFileSync(`${directory}/test.mjs`);
    Deno.writeTextFileSync(`${directory}/test.mjs`, NODE_TEST + text);
    const node = ["node", "--test-reporter=tap", `${directory}/test.mjs`];
    const [, passed] = /^# pass (\d+)$/m.exec(await succeed(node)) ?? [];
    const registered = text.match(/^ *Deno\.test\(/gm) ?? [];
    assert(registered.length > 0);
    assert(Number(passed) >= registered.length, `${passed} passed`);
  });
}

/** What each entry point must do where it was loaded as `modules`. */
const CHECKS = `
for (const [path, module] of Object.entries(modules)) {
  if (Object.keys(module).length === 0) throw new Error(path + " is empty");
}
const [spec] = modules["./spec"].parseFstab("proc /proc proc nosuid 0 0\\n");
if (spec.type !== "proc" || spec.target !== "proc") throw new Error(spec.type);
try {
  modules["."].Directory.open("/");
} catch (error) {
  if (!(error instanceof modules["."].UnsupportedError)) throw error;
  print(error.message);
}
`;

runtimeTest(
  "every entry point loads in Node.js and without its globals",
  async (directory) => {
    const entry = `${directory}/entry.ts`;
    const names = Object.keys(EXPORTS).map((path, i) => [path, `path${i}`]);
    Deno.writeTextFileSync(
      entry,
      names.map(([path, name]) =>
        `import * as ${name} from "${new URL(EXPORTS[path!], ROOT_URL)}";\n`
      ).join("") + `export default { ${
        names.map(([path, name]) => `"${path}": ${name}`).join(", ")
      } };`,
    );
    await bundle(entry, `${directory}/bundle.mjs`);
    const script = `${directory}/bundle.js`;
    await esbuild(
      ...["--format=iife", "--global-name=mountat", `--outfile=${script}`],
      `${directory}/bundle.mjs`,
    );
    await esbuild(
      ...["--format=esm", "--allow-overwrite"],
      ...[`--outfile=${directory}/bundle.mjs`, `${directory}/bundle.mjs`],
    );
    Deno.writeTextFileSync(
      `${directory}/main.mjs`,
      `import { readFileSync } from "node:fs";
    import { runInNewContext } from "node:vm";
    import modules from "./bundle.mjs";
    const print = console.log;
    ${CHECKS}
    const globals = { URL, TextDecoder, TextEncoder, print };
    const script = readFileSync("${script}", "utf8");
    const checks = ${JSON.stringify(CHECKS)};
    runInNewContext(
      script + "; const modules = mountat.default;" + checks,
      globals,
    );`,
    );
    assertEquals(
      await succeed(["node", `${directory}/main.mjs`]),
      "Mounts by descriptor need Deno on Linux\n".repeat(2),
    );
  },
);
