/** Lint rules of this project. */
import { mayImport } from "./rooms.ts";

/** Deno's foreign functions and memory, even if `Deno` has another name. */
const FOREIGN = /^(dlopen|Unsafe(Callback|FnPointer|Pointer|PointerView))$/;

/** `Deno.dlopen` and `Deno.Unsafe*` stay in `src/sys` of this repository. */
const foreignOnlyInSys: Deno.lint.Rule = {
  create(context) {
    if (isInSys(context.filename)) return {};
    function check(node: Deno.lint.Node, name: unknown): void {
      if (typeof name !== "string" || !FOREIGN.test(name)) return;
      context.report({
        node,
        message: `${name} belongs in src/sys`,
        hint: "Call a function of src/sys, or add one there",
      });
    }
    return {
      // Deno.dlopen, const { dlopen } = Deno, const D = Deno; D.dlopen
      Identifier(node) {
        // A name in a type uses nothing.
        if (node.parent?.type !== "TSQualifiedName") check(node, node.name);
      },
      // Deno["dlopen"]
      Literal(node) {
        check(node, node.value);
      },
      // Deno[`dlopen`]
      TemplateElement(node) {
        check(node, node.cooked);
      },
    };
  },
};

/** An import of `src` leads to the same room, or to one below it. */
const roomsInOrder: Deno.lint.Rule = {
  create(context) {
    const from = pathInSrc(context.filename);
    if (from === null) return {};
    function check(node: Deno.lint.Node, specifier: unknown): void {
      if (typeof specifier !== "string" || !specifier.startsWith(".")) return;
      const url = new URL(specifier, new URL(from!, SRC));
      const to = pathInSrc(decodeURIComponent(url.pathname));
      // deno.json has the version. All other files outside stand above src.
      const allowed = to === null
        ? specifier.endsWith("/deno.json")
        : mayImport(from!, to);
      if (allowed) return;
      context.report({
        node,
        message: `src/${from} must not import ${
          to === null ? specifier : `src/${to}`
        }`,
        hint: "The order of the rooms is in tools/rooms.ts",
      });
    }
    return {
      ImportDeclaration: (node) => check(node, node.source.value),
      ExportNamedDeclaration: (node) => check(node, node.source?.value),
      ExportAllDeclaration: (node) => check(node, node.source.value),
      ImportExpression(node) {
        if (node.source.type === "Literal") check(node, node.source.value);
      },
      TSImportType(node) {
        const { argument } = node;
        if (argument.type !== "TSLiteralType") return;
        if (argument.literal.type === "Literal") {
          check(node, argument.literal.value);
        }
      },
    };
  },
};

const SRC = new URL("../src/", import.meta.url);

/** A file's path below `src`; null if the file is elsewhere. */
function pathInSrc(filename: string): string | null {
  const src = decodeURIComponent(SRC.pathname);
  return filename.startsWith(src) ? filename.slice(src.length) : null;
}

function isInSys(filename: string): boolean {
  return pathInSrc(filename)?.startsWith("sys/") ?? false;
}

const plugin: Deno.lint.Plugin = {
  name: "mountat",
  rules: {
    "foreign-only-in-sys": foreignOnlyInSys,
    "rooms-in-order": roomsInOrder,
  },
};

export default plugin;
