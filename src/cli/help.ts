import { USAGE } from "./usage.ts";
import { UsageError } from "./usage_error.ts";

/** `mountat help`: prints the usage. */
export function help(args: string[]): number {
  if (args.length > 0) throw new UsageError(`There is no help on "${args[0]}"`);
  console.log(USAGE);
  return 0;
}
