/** The packages of @std as a registry has them. */
import type { Files } from "./registry.ts";
import { ROOT } from "../support/testing.ts";
import { succeed } from "./process.ts";

/** What the stand-ins of `third_party/std` import from npm. */
const NPM = /npm:deno-std@([\d.]+)\//g;

/**
 * The stand-ins, each with a copy of the npm package whose code they export:
 * Deno's cache has it, or no test would run.
 */
export async function stdPackages(): Promise<Files[]> {
  const std = `${ROOT}third_party/std`;
  const npm = filesIn(await npmPackage(`${std}/cli/parse_args.ts`));
  return [...Deno.readDirSync(std)].filter((entry) => entry.isDirectory).map(
    ({ name }) => {
      const files = filesIn(`${std}/${name}`);
      for (const [path, bytes] of files) {
        const copy = `.${"/..".repeat(path.split("/").length - 2)}/npm/`;
        const text = new TextDecoder().decode(bytes).replaceAll(NPM, copy);
        files.set(path, Uint8Array.from(new TextEncoder().encode(text)));
      }
      for (const [path, bytes] of npm) files.set(`/npm${path}`, bytes);
      return files;
    },
  );
}

/** Where Deno keeps the npm package that a stand-in imports. */
export async function npmPackage(standIn: string): Promise<string> {
  const [[, version]] = [...Deno.readTextFileSync(standIn).matchAll(NPM)] as [
    RegExpMatchArray,
  ];
  const info = await succeed([Deno.execPath(), "info", "--json"]);
  const { npmCache } = JSON.parse(info);
  const [registry] = [...Deno.readDirSync(npmCache)].filter(({ name }) =>
    [...Deno.readDirSync(`${npmCache}/${name}`)].some(({ name }) =>
      name === "deno-std"
    )
  );
  return `${npmCache}/${registry!.name}/deno-std/${version}`;
}

function filesIn(directory: string, prefix = ""): Files {
  const files: Files = new Map();
  for (const { name, isDirectory } of Deno.readDirSync(directory)) {
    const path = `${directory}/${name}`;
    if (isDirectory) {
      for (const entry of filesIn(path, `${prefix}/${name}`)) {
        files.set(...entry);
      }
    } else {
      files.set(`${prefix}/${name}`, Deno.readFileSync(path));
    }
  }
  return files;
}
