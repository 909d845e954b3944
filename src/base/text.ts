/**
 * Room `base`: Pure helpers that anybody may use: text that is bytes, words
 * that are checked. No system call.
 *
 * Converts text to and from the kernel's strings, which are bytes. A byte that
 * is not part of valid UTF-8 becomes a lone surrogate, U+DC80…U+DCFF, with the
 * byte in its low eight bits, and back again. So every name survives the round
 * trip.
 */

const encoder = new TextEncoder();

// A byte order mark is part of a file's name like any other character.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Encodes `text`. A lone surrogate U+DC80…U+DCFF becomes its byte again. */
export function encodeText(text: string): Uint8Array<ArrayBuffer> {
  if (text.isWellFormed()) {
    return encoder.encode(text) as Uint8Array<ArrayBuffer>;
  }
  const bytes: number[] = [];
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (code >= 0xdc80 && code <= 0xdcff) {
      bytes.push(code & 0xff);
    } else if (code >= 0xd800 && code <= 0xdfff) {
      throw new TypeError(
        `The lone surrogate U+${
          code.toString(16).toUpperCase()
        } stands for no byte`,
      );
    } else {
      bytes.push(...encoder.encode(character));
    }
  }
  return Uint8Array.from(bytes);
}

/** Decodes `bytes`. A byte that is not UTF-8 becomes its lone surrogate. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    return decodeEscaped(bytes);
  }
}

/** Decodes character by character: an exception for each bad byte is slow. */
function decodeEscaped(bytes: Uint8Array): string {
  let text = "";
  let units: number[] = [];
  for (let at = 0; at < bytes.length;) {
    const lead = bytes[at]!;
    const length = sequenceLength(bytes, at);
    if (length <= 1) {
      units.push(length === 1 ? lead : 0xdc00 | lead);
      at++;
    } else {
      let point = lead & (0x7f >> length);
      for (const end = at++ + length; at < end; at++) {
        point = point << 6 | bytes[at]! & 0x3f;
      }
      if (point > 0xffff) {
        point -= 0x1_0000;
        units.push(0xd800 | point >> 10, 0xdc00 | point & 0x3ff);
      } else units.push(point);
    }
    // Every engine takes this many arguments in a call.
    if (units.length > 4096) {
      text += String.fromCharCode(...units);
      units = [];
    }
  }
  return text + String.fromCharCode(...units);
}

/** The number of bytes of the character at a place; 0 for none: RFC 3629. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at]!;
  if (lead < 0x80) return 1;
  const length = lead < 0xc2 || lead > 0xf4
    ? 0
    : lead < 0xe0
    ? 2
    : lead < 0xf0
    ? 3
    : 4;
  // Accept only the shortest form, no surrogate, nothing above U+10FFFF.
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  for (let i = 1; i < length; i++) {
    const byte = bytes[at + i];
    if (byte === undefined) return 0;
    if (byte < (i === 1 ? least : 0x80) || byte > (i === 1 ? most : 0xbf)) {
      return 0;
    }
  }
  return length;
}

const ESCAPES: Record<string, string> = {
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/**
 * Quotes a string from or for the kernel. Control characters, which may steer a
 * terminal, and bytes that are not UTF-8 come out as `\xNN`.
 */
export function quote(text: string | null): string {
  return text === null
    ? "NULL"
    : `"${printable(text.replace(/["\\]/g, "\\$&"))}"`;
}

/** Escapes a text as {@linkcode quote} does, but adds and escapes no quotes. */
export function printable(text: string): string {
  return text.replace(
    // deno-lint-ignore no-control-regex
    /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu,
    (character) => {
      const code = character.charCodeAt(0);
      // A lone surrogate stands for the byte in its low bits.
      const byte = code >= 0xd800 ? code & 0xff : code;
      return ESCAPES[character] ??
        (byte > 0xff
          ? `\\u${byte.toString(16)}`
          : `\\x${byte.toString(16).padStart(2, "0")}`);
    },
  );
}

/** The character that {@linkcode decodeText} makes of a single byte. */
export function byteCharacter(byte: number): string {
  return String.fromCharCode(byte < 0x80 ? byte : 0xdc00 | byte);
}
