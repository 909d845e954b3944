import plugin from "../../tools/lint_plugin.ts";
import { ROOT } from "../support/testing.ts";
import { assertEquals } from "@std/assert";

function reports(file: string, source: string): string[] {
  return Deno.lint.runPlugin(plugin, file, source).map(({ message }) =>
    message
  );
}

Deno.test("foreign-only-in-sys reports foreign functions outside src/sys", () => {
  const cases: [string, string][] = [
    ['Deno.dlopen("libc.so.6", {});', "dlopen belongs in src/sys"],
    ['Deno["dlopen"]("libc.so.6", {});', "dlopen belongs in src/sys"],
    ["Deno[`dlopen`];", "dlopen belongs in src/sys"],
    ["globalThis.Deno.dlopen;", "dlopen belongs in src/sys"],
    ["const D = Deno; D.dlopen;", "dlopen belongs in src/sys"],
    ["const { dlopen: open } = Deno;", "dlopen belongs in src/sys"],
    ["Deno.UnsafePointer.of(x);", "UnsafePointer belongs in src/sys"],
    ["new Deno.UnsafePointerView(p);", "UnsafePointerView belongs in src/sys"],
  ];
  for (const [source, message] of cases) {
    for (
      const file of [`${ROOT}src/mount/mountat.ts`, "/src/sys/elsewhere/x.ts"]
    ) {
      assertEquals(reports(file, source), [message], source);
    }
    assertEquals(reports(`${ROOT}src/sys/libc.ts`, source), []);
  }
});

Deno.test("foreign-only-in-sys leaves the rest of Deno alone", () => {
  const source = 'Deno.args; Deno.permissions.querySync({ name: "ffi" });';
  assertEquals(reports(`${ROOT}cli.ts`, source), []);
});

Deno.test("rooms-in-order reports imports that lead to a later room", () => {
  const cases: [file: string, specifier: string, allowed: boolean][] = [
    ["src/mount/mountat.ts", "./attach.ts", true],
    ["src/mount/mountat.ts", "../sys/mount.ts", true],
    ["src/mount/mountat.ts", "../../deno.json", true],
    ["src/mount/mountat.ts", "@std/assert", true],
    ["src/mount/mountat.ts", "../directory.ts", false],
    ["src/mount/mountat.ts", "../run/run.ts", false],
    ["src/mount/mountat.ts", "./mod.ts", false],
    ["src/mount/mountat.ts", "../../mod.ts", false],
    ["src/mount/mountat.ts", "../nowhere/x.ts", false],
    ["src/mount/mod.ts", "../directory.ts", true],
    ["src/unmount/strategy.ts", "../program.ts", true],
    ["src/base/text.ts", "../program.ts", false],
    ["src/base/text.ts", "../sys/error.ts", false],
    ["src/directory.ts", "./mount/mountat.ts", true],
    ["src/directory.ts", "./run/run.ts", false],
    ["src/cli/mount.ts", "../directory.ts", true],
    ["src/cli/mount.ts", "../merged.ts", false],
    ["src/run/run.ts", "../runner/mod.ts", false],
    ["mod.ts", "./src/merged.ts", true],
  ];
  const forms = (specifier: string) => [
    `import { x } from "${specifier}"; x;`,
    `import type { X } from "${specifier}"; export type Y = X;`,
    `export { x } from "${specifier}";`,
    `export * from "${specifier}";`,
    `await import("${specifier}");`,
    `export type Y = import("${specifier}").X;`,
  ];
  for (const [file, specifier, allowed] of cases) {
    for (const source of forms(specifier)) {
      const found = reports(ROOT + file, source);
      assertEquals(found.length, allowed ? 0 : 1, `${file}: ${source}`);
    }
  }
});
