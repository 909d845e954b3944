/** Rows 8 to 10: what a whole process takes. */
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
    "Without type checks, from Deno's cache. mod.ts loads the whole library, cli.ts what the main job takes; with -A that records its mounts. The bundle is what deno bundle --minify makes of cli.ts. By the least processor time of 30 runs in turns (wait4(2)) an empty file takes 15.8 ms, a file that only names cli.ts in an import() it does not reach 24.0, the main job without what cli.ts names by import() 31.7, which is 2.0 times the empty run, and cli.ts 38.4: to look at the 123 modules of its graph, of which it evaluates 39, takes Deno 8 ms, and without import() importing would need --allow-read. The bundle takes 26.0 with --allow-ffi, 29.1 with its record. Deno keeps the code that V8 makes of a bundle only once the event loop has turned, for which the program waits: that is worth 8 ms. Inside the bundle, by its clock, evaluating the modules takes 2.4 ms, loading the subcommand 1.9, holding back signals 1.0, opening the record 2.4 and closing it 0.7, the two mounts 2.0, of which to record them 0.7, the unmounts 1.0: nearly all of that V8 takes to compile functions that are called for the first time, for the code that Deno keeps has none of them.",
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
    "In processes of their own, each new. Every system call is bound when it is first used (dlopen); these are part of the first mount, measured by themselves. Deno would compile a trampoline for each, in 0.1 to 0.3 ms: the first four calls go without, by a declaration that it compiles nothing for. The import alone is more than the 5 ms, nearly all of it Deno's loading of 145 modules: how that was found is said at row 8.",
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
    "The first is RssAnon of /proc/self/status, memory that the process has for itself, and the one that is to stay within 2 MB. The second is RssFile, pages of files that it maps: nearly all of Deno's executable, the rest of the C library and V8's cache of code (/proc/self/smaps). They come in as V8's compilers and collectors first run, most of them within the first 20,000 cycles, are shared by all processes of that executable, and can be dropped at any time. Both together are more than 2 MB. Measured after a garbage collection, with V8's young generation held at 1 MB: it grows with what is allocated, not with what is kept.",
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
