import { AT_FDCWD } from "./constants.ts";
import { decodeText } from "./text.ts";

/** A descriptor among the arguments of a call: a tracer may say what it leads to. */
export interface DescriptorArgument {
  /** The descriptor's number, or `AT_FDCWD`. */
  readonly fd: number;
}

/** An argument of a system call, as text or as a descriptor. */
export type Argument = string | DescriptorArgument;

/** Prints an argument as strace(1) does. */
export function formatArgument(argument: Argument): string {
  if (typeof argument === "string") return argument;
  return argument.fd === AT_FDCWD ? "AT_FDCWD" : String(argument.fd);
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

/** Quotes what was read, shortened as strace(1) does. */
export function quoteStart(bytes: Uint8Array): string {
  const shown = quote(decodeText(bytes.subarray(0, MOST_SHOWN)));
  return bytes.length > MOST_SHOWN ? `${shown}...` : shown;
}

/** strace's own 32 would cut most of what the kernel says on a context. */
const MOST_SHOWN = 256;

/**
 * Names the bits of `value`, joined by `|`; what has no name is printed in
 * hexadecimal. A name that covers several bits must come before theirs.
 */
export function flagNames(
  value: number | bigint,
  names: Readonly<Record<string, number>>,
): string {
  let rest = BigInt(value);
  const found: string[] = [];
  for (const [name, flag] of Object.entries(names)) {
    const bits = BigInt(flag);
    if (bits !== 0n && (rest & bits) === bits) {
      found.push(name);
      rest &= ~bits;
    }
  }
  if (rest !== 0n || found.length === 0) {
    found.push(rest === 0n ? "0" : `0x${rest.toString(16)}`);
  }
  return found.join("|");
}

/** Prints a file mode in octal. */
export function octal(mode: number | bigint): string {
  return BigInt(mode) === 0n ? "0" : `0${mode.toString(8)}`;
}
