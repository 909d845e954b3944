/** Rows 8 to 10: what a whole process takes. */
import { ROOT, SCRATCH } from "../../tests/support.ts";
import { spread } from "../measure.ts";
import { command } from "../programs.ts";
import type { Figure } from "../results.ts";
import { compare, type Row } from "./row.ts";

/** Row 8. */
export const program: Row = {
  row: 8,
  work: "The program from exec to exit",
  note:
    "Both with --allow-ffi, without type checks, from Deno's cache. Deno takes 0.06 ms for each module that is loaded and 7 µs for each import in it, however empty they are (a hundred modules in a chain, with one import each and with nine): mod.ts loads the whole library, cli.ts what the main job takes. In the chunks of deno bundle --code-splitting cli.ts takes 2.1 times the empty run.",
  async measure(seconds) {
    const empty = `${SCRATCH}/empty.ts`;
    Deno.writeTextFileSync(empty, "");
    const deno = (...args: string[]) =>
      command(Deno.execPath(), ["run", "--allow-ffi", ...args]).time;
    const by = {
      name: "deno run of an empty file",
      times: 1,
      time: deno(empty),
    };
    const matches = ["mod.ts", "cli.ts"].map((module) => ({
      what: `${module} DIR 0`,
      ours: {
        name: "mountat",
        times: 1,
        time: deno(`${ROOT}${module}`, `${SCRATCH}/program`, "0"),
      },
      others: [{ by, limit: 1.2 }],
    }));
    return await compare(matches, 12 * seconds);
  },
};

/** Row 9. */
export const firstMount: Row = {
  row: 9,
  work: "The first mount of a process",
  note:
    "In processes of their own, each new. Every system call is bound when it is first used (dlopen); these are part of the first mount, measured by themselves. Deno would compile a trampoline for each, in 0.1 to 0.3 ms: the first four calls go without, by a declaration that it compiles nothing for. What the import takes is said at row 8.",
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
    "After a garbage collection, with V8's young generation held at 1 MB: it grows with what is allocated, not with what is kept. Pages of Deno's executable come in as V8's compilers first run.",
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
