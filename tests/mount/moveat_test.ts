import {
  kernelTest,
  mountsBelow,
  mountTable,
  SCRATCH,
  withoutProc,
} from "../support/testing.ts";
import { mount, mountSetattr, umount2 } from "../../src/sys/mount.ts";
import {
  AT_FDCWD,
  MNT_DETACH,
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
  O_CREAT,
  O_RDWR,
} from "../../src/sys/constants.ts";
import { Directory } from "../../src/directory.ts";
import { moveat } from "../../src/mount/moveat.ts";
import type { Mount } from "../../src/mount/mount.ts";
import { withCallFailing } from "../support/scratch.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { close, openat2 } from "../../src/sys/file.ts";
import { failing } from "../support/failing.ts";
import { MountError } from "../../src/error/error.ts";
import { kernelTestSince } from "../support/since.ts";

/** The mount points below the scratch directory, relative to it. */
function places(): string[] {
  return mountsBelow(SCRATCH).slice(1).map((line) =>
    line.split(" ")[4]!.slice(SCRATCH.length + 1)
  );
}

function setPropagation(path: string, propagation: number): void {
  mountSetattr(AT_FDCWD, path, 0, { propagation });
}

/** A root in which `from/proc` is a mount and `to/proc` a mount point. */
function stage(): Directory {
  const root = Directory.open(SCRATCH);
  root.mkdir("to/proc", { recursive: true });
  using mount = root.mount("from/proc", { type: "proc", mkdir: true });
  mount.keep();
  return root;
}

kernelTest("moveat() moves the original where its holder is private", () => {
  using root = stage();
  const [, before] = mountsBelow(SCRATCH);
  using from = root.openDirectory("from");
  using to = root.openDirectory("to");
  using mount = moveat(from, "proc", to, "proc");
  assertEquals(mount.made, "moved");
  assertEquals(places(), ["to/proc"]);
  assertEquals(mountsBelow(SCRATCH)[1]!.split(" ")[0], before!.split(" ")[0]);
});

kernelTest(
  "moveat() clones and unmounts the original where its holder is shared",
  () => {
    using root = stage();
    setPropagation(SCRATCH, MS_SHARED);
    {
      using mount = moveat(root, "from/proc", root, "to/proc");
      assertEquals(mount.made, "cloned");
      assertEquals(places(), ["to/proc"]);
      assert(mount.mounted);
    }
    assertEquals(places(), []);
    setPropagation(SCRATCH, MS_PRIVATE);
  },
);

kernelTest("moveat() makes the holder private when asked, and moves", () => {
  using root = stage();
  setPropagation(SCRATCH, MS_SHARED);
  using mount = moveat(root, "from/proc", root, "to/proc", {
    makePrivate: true,
  });
  assertEquals(mount.made, "moved");
  assertEquals(places(), ["to/proc"]);
  assert(!mountsBelow(SCRATCH)[0]!.includes("shared:"));
});

kernelTest(
  "moveat() moves a slave and a shared mount out of a private one",
  () => {
    using root = stage();
    for (const propagation of [MS_SHARED, MS_SLAVE, MS_PRIVATE]) {
      setPropagation(`${SCRATCH}/from/proc`, propagation);
      using there = moveat(root, "from/proc", root, "to/proc");
      assertEquals(there.made, "moved");
      there.keep();
      using back = moveat(root, "to/proc", root, "from/proc");
      back.keep();
    }
    root.unmount("from/proc");
  },
);

kernelTest("moveat() moves a bind, of a directory and of a file", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("source");
  close(openat2(AT_FDCWD, `${SCRATCH}/file`, {
    flags: O_CREAT | O_RDWR,
    mode: 0o600,
  }));
  for (const shared of [false, true]) {
    for (const source of ["source", "file"]) {
      root.bind(`${SCRATCH}/${source}`, `from-${source}`, { mkdir: true })
        .keep();
      setPropagation(SCRATCH, shared ? MS_SHARED : MS_PRIVATE);
      using mount = moveat(root, `from-${source}`, root, `to-${source}`, {
        mkdir: true,
      });
      assertEquals(mount.made, shared ? "cloned" : "moved");
      assertEquals(places(), [`to-${source}`]);
    }
  }
  setPropagation(SCRATCH, MS_PRIVATE);
});

kernelTest("moveat() takes the topmost of a stack", () => {
  for (const propagation of [MS_PRIVATE, MS_SHARED]) {
    using root = stage();
    using above = root.mount("from/proc", { type: "tmpfs" });
    above.keep();
    setPropagation(SCRATCH, propagation);
    {
      // Its holder is the mount below it, which is private.
      using _mount = moveat(root, "from/proc", root, "to/proc");
      assertEquals(places(), ["from/proc", "to/proc"]);
      assert(mountsBelow(`${SCRATCH}/to`)[0]!.includes(" tmpfs "));
    }
    setPropagation(SCRATCH, MS_PRIVATE);
    root.unmount("from/proc");
  }
});

