import { encodeText } from "../sys/text.ts";

/**
 * Lays rows out in columns, each as wide as its widest cell and two spaces from
 * the next. Cells are printed as they are: what strangers chose is quoted before.
 */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const columns = most(rows, (row) => row.length);
  const widths = Array.from(
    { length: columns },
    (_, column) => most(rows, (row) => width(row[column] ?? "")),
  );
  return rows.map((row) =>
    row.map((cell, column) =>
      // Nothing follows the last one.
      column === row.length - 1
        ? cell
        : cell + " ".repeat(widths[column]! - width(cell))
    ).join("  ")
  ).join("\n");
}

/** The largest number; there may be more than a call takes arguments. */
function most<T>(values: readonly T[], count: (value: T) => number): number {
  return values.reduce((found, value) => Math.max(found, count(value)), 0);
}

/** In characters, each of which is taken to be as wide as any other. */
function width(cell: string): number {
  return [...cell].length;
}

/**
 * Lays rows out for a program: a line each, a tab between two cells. Backslashes
 * and control characters are printed as the mount table prints them: `\011`.
 */
export function formatColumns(rows: readonly (readonly string[])[]): string {
  return rows.map((row) => row.map(escapeCell).join("\t")).join("\n");
}

function escapeCell(cell: string): string {
  return cell.replace(
    // deno-lint-ignore no-control-regex
    /[\u0000-\u001f\\\u007f-\u009f\u2028\u2029\ud800-\udfff]/gu,
    (character) =>
      Array.from(
        encodeText(character),
        (byte) => `\\${byte.toString(8).padStart(3, "0")}`,
      ).join(""),
  );
}
