/**
 * Measures the binding of system calls to the C library. Prints, as JSON, the
 * milliseconds for the library itself, and for each call named by an argument.
 */
import { libc, libraryPath } from "../../src/sys/libc.ts";

function timed(bind: () => unknown): number {
  const begin = performance.now();
  bind();
  return performance.now() - begin;
}

const times = { libc: timed(libraryPath) };

const calls = Deno.args.map((name): [string, number] => [
  name,
  timed(() => libc[name as keyof typeof libc]),
]);

console.log(JSON.stringify({ ...times, ...Object.fromEntries(calls) }));
