import type { Argument } from "./format.ts";

/** A system call that was made, as a tracer is told of it. */
export interface TracedCall {
  /** The kernel's name of the call. */
  readonly syscall: string;
  /** The arguments, as strace would print them; descriptors apart. */
  readonly args: readonly Argument[];
  /** What the call returned, -1 when it failed. */
  readonly result: number;
  /** The error number, 0 when the call succeeded. */
  readonly errno: number;
}

/** Is told of each system call, after it was made. */
export type Tracer = (call: TracedCall) => void;

/** The tracer that is told of each call, if there is one. */
export let tracer: Tracer | null = null;

/**
 * Sets the function that is told of each system call this thread makes through
 * this module. It must not throw: that would be an uncaught error.
 *
 * @param next The tracer, or null for none.
 * @returns The tracer that was set before.
 */
export function setTracer(next: Tracer | null): Tracer | null {
  const previous = tracer;
  tracer = next;
  return previous;
}
