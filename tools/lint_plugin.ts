/** Lint rules of this project. */

/** Deno's foreign functions and memory, by whatever name Deno itself goes. */
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
        // A type mentions without using.
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

function isInSys(filename: string): boolean {
  const sys = new URL("../src/sys/", import.meta.url).pathname;
  return filename.startsWith(decodeURIComponent(sys));
}

const plugin: Deno.lint.Plugin = {
  name: "mountat",
  rules: { "foreign-only-in-sys": foreignOnlyInSys },
};

export default plugin;
