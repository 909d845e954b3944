import { readFile } from "../read_file.ts";
import { environ } from "../sys/environ.ts";

/**
 * The environment of this process as it was started, and changed since, but for
 * what Deno adds where PATH leads to no node: a variable, and a directory of its
 * own as the first of PATH.
 *
 * @returns `NAME=value` each.
 * @throws {SyscallError} Where Deno did, and /proc can't be read.
 */
export function inheritedEnvironment(): string[] {
  const entries = environ();
  if (!entries.some(isDenos)) return entries;
  const given = readFile("/proc/self/environ").split("\0");
  if (given.some(isDenos)) return entries;
  return entries.filter((entry) => !isDenos(entry))
    .map((entry) => entry.replace(/^PATH=[^:]*\/node_compat_bin(:|$)/, "PATH="))
    .filter((entry) => entry !== "PATH=" || given.includes(entry));
}

function isDenos(entry: string): boolean {
  return entry.startsWith("DENO_NODE_SHIM_ACTIVE=");
}
