/**
 * Converts arguments for the kernel. Refuses what can't be passed on: a wrong
 * type, a NUL in a string, a number that does not fit the C type. The kernel
 * judges the rest.
 */
import { decodeText, encodeText, quote } from "../base/text.ts";
import { LITTLE_ENDIAN } from "./layout.ts";
import { type Argument, SyscallError } from "./error.ts";
import { errno } from "./libc.ts";

/** Encodes a string, and adds a NUL. */
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
 * Encodes a string as {@linkcode cString} does, but reuses memory if it can.
 * The bytes are valid for the next call only. Until then no code of a caller's
 * (a getter, a tracer) may run.
 *
 * @param slot The memory to use; a call with two strings needs both slots.
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

/** The kernel's limit for a path: PATH_MAX. */
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

/** Checks flags whose C type is `int`: with bit 31 set, any sign will do. */
export function flags32(name: string, value: number): number {
  return integer(name, value, -0x8000_0000, 0xffff_ffff) | 0;
}

/** Checks a 64-bit value: a bigint, or a number that is exact. */
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

/**
 * Ends a call that failed or is traced: tells the tracer, then throws if it
 * failed. `copyErrno` must have been called before.
 *
 * @throws {SyscallError} When `result` is -1.
 */
export function settle(
  result: number,
  syscall: string,
  args: readonly Argument[],
): void {
  const number = result === -1 ? errno[0]! : 0;
  if (tracer) {
    const copied = errno[0]!;
    try {
      tracer({ syscall, args, result, errno: number });
    } catch (error) {
      // Thrown from here, the error would lose the descriptor of the call.
      queueMicrotask(() => {
        throw error;
      });
    }
    // The tracer may have made calls, which changed errno.
    errno[0] = copied;
  }
  if (result === -1) throw new SyscallError(syscall, number, args);
}

/** A system call that was made, for a tracer. */
export interface TracedCall {
  /** The kernel's name of the call. */
  readonly syscall: string;
  /** The arguments as strace(1) would print them; descriptors are objects. */
  readonly args: readonly Argument[];
  /** The call's result, -1 when it failed. */
  readonly result: number;
  /** The error number, 0 when the call succeeded. */
  readonly errno: number;
}

/** A function that is called after each system call. */
export type Tracer = (call: TracedCall) => void;

/** The tracer that is told of each call, if there is one. */
export let tracer: Tracer | null = null;

/**
 * Sets a function that is called after each system call that this thread makes
 * through this module. It must not throw: the error would be uncaught.
 *
 * @param next The tracer, or null for none.
 * @returns The tracer that was set before.
 */
export function setTracer(next: Tracer | null): Tracer | null {
  const previous = tracer;
  tracer = next;
  return previous;
}

/** Quotes bytes that were read, shortened as strace(1) shortens them. */
export function quoteStart(bytes: Uint8Array): string {
  const shown = quote(decodeText(bytes.subarray(0, MOST_SHOWN)));
  return bytes.length > MOST_SHOWN ? `${shown}...` : shown;
}

/** More than strace's 32, which would cut most messages on a context. */
const MOST_SHOWN = 256;

/**
 * Names the bits of `value`, joined by `|`; prints other bits in hexadecimal. A
 * name of several bits must come before the names of these bits.
 */
export function flagNames(
  value: number | bigint,
  names: Readonly<Record<string, number | bigint>>,
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
