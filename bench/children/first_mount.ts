/**
 * Measures a process until its first mount is made. Prints, as JSON, the
 * milliseconds to import the library, the milliseconds to mount a tmpfs in a
 * directory, the argument, and the system calls of that mount.
 */
const library = new URL("../../mod.ts", import.meta.url).href;

const begin = performance.now();

// Named by a variable: otherwise Deno would load it before the clock starts.
const { Directory } = await import(library);

const imported = performance.now();

const first = mountOne();

const mounted = performance.now();

first.unmount();

const { setTracer } = await import("../../src/sys/call.ts");

const calls = new Set<string>();

setTracer(({ syscall }) => calls.add(syscall));

const mount = mountOne();

setTracer(null);

mount.unmount();

console.log(JSON.stringify({
  importing: imported - begin,
  mounting: mounted - imported,
  calls: [...calls],
}));

function mountOne() {
  using root = Directory.open(Deno.args[0]!);
  return root.mount("mounted", { type: "tmpfs" });
}
