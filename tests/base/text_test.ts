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

Deno.test("decodeText() takes for a character what TextDecoder does", () => {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const valid = (bytes: number[]) => {
    try {
      return decoder.decode(Uint8Array.from(bytes));
    } catch {
      return null;
    }
  };
  const second = [0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0];
  const later = [0x7f, 0x80, 0xbf, 0xc0];
  const follow = second.flatMap((b) =>
    later.flatMap((c) => later.map((d) => [b, c, d]))
  );
  for (let lead = 0xc0; lead <= 0xff; lead++) {
    for (const rest of follow) {
      for (let length = 2; length <= 4; length++) {
        const bytes = [lead, ...rest.slice(0, length - 1)];
        const expected = valid(bytes);
        // The byte behind it makes it a text that is no UTF-8.
        const text = decodeText(Uint8Array.from([...bytes, 0xff]));
        if (expected !== null) assertEquals(text, `${expected}\udcff`);
        else assertEquals(text.length > 1, true);
        assertEquals([...encodeText(text)], [...bytes, 0xff]);
      }
    }
  }
});

Deno.test("decodeText() tries a text that is no UTF-8 once", () => {
  const { decode } = TextDecoder.prototype;
  let calls = 0;
  TextDecoder.prototype.decode = function (...args) {
    calls++;
    return decode.apply(this, args);
  };
  try {
    assertEquals(decodeText(new Uint8Array(10_000).fill(0xff)).length, 10_000);
  } finally {
    TextDecoder.prototype.decode = decode;
  }
  assertEquals(calls, 1);
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
