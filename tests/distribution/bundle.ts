/** Bundles modules into one file, as `deno bundle` does, or esbuild alone. */
import { succeed } from "./process.ts";
import { missingPermission, ROOT } from "../support/testing.ts";
import { npmPackage } from "./packages.ts";

/** Bundles a module, its imports resolved as in this project. */
export async function bundle(entry: string, output: string): Promise<void> {
  await succeed([
    ...[Deno.execPath(), "bundle", "--quiet", "--no-lock"],
    ...["--config", `${ROOT}deno.json`, "--output", output, entry],
  ]);
}

/** Runs esbuild. */
export async function esbuild(...args: string[]): Promise<void> {
  await succeed([
    ...[Deno.execPath(), "run", "-A", "--no-config", "--no-lock", "--quiet"],
    ...["npm:esbuild@0.25.5", "--target=es2022", "--log-level=error", ...args],
  ]);
}

/** Bundles as an application does that knows nothing of Deno. */
export async function bundleAlone(...args: string[]): Promise<void> {
  const std = `${ROOT}third_party/std`;
  const npm = await npmPackage(`${std}/cli/parse_args.ts`);
  const aliases = ["cli", "fmt", "path"].flatMap((name) => {
    const { exports } = JSON.parse(
      Deno.readTextFileSync(`${std}/${name}/deno.json`),
    );
    return Object.entries<string>(exports).map(([path, file]) =>
      `--alias:@std/${name}${path.slice(1)}=` +
      `${npm}/${name}${file.slice(1).replace(/ts$/, "js")}`
    );
  });
  await esbuild("--bundle", ...aliases, ...args);
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
