/**
 * Measures the memory that stays in use after many mounts. Mounts and unmounts
 * on a directory, the first argument, as often as the second argument says.
 * Prints, as JSON, the KiB that the process has gained since the 1,000th time.
 * Needs `--v8-flags=--expose-gc`. With `--max-semi-space-size=1` garbage does
 * not make the heap grow.
 */
import { Directory, mountat, unmountat } from "../../mod.ts";

const [path, cycles] = Deno.args;

const TYPES = ["proc", "sysfs", "tmpfs"];

using root = Directory.open(path!);

root.mkdir("mounted", { recursive: true });

let before = { own: 0, program: 0 };

for (let cycle = 1; cycle <= Number(cycles); cycle++) {
  const type = TYPES[cycle % TYPES.length]!;
  mountat(root, "mounted", { type }).keep();
  unmountat(root, "mounted");
  if (cycle === 1_000) before = await memory();
}

const after = await memory();

console.log(JSON.stringify({
  own: after.own - before.own,
  program: after.program - before.program,
}));

/** Memory of its own, and pages of Deno's executable: see proc_pid_status(5). */
async function memory(): Promise<{ own: number; program: number }> {
  // Garbage is no leak. Finalizers close dropped handles after a collection.
  for (let i = 0; i < 4; i++) {
    (globalThis as unknown as { gc(): void }).gc();
    await new Promise((resolve) => setTimeout(resolve));
  }
  const status = Deno.readTextFileSync("/proc/self/status");
  const kibibytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s*(\\d+) kB$`, "m").exec(status)![1]);
  return { own: kibibytes("RssAnon"), program: kibibytes("RssFile") };
}
