import {
  missingPermission,
  ROOT,
  ROOT_URL,
  SCRATCH,
} from "../support/testing.ts";
import { assert, assertEquals } from "@std/assert";
import { ARCHITECTURES } from "../../src/sys/calls.ts";
import { programTest } from "../support/program.ts";
import { succeed } from "./process.ts";
import { checkProgram } from "./delivered.ts";
import config from "../../deno.json" with { type: "json" };

/** The commands of `deno task compile`, one a target. */
const COMMANDS: string[] = config.tasks.compile.command.split(" && ");

Deno.test("deno task compile has every processor with numbers", () => {
  for (const entry of ["mod.ts", "runner.ts"]) {
    const targets = COMMANDS.filter((line) => line.endsWith(` ${entry}`))
      .map((line) => /--target (\S+)/.exec(line)?.[1]);
    assertEquals(
      targets.toSorted(),
      ARCHITECTURES.map((name) => `${name}-unknown-linux-gnu`)
        .toSorted(),
    );
  }
});

/** Deno's runtime for compiled programs is a download of its own. */
async function missingRuntime(): Promise<string | null> {
  const permission = missingPermission(["env", "net"]);
  if (permission !== null || Deno.env.has("DENORT_BIN")) return permission;
  const { deno } = Deno.version;
  const url =
    `https://dl.deno.land/release/v${deno}/denort-${Deno.build.target}.zip`;
  try {
    const signal = AbortSignal.timeout(5000);
    const { ok } = await fetch(url, { method: "HEAD", signal });
    if (ok) return null;
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof DOMException)) {
      throw error;
    }
  }
  return "needs denort: DENORT_BIN, or dl.deno.land";
}

const missing = await missingRuntime();

const NAME = "a compiled program is the program";

if (missing === null) {
  programTest(NAME, async () => {
    const output = `${SCRATCH}/mountat`;
    const command = COMMANDS.find((line) => line.includes(Deno.build.target))!
      .replace(/^deno /, "").replace(/--output \S+/, `--output ${output}`);
    await succeed([Deno.execPath(), ...command.split(" ")], { cwd: ROOT });
    await checkProgram([output], { cwd: SCRATCH });
  });
} else {
  // Not for MOUNTAT_TEST_STRICT, either: nothing that can be installed has it.
  Deno.test({ name: `${NAME} (ignored: ${missing})`, ignore: true, fn() {} });
}

/** What a module prints that believes itself compiled, with the program's path. */
function asCompiled(isProgram: boolean): Promise<string> {
  Deno.writeTextFileSync(
    `${SCRATCH}/mountat`,
    `#!/bin/sh\nexec "${Deno.execPath()}" run -A "${ROOT}mod.ts" "$@"\n`,
    { mode: 0o755 },
  );
  Deno.writeTextFileSync(
    `${SCRATCH}/main.ts`,
    `const build = { ...Deno.build, standalone: true };
    Object.defineProperty(Deno, "build", { value: build });
    Deno.execPath = () => "${SCRATCH}/mountat";
    const { Directory, unmountat } = await import("${ROOT_URL}mod.ts");
    const { program } = await import("${ROOT_URL}src/program.ts");
    program.url = ${isProgram} ? import.meta.url : null;
    using root = Directory.open("${SCRATCH}");
    for (const option of ["lazy", "force", "expire"]) {
      using mount = root.mount("m", { type: "tmpfs", mkdir: true });
      try {
        unmountat(root, "m", { strategy: "subprocess", [option]: true });
        console.log(option, mount.mounted);
      } catch (error) {
        console.log(error.code ?? error.message);
      }
    }`,
  );
  const config = ["--config", `${ROOT}deno.json`];
  const command = [Deno.execPath(), "run", "-A", "--no-lock", ...config];
  return succeed([...command, `${SCRATCH}/main.ts`], { cwd: SCRATCH });
}

programTest("a compiled program runs itself to unmount", async () => {
  assertEquals(await asCompiled(true), "lazy false\nforce false\nEAGAIN\n");
});

programTest("a compiled program that is not mountat runs nothing", async () => {
  const lines = (await asCompiled(false)).trimEnd().split("\n");
  assertEquals(new Set(lines).size, 1);
  assert(lines[0]!.includes("that is not mountat"), lines[0]);
});
