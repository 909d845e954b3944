/** Holds docs/api.md to what the entry points export. */
import { gatedTest, missingPermission, ROOT } from "../support/testing.ts";
import { assert, assertEquals } from "@std/assert";

/** The entry points whose exports the page lists. */
const ENTRIES = ["mod.ts", "runner.ts", "src/spec/mod.ts"];

/** A part of the output of `deno doc --json`. */
interface Documented {
  readonly nodes: Record<string, { readonly symbols: readonly Symbols[] }>;
}

interface Symbols {
  readonly name: string;
  readonly declarations: readonly {
    readonly kind: string;
    readonly def: {
      readonly methods?: readonly Member[];
      readonly properties?: readonly Member[];
    };
  }[];
}

interface Member {
  readonly name: string;
  readonly accessibility?: string;
}

/** The names that the page must have: `mountat`, `Mount`, `Mount.keep`. */
function exported(): string[] {
  const { code, stdout } = new Deno.Command(Deno.execPath(), {
    args: ["doc", "--json", ...ENTRIES],
    cwd: ROOT,
  }).outputSync();
  assertEquals(code, 0);
  const { nodes }: Documented = JSON.parse(new TextDecoder().decode(stdout));
  const names = new Set<string>();
  for (const { name, declarations } of Object.values(nodes).flatMap(symbols)) {
    names.add(name);
    for (const { kind, def } of declarations) {
      if (kind !== "class" && !hasMembers(name)) continue;
      for (const member of [...def.methods ?? [], ...def.properties ?? []]) {
        if (member.name.startsWith("[") || member.accessibility) continue;
        names.add(`${name}.${member.name}`);
      }
    }
  }
  return [...names].sort();
}

function symbols(node: Documented["nodes"][string]): readonly Symbols[] {
  return node.symbols;
}

/** True of the types whose members are what a caller asks for. */
function hasMembers(name: string): boolean {
  return name.endsWith("Options") && name !== "MountErrorOptions";
}

/** The names that the page has. */
function listed(page: string): string[] {
  const names: string[] = [];
  let owner = "";
  for (const line of page.split("\n")) {
    const [, type] = /^### `(\w+)`$/.exec(line) ?? [];
    if (type !== undefined) names.push(type);
    if (line.startsWith("#")) owner = type === undefined ? "" : `${type}.`;
    const [, name] = /^\| `(\w+)(?:\([^`]*\))?` /.exec(line) ?? [];
    if (name !== undefined) names.push(owner + name);
  }
  return names.sort();
}

gatedTest(
  "docs/api.md has each class, function and option, and no other",
  missingPermission(["run", "read"]),
  () => {
    const names = listed(Deno.readTextFileSync(`${ROOT}docs/api.md`));
    assert(names.length > 100);
    assertEquals(names, exported());
  },
);
