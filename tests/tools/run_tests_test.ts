import {
  type Counts,
  countsIn,
  formatCounts,
  seedIn,
} from "../../tools/run_tests.ts";
import { gatedTest, missingPermission, ROOT } from "../support/testing.ts";
import { execute } from "../distribution/process.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
} from "@std/assert";

/** Counts, each [tests, steps]. */
function counts(passed: number[], failed: number[], ignored: number[]): Counts {
  const count = ([tests = 0, steps = 0]: number[]) => ({ tests, steps });
  return {
    passed: count(passed),
    failed: count(failed),
    ignored: count(ignored),
  };
}

Deno.test("countsIn() reads the last line that deno test prints", () => {
  for (
    const [line, expected] of [
      ["ok | 2 passed | 0 failed (5ms)", counts([2], [], [])],
      [
        "ok | 1 passed (1 step) | 0 failed | 0 ignored (186 steps) (1m2s)",
        counts([1, 1], [], [0, 186]),
      ],
      [
        "FAILED | 7 passed (18 steps) | 2 failed (4 steps) | 1 ignored (3s)",
        counts([7, 18], [2, 4], [1]),
      ],
      [
        "\x1b[0m\x1b[32mok\x1b[0m | 4 passed | 0 failed \x1b[0m\x1b[38;5;245m(1s)",
        counts([4], [], []),
      ],
    ] as const
  ) {
    const output = `a test that prints ok | 9 passed ... ok (0ms)\n\n${line}\n`;
    assertEquals(countsIn(output), expected);
  }
  assertEquals(countsIn("running 1 test from ./a_test.ts\na ..."), null);
});

Deno.test("formatCounts() is such a line, of all together", () => {
  const one = counts([1], [], []);
  assertEquals(
    formatCounts([one, one], 2, 61.4),
    "ok | 2 passed | 0 failed | 0 ignored (61s, 2 files)",
  );
  const line = formatCounts([one, counts([2, 3], [4], [5, 6])], 2, 1);
  assertEquals(
    line,
    "FAILED | 3 passed (3 steps) | 4 failed | 5 ignored (6 steps) (1s, 2 files)",
  );
  assertEquals(countsIn(line), counts([3, 3], [4], [5, 6]));
});

Deno.test("seedIn() knows --shuffle alone", () => {
  assertEquals(seedIn([]), null);
  assertEquals(seedIn(["--shuffle=7"]), 7);
  assertNotEquals(seedIn(["--shuffle"]), seedIn(["--shuffle"]));
  for (const args of [["a"], ["--shuffle", "a"], ["--shuffle=a"]]) {
    assertEquals(seedIn(args), undefined);
  }
});

/** Files of tests, and how a run of them ends. */
const FILES: Record<string, string> = {
  "passes_test.ts": 'Deno.test("a", () => {});',
  "below/ignores_test.ts":
    'Deno.test("b", () => {}); Deno.test.ignore("c", () => {});',
  "fails_test.ts": 'Deno.test("d", () => { throw new Error("wrong"); });',
  // In its types alone.
  "wrong_test.ts": 'Deno.test("f", () => {}); export const a: number = "";',
  "ends_test.ts": 'Deno.test("e", () => { Deno.kill(Deno.pid, "SIGKILL"); });',
};

for (
  const [names, code, last] of [
    [
      ["passes", "below/ignores"],
      0,
      /^ok \| 2 passed \| 0 failed \| 1 ignored \(\d+s, 2 files\)$/,
    ],
    [
      ["passes", "fails", "ends", "wrong"],
      1,
      /^FAILED \| 2 passed \| 3 failed \| 0 ignored \(\d+s, 4 files\)$/,
    ],
  ] as const
) {
  gatedTest(
    `deno task test sums up files: ${names.join(", ")}`,
    missingPermission(["run", "read", "write", "env"]),
    async () => {
      const directory = Deno.makeTempDirSync();
      try {
        Deno.writeTextFileSync(`${directory}/deno.json`, "{}");
        Deno.mkdirSync(`${directory}/tests/below`, { recursive: true });
        const files = names.map((name) => `${name}_test.ts`);
        for (const file of files) {
          Deno.writeTextFileSync(`${directory}/tests/${file}`, FILES[file]!);
        }
        const tool = `${ROOT}tools/run_tests.ts`;
        const ended = await execute([Deno.execPath(), "run", "-A", tool], {
          cwd: directory,
        });
        assertEquals(ended.code, code, ended.stdout + ended.stderr);
        const lines = ended.stdout.trimEnd().split("\n");
        assertMatch(lines.at(-1)!, last);
        for (const file of files) {
          assert(lines.some((line) => line.includes(`from ./tests/${file}`)));
        }
        // A file alone is run as by deno test.
        const [file] = files;
        const alone = await execute(
          [Deno.execPath(), "run", "-A", tool, "--quiet", `tests/${file}`],
          { cwd: directory },
        );
        assertEquals([alone.code, countsIn(alone.stdout)?.passed.tests], [
          0,
          1,
        ]);
      } finally {
        Deno.removeSync(directory, { recursive: true });
      }
    },
  );
}

gatedTest(
  "deno task test --shuffle hands the seed to each file",
  missingPermission(["run", "read", "write", "env"]),
  async () => {
    const directory = Deno.makeTempDirSync();
    try {
      Deno.writeTextFileSync(`${directory}/deno.json`, "{}");
      Deno.mkdirSync(`${directory}/tests`);
      const names = Array.from({ length: 9 }, (_, at) => `the ${at}th`);
      const file = "tests/many_test.ts";
      Deno.writeTextFileSync(
        `${directory}/${file}`,
        names.map((name) => `Deno.test("${name}", () => {});`).join("\n"),
      );
      const order = async (...args: string[]) => {
        const { stdout } = await execute([Deno.execPath(), ...args], {
          cwd: directory,
        });
        return stdout.match(/the \dth/g);
      };
      const run = ["run", "-A", `${ROOT}tools/run_tests.ts`];
      const shuffled = await order("test", "--shuffle=3", file);
      assertNotEquals(shuffled, names);
      assertEquals(await order(...run, "--shuffle=3"), shuffled);
      assertEquals(await order(...run), names);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  },
);
