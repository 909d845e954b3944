/** All rows of the table, in order. */
import type { Row } from "./rows/row.ts";
import { applied, oneMount, tree } from "./rows/mounts.ts";
import { oneUnmount, unmountInCrowd } from "./rows/unmount.ts";
import { list } from "./rows/list.ts";
import { run } from "./rows/run.ts";
import { endurance, firstMount, program } from "./rows/process.ts";
import { overlay } from "./rows/overlay.ts";
import { runner } from "./rows/runner.ts";
import type { RowResult } from "./results.ts";
import {
  enterPrivateNamespace,
  leavePrivateNamespace,
} from "../tests/support/testing.ts";

const ROWS: readonly Row[] = [
  oneMount,
  tree,
  applied,
  oneUnmount,
  unmountInCrowd,
  list,
  run,
  program,
  firstMount,
  endurance,
  overlay,
  runner,
];

/** The texts of each row, by its number. */
export const NOTES: Readonly<Record<number, Pick<Row, "note" | "missed">>> =
  Object.fromEntries(ROWS.map((row) => [row.row, row]));

/** The numbers of all rows. */
export const NUMBERS: readonly number[] = ROWS.map(({ row }) => row);

/**
 * Measures rows, in a private mount namespace of this thread. Leaves nothing
 * behind, even after an interrupt.
 *
 * @param numbers The rows' numbers.
 * @param seconds The time, as a share of the usual time.
 */
export async function* measureRows(
  numbers: readonly number[],
  seconds = 1,
): AsyncGenerator<RowResult> {
  const interrupt = () => {
    leavePrivateNamespace();
    Deno.exit(130);
  };
  enterPrivateNamespace();
  for (const signal of SIGNALS) Deno.addSignalListener(signal, interrupt);
  try {
    for (const { row, work, measure } of ROWS) {
      if (!numbers.includes(row)) continue;
      const figures = await measure(seconds);
      yield { row, work, figures };
    }
  } finally {
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, interrupt);
    leavePrivateNamespace();
  }
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
