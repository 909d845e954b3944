import { layersOf, oldMount } from "../../src/options/long_values.ts";
import { assertEquals } from "@std/assert";
import { MS_DIRSYNC, MS_RDONLY } from "../../src/sys/constants.ts";

Deno.test("layersOf() takes a lowerdir apart as overlay does", () => {
  const lower = (value: string) => ({ key: "lowerdir+", value });
  const data = (value: string) => ({ key: "datadir+", value });
  const cases: [string, ReturnType<typeof layersOf>][] = [
    ["/a", [lower("/a")]],
    ["/a:b:/c d", [lower("/a"), lower("b"), lower("/c d")]],
    ["/a\\:b:/c\\,d:/e\\\\f", [lower("/a:b"), lower("/c,d"), lower("/e\\f")]],
    ["/a:/b::/c::/d", [lower("/a"), lower("/b"), data("/c"), data("/d")]],
    // The kernel refuses these.
    ["", null],
    [":/a", null],
    ["::/a", null],
    ["/a:", null],
    ["/a::", null],
    ["/a:::/b", null],
    ["/a::/b:/c", null],
    ["/a\\", null],
  ];
  for (const [lowerdir, layers] of cases) {
    assertEquals(layersOf(lowerdir), layers, lowerdir);
  }
});

Deno.test("oldMount() says for mount(2) what is said for fsconfig(2)", () => {
  const flag = (key: string) => ({ key, value: true as const });
  assertEquals(
    oldMount("overlay", [
      { key: "source", value: "layers" },
      { key: "lowerdir", value: "/a,b\\,c\\:d\\\\,e" },
      flag("ro"),
      flag("dirsync"),
      flag("userxattr"),
    ]),
    {
      source: "layers",
      flags: MS_RDONLY | MS_DIRSYNC,
      data: "lowerdir=/a\\,b\\,c\\:d\\\\\\,e,userxattr",
    },
  );
  assertEquals(
    oldMount("fuse.sub", [
      { key: "subtype", value: "sub" },
      flag("ro"),
      flag("rw"),
      { key: "fd", value: "5" },
    ]),
    { source: null, flags: 0, data: "fd=5" },
  );
  const impossible: [string, string | Uint8Array | { fd: number }][] = [
    ["a", new Uint8Array(1)],
    ["a", { fd: 3 }],
    ["a", "b,c"],
    ["a,b", "c"],
    ["a", "x".repeat(4094)],
    ["source", "x".repeat(4096)],
  ];
  for (const [key, value] of impossible) {
    assertEquals(oldMount("tmpfs", [{ key, value }]), null);
  }
  assertEquals(
    oldMount("tmpfs", [{ key: "a", value: "x".repeat(4093) }])?.data.length,
    4095,
  );
});
