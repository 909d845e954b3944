import { type Call, injecting, runTraced } from "../support/strace.ts";
import { programTest } from "../support/program.ts";
import { mountsBelow, SCRATCH } from "../support/testing.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";

/** The calls of the main job that Deno itself makes none of. */
const OURS = [
  "openat2",
  "mkdirat",
  "fsopen",
  "fsconfig",
  "fsmount",
  "move_mount",
  "readlinkat",
  "umount2",
  "unlinkat",
];

/** The calls that the program made itself, from its first to its last. */
function mainJob(calls: Call[]): Call[] {
  const first = calls.findIndex(({ name }) => OURS.includes(name));
  const last = calls.findLastIndex(({ name }) => OURS.includes(name));
  const { pid } = calls[first]!;
  // What it closes follows the last of the others.
  return calls.slice(first, last + 20).filter((call) => call.pid === pid);
}

const needs = { commands: ["strace"] };

programTest("the main job starts no process and changes no directory", () => {
  const { ended, calls } = runTraced([`${SCRATCH}/root`, "0"]);
  assertEquals(ended.code, 0, ended.stderr);
  assertGreater(calls.length, 500);
  for (const { name, args } of calls) {
    assert(!["fork", "vfork", "chdir", "fchdir"].includes(name), name);
    if (name.startsWith("clone")) assert(args.includes("CLONE_THREAD"), args);
  }
  assertEquals(calls.filter(({ name }) => name === "execve").length, 1);
}, needs);

programTest("the main job names nothing but components and descriptors", () => {
  const root = `${SCRATCH}/new/root`;
  const { ended, calls } = runTraced([root, "0"]);
  assertEquals(ended.code, 0, ended.stderr);
  const paths = mainJob(calls)
    .filter(({ name }) => OURS.includes(name) && name !== "fsconfig")
    .flatMap(({ name, args }) => {
      const strings = [...args.matchAll(/"([^"]*)"/g)].map((match) =>
        match[1]!
      );
      // The second is what the kernel answered.
      return name === "readlinkat" ? strings.slice(0, 1) : strings;
    });
  assertEquals(paths.shift(), root);
  assertGreater(paths.length, 15);
  for (const path of paths) {
    const plain = path === "/" || !path.includes("/");
    assert(plain || /^\/proc\/self\/fd\/\d+$/.test(path), path);
  }
}, needs);

programTest(
  "the main job closes each descriptor, a mount's own at once",
  () => {
    const { ended, calls } = runTraced([`${SCRATCH}/new/root`, "0"]);
    assertEquals(ended.code, 0, ended.stderr);
    const open = new Map<number, string>();
    let opened = 0;
    for (const { name, args, result } of mainJob(calls)) {
      if (["openat2", "fsopen", "fsmount"].includes(name) && result >= 0) {
        open.set(result, name);
        opened++;
      }
      if (name === "close") open.delete(Number(args));
      if (name === "fsopen" || name === "umount2") {
        assert(![...open.values()].includes("fsmount"), `${name} too early`);
      }
    }
    assertEquals([...open], []);
    assertGreater(opened, 7);
  },
  needs,
);

programTest("the main job leaves nothing when any call of it fails", () => {
  const root = `${SCRATCH}/new/root`;
  const clean = runTraced([root, "0"]);
  Deno.removeSync(`${SCRATCH}/new`, { recursive: true });
  const job = mainJob(clean.calls);
  const building = job.slice(
    0,
    job.findLastIndex(({ name }) => name === "move_mount") + 1,
  );
  let injected = 0;
  for (const name of OURS) {
    const times = building.filter((call) => call.name === name).length;
    for (let when = 1; when <= times; when++) {
      const { ended, calls } = runTraced(
        [root, "0"],
        injecting(name, `error=EIO:when=${when}`),
      );
      const what = `${name} the ${when}th time: ${ended.stderr}`;
      const failed = calls.find((call) => call.injected);
      assert(failed !== undefined, what);
      if (failed.args.includes('"/proc/self/status"')) {
        // It is no reason not to go on.
        assertEquals(ended.code, 0, what);
        Deno.removeSync(`${SCRATCH}/new`, { recursive: true });
        continue;
      }
      assertEquals(ended.code, 1, what);
      assert(ended.stderr.includes(`${name}: EIO (`), what);
      assertEquals(mountsBelow(root), [], what);
      assertEquals([...Deno.readDirSync(SCRATCH)], [], what);
      injected++;
    }
  }
  assertGreater(injected, 15);
}, needs);

programTest(
  "the main job leaves nothing when a mount's id can't be had",
  () => {
    const root = `${SCRATCH}/new/root`;
    // Deno calls statx, too, and not always as often: look for ours.
    const isOurs = ({ name, args }: Call) =>
      name === "statx" &&
      args.includes("AT_EMPTY_PATH, STATX_TYPE|STATX_MNT_ID|");
    for (const nth of [1, 2]) {
      let hit = false;
      for (let attempt = 0; attempt < 10 && !hit; attempt++) {
        const clean = runTraced([root, "0"]);
        Deno.removeSync(`${SCRATCH}/new`, { recursive: true });
        const ours = clean.calls.filter(isOurs)[nth - 1]!;
        const when = clean.calls.filter(({ name, pid }) =>
          name === "statx" && pid === ours.pid
        ).indexOf(ours) + 1;
        const { ended, calls } = runTraced(
          [root, "0"],
          injecting("statx", `error=EIO:when=${when}`),
        );
        hit = calls.some((call) =>
          call.injected && isOurs(call)
        );
        if (!hit) continue;
        assertEquals(ended.code, 1, ended.stderr);
        assert(ended.stderr.includes("statx: EIO"), ended.stderr);
        assertEquals([...Deno.readDirSync(SCRATCH)], []);
      }
      assert(hit);
    }
  },
  needs,
);
