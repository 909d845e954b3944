/** The measuring program, in as little time as it takes. */
import { kernelTest, ROOT, SCRATCH } from "../support/testing.ts";
import { assert, assertEquals } from "@std/assert";

const NEEDS = {
  permissions: ["run", "read", "write", "env"] as Deno.PermissionName[],
  commands: ["cc"],
};

/** What each row is to reach, as the table prints it. */
const GOALS: Record<string, string[]> = {
  1: ["1.05", "1.05", "1.05"],
  2: ["0.50"],
  3: ["1.10"],
  4: ["1/20", "1/20"],
  5: ["2.50", "1/200", "2.50", "1/200"],
  6: ["0.33", "2.00"],
  7: ["1.60", "1.00", "2.00", "1.00", "1.60", "1.00", "1.6 ms"],
  8: ["2.00", "2.60", "1.60"],
  9: ["5 ms"],
  10: ["2,048 KiB"],
  11: ["1.05", "1.05", "1.05"],
  12: ["2 ms", "120,000 KiB"],
};

function bench(args: string[], env: Record<string, string> = {}): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", `${ROOT}bench/main.ts`, ...args],
    env: { NO_COLOR: "1", BB_RUNNER_BIN: "", ...env },
    stdin: "null",
    stdout: "piped",
  });
}

/** The tables of rows in what the program prints, by their numbers. */
function tables(output: string): Record<string, string> {
  const parts = output.split(/^(\d+)\. /m).slice(1);
  return Object.fromEntries(
    parts.flatMap((part, i) => i % 2 === 0 ? [[part, parts[i + 1]!]] : []),
  );
}

kernelTest("deno task bench measures each row, without saving it", () => {
  const args = ["--seconds=0.001", ...Object.keys(GOALS)];
  const { success, stdout } = bench(args).outputSync();
  const output = new TextDecoder().decode(stdout);
  assert(success, output);
  // Each of those that have something to reach says whether they do.
  const goals = Object.entries(tables(output)).map(([row, table]) => [
    row,
    [...table.matchAll(/≤ (.*): (?:reached|missed)$/gm)].map(([, goal]) =>
      goal
    ),
  ]);
  assertEquals(Object.fromEntries(goals), GOALS, output);
}, { ...NEEDS, commands: ["cc", "bwrap", "umount", "findmnt"] });

kernelTest("deno task bench names what is not installed, and goes on", () => {
  const rows = ["1", "4", "7", "8"];
  const args = ["--seconds=0.001", ...rows];
  const { success, stdout } = bench(args, { PATH: "/nowhere" }).outputSync();
  const output = new TextDecoder().decode(stdout);
  assert(success, output);
  const missing = Object.entries(tables(output)).map(([row, table]) => [
    row,
    table.match(/\w+ is not installed/g) ?? [],
  ]);
  const cc = "cc is not installed";
  assertEquals(Object.fromEntries(missing), {
    1: Array(9).fill(cc),
    4: [cc, "umount is not installed"],
    7: [cc],
    8: [],
  }, output);
}, { permissions: NEEDS.permissions });

kernelTest(
  "deno task bench leaves nothing when it is interrupted",
  async () => {
    await using child = bench(["--seconds=0.1", "1", "8"]).spawn();
    const reader = child.stdout.getReader();
    await reader.read(); // The first row is done, the other begins.
    const table = Deno.readTextFileSync(`/proc/${child.pid}/mountinfo`);
    const places = [...table.matchAll(/ (\/tmp\/mountat-test-\w+) /g)]
      .map(([, place]) => place!).filter((place) => place !== SCRATCH);
    assertEquals(places.length, 1, table);
    child.kill("SIGINT");
    await reader.cancel();
    assertEquals((await child.status).code, 130);
    try {
      Deno.lstatSync(places[0]!);
    } catch (error) {
      assert(error instanceof Deno.errors.NotFound);
      return;
    }
    throw new Error(`${places[0]} is still there`);
  },
  NEEDS,
);
