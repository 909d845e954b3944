import { Directory } from "../../src/directory.ts";
import { run } from "../../src/run/run.ts";
import { makeRoot, names, runTest, shell } from "../support/run_root.ts";
import { assert, assertEquals } from "@std/assert";
import { mountTable, ROOT, SCRATCH } from "../support/testing.ts";
import { attemptsOf } from "../support/contest.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { fsopen } from "../../src/sys/fscontext.ts";
import { MountError } from "../../src/error/error.ts";
import { MountPoints } from "../../src/run/mount_points.ts";
import { SyscallError } from "../../src/sys/error.ts";
import {
  makeDev,
  makeProc,
  makeSys,
  RootTree,
} from "../../src/run/root_tree.ts";

/** In how many roots a command runs. */
const STARTS = Math.ceil(attemptsOf({ sample: 1_250, share: 0.1 }) / 5);

/** How many are made ready in the contest. */
const ROOTS = 4 * STARTS;

const AT_ONCE = 5;

const CONTEST =
  `run() is led nowhere by a hostile root, in ${STARTS} starts and ${ROOTS} roots made ready`;

runTest(CONTEST, async () => {
  const path = makeRoot();
  const outside = `${SCRATCH}/outside`;
  for (const name of ["proc", "sys", "dev"]) {
    Deno.mkdirSync(`${path}/${name}`);
    Deno.mkdirSync(`${outside}/${name}`, { recursive: true });
  }
  Deno.writeTextFileSync(`${outside}/null`, "");
  using outer = Directory.open(outside);
  using victim = outer.mount("proc", { type: "tmpfs" });
  using root = Directory.open(path);
  const swapper = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      `${ROOT}tests/fixtures/root_swapper.ts`,
      path,
      outside,
    ],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const ready = swapper.stdout.getReader();
  await ready.read();
  const table = mountTable();
  const starts: Record<string, number> = {};
  const others: Record<string, number> = {};
  const script =
    "test -c /dev/null -a -d /sys/kernel -a -e /proc/1/stat && echo >/dev/null";
  /** Counts how something ends. */
  async function count(
    outcomes: Record<string, number>,
    work: () => string | Promise<string>,
  ): Promise<void> {
    let outcome: string;
    try {
      outcome = await work();
    } catch (error) {
      const kernels = error instanceof MountError ||
        error instanceof SyscallError;
      if (!kernels) throw error;
      outcome = error.code;
      assert(
        ["ELOOP", "ENOTDIR", "ENOENT", "EINVAL"].includes(outcome),
        error.message,
      );
    }
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  }
  for (let i = 0; i < STARTS; i += AT_ONCE) {
    const running = Array.from(
      { length: AT_ONCE },
      (_, j) =>
        count(starts, async () => {
          if ((i + j) % 10 === 0) {
            // Its mount points are renamed under the command, too.
            const { code } = await shell(root, script);
            return code === 0 ? "seen" : "disturbed";
          }
          // Looking takes longer: most don't.
          const { code } = await run(root, ["/bin/true"], { stdin: "null" });
          assertEquals(code, 0);
          return "done";
        }),
    );
    for (let j = 0; j < AT_ONCE * (ROOTS / STARTS - 1); j++) {
      await count(others, () => {
        furnishRoot(root, j % 4 === 0);
        return "done";
      });
    }
    await Promise.all(running);
  }
  Deno.removeSync(`${path}/ready`);
  await ready.cancel();
  await swapper.status;
  assertEquals(mountTable(), table);
  assert(victim.mounted);
  assertEquals(names(outside), ["dev", "null", "proc", "sys"]);
  for (const name of ["proc", "sys", "dev"]) {
    assertEquals(names(`${outside}/${name}`), []);
  }
  assertEquals(Deno.readTextFileSync(`${outside}/null`), "");
  // It was a contest: both sides won some.
  if (STARTS > 250) console.log(JSON.stringify({ starts, others }));
  assert((starts["seen"] ?? 0) > 10, JSON.stringify(starts));
  for (const outcomes of [starts, others]) {
    const [won, ...lost] = ["done", "ELOOP", "ENOTDIR", "ENOENT"].map((code) =>
      outcomes[code] ?? 0
    );
    assert(won! > 100, JSON.stringify(outcomes));
    assert(lost.some((count) => count > 0), JSON.stringify(outcomes));
  }
});

/**
 * What is done to a root before a command runs in it.
 *
 * @param early Whether all is mounted then; else the first process does it.
 */
function furnishRoot(root: Directory, early: boolean): void {
  using points = new MountPoints();
  using tree = new RootTree(root, points, true);
  const names = ["proc", "sys", "dev"] as const;
  tree.makeRoom(names);
  if (early) {
    tree.put("sys", makeSys());
    tree.put("dev", makeDev(tree.staging));
    tree.put("proc", makeProc(new OwnedFd(fsopen("proc"))));
  }
  tree.seal();
  if (!early) { for (const name of names) tree.pointAt(name); }
}
