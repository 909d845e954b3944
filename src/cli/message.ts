/**
 * Prints a message on stderr. Where that can't be written, nothing else is
 * different: what is done does not depend on who reads.
 */
export function printMessage(text: string): void {
  try {
    console.error(text);
  } catch {
    // There is nowhere left to say so.
  }
}
