/** Holds docs/kernel-api.md to the kernel's headers and to the sources. */
import { gatedTest, missingPermission, ROOT } from "../support/testing.ts";
import { assert, assertEquals } from "@std/assert";
import header from "../testdata/linux-7.3-mount-names.json" with {
  type: "json",
};
import * as sys from "../../src/sys/mod.ts";
import * as library from "../../mod.ts";
import { parseMountOptions } from "../../src/options/mount_options.ts";

/** A row of a table: a name of the kernel's, and what covers it. */
interface Row {
  name: string;
  sys: string;
  library: string;
}

/** The calls that mount, and what they need of others. */
const CALLS = [
  "fsopen",
  "fsconfig",
  "fsmount",
  "fspick",
  "move_mount",
  "open_tree",
  "open_tree_attr",
  "mount_setattr",
  "statmount",
  "listmount",
  "mount",
  "umount2",
  "pivot_root",
  "openat2",
];

/** Families of constants.ts whose names the table has; headers_test.ts keeps them whole. */
const FAMILIES =
  /^(FSOPEN|FSMOUNT|FSPICK|FSCONFIG|OPEN_TREE|MOVE_MOUNT|MOUNT_ATTR|MS|MNT|UMOUNT|STATMOUNT|LSMT|LISTMOUNT|LOOP|LO_FLAGS)_/;

const HEADER = "/usr/include/linux/mount.h";

/** Parameters that the kernel takes for any file system. */
const EVERY_FILE_SYSTEMS = ["ro", "sync", "dirsync", "lazytime"];

const reads = missingPermission(["read"]);

gatedTest("the table of the kernel's API lacks no name", reads, () => {
  const names = rows().map(({ name }) => name);
  assertEquals(new Set(names).size, names.length, "A name is there twice");
  const wanted = new Set([
    ...CALLS,
    ...header.names,
    ...Object.keys(sys).filter((name) => FAMILIES.test(name)),
  ]);
  assertEquals(names.toSorted(), [...wanted].sort());
});

gatedTest(
  "the table of the kernel's API lacks no name of the installed header",
  reads ?? missingHeader(),
  () => {
    const names = namesOf(Deno.readTextFileSync(HEADER));
    assert(names.includes("FSCONFIG_SET_FD"));
    assert(names.includes("mount_attr.userns_fd"));
    const there = new Set(rows().map(({ name }) => name));
    assertEquals(names.filter((name) => !there.has(name)), []);
  },
);

gatedTest(
  "the table of the kernel's API names only what there is",
  reads,
  () => {
    const sources = sourceText();
    for (const row of rows()) {
      const { name } = row;
      if (/^[A-Z]/.test(name)) {
        assert(Object.hasOwn(sys, name), `sys exports no ${name}`);
      }
      for (const [cell, exported] of [[row.sys, sys], [row.library, library]]) {
        const spans = spansOf(cell as string);
        assert(
          spans.length > 0 || /^(none|an? |bytes |the )/.test(cell as string),
          `${name}: ${cell}`,
        );
        for (const span of spans) {
          assert(exists(span, exported as object, sources), `${name}: ${span}`);
        }
      }
    }
  },
);

gatedTest(
  "the table of the kernel's API has the words of each attribute",
  reads,
  () => {
    let count = 0;
    for (const { name, library } of rows()) {
      if (!/^MOUNT_ATTR_(?!_ATIME)/.test(name)) continue;
      const [word] = spansOf(library);
      if (word === undefined) continue;
      const attribute = (sys as unknown as Record<string, number>)[name]!;
      if (!word.startsWith('"')) continue;
      const { own } = parseMountOptions(JSON.parse(word));
      assertEquals(own.attrSet, attribute, word);
      count++;
    }
    assertEquals(count, 9);
  },
);

function rows(): Row[] {
  const text = Deno.readTextFileSync(`${ROOT}docs/kernel-api.md`);
  return [...text.matchAll(/^\| `([^`]+)` *\|([^|\n]*)\|([^|\n]*)\|$/gm)]
    .map(([, name, sys, library]) => ({
      name: name!,
      sys: sys!.trim(),
      library: library!.trim(),
    })).filter(({ name }) => !name.startsWith("@"));
}

function spansOf(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, span]) => span!);
}

/** Whether a module has a function, a class or interface's member, or an option. */
function exists(span: string, exported: object, sources: string): boolean {
  if (span.startsWith('"')) {
    const { parameters } = parseMountOptions(JSON.parse(span));
    return parameters.every(({ key }) => EVERY_FILE_SYSTEMS.includes(key));
  }
  const [, owner, name] = /^(?:(\w+)\.)?(\w+)(?:\(\))?$/.exec(span) ?? [];
  if (name === undefined) return false;
  if (owner === undefined) return Object.hasOwn(exported, name);
  const body = new RegExp(
    `^export (?:class|interface) ${owner}\\b[^]*?^}`,
    "m",
  ).exec(sources)?.[0];
  return new RegExp(`^  (?:readonly |get )?${name}[?(:]`, "m")
    .test(body ?? "");
}

function sourceText(folder = `${ROOT}src`): string {
  return [...Deno.readDirSync(folder)].map(({ name, isFile }) =>
    isFile
      ? Deno.readTextFileSync(`${folder}/${name}`)
      : sourceText(`${folder}/${name}`)
  ).join("\n");
}

function missingHeader(): string | null {
  try {
    Deno.lstatSync(HEADER);
    return null;
  } catch {
    return `needs ${HEADER}`;
  }
}

/** The macros, the commands and the fields of structs that a header has. */
function namesOf(text: string): string[] {
  const macros = [...text.matchAll(/^#define ([A-Z]\w+)|^\s+(FSCONFIG_\w+)/gm)]
    .map(([, macro, command]) => macro ?? command!);
  const structs = [...text.matchAll(/^struct (\w+) \{([^]*?)^\};/gm)];
  const fields = structs.flatMap(([, struct, body]) =>
    [...body!.matchAll(/^\s+(?:__u\d+|char) (\w+)(?:\[.*\])?;/gm)]
      .map(([, field]) => `${struct}.${field}`)
  );
  return [...macros, ...fields.filter((name) => !/\.(__)?spare/.test(name))];
}
