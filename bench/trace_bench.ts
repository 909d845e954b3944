/**
 * What tracing costs: `deno bench --allow-ffi bench/trace_bench.ts`.
 *
 * unshare(2) of nothing is the cheapest of the calls that succeed: any cost on
 * top of it shows. "without the check" is what the function would be if it could
 * not be traced.
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
