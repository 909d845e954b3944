import {
  describe,
  formatTable,
  missingIn,
  outcomesIn,
} from "../../tools/kernels.ts";
import { assertEquals } from "@std/assert";

const CONSOLE = [
  "SeaBIOS",
  "\x1b[2J",
  "@@ begin 0",
  "6.1.0",
  "@@ end 0 0 1",
  "",
  "@@ begin 1",
  "ok       fsopen(2)         there",
  "missing  statmount(2)      not there",
  "missing  unique mount ids  not there",
  "@@ end 1 1 7",
  "",
  "@@ begin 2",
  "FAILED | 2 passed | 1 failed | 3 ignored (5s)",
  "@@ end 2 1 21",
  "",
  "@@ begin 3",
  "Kernel panic",
].join("\r\n");

Deno.test("outcomesIn() tells of each job what it printed and how it ended", () => {
  const outcomes = outcomesIn(CONSOLE, 5);
  assertEquals(outcomes.map(({ status }) => status), [0, 1, 1, null, null]);
  assertEquals(outcomes.map(({ seconds }) => seconds), [1, 7, 21, 0, 0]);
  assertEquals(outcomes[0]!.output, "6.1.0\n");
  assertEquals(outcomes[3]!.output, "Kernel panic");
  assertEquals(outcomes[4]!.output, "");
});

Deno.test("missingIn() names what doctor found missing", () => {
  const [, doctor] = outcomesIn(CONSOLE, 2);
  assertEquals(missingIn(doctor!.output), ["statmount(2)", "unique mount ids"]);
});

Deno.test("describe() says how a job ended, and counts tests", () => {
  assertEquals(
    outcomesIn(CONSOLE, 4).map((outcome) => describe("job", outcome)),
    [
      "ok      job: exit status 0 (1s)",
      "FAILED  job: exit status 1 (7s)",
      "FAILED  job: 2 passed, 1 failed, 3 ignored (21s)",
      "FAILED  job: the machine stopped",
    ],
  );
});

Deno.test("formatTable() has a column for each kernel", () => {
  const [there, ...rest] = outcomesIn(CONSOLE, 4).map((outcome, i) => ({
    kernel: "6.1",
    name: `job ${i}`,
    outcome,
  }));
  const late = { status: 124, seconds: 600, output: "" };
  const other = { kernel: "newest", name: "job 1", outcome: late };
  assertEquals(
    formatTable([there!, ...rest, other]),
    `passed/failed/ignored  6.1             newest
job 0                  exit 0
job 1                  exit 1 FAILED   too slow FAILED
job 2                  2/1/3 FAILED
job 3                  stopped FAILED`,
  );
});
