/** Runs the program under strace(1), and reads what it did. */
import { type Ended, run, type RunOptions } from "./program.ts";
import { SCRATCH } from "./testing.ts";

/** A system call of the program, as strace printed it. */
export interface Call {
  /** The thread that made it. */
  pid: string;
  /** The call's name. */
  name: string;
  /** The arguments, not taken apart. */
  args: string;
  /** What it returned, -1 for an error. */
  result: number;
  /** What the result is followed by: the error, or what a descriptor leads to. */
  outcome: string;
  /** Whether strace made it fail. */
  injected: boolean;
}

/** Parses strace's output, calls that others interrupted put together. */
export function parseTrace(text: string): Call[] {
  const unfinished = new Map<string, string>();
  const calls: Call[] = [];
  for (const line of text.split("\n")) {
    const split = /^(\d+) +(.*)$/.exec(line);
    if (split === null) continue;
    const pid = split[1]!;
    let rest = split[2]!;
    if (rest.endsWith("<unfinished ...>")) {
      unfinished.set(pid, rest.slice(0, -" <unfinished ...>".length));
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    if (resumed !== null) {
      rest = unfinished.get(pid)! + resumed[1]!;
      unfinished.delete(pid);
    }
    const call = /^(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+)(.*)$/.exec(rest);
    if (call === null) continue;
    calls.push({
      pid,
      name: call[1]!,
      args: call[2]!,
      result: Number(call[3]),
      outcome: call[4]!,
      injected: call[4]!.includes("(INJECTED)"),
    });
  }
  return calls;
}

/**
 * Options of strace by which a call fails, and no other is traced: the others
 * don't stop the program, which takes a tenth of the time. So a call is not
 * answered with a signal.
 *
 * @param name The call.
 * @param what The error, and when: see `inject` in strace(1).
 */
export function injecting(name: string, what: string): string[] {
  const traced = ["--seccomp-bpf", "-e", `trace=${name}`];
  return [...traced, "-e", `inject=${name}:${what}`];
}

/** Runs the program under strace with FFI as its only permission. */
export function runTraced(
  args: string[],
  options: string[] = [],
  runOptions: RunOptions = {},
): { ended: Ended; calls: Call[] } {
  const file = `${SCRATCH}/trace`;
  const ended = run(args, {
    ...runOptions,
    wrapper: ["strace", "-f", "-s", "4096", "-o", file, ...options],
  });
  const calls = parseTrace(Deno.readTextFileSync(file));
  Deno.removeSync(file);
  return { ended, calls };
}
