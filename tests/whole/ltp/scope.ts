import type { Numeric, Op, StepOf, Text } from "./cases.ts";
import * as sys from "../../../src/sys/mod.ts";

/**
 * What a variable holds. A number is a descriptor; every other number of the
 * kernel's is a bigint.
 */
export type Value =
  | number
  | bigint
  | string
  | undefined
  | readonly Value[]
  | { readonly [field: string]: Value };

/** A function for each op; its result is a number when that is a new descriptor. */
export type Ops = {
  readonly [O in Op]: (step: StepOf<O>, scope: Scope) => Value | void;
};

/** The variables of a case that runs, and the descriptors that it holds. */
export class Scope {
  /** The case's own directory. */
  readonly scratch: string;
  /** Where the driver keeps what it needs, out of the case's way. */
  readonly workshop: string;
  readonly variables: Map<string, Value>;
  /** The loop devices that the case was given, and the image that each has. */
  readonly loopDevices = new Map<string, string>();
  readonly #descriptors = new Set<number>();

  constructor(
    scratch: string,
    workshop: string,
    variables: Iterable<[string, Value]> = [],
  ) {
    this.scratch = scratch;
    this.workshop = workshop;
    this.variables = new Map(variables);
  }

  /** Takes a descriptor over: it is closed in the end if the case doesn't close it. */
  own(fd: number): number {
    this.#descriptors.add(fd);
    return fd;
  }

  close(fd: number): void {
    this.#descriptors.delete(fd);
    sys.close(fd);
  }

  closeAll(): void {
    for (const fd of this.#descriptors) this.close(fd);
  }

  /** What a reference like `$x.ids.0` stands for. */
  lookUp(reference: string): Value {
    const [name, ...fields] = reference.slice(1).split(".");
    return fields.reduce(
      (value, field) => (value as { [field: string]: Value })[field],
      this.variables.get(name!),
    );
  }

  /** A number in full: without a sign where it is ORed together. */
  number(numeric: Numeric): bigint {
    if (Array.isArray(numeric)) {
      return numeric.reduce((bits, part) => bits | this.number(part), 0n);
    }
    if (typeof numeric === "number") return BigInt(numeric);
    if (numeric.startsWith("$")) return toBigint(this.lookUp(numeric), numeric);
    if (/^0x/.test(numeric)) return BigInt(numeric);
    return toBigint((sys as { [name: string]: unknown })[numeric], numeric);
  }

  /** A number that a call takes as such. */
  integer(numeric: Numeric): number {
    return Number(this.number(numeric));
  }

  text(text: Text): string {
    if (text === null) throw new TypeError("There is no NULL to pass");
    if (typeof text === "object") return text.repeat.repeat(text.times);
    if (/^\$\w/.test(text)) return String(this.lookUp(text));
    return text.replace(
      /\$\{(\w+)\}/g,
      (_, name: string) =>
        name === "S" ? this.scratch : String(this.variables.get(name)),
    );
  }
}

function toBigint(value: unknown, name: string): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return BigInt(value);
  throw new TypeError(`"${name}" is no number: ${value}`);
}
