import { gatedTest, missingPermission, ROOT } from "../support/testing.ts";
import { assert, assertEquals } from "@std/assert";

const BUF = /npm:@bufbuild\/buf@[\d.]+/.exec(
  missingPermission(["read"]) === null
    ? Deno.readTextFileSync(`${ROOT}deno.json`)
    : "",
)?.[0];

function buf(...args: string[]): Deno.CommandOutput {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-lock", BUF!, ...args],
    cwd: ROOT,
    env: {
      PATH: `${Deno.execPath().replace(/\/[^/]*$/, "")}:${
        Deno.env.get("PATH")
      }`,
    },
  }).outputSync();
}

function missingBuf(): string | null {
  const permission = missingPermission(["run", "read", "write", "env"]);
  if (permission !== null) return permission;
  return buf("--version").success ? null : `needs ${BUF}`;
}

/** The texts of all files in a directory. */
function texts(directory: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const { name, isDirectory } of Deno.readDirSync(directory)) {
    const path = `${directory}/${name}`;
    if (isDirectory) {
      for (const [inside, text] of texts(path)) {
        found.set(`${name}/${inside}`, text);
      }
    } else found.set(name, Deno.readTextFileSync(path));
  }
  return found;
}

gatedTest("the generated code is that of the protocols", missingBuf(), () => {
  const directory = Deno.makeTempDirSync();
  try {
    const template = ["--template", "proto/buf.gen.yaml"];
    const { success, stderr } = buf("generate", ...template, "-o", directory);
    assert(success, new TextDecoder().decode(stderr));
    assertEquals(
      texts(`${ROOT}src/runner/generated`),
      texts(`${directory}/src/runner/generated`),
    );
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});
