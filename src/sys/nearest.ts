import { spelledAlike } from "./spelling.ts";

/**
 * Asks whether another word was meant.
 *
 * @param word What was written.
 * @param names What there is.
 * @returns The question, empty where nothing is spelt alike.
 */
export function nearest(word: string, names: readonly string[]): string {
  const [name] = spelledAlike(word, names);
  return name === undefined ? "" : `; did you mean "${name}"?`;
}
