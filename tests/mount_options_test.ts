import { assertEquals, assertThrows } from "@std/assert";
import { type OptionsInput, parseMountOptions } from "../src/mount_options.ts";
import {
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
} from "../src/sys/constants.ts";

function attributes(options: string): number {
  const parsed = parseMountOptions(options);
  assertEquals(parsed.parameters, [], options);
  return parsed.attributes;
}

function parameters(options: OptionsInput): [string, unknown][] {
  return parseMountOptions(options).parameters.map(({ key, value }) => [
    key,
    value,
  ]);
}

Deno.test("parseMountOptions() makes attributes of the generic words", () => {
  const expected: Record<string, number> = {
    "ro": MOUNT_ATTR_RDONLY,
    "nosuid": MOUNT_ATTR_NOSUID,
    "nodev": MOUNT_ATTR_NODEV,
    "noexec": MOUNT_ATTR_NOEXEC,
    "nodiratime": MOUNT_ATTR_NODIRATIME,
    "nosymfollow": MOUNT_ATTR_NOSYMFOLLOW,
    "noatime": MOUNT_ATTR_NOATIME,
    "strictatime": MOUNT_ATTR_STRICTATIME,
    "relatime": 0,
    "": 0,
    "defaults": 0,
    "ro,nosuid,nodev,noexec": MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
      MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
  };
  for (const [words, value] of Object.entries(expected)) {
    assertEquals(attributes(words), value, words);
  }
});

Deno.test("parseMountOptions() lets the later of two opposites win", () => {
  assertEquals(
    attributes(
      "ro,rw,nosuid,suid,nodev,dev,noexec,exec,nodiratime,diratime,nosymfollow,symfollow",
    ),
    0,
  );
  assertEquals(attributes("rw,ro"), MOUNT_ATTR_RDONLY);
  assertEquals(
    attributes("ro,nosuid,nodev,noexec,noatime,defaults"),
    MOUNT_ATTR_NOATIME,
  );
});

Deno.test("parseMountOptions() takes ro=fs for the file system alone", () => {
  assertEquals(parseMountOptions("ro=fs,rw=fs"), {
    attributes: 0,
    parameters: [{ key: "ro", value: true }, { key: "rw", value: true }],
  });
});

Deno.test("parseMountOptions() keeps access times in one field", () => {
  assertEquals(attributes("noatime,strictatime"), MOUNT_ATTR_STRICTATIME);
  assertEquals(attributes("strictatime,noatime"), MOUNT_ATTR_NOATIME);
  assertEquals(attributes("noatime,relatime"), 0);
  assertEquals(attributes("noatime,atime"), 0);
  assertEquals(attributes("strictatime,nostrictatime"), 0);
  assertEquals(attributes("noatime,norelatime"), MOUNT_ATTR_NOATIME);
  assertEquals(attributes("strictatime,atime"), MOUNT_ATTR_STRICTATIME);
});

Deno.test("parseMountOptions() passes all else to the file system in order", () => {
  assertEquals(
    parameters("size=1m,ro,mode=0755,huge,lowerdir+=/a,lowerdir+=/b"),
    [
      ["size", "1m"],
      ["mode", "0755"],
      ["huge", true],
      ["lowerdir+", "/a"],
      ["lowerdir+", "/b"],
    ],
  );
  assertEquals(parameters("a=b=c,empty="), [["a", "b=c"], ["empty", ""]]);
});

Deno.test("parseMountOptions() splits at commas outside quotes", () => {
  assertEquals(parameters('context="u:r:t:s0:c1,c2",x'), [
    ["context", "u:r:t:s0:c1,c2"],
    ["x", true],
  ]);
  assertEquals(parameters(",,a,"), [["a", true]]);
  assertThrows(() => parseMountOptions('a="b'), TypeError, "quote");
});

Deno.test("parseMountOptions() leaves an escaped comma to the file system", () => {
  assertEquals(parameters("lowerdir=/a\\,b,x"), [
    ["lowerdir", "/a\\,b"],
    ["x", true],
  ]);
});

Deno.test("parseMountOptions() takes the words of a list as they are", () => {
  const parsed = parseMountOptions(["ro", "lowerdir+=/a,b", 'c="d"']);
  assertEquals(parsed.attributes, MOUNT_ATTR_RDONLY);
  assertEquals(parsed.parameters, [
    { key: "lowerdir+", value: "/a,b" },
    { key: "c", value: '"d"' },
  ]);
});

Deno.test("parseMountOptions() takes the values of a record as they are", () => {
  const bytes = new Uint8Array([1, 2]);
  const parsed = parseMountOptions({
    noexec: true,
    size: 1048576,
    blob: bytes,
    lowerdir: "/a,b",
    flag: true,
  });
  assertEquals(parsed.attributes, MOUNT_ATTR_NOEXEC);
  assertEquals(parsed.parameters, [
    { key: "size", value: "1048576" },
    { key: "blob", value: bytes },
    { key: "lowerdir", value: "/a,b" },
    { key: "flag", value: true },
  ]);
});

Deno.test("parseMountOptions() sets an option once for each value of a list", () => {
  const upper = { fd: 3 };
  const parsed = parseMountOptions({
    "lowerdir+": [upper, "/b", { fd: 0 }],
    nr: [1, 2],
    none: [],
    ro: [true],
  });
  assertEquals(parsed.attributes, MOUNT_ATTR_RDONLY);
  assertEquals(parsed.parameters, [
    { key: "lowerdir+", value: upper },
    { key: "lowerdir+", value: "/b" },
    { key: "lowerdir+", value: { fd: 0 } },
    { key: "nr", value: "1" },
    { key: "nr", value: "2" },
  ]);
});

Deno.test("parseMountOptions() throws when an option can't be passed on", () => {
  const long = "x".repeat(256);
  // Two bytes each.
  const longInBytes = "é".repeat(128);
  const wrong: [unknown, typeof TypeError | typeof RangeError][] = [
    ["=x", TypeError],
    ["ro=1", TypeError],
    [{ ro: "1" }, TypeError],
    ["a\0b", TypeError],
    [{ a: "b\0c" }, TypeError],
    [{ a: false }, TypeError],
    [{ a: null }, TypeError],
    [{ a: NaN }, RangeError],
    [[1], TypeError],
    [7, TypeError],
    [null, TypeError],
    [new Map([["ro", true]]), TypeError],
    [new Set(["ro"]), TypeError],
    [{ a: { fd: NaN } }, TypeError],
    [{ a: { fd: -1 } }, TypeError],
    [{ a: { fd: 2 ** 31 } }, TypeError],
    [{ a: [["b"]] }, TypeError],
    [{ a: [null] }, TypeError],
    [`${long}=1`, RangeError],
    [`lowerdir=${long}`, RangeError],
    [`lowerdir=${longInBytes}`, RangeError],
  ];
  for (const [options, error] of wrong) {
    assertThrows(() => parseMountOptions(options as OptionsInput), error);
  }
  assertEquals(parameters(`a=${long.slice(1)}`), [["a", long.slice(1)]]);
});
