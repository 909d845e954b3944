/** System calls of a program that are made to fail: fixtures/faults.c. */
import { compiled } from "./compiled.ts";
import { CALLS } from "../../src/sys/calls.ts";
import { SCRATCH } from "./testing.ts";
import { errnoCode } from "../../src/sys/errno.ts";

/** A call that fails. */
export interface Fault {
  readonly call: keyof typeof CALLS;
  /** Which of them, counted from 1; with `from` all from then on. */
  readonly when: number;
  readonly from?: boolean;
  /** The error, like "EIO". */
  readonly code: string;
}

/** The environment in which a program's call fails, or only its calls are logged. */
export function faultEnvironment(
  fault: Fault | null,
  log?: string,
): Record<string, string> {
  return {
    LD_PRELOAD: faultLibrary(),
    ...(fault === null ? {} : { FAULT: faultText(fault) }),
    ...(log === undefined ? {} : { FAULT_LOG: log }),
  };
}

/** The library's path; what uses it must not see it change. */
export function faultLibrary(): string {
  const path = `${SCRATCH}/faults`;
  try {
    Deno.statSync(path);
    return path;
  } catch {
    return compiled("faults", SCRATCH, ["-shared", "-fPIC", "-ldl"]);
  }
}

function faultText({ call, when, from = false, code }: Fault): string {
  const number = CALLS[call][Deno.build.arch];
  return `${number}:${when}${from ? "+" : ""}:${errnoOf(code)}`;
}

function errnoOf(code: string): number {
  for (let errno = 1; errno < 134; errno++) {
    if (errnoCode(errno) === code) return errno;
  }
  throw new Error(`No error ${code}`);
}

/** The calls that a log has, in their order. */
export function loggedCalls(log: string): (keyof typeof CALLS)[] {
  const names = new Map<number, keyof typeof CALLS>(
    Object.entries(CALLS).map((
      [name, numbers],
    ) => [numbers[Deno.build.arch], name as keyof typeof CALLS]),
  );
  return Deno.readTextFileSync(log).trim().split("\n")
    .map((line) => names.get(Number(line)))
    .filter((name) => name !== undefined);
}
