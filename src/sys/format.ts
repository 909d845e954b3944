import { AT_FDCWD } from "./constants.ts";

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
  '"': '\\"',
  "\\": "\\\\",
};

/**
 * Quotes a string from or for the kernel. Control characters, among them those
 * that steer a terminal, and bytes that are no UTF-8 come out as `\xNN`.
 */
export function quote(text: string | null): string {
  if (text === null) return "NULL";
  const escaped = text.replace(
    // deno-lint-ignore no-control-regex
    /[\u0000-\u001f"\\\u007f-\u009f\u2028\u2029\ud800-\udfff]/gu,
    (character) =>
      ESCAPES[character] ??
        "\\x" + (character.charCodeAt(0) & 0xff).toString(16).padStart(2, "0"),
  );
  return `"${escaped}"`;
}

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
