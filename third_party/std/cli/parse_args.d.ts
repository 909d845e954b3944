export interface ParseOptions {
  "--"?: boolean;
  alias?: Record<string, string | string[]>;
  boolean?: string | string[];
  collect?: string | string[];
  default?: Record<string, unknown>;
  negatable?: string | string[];
  stopEarly?: boolean;
  string?: string | string[];
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}
// The published package computes a precise type; what we read is declared here.
export function parseArgs(
  args: string[],
  options?: ParseOptions,
  // deno-lint-ignore no-explicit-any
): { _: string[]; "--"?: string[]; [option: string]: any };
