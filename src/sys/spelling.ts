/** The most names that are told. */
const MOST = 3;

/**
 * Picks the names that are spelt like a word: one begins with the other, or few
 * letters differ.
 *
 * @param word The word.
 * @param names The names.
 * @returns The nearest names, at the most three, the nearest first.
 */
export function spelledAlike(word: string, names: readonly string[]): string[] {
  const wanted = word.toLowerCase();
  const most = wanted.length < 8 ? 1 : 2;
  return [...new Set(names)]
    .map((name) => ({ name, edits: countEdits(wanted, name.toLowerCase()) }))
    .filter(({ name, edits }) =>
      edits <= most || name.length >= 3 && wanted.startsWith(name) ||
      wanted.length >= 3 && name.startsWith(wanted)
    )
    .sort((a, b) => a.edits - b.edits)
    .slice(0, MOST)
    .map(({ name }) => name);
}

/**
 * How many letters must be inserted, removed, replaced, or exchanged with the
 * next one (optimal string alignment).
 */
export function countEdits(from: string, to: string): number {
  const rows = [Array.from({ length: to.length + 1 }, (_, column) => column)];
  for (let i = 1; i <= from.length; i++) {
    const [before, last] = [rows[i - 2], rows[i - 1]!];
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = last[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      const exchanged = from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]
        ? before![j - 2]! + 1
        : Infinity;
      row.push(Math.min(last[j]! + 1, row[j - 1]! + 1, replaced, exchanged));
    }
    rows.push(row);
  }
  return rows.at(-1)!.at(-1)!;
}
