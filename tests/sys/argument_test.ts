import { assertEquals, assertThrows } from "@std/assert";
import {
  byteArray,
  cString,
  flags32,
  int32,
  passString,
  setUint64,
  uint32,
  uint64,
} from "../../src/sys/call.ts";

Deno.test("cString() ends with a NUL and takes none inside", () => {
  assertEquals(cString("path", "é"), Uint8Array.of(0xc3, 0xa9, 0));
  assertEquals(cString("path", "\udcff"), Uint8Array.of(0xff, 0));
  assertThrows(() => cString("path", "a\0"), TypeError, "NUL");
  assertThrows(() => cString("path", 7 as unknown as string), TypeError);
  assertThrows(() => cString("path", null as unknown as string), TypeError);
});

Deno.test("passString() encodes as cString(), a shorter string after a longer too", () => {
  const texts = ["", "/proc/self/fd/7", "é", "\udcff", "a".repeat(4095)];
  for (const text of [...texts, "a".repeat(4096), "a", ""]) {
    const expected = cString("path", text);
    for (const slot of [0, 1] as const) {
      const passed = passString("path", text, slot);
      assertEquals(passed.subarray(0, expected.length), expected);
    }
  }
  const [first, second] = [passString("a", "1"), passString("b", "2", 1)];
  assertEquals([first[0], second[0]], [0x31, 0x32]);
  for (const text of ["a\0", "é\0", `${"a".repeat(4096)}\0`]) {
    assertThrows(() => passString("path", text), TypeError, "NUL");
  }
  for (const value of [7, null, undefined, { length: 0 }]) {
    assertThrows(() => passString("path", value as string), TypeError);
  }
});

Deno.test("the integer checks take what fits the C type and no more", () => {
  const takes: [typeof int32, number[], number[]][] = [
    [int32, [0, -1, -100, 0x7fffffff, -0x80000000], [0x80000000, -0x80000001]],
    [uint32, [0, 1, 0x80000000, 0xffffffff], [-1, 0x100000000]],
    [flags32, [0, -1, 0xffffffff, -0x80000000], [0x100000000, -0x80000001]],
  ];
  for (const [check, good, bad] of takes) {
    for (const value of good) {
      assertEquals(check("n", value) | 0, value | 0);
    }
    assertEquals(Object.is(check("n", -0), 0), true);
    for (const value of [...bad, 0.5, NaN, Infinity]) {
      assertThrows(() => check("n", value), RangeError, "C type");
    }
    for (const value of ["1", 1n, null, undefined, {}]) {
      assertThrows(() => check("n", value as number), TypeError, "number");
    }
  }
});

Deno.test("uint64() keeps all 64 bits", () => {
  assertEquals(uint64("n", 1n << 63n), 1n << 63n);
  assertEquals(uint64("n", 0xffff_ffff_ffff_ffffn), 0xffff_ffff_ffff_ffffn);
  assertEquals(uint64("n", 2 ** 40), 1n << 40n);
  for (const value of [1n << 64n, -1n, -1, 2 ** 53, 1.5]) {
    assertThrows(() => uint64("n", value), RangeError);
  }
  assertThrows(() => uint64("n", "1" as unknown as bigint), TypeError);
});

Deno.test("setUint64() writes what uint64() lets pass", () => {
  const struct = new DataView(new ArrayBuffer(24));
  const good = [
    0,
    -0,
    1,
    0xffff_ffff,
    2 ** 32,
    2 ** 53 - 1,
    1n,
    2n ** 64n - 1n,
  ];
  for (const value of good) {
    struct.setBigUint64(8, 2n ** 64n - 1n);
    setUint64(struct, 8, "n", value);
    assertEquals(struct.getBigUint64(8, true), BigInt(value));
  }
  for (const value of [1n << 64n, -1n, -1, 2 ** 53, 1.5, NaN]) {
    assertThrows(() => setUint64(struct, 8, "n", value), RangeError);
  }
  assertThrows(
    () => setUint64(struct, 8, "n", "1" as unknown as bigint),
    TypeError,
  );
  assertEquals(
    [struct.getBigUint64(0), struct.getBigUint64(16)],
    [0n, 0n],
  );
});

Deno.test("byteArray() copies out of shared memory", () => {
  const shared = new Uint8Array(new SharedArrayBuffer(2));
  shared[1] = 7;
  const copy = byteArray("bytes", shared);
  assertEquals([...copy], [0, 7]);
  assertEquals(copy.buffer instanceof ArrayBuffer, true);
  assertThrows(
    () => byteArray("bytes", [1] as unknown as Uint8Array),
    TypeError,
  );
});
