/**
 * Other runtimes: Node.js, and a browser as far as it has no globals of Deno's
 * or of Node.js's. `deno bundle` strips the types; esbuild rewrites `using` for
 * those that don't know it yet (Node.js before 24), as bundlers do.
 */
import {
  gatedTest,
  missingCommand,
  ROOT,
  ROOT_URL,
} from "../support/testing.ts";
import { bundle, esbuild, missingBundler } from "./bundle.ts";
import { succeed } from "./process.ts";
import config from "../../deno.json" with { type: "json" };
import { assert, assertEquals } from "@std/assert";

/**
 * The tests of the pure modules, which run in Node.js as they are, but for those
 * that need a permission: there is none but that to read.
 */
const PURE_TESTS = [
  "options/mount_options_test.ts",
  "kernel/mountinfo_test.ts",
  "spec/fstab_test.ts",
  "spec/json_test.ts",
  "spec/malformed_test.ts",
  "spec/oci_test.ts",
  "spec/words_test.ts",
  "base/text_test.ts",
  "options/target_test.ts",
];

// The runner is a program for Deno: its packages are for servers.
const EXPORTS = Object.entries(config.exports)
  .filter(([path]) => path !== "./runner");

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

/** The part of Deno's interface that these use, by that of Node.js. */
const NODE_TEST = `
import { readFileSync } from "node:fs";
import nodeTest from "node:test";
const Deno = {
  permissions: {
    querySync: ({ name }) => ({ state: name === "read" ? "granted" : "denied" }),
  },
  readTextFileSync: (path) => readFileSync(path, "utf8"),
  test: (test, body) =>
    typeof test === "string"
      ? nodeTest(test, body)
      : nodeTest(test.name, { skip: test.ignore }, test.fn),
};
`;

/** Rewrites `using` in a bundle. */
async function rewrite(file: string): Promise<void> {
  await esbuild("--format=esm", "--allow-overwrite", `--outfile=${file}`, file);
}

for (const path of PURE_TESTS) {
  runtimeTest(`tests/${path} passes in Node.js`, async (directory) => {
    const file = `${directory}/spec/test.mjs`;
    Deno.mkdirSync(`${directory}/spec`);
    Deno.symlinkSync(`${ROOT}tests/testdata`, `${directory}/testdata`);
    await bundle(`${ROOT}tests/${path}`, file);
    await rewrite(file);
    const text = Deno.readTextFileSync(file);
    Deno.writeTextFileSync(file, NODE_TEST + text);
    const node = ["node", "--test-reporter=tap", file];
    const [, passed] = /^# pass (\d+)$/m.exec(await succeed(node)) ?? [];
    const source = Deno.readTextFileSync(`${ROOT}tests/${path}`);
    const registered = source.match(/^ *(Deno\.test|readTest)\(/gm) ?? [];
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
    const names = EXPORTS.map(([path, file], i) => ({
      path,
      file,
      name: `path${i}`,
    }));
    Deno.writeTextFileSync(
      entry,
      names.map(({ file, name }) =>
        `import * as ${name} from "${new URL(file, ROOT_URL)}";\n`
      ).join("") + `export default { ${
        names.map(({ path, name }) => `"${path}": ${name}`).join(", ")
      } };`,
    );
    await bundle(entry, `${directory}/bundle.mjs`);
    const script = `${directory}/bundle.js`;
    await esbuild(
      ...["--format=iife", "--global-name=mountat", `--outfile=${script}`],
      `${directory}/bundle.mjs`,
    );
    await rewrite(`${directory}/bundle.mjs`);
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
