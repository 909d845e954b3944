import {
  kernelTest,
  mountsBelow,
  mountTable,
  ROOT,
  SCRATCH,
} from "../support/testing.ts";
import { Directory } from "../../src/directory.ts";
import { MountError } from "../../src/error/error.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";
import type { Mount } from "../../src/mount/mount.ts";

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
