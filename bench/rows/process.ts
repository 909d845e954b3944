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
    "Both with --allow-ffi, without type checks, from Deno's cache. mod.ts loads the whole library, cli.ts what the main job takes. Of the 28 ms of processor time that cli.ts takes beyond an empty file, 7 are the job and reading the arguments; the other 21 are Deno's, for loading 96 modules and for looking at some 90 more that are only named by import(). That was found with copies of the module graph, in turns, by the least processor time of 40 runs (wait4(2)): 12 ms it takes where each module holds nothing but the same imports, 3 more with as many bytes of comments as ours have, 6 more with as many of functions that nobody calls, and then it takes no less than importing ours does, of which evaluating them is but some 2 ms (--cpu-prof). Deno opens every source, looks its imports up in a database, reads what it made of it and looks for V8's code of it (strace -f -ttt: from the first source to the last as much time goes by as from the first result to the last). The mod.ts graph holds the same modules but loads 145 of them: 14, and 18 for the bytes. Without what import() names it would be 3 ms less, but then importing needs --allow-read. In the chunks of deno bundle --code-splitting cli.ts takes 2.0 times the empty run, so that 1.20 is out of reach for a program of this size in modules.",
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
