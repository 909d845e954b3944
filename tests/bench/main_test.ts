/** The measuring program, in as little time as it takes. */
import { assert, assertEquals } from "@std/assert";
import { kernelTest, ROOT, SCRATCH } from "../support.ts";

const NEEDS = {
  permissions: ["run", "read", "write", "env"] as Deno.PermissionName[],
  commands: ["cc"],
};

function bench(...args: string[]): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", `${ROOT}bench/main.ts`, ...args],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
  });
}

kernelTest("deno task bench measures each row, without saving it", () => {
  const numbers = ["1", "2", "3", "4", "8", "9", "11"];
  const { success, stdout } = bench("--seconds=0.001", ...numbers).outputSync();
  const output = new TextDecoder().decode(stdout);
  assert(success, output);
  const headings = [...output.matchAll(/^(\d+)\. /gm)].map(([, row]) => row);
  assertEquals(headings, numbers);
  // Each of those that have something to reach says whether they do.
  assertEquals(output.match(/: (reached|missed)$/gm)?.length, 13, output);
}, NEEDS);

kernelTest(
  "deno task bench leaves nothing when it is interrupted",
  async () => {
    await using child = bench("--seconds=0.1", "1", "8").spawn();
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
