/**
 * Arguments on their way to the kernel. What can't be passed on is refused
 * here: a wrong type, a NUL in a string, a number that does not fit the C
 * type. All else is the kernel's to judge.
 */
import { LITTLE_ENDIAN } from "./layout.ts";
import { encodeText } from "./text.ts";

/** Encodes a string, NUL at its end. */
export function cString(name: string, value: string): Uint8Array<ArrayBuffer> {
  if (typeof value !== "string") {
    throw new TypeError(`"${name}" must be a string: received ${kind(value)}`);
  }
  // The kernel would silently stop reading at the NUL.
  if (value.includes("\0")) {
    throw new TypeError(`"${name}" must not contain a NUL character`);
  }
  return encodeText(value + "\0");
}

/**
 * Encodes a string as {@linkcode cString} does, most often into memory that is
 * used again: it is good for one call, before which nothing of a caller's (a
 * getter, a tracer) may run.
 *
 * @param slot Which memory: a call may take a string in each.
 */
export function passString(
  name: string,
  value: string,
  slot: 0 | 1 = 0,
): Uint8Array<ArrayBuffer> {
  const memory = SLOTS[slot];
  const length = typeof value === "string" ? value.length : MOST_PASSED;
  if (length >= MOST_PASSED) return cString(name, value);
  for (let at = 0; at < length; at++) {
    const code = value.charCodeAt(at);
    if (code === 0 || code > 0x7f) return cString(name, value);
    memory[at] = code;
  }
  memory[length] = 0;
  return memory;
}

/** As long as a path may be. */
const MOST_PASSED = 4096;

const SLOTS = [
  new Uint8Array(MOST_PASSED),
  new Uint8Array(MOST_PASSED),
] as const;

/** Checks an `int`: a descriptor, say. */
export function int32(name: string, value: number): number {
  return integer(name, value, -0x8000_0000, 0x7fff_ffff);
}

/** Checks an `unsigned int`. */
export function uint32(name: string, value: number): number {
  return integer(name, value, 0, 0xffff_ffff);
}

/** Checks flags whose C type is `int`: bit 31 may be written with either sign. */
export function flags32(name: string, value: number): number {
  return integer(name, value, -0x8000_0000, 0xffff_ffff) | 0;
}

/** Checks a 64-bit value, which may be a number where that is exact. */
export function uint64(name: string, value: number | bigint): bigint {
  if (typeof value !== "bigint") {
    return BigInt(integer(name, value, 0, Number.MAX_SAFE_INTEGER));
  }
  if (BigInt.asUintN(64, value) !== value) throw outOfRange(name, value);
  return value;
}

/** Checks a 64-bit value as {@linkcode uint64} does, and puts it into a struct. */
export function setUint64(
  struct: DataView,
  offset: number,
  name: string,
  value: number | bigint,
): void {
  if (typeof value === "bigint") {
    struct.setBigUint64(offset, uint64(name, value), LITTLE_ENDIAN);
    return;
  }
  value = integer(name, value, 0, Number.MAX_SAFE_INTEGER);
  struct.setUint32(offset, value >>> 0, LITTLE_ENDIAN);
  struct.setUint32(offset + 4, value / 2 ** 32, LITTLE_ENDIAN);
}

/** Checks that a value is bytes. */
export function byteArray(
  name: string,
  value: Uint8Array,
): Uint8Array<ArrayBuffer> {
  if (!(value instanceof Uint8Array)) {
    throw new TypeError(
      `"${name}" must be a Uint8Array: received ${kind(value)}`,
    );
  }
  // Deno.dlopen takes no view of shared memory: copy it.
  return value.buffer instanceof ArrayBuffer
    ? value as Uint8Array<ArrayBuffer>
    : Uint8Array.from(value);
}

function integer(
  name: string,
  value: number,
  least: number,
  most: number,
): number {
  if (typeof value !== "number") {
    throw new TypeError(`"${name}" must be a number: received ${kind(value)}`);
  }
  if (!Number.isInteger(value) || value < least || value > most) {
    throw outOfRange(name, value);
  }
  // Deno's foreign calls take no negative zero.
  return value + 0;
}

function outOfRange(name: string, value: number | bigint): RangeError {
  return new RangeError(`"${name}" does not fit its C type: ${value}`);
}

function kind(value: unknown): string {
  return value === null ? "null" : `a value of type ${typeof value}`;
}
