/** The results of measurements, and their file. */
import type { Spread } from "./measure.ts";

/** The results of one run. */
export interface Results {
  readonly machine: Machine;
  readonly rows: readonly RowResult[];
}

/** The machine that it ran on. */
export interface Machine {
  readonly processor: string;
  readonly processors: number;
  readonly linux: string;
  readonly deno: string;
}

/** The results of one row of the table. */
export interface RowResult {
  readonly row: number;
  readonly work: string;
  readonly figures: readonly Figure[];
}

/** One measurement: ours against another, or ours alone. */
export interface Figure {
  /** The case in the row: a kind of mount, a number of other mounts. */
  readonly what: string;
  /** Its place on the scale, if the row has one. */
  readonly scale?: number;
  readonly unit: "µs" | "KiB";
  /** The name of ours in tables. */
  readonly name: string;
  readonly ours?: Spread;
  /** The name of the other that ours is compared to. */
  readonly against?: string;
  readonly theirs?: Spread;
  readonly ratio?: Spread;
  readonly pairs?: number;
  /** The reason why ours or the other could not be measured. */
  readonly missing?: string;
  /** The goal of the ratio; of ours, if there is no ratio. */
  readonly limit?: number;
}

/** The file with the results of a whole run. */
export const RESULTS: URL = new URL("results.json", import.meta.url);

/** True if a figure reaches its goal; null if it has none. */
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
 * Reads results; null if there are none.
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

/** Replaces rows of an older run on the same machine by those of a new run. */
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

/** Writes results with four significant digits: more would be noise. */
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

/** The machine that this program runs on. */
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
