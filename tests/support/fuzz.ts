/** Arbitrary input: how much of it there is, and what may come of it. */
import fc from "npm:fast-check@4.11.0";
import { assert } from "@std/assert";
import { gatedTest, numberOf, timesOf } from "./testing.ts";

/** How many inputs a property is tried with, where that is not said. */
const SAMPLE = 150;

/** How many inputs were asked for; undefined for a sample. */
export const RUNS = timesOf("FUZZ_RUNS", 20_000);

/** The same for everybody, so that who changes nothing sees nothing new. */
const SEED = numberOf("FUZZ_SEED") ??
  (RUNS === undefined ? 20_260_101 : Date.now() & 0x7fff_ffff);

// What our code throws is made by `new`, and so by these; what the engine
// throws by itself is not.
class OurTypeError extends TypeError {}
class OurRangeError extends RangeError {}

/** Lets `instanceof` and the name be as they were. */
function stand(ours: ErrorConstructor, native: ErrorConstructor): void {
  Object.defineProperty(ours, Symbol.hasInstance, {
    value: (value: unknown) => Object(value) === value && isOf(value, native),
  });
  Object.defineProperty(ours, "name", { value: native.name });
}

function isOf(value: unknown, { prototype }: ErrorConstructor): boolean {
  return Object.prototype.isPrototypeOf.call(prototype, value as object);
}

const NATIVE = { TypeError, RangeError };
stand(OurTypeError as ErrorConstructor, TypeError);
stand(OurRangeError as ErrorConstructor, RangeError);

/** What a call may throw besides a TypeError or RangeError of ours. */
// deno-lint-ignore no-explicit-any
type ErrorClass = abstract new (...args: any[]) => Error;

/** True if our code made an error, and not the engine. */
function isOurs(error: unknown, typed: readonly ErrorClass[]): boolean {
  return [OurTypeError, OurRangeError].some(({ prototype }) =>
    Object.prototype.isPrototypeOf.call(prototype, error as object)
  ) || typed.some((kind) => error instanceof kind);
}

/** A property: what is done with an input. */
export type Property<T> = (input: T) => unknown;

/**
 * Registers a test that a call throws only what our code says.
 *
 * @param name What is tried.
 * @param inputs The inputs.
 * @param typed The classes of errors that it may throw, besides a TypeError and
 * a RangeError.
 * @param call The call; what it asserts must hold.
 */
export function fuzzTest<T>(
  name: string,
  inputs: fc.Arbitrary<T>,
  typed: readonly ErrorClass[],
  call: Property<T>,
  missing: string | null = null,
): void {
  gatedTest(
    `fuzz: ${name}`,
    missing,
    () => assertTyped(name, inputs, typed, call),
  );
}

/** Tries a call with inputs: see {@linkcode fuzzTest}. */
export async function assertTyped<T>(
  name: string,
  inputs: fc.Arbitrary<T>,
  typed: readonly ErrorClass[],
  call: Property<T>,
  numRuns: number = RUNS ?? SAMPLE,
): Promise<void> {
  if (RUNS !== undefined) console.log(`${name}: ${numRuns}, seed ${SEED}`);
  Object.assign(globalThis, {
    TypeError: OurTypeError,
    RangeError: OurRangeError,
  });
  try {
    const property = fc.asyncProperty(inputs, async (input) => {
      try {
        await call(input);
      } catch (error) {
        if (!isOurs(error, typed)) throw error;
        const { message } = error as Error;
        assert(!/\[object /.test(message), message);
      }
    });
    await fc.assert(property, { numRuns, seed: SEED });
  } finally {
    Object.assign(globalThis, NATIVE);
  }
}

/** Text made of pieces that mean something, and of others. */
export function textOf(
  pieces: readonly string[],
  maxLength = 30,
): fc.Arbitrary<string> {
  const piece = fc.oneof(
    { arbitrary: fc.constantFrom(...pieces), weight: 12 },
    { arbitrary: fc.constantFrom(...ODD_TEXT), weight: 1 },
    { arbitrary: fc.string({ unit: "binary", maxLength: 4 }), weight: 1 },
  );
  return fc.array(piece, { maxLength }).map((all) => all.join(""));
}

const ODD_TEXT = [
  ...["\0", "\ud800", "\udfff", "\udc80", "\udcff\udc80", "\ufeff", "\ufffd"],
  ...[
    "\u2028",
    "\r",
    "\n",
    "\t",
    " ",
    "\\",
    '"',
    "'",
    "=",
    ",",
    ":",
    "/",
    "..",
  ],
  ...["__proto__", "constructor", "toString", "NaN", "-1", "1e400", "😀"],
  ..."9".repeat(400).match(/^9{3}|9{397}/g)!,
];

/** Any value of JavaScript. */
export const anything: fc.Arbitrary<unknown> = fc.oneof(
  fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withNullPrototype: true,
    withSparseArray: true,
    withTypedArray: true,
  }),
  fc.constantFrom<unknown>(
    ...[Symbol("x"), Object.create(null), undefined, null, 1n, () => {}],
    ...[NaN, -0, -1, 2 ** 31, 2 ** 32, 2 ** 53, Infinity, new Proxy({}, {})],
    ...[[undefined], [Symbol("x")], [Object.create(null)], class {}],
    ...["", "x", true, false, {}, [], new URL("http://x/"), new Uint8Array(3)],
    ...[{ fd: 1.5 }, { fd: Symbol("x") }, { length: 1 }, { __proto__: null }],
  ),
);

/** An object that may have these members, each of which may be anything. */
export function recordOf(
  members: Readonly<Record<string, fc.Arbitrary<unknown>>>,
): fc.Arbitrary<Record<string, unknown>> {
  const loose = Object.entries(members).map(([name, values]) => [
    name,
    fc.oneof(
      { arbitrary: values, weight: 12 },
      { arbitrary: anything, weight: 1 },
    ),
  ]);
  return fc.record(Object.fromEntries(loose), { requiredKeys: [] });
}
