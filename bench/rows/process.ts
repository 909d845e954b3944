/** Rows 8 to 10: the costs of a whole process. */
import { compare, type Row } from "./row.ts";
import { ROOT, SCRATCH } from "../../tests/support/testing.ts";
import { command } from "../programs.ts";
import type { Figure } from "../results.ts";
import { spread } from "../measure.ts";

/** Row 8. */
export const program: Row = {
  row: 8,
  work: "The program from exec to exit",
  note:
    "Without type checks, from Deno's cache. mod.ts loads the whole library; cli.ts loads what the main job needs; with -A the mounts are recorded. The bundle is `deno bundle --minify` of cli.ts.",
  missed:
    "By processor time, an empty file takes 15.8 ms, the main job 31.7, and cli.ts 38.4: Deno looks at all 123 modules that cli.ts could load, of which 39 are evaluated, and that takes 8 ms. The alternative would need --allow-read. In the bundle (26 ms), most of the rest is V8 compiling functions that are called for the first time: 2.4 ms to evaluate the modules, 1.9 to load the subcommand, 3.1 for the record, 3.0 to mount and unmount.",
  async measure(seconds) {
    const empty = `${SCRATCH}/empty.ts`;
    Deno.writeTextFileSync(empty, "");
    const bundle = `${SCRATCH}/mountat.js`;
    command(Deno.execPath(), [
      ...["bundle", "--quiet", "--no-lock", "--minify", "--output", bundle],
      ...["--config", `${ROOT}deno.json`, `${ROOT}cli.ts`],
    ]).run();
    const deno = (...args: string[]) =>
      command(Deno.execPath(), ["run", ...args]).time;
    const by = {
      name: "deno run of an empty file",
      times: 1,
      time: deno("--allow-ffi", empty),
    };
    const job = [`${SCRATCH}/program`, "0"];
    const match = (what: string, limit: number, ...args: string[]) => ({
      what,
      ours: { name: "mountat", times: 1, time: deno(...args, ...job) },
      others: [{ by, limit }],
    });
    const matches = [
      match("cli.ts DIR 0, --allow-ffi", 2, "--allow-ffi", `${ROOT}cli.ts`),
      match("mod.ts DIR 0, -A", 2.6, "-A", `${ROOT}mod.ts`),
      match("the bundle of cli.ts DIR 0, -A", 1.6, "-A", bundle),
    ];
    return await compare(matches, 12 * seconds);
  },
};

/** Row 9. */
export const firstMount: Row = {
  row: 9,
  work: "The first mount of a process",
  note:
    "Each in a new process. A system call is bound when it is first used (dlopen): that is part of the first mount, and is also shown by itself.",
  missed:
    "Nearly all of it is Deno loading 145 modules. The first mount itself takes 3 ms.",
  measure(seconds) {
    const path = `${SCRATCH}/first`;
    Deno.mkdirSync(`${path}/mounted`, { recursive: true });
    const { calls } = child("first_mount", [path]);
    const samples = new Map<string, number[]>();
    const end = performance.now() + 3000 * seconds;
    do {
      const { importing, mounting } = child("first_mount", [path]);
      const bindings = child("bindings", calls);
      const parts: [string, number][] = [
        ["import and mount", importing + mounting],
        ["import of mod.ts", importing],
        ["open and mountat", mounting],
        ["dlopen of libc and errno", bindings.libc],
        ...calls.map((name: string) =>
          [`dlopen of ${name}`, bindings[name]] as const
        ),
      ];
      for (const [what, milliseconds] of parts) {
        const times = samples.get(what) ?? [];
        samples.set(what, [...times, milliseconds * 1000]);
      }
    } while (performance.now() < end);
    return [...samples].map(([what, times], i): Figure => ({
      what,
      unit: "µs",
      name: "mountat",
      ours: spread(times),
      ...i === 0 ? { limit: 5_000 } : {},
    }));
  },
};

/** Row 10. */
export const endurance: Row = {
  row: 10,
  work: "Memory that many mounts leave behind",
  note:
    "The first figure is memory that the process has for itself (RssAnon). The second is pages of files that it maps (RssFile), nearly all of Deno's executable: all processes of that executable share them, and the kernel can drop them at any time. Measured after a garbage collection.",
  measure(seconds) {
    const path = `${SCRATCH}/endurance`;
    Deno.mkdirSync(path, { recursive: true });
    const cycles = Math.max(2_000, 100_000 * Math.min(1, seconds));
    const gained = child(
      "endurance",
      [path, String(cycles)],
      ["--v8-flags=--expose-gc,--max-semi-space-size=1"],
    );
    const after = `gained from 1,000 to ${cycles.toLocaleString("en")}`;
    return [
      {
        what: `the process's own, ${after}`,
        unit: "KiB",
        name: "mountat, unmountat",
        ours: spread([gained.own]),
        limit: 2048,
      },
      {
        what: `pages of Deno's executable, ${after}`,
        unit: "KiB",
        name: "mountat, unmountat",
        ours: spread([gained.program]),
      },
    ];
  },
};

/** Runs a program of the folder `children`, and returns what it prints. */
// deno-lint-ignore no-explicit-any
function child(name: string, args: string[], flags: string[] = []): any {
  const { success, stdout } = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-all",
      ...flags,
      `${ROOT}bench/children/${name}.ts`,
      ...args,
    ],
    stdin: "null",
    stderr: "inherit",
  }).outputSync();
  if (!success) throw new Error(`${name}.ts failed`);
  return JSON.parse(new TextDecoder().decode(stdout));
}
