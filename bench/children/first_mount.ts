/**
 * What a process takes until its first mount is there: prints, as JSON, the
 * milliseconds of importing the library, those of mounting a tmpfs in the
 * directory that is the argument, and which system calls were bound for that.
 */
const library = new URL("../../mod.ts", import.meta.url).href;
const begin = performance.now();
// By a variable, or Deno would load it before the clock starts.
const { Directory } = await import(library);
const imported = performance.now();
using root = Directory.open(Deno.args[0]!);
const mount = root.mount("mounted", { type: "tmpfs" });
const mounted = performance.now();

const { libc } = await import("../../src/sys/libc.ts");
const calls = Object.entries(Object.getOwnPropertyDescriptors(libc))
  .filter(([name, { get }]) => get === undefined && !/errno/i.test(name))
  .map(([name]) => name);
mount.unmount();
console.log(JSON.stringify({
  importing: imported - begin,
  mounting: mounted - imported,
  calls,
}));