kernelTest("moveat() takes the mounts inside along", () => {
  for (const propagation of [MS_PRIVATE, MS_SHARED]) {
    using root = Directory.open(SCRATCH);
    root.mount("from/m", { type: "tmpfs", mkdir: true }).keep();
    root.mount("from/m/inner", { type: "tmpfs", mkdir: true }).keep();
    setPropagation(SCRATCH, propagation);
    const mount = moveat(root, "from/m", root, "to/m", { mkdir: true });
    assertEquals(places().sort(), ["to/m", "to/m/inner"]);
    mount.unmount({ lazy: true });
    assertEquals(places(), []);
    setPropagation(SCRATCH, MS_PRIVATE);
  }
});

kernelTest("moveat() does not disturb who uses the mount", () => {
  for (const propagation of [MS_PRIVATE, MS_SHARED]) {
    using root = Directory.open(SCRATCH);
    root.mount("from", { type: "tmpfs", mkdir: true }).keep();
    using inside = root.openDirectory("from");
    setPropagation(SCRATCH, propagation);
    const mount = moveat(root, "from", root, "to", { mkdir: true });
    inside.mkdir("written-after");
    root.openDirectory("to/written-after").close();
    inside.close();
    mount.unmount();
    setPropagation(SCRATCH, MS_PRIVATE);
  }
});

function assertStays(call: () => unknown, code: string): void {
  const before = mountTable();
  assertEquals(assertThrows(call, MountError, "Cannot move").code, code);
  assertEquals(mountTable(), before);
}

kernelTest("moveat() leaves the mount when it can't be moved", () => {
  for (const propagation of [MS_PRIVATE, MS_SHARED]) {
    using root = stage();
    root.mkdir("plain", { recursive: true });
    close(openat2(AT_FDCWD, `${SCRATCH}/file`, {
      flags: O_CREAT | O_RDWR,
      mode: 0o600,
    }));
    setPropagation(SCRATCH, propagation);
    // Not a mount.
    assertStays(() => moveat(root, "plain", root, "to/proc"), "EINVAL");
    // A directory on a file.
    assertStays(() => moveat(root, "from/proc", root, "file"), "ENOTDIR");
    assertStays(() => moveat(root, "missing", root, "to"), "ENOENT");
    assertStays(() => moveat(root, "from/proc", root, "missing"), "ENOENT");
    assertStays(() => moveat(root, "from/proc", root, "../x"), "EXDEV");
    const mkdir = { mkdir: true };
    assertStays(() => moveat(root, "plain", root, "new", mkdir), "EINVAL");
    assertThrows(() => root.openDirectory("new"), MountError, "ENOENT");
    assertThrows(() => moveat(root, "/x", root, "to"), TypeError);
    assertThrows(() => moveat(root, "from/proc", -1, "to"), TypeError);
    setPropagation(SCRATCH, MS_PRIVATE);
    root.unmount("from/proc");
  }
});

kernelTest("moveat() leaves a mount that would move into itself", () => {
  using root = Directory.open(SCRATCH);
  using mount = root.mount("m", { type: "tmpfs", mkdir: true });
  root.mkdir("m/inner");
  assertStays(() => moveat(root, "m", root, "m/inner"), "ELOOP");
  assert(mount.mounted);
});

kernelTest(
  "moveat() leaves a mount in a shared one that would move into itself",
  () => {
    using root = Directory.open(SCRATCH);
    setPropagation(SCRATCH, MS_SHARED);
    using mount = root.mount("m", { type: "tmpfs", mkdir: true });
    root.mkdir("m/inner");
    using inside = root.mount("m/in", { type: "tmpfs", mkdir: true });
    root.mkdir("m/in/inner");
    for (const to of ["m", "m/inner", "m/in", "m/in/inner"]) {
      assertStays(() => moveat(root, "m", root, to), "ELOOP");
    }
    assert(mount.mounted && inside.mounted);
    inside.unmount();
    mount.unmount();
    setPropagation(SCRATCH, MS_PRIVATE);
  },
);

