/**
 * What a process takes until its first mount is there: prints, as JSON, the
 * milliseconds of importing the library, those of mounting a tmpfs in the
 * directory that is the argument, and which system calls that takes.
 */
const library = new URL("../../mod.ts", import.meta.url).href;

const begin = performance.now();

// By a variable, or Deno would load it before the clock starts.
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
