/** Lint rules of this project. */

/** Whether a file may touch foreign memory and functions. */
function mayUseForeign(filename: string): boolean {
  return filename.includes("/src/sys/");
}

/** `Deno.dlopen` and `Deno.Unsafe*` stay in `src/sys`. */
const foreignOnlyInSys: Deno.lint.Rule = {
  create(context) {
    if (mayUseForeign(context.filename)) return {};
    return {
      MemberExpression(node) {
        if (node.object.type !== "Identifier" || node.object.name !== "Deno") {
          return;
        }
        const { property } = node;
        const name = property.type === "Identifier" && !node.computed
          ? property.name
          : property.type === "Literal"
          ? String(property.value)
          : "";
        if (name === "dlopen" || name.startsWith("Unsafe")) {
          context.report({
            node,
            message: `Deno.${name} belongs in src/sys`,
            hint: "Call a function of src/sys, or add one there",
          });
        }
      },
      // const { dlopen } = Deno
      VariableDeclarator(node) {
        if (
          node.init?.type !== "Identifier" || node.init.name !== "Deno" ||
          node.id.type !== "ObjectPattern"
        ) return;
        context.report({
          node,
          message:
            "Deno is not taken apart: its foreign functions belong in src/sys",
        });
      },
    };
  },
};

const plugin: Deno.lint.Plugin = {
  name: "mountat",
  rules: { "foreign-only-in-sys": foreignOnlyInSys },
};

export default plugin;