kernelTest("moveat() leaves a mount that would come onto a peer of it", () => {
  using root = Directory.open(SCRATCH);
  using holder = root.mount("one", { type: "tmpfs", mkdir: true });
  setPropagation(`${SCRATCH}/one`, MS_SHARED);
  root.mkdir("two");
  using peer = root.bind(`${SCRATCH}/one`, "two", { propagation: "shared" });
  using mount = root.mount("one/m", { type: "tmpfs", mkdir: true });
  root.mkdir("one/m/sub");
  using inside = root.mount("one/m/in", { type: "tmpfs", mkdir: true });
  for (const to of ["two/m", "two/m/in"]) {
    assertStays(() => moveat(root, "one/m", root, to), "ELOOP");
  }
  inside.unmount();
  // On a plain directory of the peer, the copy covers no mount.
  const moved = moveat(root, "one/m", root, "two/m/sub");
  assertEquals([moved.made, mount.mounted], ["cloned", false]);
  moved.keep();
  peer.unmount({ lazy: true });
  holder.unmount({ lazy: true });
});

kernelTest("moveat() leaves an unbindable mount of a shared one", () => {
  using root = stage();
  setPropagation(SCRATCH, MS_SHARED);
  setPropagation(`${SCRATCH}/from/proc`, MS_UNBINDABLE);
  assertStays(() => moveat(root, "from/proc", root, "to/proc"), "EINVAL");
  setPropagation(SCRATCH, MS_PRIVATE);
  umount2(`${SCRATCH}/from/proc`, MNT_DETACH);
});

kernelTest("Directory.move() keeps the name unless told another", () => {
  using root = stage();
  using from = root.openDirectory("from");
  using to = root.openDirectory("to");
  using moved = from.move("proc", to);
  moved.keep();
  assertEquals(places(), ["to/proc"]);
  using again = to.move("proc", from, "other", { mkdir: true });
  assertEquals([places(), again.target], [["from/other"], "other"]);
});

kernelTest(
  "moveat() keeps what is inside a shared mount, and its peers",
  () => {
    using root = Directory.open(SCRATCH);
    setPropagation(SCRATCH, MS_SHARED);
    root.mount("from/m", { type: "tmpfs", mkdir: true }).keep();
    // A peer of the mount that moves: what is mounted in one is in the other.
    root.bind(`${SCRATCH}/from/m`, "peer", { mkdir: true }).keep();
    root.mount("from/m/inner", { type: "tmpfs", mkdir: true }).keep();
    root.mkdir("from/m/inner/data");
    using mount = moveat(root, "from/m", root, "to/m", { mkdir: true });
    mount.keep();
    assertEquals(mount.made, "cloned");
    assertEquals(places().sort(), ["peer", "peer/inner", "to/m", "to/m/inner"]);
    root.openDirectory("to/m/inner/data").close();
    root.openDirectory("peer/inner/data").close();
    root.unmountAll();
    setPropagation(SCRATCH, MS_PRIVATE);
  },
);

kernelTest("moveat() keeps 3,000 mounts that are on each other", () => {
  using root = Directory.open(SCRATCH);
  root.mount("from", { type: "tmpfs", mkdir: true }).keep();
  root.mkdir("from/a");
  root.mkdir("to");
  for (let i = 0; i < 3000; i++) {
    mount("none", `${SCRATCH}/from/a`, "tmpfs", 0, "size=4k");
  }
  setPropagation(SCRATCH, MS_SHARED);
  using moved = moveat(root, "from", root, "to");
  assertEquals(moved.made, "cloned");
  assertEquals(places().filter((place) => place === "to/a").length, 3000);
  umount2(`${SCRATCH}/to`, MNT_DETACH);
  setPropagation(SCRATCH, MS_PRIVATE);
});

kernelTest("moveat() leaves a mount that has an unbindable one inside", () => {
  using root = Directory.open(SCRATCH);
  root.mount("from", { type: "tmpfs", mkdir: true }).keep();
  root.mount("from/a", { type: "tmpfs", mkdir: true }).keep();
  root.mount("from/a/b", { type: "tmpfs", mkdir: true }).keep();
  root.mkdir("to");
  setPropagation(`${SCRATCH}/from/a/b`, MS_UNBINDABLE);
  setPropagation(SCRATCH, MS_SHARED);
  assertStays(() => moveat(root, "from", root, "to"), "EINVAL");
  const error = assertThrows(
    () => moveat(root, "from", root, "to"),
    MountError,
  );
  assert(error.message.includes("from/a/b"), error.message);
  assert(error.message.includes("unbindable"), error.message);
  using moved = moveat(root, "from", root, "to", { makePrivate: true });
  moved.keep();
  assertEquals(places().sort(), ["to", "to/a", "to/a/b"]);
  root.unmountAll();
});

kernelTest("moveat() makes the holder shared again when the move fails", () => {
  using root = Directory.open(SCRATCH);
  root.mount("m", { type: "tmpfs", mkdir: true }).keep();
  root.mkdir("m/inside");
  setPropagation(SCRATCH, MS_SHARED);
  const makePrivate = { makePrivate: true };
  const move = () => moveat(root, "m", root, "m/inside", makePrivate);
  assertEquals(assertThrows(move, MountError).code, "ELOOP");
  assert(mountsBelow(SCRATCH)[0]!.includes(" shared:"));
  setPropagation(SCRATCH, MS_PRIVATE);
  root.unmount("m");
});

