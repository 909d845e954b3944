import { findCircle, ORDER } from "../../tools/rooms.ts";
import { gatedTest, missingPermission, ROOT } from "../support/testing.ts";
import { assert, assertEquals } from "@std/assert";

Deno.test("findCircle() finds a circle, and nothing where there is none", () => {
  const circleOf = (imports: Record<string, string[]>) =>
    findCircle(new Map(Object.entries(imports)));
  const straight = { a: ["b", "c"], b: ["c"], c: [] };
  assertEquals(circleOf(straight), null);
  assertEquals(circleOf({ ...straight, c: ["elsewhere"] }), null);
  assertEquals(circleOf({ ...straight, c: ["b"] }), ["b", "c", "b"]);
  assertEquals(circleOf({ a: ["a"] }), ["a", "a"]);
});

/** A module as `deno info --json` tells of it. */
interface ModuleInfo {
  readonly specifier: string;
  readonly dependencies?: readonly {
    readonly code?: { readonly specifier?: string };
    readonly type?: { readonly specifier?: string };
  }[];
}

/** What each file below src imports, types counted, as Deno sees it. */
function importsOfSrc(): Map<string, string[]> {
  const imports = new Map<string, string[]>();
  for (const entry of ["mod.ts", "cli.ts", "runner.ts"]) {
    const { stdout } = new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", entry],
      cwd: ROOT,
    }).outputSync();
    const { modules }: { modules: ModuleInfo[] } = JSON.parse(
      new TextDecoder().decode(stdout),
    );
    for (const { specifier, dependencies = [] } of modules) {
      if (!/^file:.*\.ts$/.test(specifier)) continue;
      imports.set(
        specifier,
        dependencies.flatMap(({ code, type }) => [
          ...(code?.specifier === undefined ? [] : [code.specifier]),
          ...(type?.specifier === undefined ? [] : [type.specifier]),
        ]),
      );
    }
  }
  return imports;
}

const missing = missingPermission(["run", "read", "env"]);

gatedTest("no imports form a circle, types counted", missing, () => {
  const imports = importsOfSrc();
  assert(imports.size > 50);
  assertEquals(findCircle(imports), null);
});

gatedTest("CONTRIBUTING.md shows the rooms in their order", missing, () => {
  const text = Deno.readTextFileSync(`${ROOT}CONTRIBUTING.md`);
  const rows = [
    ...text.matchAll(/^\| `src\/(\w+)\/` +\| (.+?) +\| `([\w.]+)` +\|$/gm),
  ].map(([, room, charter, file]) => [room!, charter!, file!] as const);
  assertEquals(
    rows.map(([room]) => room),
    ORDER.filter((name) => !name.includes(".")),
  );
  for (const [room, charter, file] of rows) {
    const source = Deno.readTextFileSync(`${ROOT}src/${room}/${file}`);
    const [comment = ""] = /^\/\*\*[^]*?\*\//.exec(source) ?? [];
    const said = comment.replaceAll(/\n \* ?/g, " ");
    assert(said.includes(`Room \`${room}\`: ${charter}`), room);
  }
});

gatedTest("every file of src is in a room, and reached", missing, () => {
  const reached = [...importsOfSrc().keys()].map(decodeURIComponent);
  for (const { name, isFile } of Deno.readDirSync(`${ROOT}src`)) {
    assert(ORDER.includes(name), name);
    if (isFile) continue;
    for (const file of Deno.readDirSync(`${ROOT}src/${name}`)) {
      if (!file.name.endsWith(".ts") || file.name === "mod.ts") continue;
      const path = `/src/${name}/${file.name}`;
      assert(reached.some((url) => url.endsWith(path)), path);
    }
  }
});
