import { assertEquals, assertThrows } from "@std/assert";
import { decodeText, encodeText } from "../../src/base/text.ts";

Deno.test("decodeText() and encodeText() keep every sequence of bytes", () => {
  // All pairs and a sample of longer ones: every way to be no UTF-8.
  for (let first = 0; first < 256; first++) {
    for (let second = 0; second < 256; second++) {
      const bytes = Uint8Array.of(first, second);
      assertEquals(encodeText(decodeText(bytes)), bytes);
    }
  }
  let seed = 1;
  for (let round = 0; round < 5000; round++) {
    const bytes = Uint8Array.from({ length: round % 9 }, () => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return seed >> 16;
    });
    assertEquals(encodeText(decodeText(bytes)), bytes);
  }
});

Deno.test("decodeText() decodes a long text as it does its parts", () => {
  const parts: [number[], string][] = [
    [[0x61], "a"],
    [[0xc3, 0xa9], "é"],
    [[0xe2, 0x82, 0xac], "€"],
    [[0xf0, 0x9f, 0x98, 0x80], "😀"],
    [[0xff], "\udcff"],
    [[0x80], "\udc80"],
    [[0xe2, 0x82], "\udce2\udc82"],
  ];
  for (let length = 1; length < 200; length++) {
    const chosen = Array.from(
      { length },
      // What was cut must not be followed by its rest.
      (_, i) => parts[(i % 2) * (i * length % 7)]!,
    );
    const bytes = Uint8Array.from(chosen.flatMap(([bytes]) => bytes));
    const text = chosen.map(([, text]) => text).join("");
    assertEquals(decodeText(bytes), text);
    assertEquals(decodeText(new Uint8Array(length).fill(0x80)).length, length);
  }
});

Deno.test("decodeText() decodes valid UTF-8 and escapes the rest", () => {
  assertEquals(
    decodeText(new TextEncoder().encode("a\ufeffé😀")),
    "a\ufeffé😀",
  );
  assertEquals(decodeText(Uint8Array.of(0x61, 0xff, 0x62)), "a\udcffb");
  assertEquals(decodeText(Uint8Array.of(0xef, 0xbb, 0xbf)), "\ufeff");
  // An encoded surrogate is no UTF-8.
  assertEquals(
    decodeText(Uint8Array.of(0xed, 0xb2, 0x80)),
    "\udced\udcb2\udc80",
  );
});

Deno.test("encodeText() throws when a lone surrogate stands for no byte", () => {
  for (const text of ["\ud800", "a\udfff", "\udc7f", "\udc00"]) {
    assertThrows(() => encodeText(text), TypeError, "surrogate");
  }
});
