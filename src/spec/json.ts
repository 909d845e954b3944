/**
 * Parses JSON (RFC 8259) to values that know their place in the text.
 * `JSON.parse` tells only the places of syntax errors, each engine differently.
 */
import { Malformed } from "./malformed.ts";
import { quote } from "../base/text.ts";

/** A value, and its place in the text. */
export interface JsonNode {
  /** The place of its first character. */
  readonly offset: number;
  /** The value; if an object repeats a name, the last member counts. */
  readonly value:
    | null
    | boolean
    | number
    | string
    | JsonNode[]
    | Map<string, JsonNode>;
}

/** More levels than any configuration has; the stack would take far more. */
const MOST_LEVELS = 500;

const SPACE = /[ \t\n\r]*/y;

const WORD = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

const ESCAPE = /\\(?:["\\/bfnrt]|u[\da-fA-F]{4})/y;

/**
 * Parses JSON.
 *
 * @throws {Malformed} If `JSON.parse` would throw, or for more than 500 levels.
 */
export function parseJson(text: string): JsonNode {
  let at = 0;

  function take(pattern: RegExp): string | undefined {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    at += found?.length ?? 0;
    return found;
  }

  /** Passes a character, and white space around it; false if it is not next. */
  function passes(character: string): boolean {
    take(SPACE);
    if (text[at] !== character) return false;
    at++;
    take(SPACE);
    return true;
  }

  function expected(what: string): Malformed {
    const found = String.fromCodePoint(text.codePointAt(at) ?? 0);
    return new Malformed(
      { offset: at },
      `Expected ${what}, not ${
        at === text.length ? "the end of the text" : quote(found)
      }`,
    );
  }

  function value(level: number): JsonNode {
    const offset = at;
    if (level > MOST_LEVELS) {
      throw new Malformed({ offset: at }, `More than ${MOST_LEVELS} levels`);
    }
    if (text[at] === '"') return { offset, value: string() };
    if (passes("[")) {
      const items: JsonNode[] = [];
      list("]", () => items.push(value(level + 1)));
      return { offset, value: items };
    }
    if (passes("{")) {
      const members = new Map<string, JsonNode>();
      list("}", () => {
        if (text[at] !== '"') throw expected("a name in quotes");
        const name = string();
        if (!passes(":")) throw expected('":"');
        members.set(name, value(level + 1));
      });
      return { offset, value: members };
    }
    const word = take(WORD);
    if (word === undefined) throw expected("a value");
    return { offset, value: JSON.parse(word) };
  }

  function list(end: string, item: () => void): void {
    if (passes(end)) return;
    do item(); while (passes(","));
    if (!passes(end)) throw expected(`"," or "${end}"`);
  }

  function string(): string {
    const start = at++;
    for (;;) {
      const character = text[at];
      if (character === undefined) {
        throw new Malformed({ offset: start }, "The string is not closed");
      } else if (character < " ") {
        throw new Malformed(
          { offset: at },
          `A string must not have ${quote(character)}`,
        );
      } else if (character === "\\") {
        if (take(ESCAPE) === undefined) {
          throw new Malformed(
            { offset: at },
            "An unknown escape in the string",
          );
        }
      } else {
        at++;
        if (character === '"') return JSON.parse(text.slice(start, at));
      }
    }
  }

  take(SPACE);
  const node = value(1);
  take(SPACE);
  if (at < text.length) throw expected("the end of the text");
  return node;
}
