/**
 * Prints data as JSON, in a single line if `indent` is 0. Control characters in names are escaped, those too that
 * JSON allows: they must not steer a terminal.
 */
export function formatJson(data: unknown, indent = 2): string {
  return JSON.stringify(data, null, indent).replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) =>
      `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
