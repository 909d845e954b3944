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
