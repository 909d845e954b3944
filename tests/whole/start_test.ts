/** The modules that a start loads. */
import { programTest } from "../support/program.ts";
import {
  gatedTest,
  missingPermission,
  ROOT,
  ROOT_URL,
  SCRATCH,
} from "../support/testing.ts";
import { assert, assertEquals, assertLess } from "@std/assert";

interface Graph {
  roots: string[];
  redirects: Record<string, string>;
  modules: { specifier: string; dependencies?: Dependency[] }[];
}

interface Dependency {
  isDynamic?: boolean;
  code?: { specifier?: string };
}

const missing = missingPermission(["run", "read", "write", "env"]);

/** The modules that a module imports, and those imports, without types. */
function modulesOf(entry: string): Set<string> {
  const { stdout, success } = new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", entry],
    cwd: ROOT,
    stderr: "inherit",
  }).outputSync();
  assert(success);
  const graph: Graph = JSON.parse(new TextDecoder().decode(stdout));
  const dependencies = new Map(
    graph.modules.map(({ specifier, dependencies = [] }) =>
      [specifier, dependencies] as const
    ),
  );
  const found = new Set(graph.roots);
  for (const module of found) {
    for (const { isDynamic, code } of dependencies.get(module) ?? []) {
      const name = code?.specifier;
      if (isDynamic || name === undefined) continue;
      found.add(graph.redirects[name] ?? name);
    }
  }
  return found;
}

gatedTest("mod.ts imports at most 85 modules", missing, () => {
  const { size } = modulesOf("mod.ts");
  assertLess(size, 86);
});

/** The modules of this package that a run of the program evaluates. */
function evaluated(args: string[]): string[] {
  const directory = `${SCRATCH}/coverage`;
  const { success } = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", ...args],
    env: { DENO_COVERAGE_DIR: directory },
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).outputSync();
  assert(success);
  const modules = [...Deno.readDirSync(directory)].map(({ name }) => {
    const script = Deno.readTextFileSync(`${directory}/${name}`);
    return JSON.parse(script).url as string;
  });
  Deno.removeSync(directory, { recursive: true });
  return modules.filter((url) => url.startsWith(ROOT_URL));
}

programTest("the main job evaluates at most 45 modules", () => {
  const modules = evaluated([
    ...["--allow-ffi", `${ROOT}cli.ts`],
    ...[`${SCRATCH}/main`, "0"],
  ]);
  // What is not there was not looked for in the right place.
  for (const module of ["cli.ts", "src/cli/bb_mounter_at.ts"]) {
    assert(modules.includes(ROOT_URL + module), module);
  }
  assertEquals(modules.filter((url) => url.includes("/third_party/")), []);
  assertEquals(modules.filter((url) => url.endsWith("/late.ts")), []);
  assertLess(modules.length, 46);
});
