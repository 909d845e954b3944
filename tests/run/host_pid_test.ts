import { Directory } from "../../src/directory.ts";
import {
  keepers,
  makeRoot,
  processesWith,
  runTest,
  shell,
  untilGone,
} from "../support/run_root.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { ROOT } from "../support/testing.ts";
import { hold } from "../support/held.ts";

runTest(
  "run() with hostPid leaves the command among the host's processes",
  async () => {
    using root = Directory.open(makeRoot());
    const mark = crypto.randomUUID();
    const { code, out } = await shell(
      root,
      `mkfifo /dev/shm/p; sh -c 'read x' ${mark} <>/dev/shm/p & cat /proc/${Deno.pid}/comm; echo $$; exit 3`,
      { hostPid: true },
    );
    assertEquals(code, 3);
    assertMatch(out, /^deno\n\d+\n$/);
    await untilGone(mark);
    assertEquals(keepers(), 0);
  },
);

runTest(
  "run() with hostPid ends the group of a command that killed who waits for it",
  async () => {
    using root = Directory.open(makeRoot());
    const mark = crypto.randomUUID();
    // Who waits for the command is the first of the group: its number is that.
    const { code, signal } = await shell(
      root,
      `mkfifo /dev/shm/p; sh -c 'read x' ${mark} <>/dev/shm/p & set -- $(cut -d' ' -f5 /proc/$$/stat); kill -9 $1; exit 3`,
      { hostPid: true },
    );
    assertEquals([code, signal], [137, "SIGKILL"]);
    await untilGone(mark);
    assertEquals(keepers(), 0);
  },
);

for (const hostPid of [false, true]) {
  runTest(
    `run() with hostPid ${hostPid} in a Worker that was terminated ends with the process`,
    async () => {
      const path = makeRoot();
      const mark = crypto.randomUUID();
      const program = [Deno.execPath(), "run", "-A"];
      const fixture = `${ROOT}tests/fixtures/terminated_worker.ts`;
      const args = [path, mark, String(hostPid)];
      {
        await using _killed = await hold([...program, fixture, ...args]);
        // The command has no more than that of the fixture's.
        const lines = processesWith(mark);
        assertEquals(lines.filter((line) => !line.includes(path)).length, 1);
      }
      await untilGone(mark);
    },
  );
}
