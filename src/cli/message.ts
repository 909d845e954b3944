import { printable } from "../sys/format.ts";

/**
 * Prints a message on stderr, without what would steer a terminal. Where that
 * can't be written, nothing else is different: what is done does not depend on
 * who reads.
 */
export function printMessage(text: string): void {
  try {
    console.error(text.split("\n").map(printable).join("\n"));
  } catch {
    // There is nowhere left to say so.
  }
}
