/**
 * Room `base`: Pure helpers that anybody may use: text that is bytes, words
 * that are checked. No system call.
 *
 * Text to and from the kernel, whose strings are bytes. A byte that is no part
 * of valid UTF-8 becomes the lone surrogate U+DC80…U+DCFF with the byte in its
 * low eight bits, and back again: every name survives the round trip.
 */

const encoder = new TextEncoder();

// A byte order mark is part of a file's name like any other character.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Encodes `text`, a lone surrogate U+DC80…U+DCFF as the byte it stands for. */
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

/** Decodes `bytes`, one that is no UTF-8 to the lone surrogate that stands for it. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    const middle = boundaryAfter(bytes, bytes.length >> 1);
    // A mount table is long, and what is no UTF-8 in it short.
    return bytes.length > 64 && middle < bytes.length
      ? decodeText(bytes.subarray(0, middle)) +
        decodeText(bytes.subarray(middle))
      : decodeEscaped(bytes);
  }
}

/** The next place at which no character is cut. */
function boundaryAfter(bytes: Uint8Array, at: number): number {
  while ((bytes[at]! & 0xc0) === 0x80) at++;
  return at;
}

function decodeEscaped(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const length = sequenceLength(bytes[at]!);
    try {
      text += decoder.decode(bytes.subarray(at, at + length));
      at += length;
    } catch {
      text += String.fromCharCode(0xdc00 | bytes[at]!);
      at++;
    }
  }
  return text;
}

function sequenceLength(lead: number): number {
  if (lead >= 0xf0) return 4;
  if (lead >= 0xe0) return 3;
  return lead >= 0xc0 ? 2 : 1;
}

const ESCAPES: Record<string, string> = {
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/**
 * Quotes a string from or for the kernel. Control characters, among them those
 * that steer a terminal, and bytes that are no UTF-8 come out as `\xNN`.
 */
export function quote(text: string | null): string {
  return text === null
    ? "NULL"
    : `"${printable(text.replace(/["\\]/g, "\\$&"))}"`;
}

/** A text as {@linkcode quote} has it, without the quotes and their escapes. */
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

/** The character that {@linkcode decodeText} makes of a byte that stands alone. */
export function byteCharacter(byte: number): string {
  return String.fromCharCode(byte < 0x80 ? byte : 0xdc00 | byte);
}
