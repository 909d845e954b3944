import {
  gatedTest,
  kernelTest,
  missingCommand,
  SCRATCH,
} from "../support/testing.ts";
import { Rival } from "../../bench/programs.ts";
import { assert, assertEquals } from "@std/assert";
import { openRoot, ROOT_SPECS } from "../../bench/rows/mounts.ts";

const NEEDS = {
  permissions: ["run", "read", "write", "env"] as Deno.PermissionName[],
  commands: ["cc"],
};

gatedTest(
  "Rival.time() tells milliseconds, of a program that tells nanoseconds",
  missingCommand(["sh"]),
  async () => {
    await using stack = new AsyncDisposableStack();
    const script = "echo ready; while read n; do echo $((n * 2500000)); done";
    const rival = await Rival.start(
      stack,
      { name: "a script", times: 1 },
      ["-c", script],
      "/bin/sh",
    );
    assert(rival instanceof Rival);
    assertEquals(await rival.time(4), 10);
  },
);

kernelTest("a C program tells the time that it takes", async () => {
  using _root = openRoot();
  await using stack = new AsyncDisposableStack();
  const words = ROOT_SPECS.flatMap(({ target, type, source }) => [
    target,
    type,
    source,
  ]);
  const rival = await Rival.start(
    stack,
    { name: "C loop", times: 1 },
    ["mounts", "plain", `${SCRATCH}/root`, ...words],
  );
  assert(rival instanceof Rival);
  // Between writing and reading it may have to wait, though not every time.
  let share = 0;
  for (let attempt = 0; attempt < 50 && share < 0.5; attempt++) {
    const begin = performance.now();
    const told = await rival.time(20);
    share = told / (performance.now() - begin);
    assert(share <= 1, `It takes ${share} of the time that it takes`);
  }
  assert(share >= 0.5, `It tells ${share} of the time that it takes`);
}, NEEDS);
