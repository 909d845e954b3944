/** What was measured, as it is written down. */
import type { Spread } from "./measure.ts";

/** All that one run found. */
export interface Results {
  readonly machine: Machine;
  readonly rows: readonly RowResult[];
}

/** What it ran on. */
export interface Machine {
  readonly processor: string;
  readonly processors: number;
  readonly linux: string;
  readonly deno: string;
}

/** What one row of the table found. */
export interface RowResult {
  readonly row: number;
  readonly work: string;
  readonly figures: readonly Figure[];
}

/** One measure, of ours against another or by itself. */
export interface Figure {
  /** What of the row: the kind of mount, the number of others. */
  readonly what: string;
  /** Where it lies on a scale, if the row has one. */
  readonly scale?: number;
  readonly unit: "µs" | "KiB";
  /** What tables call ours. */
  readonly name: string;
  readonly ours?: Spread;
  /** What ours is compared to. */
  readonly against?: string;
  readonly theirs?: Spread;
  readonly ratio?: Spread;
  readonly pairs?: number;
  /** Why there is nothing to measure, or to compare to. */
  readonly missing?: string;
  /** What the ratio, or without one ours, is to reach. */
  readonly limit?: number;
}

/** Where the results of a whole run are. */
export const RESULTS: URL = new URL("results.json", import.meta.url);

/** Whether a figure is what it is to be; null where nothing is asked of it. */
export function reached(figure: Figure): boolean | null {
  const { limit, missing, ratio, ours } = figure;
  if (limit === undefined || missing !== undefined) return null;
  return (ratio ?? ours)!.median <= limit;
}

/** A value with its unit. */
export function quantity(value: number, unit: Figure["unit"]): string {
  if (unit === "KiB") return `${Math.round(value).toLocaleString("en")} KiB`;
  return value < 1000
    ? `${threeDigits(value)} µs`
    : `${threeDigits(value / 1000)} ms`;
}

function threeDigits(value: number): string {
  return value.toLocaleString("en", { maximumSignificantDigits: 3 });
}

/**
 * Reads results, null where there are none.
 *
 * @param path The file, by default that of the last whole run.
 */
export function readResults(path: string | URL = RESULTS): Results | null {
  try {
    return JSON.parse(Deno.readTextFileSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** Rows of a new run in place of those of an older one on the same machine. */
export function merge(older: Results | null, newer: Results): Results {
  const same = JSON.stringify(older?.machine) === JSON.stringify(newer.machine);
  const rows = new Map(
    [...same ? older!.rows : [], ...newer.rows].map((row) => [row.row, row]),
  );
  return {
    machine: newer.machine,
    rows: [...rows.values()].sort((a, b) => a.row - b.row),
  };
}

/** Writes results down, to four significant digits: more is noise. */
export function writeResults(results: Results): void {
  const text = JSON.stringify(
    results,
    (_key, value) =>
      typeof value === "number" && !Number.isInteger(value)
        ? Number(value.toPrecision(4))
        : value,
    2,
  );
  Deno.writeTextFileSync(RESULTS, `${text}\n`);
}

/** What this runs on. */
export function machine(): Machine {
  const [, processor = Deno.build.arch] =
    /^model name\s*: (.*)$/m.exec(Deno.readTextFileSync("/proc/cpuinfo")) ?? [];
  return {
    processor,
    processors: navigator.hardwareConcurrency,
    linux: Deno.osRelease().replace(/-.*/, ""),
    deno: Deno.version.deno,
  };
}
