import {
  kernelTest,
  mountsBelow,
  mountTable,
  numberOf,
  ROOT,
  SCRATCH,
} from "../support/testing.ts";
import { Directory } from "../../src/directory.ts";
import { MountError } from "../../src/error/error.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";
import type { Mount } from "../../src/mount/mount.ts";
import { applyMounts, planNamed } from "../../src/mount/apply.ts";
import { makeDev, RootTree } from "../../src/run/root_tree.ts";
import { MountPoints } from "../../src/run/mount_points.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { hold } from "../support/held.ts";
import { names } from "../support/run_root.ts";

kernelTest(
  "a hostile directory leads no mount or unmount outside",
  async () => {
    using outer = Directory.open(SCRATCH);
    outer.mkdir("root/a/m", { recursive: true });
    outer.mkdir("outside/m", { recursive: true });
    // One that must stay, where a misled unmount would find it.
    using victim = outer.mount("outside/m", { type: "tmpfs" });
    using root = outer.openDirectory("root");
    const swapper = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        `${ROOT}tests/fixtures/swapper.ts`,
        `${SCRATCH}/root`,
        `${SCRATCH}/outside`,
      ],
      stdin: "null",
      stdout: "piped",
    }).spawn();
    // It says so when it starts.
    const ready = swapper.stdout.getReader();
    await ready.read();
    const outcomes: Record<string, number> = {};
    function count(outcome: string): void {
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
    const before = mountTable().length;
    for (let i = 0; i < 10_000; i++) {
      try {
        const mount = root.mount("a/m", { type: "tmpfs", mkdir: i % 2 === 0 });
        count("mounted");
        // By its handle it always goes, by its name when it is still there.
        if (i % 3 === 0) unmountByName(root, count);
        disposePatiently(mount);
      } catch (error) {
        if (!(error instanceof MountError)) throw error;
        count(error.code);
        assert(
          ["ENOENT", "ELOOP", "ENOTDIR", "EINVAL", "EAGAIN"].includes(
            error.code,
          ),
          error.message,
        );
      }
      if (mountTable().length !== before) {
        assertEquals(mountTable().length, before, JSON.stringify(mountTable()));
      }
    }
    Deno.removeSync(`${SCRATCH}/root/ready`);
    await ready.cancel();
    await swapper.status;
    assert(victim.mounted);
    assertEquals(mountsBelow(`${SCRATCH}/outside`).length, 1);
    assertEquals(mountsBelow(`${SCRATCH}/root`).length, 0);
    // It was a contest: both sides won some.
    assertGreater(outcomes["mounted"] ?? 0, 100, JSON.stringify(outcomes));
    assertGreater(outcomes["ELOOP"] ?? 0, 10, JSON.stringify(outcomes));
  },
  { permissions: ["run", "read", "write"] },
);

/** How often what leads to a mount point is replaced. */
const SWAPS = numberOf("MOUNTAT_TEST_SWAPS") ?? 30_000;

kernelTest(
  `a hostile root leads nothing outside by its symlinks, in ${SWAPS} swaps`,
  async () => {
    const path = `${SCRATCH}/root`;
    const outside = `${SCRATCH}/outside`;
    Deno.mkdirSync(`${path}/a/m`, { recursive: true });
    Deno.mkdirSync(`${outside}/m`, { recursive: true });
    Deno.writeTextFileSync(`${SCRATCH}/file`, "");
    const host = names("/etc");
    using outer = Directory.open(SCRATCH);
    // One that must stay, where a misled mount or rmdir(2) would find it.
    using victim = outer.mount("outside/m", { type: "tmpfs" });
    using root = Directory.open(path);
    await using swapper = await hold([
      ...[Deno.execPath(), "run", "-A", `${ROOT}tests/fixtures/swapper.ts`],
      ...[path, outside, String(SWAPS)],
    ]);
    let goesOn = true;
    const ended = swapper.written().finally(() => goesOn = false);
    const outcomes: Record<string, number> = {};
    const table = mountTable();
    for (let i = 0; goesOn; i++) {
      const way = WAYS[i % WAYS.length]!;
      let outcome = "done";
      try {
        way(root);
      } catch (error) {
        const kernels = error instanceof MountError ||
          error instanceof SyscallError;
        if (!kernels) throw error;
        outcome = error.code;
        assert(LOST.includes(outcome), error.message);
      }
      const key = `${way.name} ${outcome}`;
      outcomes[key] = (outcomes[key] ?? 0) + 1;
      // It is asked whether the other process has ended.
      if (i % 64 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
    await ended;
    assert(victim.mounted);
    assertEquals(mountTable(), table);
    assertEquals([names(outside), names(`${outside}/m`)], [["m"], []]);
    assertEquals(names("/etc"), host);
    assertEquals(names(SCRATCH), ["file", "outside", "root"]);
    // It was a contest: all won some.
    for (const { name } of WAYS) {
      const told = JSON.stringify(outcomes);
      assertGreater(outcomes[`${name} done`] ?? 0, SWAPS / 3000, told);
      assert(LOST.some((code) => `${name} ${code}` in outcomes), told);
    }
  },
  { permissions: ["run", "read", "write", "env"] },
);

const LOST = ["ENOENT", "ELOOP", "ENOTDIR", "EINVAL", "EEXIST", "ENOTEMPTY"];

/** Who makes mount points through the symlinks of a root. */
const WAYS: readonly ((root: Directory) => void)[] = [
  function mountat(root) {
    disposePatiently(root.mount("a/m/x", {
      type: "tmpfs",
      mkdir: true,
      symlinks: "inRoot",
    }));
  },
  function applied(root) {
    const source = `${SCRATCH}/file`;
    applyMounts(
      root,
      [{ type: "bind", source, target: "a/m/y/file", mkdir: true }],
      { symlinks: "inRoot" },
    ).unmount({ lazy: true });
  },
  function run(root) {
    using points = new MountPoints();
    using tree = new RootTree(root, points, true);
    tree.makeRoom(["proc", "dev"]);
    tree.put("dev", makeDev(tree.staging));
    for (const target of ["a/m/z", "a/w"]) {
      tree.add(planNamed({ type: "tmpfs", target }, target));
    }
    tree.seal();
  },
];

/** The other process, when it looks at the mount, keeps it busy for a moment. */
function disposePatiently(mount: Mount): void {
  for (let attempt = 1;; attempt++) {
    try {
      return mount[Symbol.dispose]();
    } catch (error) {
      const busy = error instanceof MountError && error.code === "EBUSY";
      if (!busy || attempt === 10_000) throw error;
    }
  }
}

function unmountByName(root: Directory, count: (outcome: string) => void) {
  try {
    root.unmount("a/m");
    count("unmounted by name");
  } catch (error) {
    if (!(error instanceof MountError)) throw error;
    count(`unmount ${error.code}`);
  }
}
