import { DatabaseSync } from "node:sqlite";
import { bundle, bundleAlone, missingBundler } from "./bundle.ts";
import { programTest } from "../support/program.ts";
import { ROOT, ROOT_URL, SCRATCH } from "../support/testing.ts";
import { checkProgram } from "./delivered.ts";
import { assertEquals } from "@std/assert";
import { succeed } from "./process.ts";

const missing = missingBundler();

for (const entry of ["mod.ts", "cli.ts"]) {
  programTest(`a bundle of ${entry} is the program`, async () => {
    await bundle(ROOT + entry, `${SCRATCH}/program.js`);
    await checkProgram(
      [Deno.execPath(), "run", "-A", `${SCRATCH}/program.js`],
      {
        cwd: SCRATCH,
      },
    );
  }, { missing });
}

programTest("a bundle with the library is not the program", async () => {
  Deno.mkdirSync(`${SCRATCH}/below`);
  Deno.writeTextFileSync(
    `${SCRATCH}/main.ts`,
    `import { Directory, unmountat } from "${ROOT_URL}mod.ts";
    import "${ROOT_URL}cli.ts";
    using root = Directory.open(Deno.args[0]!);
    for (const strategy of ["procfd", "worker", "subprocess", "mtab"] as const) {
      const mount = root.mount("m", { type: "tmpfs", mkdir: true });
      unmountat(root, "m", { strategy });
      console.log(strategy, mount.mounted);
    }`,
  );
  // What lies beside a bundle is none of the library's.
  Deno.writeTextFileSync(`${SCRATCH}/cli.ts`, 'throw new Error("cli.ts");');
  await bundle(`${SCRATCH}/main.ts`, `${SCRATCH}/below/main.js`);
  const command = [Deno.execPath(), "run", "-A", `${SCRATCH}/below/main.js`];
  assertEquals(
    await succeed([...command, SCRATCH], { cwd: SCRATCH }),
    "procfd false\nworker false\nsubprocess false\nmtab false\n",
  );
}, { missing });

for (
  const format of [["esm"], ["esm", "--splitting"], ["iife"]]
) {
  programTest(
    `what esbuild alone bundles with the library is not the program (${
      format.join(" ")
    })`,
    async () => {
      Deno.writeTextFileSync(
        `${SCRATCH}/main.ts`,
        `import { Directory } from "${ROOT}mod.ts";
        import { main } from "${ROOT}cli.ts";
        console.log(import.meta.main, typeof Directory, typeof main);`,
      );
      const [name, ...more] = format;
      await bundleAlone(
        ...[`--format=${name}`, ...more, `--outdir=${SCRATCH}/out`],
        `${SCRATCH}/main.ts`,
      );
      const command = [Deno.execPath(), "run", "-A", `${SCRATCH}/out/main.js`];
      assertEquals(
        await succeed([...command, "--version"], { cwd: SCRATCH }),
        `${name === "esm" || undefined} function function\n`,
      );
    },
    { missing },
  );
}

programTest("Deno keeps the code that V8 makes of a bundle", async () => {
  const program = `${SCRATCH}/program.js`;
  await bundle(`${ROOT}cli.ts`, program);
  const directory = `${SCRATCH}/deno`;
  await succeed(
    [
      ...[Deno.execPath(), "run", "--allow-ffi"],
      ...[program, `${SCRATCH}/main`, "0"],
    ],
    { env: { DENO_DIR: directory } },
  );
  using cache = new DatabaseSync(`${directory}/v8_code_cache_v2`);
  const kept = cache.prepare("SELECT data FROM codecache WHERE specifier = ?");
  assertEquals(kept.all(`file://${program}`).length, 1);
}, { missing });
