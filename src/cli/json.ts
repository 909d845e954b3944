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

/** How many levels of deep data are indented. */
const MOST_LEVELS = 64;

/**
 * Prints data as JSON, as deep as it may be: JSON.stringify() would overflow the
 * stack. What is very deep is indented no further, for the spaces alone would be
 * gigabytes.
 */
export function formatDeepJson(data: unknown): string {
  const printed: string[] = [];
  const waiting: (string | { value: unknown; level: number })[] = [
    { value: data, level: 0 },
  ];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (typeof next === "string") {
      printed.push(next);
      continue;
    }
    const { value, level } = next;
    const isList = Array.isArray(value);
    const entries = Object.entries(Object(value));
    if (typeof value !== "object" || entries.length === 0) {
      printed.push(formatJson(value));
      continue;
    }
    const margin = `\n${"  ".repeat(Math.min(level, MOST_LEVELS))}`;
    waiting.push(`${margin}${isList ? "]" : "}"}`);
    for (const [i, [key, inside]] of entries.entries().toArray().reverse()) {
      const before = i > 0 ? "," : isList ? "[" : "{";
      const name = isList ? "" : `${formatJson(key)}: `;
      waiting.push({ value: inside, level: level + 1 });
      waiting.push(`${before}${margin}  ${name}`);
    }
  }
  return printed.join("");
}
