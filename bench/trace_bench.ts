/**
 * Measures the cost of tracing: `deno bench --allow-ffi bench/trace_bench.ts`.
 *
 * unshare(2) without flags is the cheapest call that succeeds: it shows any
 * added cost. "without the check" is the same function without support for
 * tracers.
 */
import { settle, setTracer, uint64 } from "../src/sys/call.ts";
import { errno, ERRNO_SIZE, libc, NR } from "../src/sys/libc.ts";
import { unshare } from "../src/sys/process.ts";
import { trace } from "../src/sys/strace.ts";

function unshareWithoutTheCheck(flags: number | bigint): void {
  const bits = uint64("flags", flags);
  const result = libc.unshare(NR.unshare, bits);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1) settle(result, "unshare", []);
}

Deno.bench({
  name: "without the check",
  group: "unshare(0)",
  baseline: true,
  fn: () => unshareWithoutTheCheck(0),
});

Deno.bench({
  name: "no tracer",
  group: "unshare(0)",
  fn: () => unshare(0),
});

Deno.bench({
  name: "a tracer that does nothing",
  group: "unshare(0)",
  fn() {
    setTracer(() => {});
    unshare(0);
    setTracer(null);
  },
});

Deno.bench({
  name: "trace() to nowhere",
  group: "unshare(0)",
  fn() {
    using _trace = trace(() => {});
    unshare(0);
  },
});
