import { checkOptions, type OptionNames } from "../../src/base/check.ts";
import { assertThrows } from "@std/assert";

interface Options {
  readonly?: boolean | undefined;
  lazy?: boolean;
}

const NAMES: OptionNames<Options> = { readonly: true, lazy: true };

function check(options: unknown): void {
  checkOptions(options as Options, NAMES);
}

Deno.test("checkOptions() takes what is known, whatever its value", () => {
  check({});
  check({ lazy: true });
  check({ readonly: undefined, lazy: false });
  check(Object.assign(Object.create({ inherited: true }), { lazy: true }));
});

Deno.test("checkOptions() names what is unknown, and what is spelt alike", () => {
  const cases: [unknown, string][] = [
    [{ readOnly: true }, 'Unknown option "readOnly"; did you mean "readonly"?'],
    [
      { lazy: true, "read-only": undefined },
      'Unknown option "read-only"; did you mean "readonly"?',
    ],
    [{ colour: "red" }, 'Unknown option "colour"'],
    [{ toString: true }, 'Unknown option "toString"'],
    [JSON.parse('{ "__proto__": true }'), 'Unknown option "__proto__"'],
    [["lazy"], 'Unknown option "0"'],
    ["lazy", "Options must be an object, not string"],
    [null, "Options must be an object, not null"],
    [undefined, "Options must be an object, not undefined"],
  ];
  for (const [options, message] of cases) {
    const error = assertThrows(() => check(options), TypeError, message);
    if (error.message !== message) throw error;
  }
});
