/** Bundles modules into one file, as `deno bundle` does. */
import { missingPermission, ROOT } from "../support.ts";
import { succeed } from "./process.ts";

/** Bundles a module, its imports resolved as in this project. */
export async function bundle(entry: string, output: string): Promise<void> {
  await succeed([
    ...[Deno.execPath(), "bundle", "--quiet", "--no-lock"],
    ...["--config", `${ROOT}deno.json`, "--output", output, entry],
  ]);
}

/** What stands in the way of it, null when nothing does. */
export function missingBundler(): string | null {
  const permission = missingPermission(["run", "read", "write", "env"]);
  if (permission !== null) return permission;
  const directory = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${directory}/a.js`, "");
    const { success } = new Deno.Command(Deno.execPath(), {
      args: ["bundle", `${directory}/a.js`, "--output", `${directory}/b.js`],
    }).outputSync();
    return success ? null : "needs esbuild, which Deno takes from npm";
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}