/** Calls `move` in a shared mount with peers, while each call of it fails. */
function failEachCall(move: (root: Directory) => Mount): string[] {
  const failures: string[] = [];
  const names = [
    "open_tree",
    "mount_setattr",
    "move_mount",
    "umount2",
  ] as const;
  for (const name of names) {
    for (let nth = 1, reached = true; reached; nth++) {
      using scratch = Directory.open(SCRATCH);
      scratch.mount("base", { type: "tmpfs", mkdir: true }).keep();
      setPropagation(`${SCRATCH}/base`, MS_SHARED);
      using root = scratch.openDirectory("base");
      for (const target of ["m", "m/in", "m/in/deep"]) {
        root.mount(target, { type: "tmpfs", mkdir: true }).keep();
      }
      root.mkdir("to");
      // This mount shows what is propagated, and so which mounts are peers.
      const options = { options: "rshared", recursive: true, mkdir: true };
      scratch.bind(`${SCRATCH}/base`, "peer", options).keep();
      const before = mountsBelow(SCRATCH);
      let error: unknown;
      reached = withCallFailing(name, nth, () => {
        try {
          move(root).keep();
        } catch (thrown) {
          error = thrown;
        }
      });
      if (error !== undefined) {
        failures.push(`${name} ${nth}`);
        assert(error instanceof MountError, failures.at(-1));
        const after = mountsBelow(SCRATCH);
        // The kernel has no way to take back from peers what they were given.
        const stays = name === "umount2" && nth > 1;
        assertEquals(
          stays ? after.filter((line) => !line.includes("/peer/to")) : after,
          before,
          failures.at(-1),
        );
      }
      for (const name of ["peer", "base"]) {
        umount2(`${SCRATCH}/${name}`, MNT_DETACH);
      }
    }
  }
  return failures;
}

kernelTest(
  "moveat() out of a shared mount leaves all as it was, whichever call fails",
  () => {
    assertEquals(failEachCall((root) => moveat(root, "m", root, "to")), [
      "open_tree 1",
      "mount_setattr 1",
      "move_mount 1",
      "move_mount 2",
      "umount2 1",
      "umount2 2",
    ]);
    const makePrivate = { makePrivate: true };
    assertEquals(
      failEachCall((root) => moveat(root, "m", root, "to", makePrivate)),
      [
        "open_tree 1",
        "mount_setattr 1",
        "mount_setattr 2",
        "move_mount 1",
        "move_mount 2",
        "umount2 1",
      ],
    );
  },
);

kernelTest(
  "moveat() touches nothing where the mount is locked to a shared one",
  () => {
    using scratch = Directory.open(SCRATCH);
    scratch.mount("s", { type: "tmpfs", mkdir: true }).keep();
    using root = scratch.openDirectory("s");
    root.mount("a/proc", { type: "tmpfs", mkdir: true }).keep();
    for (const name of ["a/proc/in", "b"]) root.mkdir(name);
    const { code, hint } = failing(["move", `${SCRATCH}/s`, "a/proc", "b"], {
      wrapper: ["unshare", "-Urm", "--propagation", "private"],
      script: `cd ${SCRATCH}; mount --make-rshared s
      mount -t tmpfs none s/a/proc/in
      grep ${SCRATCH} /proc/self/mountinfo > before
      "$@"
      grep ${SCRATCH} /proc/self/mountinfo > after`,
    });
    assertEquals(code, "EINVAL");
    assert(hint?.includes("is locked to its parent mount"), hint);
    const [before, after] = ["before", "after"].map((name) =>
      Deno.readTextFileSync(`${SCRATCH}/${name}`)
    );
    assert(before!.includes("/s/a/proc/in"));
    assertEquals(after, before);
    scratch.unmount("s", { lazy: true });
  },
  { commands: ["unshare"] },
);

kernelTestSince(
  "6.13",
  "moveat() moves out of a shared mount without /proc",
  () => {
    using root = Directory.open(SCRATCH);
    root.mount("from", { type: "tmpfs", mkdir: true }).keep();
    root.mkdir("to");
    setPropagation(SCRATCH, MS_SHARED);
    withoutProc(() => {
      using mount = moveat(root, "from", root, "to");
      assertEquals(mount.made, "cloned");
      mount.keep();
    });
    assertEquals(places(), ["to"]);
    setPropagation(SCRATCH, MS_PRIVATE);
    root.unmount("to");
  },
);
