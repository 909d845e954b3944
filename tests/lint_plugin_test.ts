import { assertEquals } from "@std/assert";
import plugin from "../tools/lint_plugin.ts";

function reports(file: string, source: string): string[] {
  return Deno.lint.runPlugin(plugin, file, source).map(({ message }) =>
    message
  );
}

Deno.test("foreign-only-in-sys reports foreign functions outside src/sys", () => {
  const cases: [string, string][] = [
    ['Deno.dlopen("libc.so.6", {});', "Deno.dlopen belongs in src/sys"],
    ['Deno["dlopen"]("libc.so.6", {});', "Deno.dlopen belongs in src/sys"],
    ["Deno.UnsafePointer.of(x);", "Deno.UnsafePointer belongs in src/sys"],
    [
      "new Deno.UnsafePointerView(p);",
      "Deno.UnsafePointerView belongs in src/sys",
    ],
    [
      "const { dlopen } = Deno;",
      "Deno is not taken apart: its foreign functions belong in src/sys",
    ],
  ];
  for (const [source, message] of cases) {
    assertEquals(reports("/p/src/mountat.ts", source), [message]);
    assertEquals(reports("/p/src/sys/libc.ts", source), []);
  }
});

Deno.test("foreign-only-in-sys leaves the rest of Deno alone", () => {
  const source = 'Deno.args; Deno.permissions.querySync({ name: "ffi" });';
  assertEquals(reports("/p/cli.ts", source), []);
});
