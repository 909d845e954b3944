import {
  gatedTest,
  kernelTest,
  missingFor,
  mountsBelow,
  mountTable,
  SCRATCH,
} from "../support/testing.ts";
import { features } from "../../src/kernel/features.ts";
import { Directory } from "../../src/directory.ts";
import { mountIdAt } from "../../src/kernel/mount_id.ts";
import { close, openat2 } from "../../src/sys/file.ts";
import { symlinkat } from "../../src/sys/names.ts";
import { AT_FDCWD, O_CREAT, O_RDWR } from "../../src/sys/constants.ts";
import type { Mount } from "../../src/mount/mount.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { MountError } from "../../src/error/error.ts";
import { withCallFailing } from "../support/scratch.ts";

const TMPFS = { type: "tmpfs", mkdir: true };

/** Registers a test for kernels that put a mount beneath another. */
function beneathTest(name: string, fn: () => void): void {
  const missing = missingFor({}) ??
    (features().mountBeneath ? null : "needs Linux 6.5");
  if (missing === null) kernelTest(name, fn);
  else gatedTest(name, missing, fn);
}

/** The id of the mount that shows on a name. */
function topmost(root: Directory, name: string): bigint {
  using directory = root.openDirectory(name);
  return mountIdAt(directory.fd);
}

function createFile(path: string): void {
  close(openat2(AT_FDCWD, path, { flags: O_CREAT | O_RDWR, mode: 0o600 }));
}

beneathTest("a mount beneath another shows when that is unmounted", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("source/inside", { recursive: true });
  root.mkdir("from");
  const made: (() => Mount)[] = [
    () => root.mount("a/m", { type: "tmpfs", beneath: true }),
    () => root.bind(`${SCRATCH}/source`, "a/m", { beneath: true }),
    () => {
      root.mount("from", { type: "tmpfs" }).keep();
      return root.move("from", root, "a/m", { beneath: true });
    },
  ];
  for (const make of made) {
    const top = root.mount("a/m", TMPFS);
    using mount = make();
    assertEquals(topmost(root, "a/m"), top.id);
    assert(mount.mounted && top.mounted);
    // The handle unmounts its own, and no other.
    const error = assertThrows(() => mount.unmount(), MountError, "on top");
    assertEquals(error.code, "EBUSY");
    assert(mount.mounted && top.mounted);
    top.unmount();
    assertEquals(topmost(root, "a/m"), mount.id);
  }
  assertEquals(mountsBelow(`${SCRATCH}/a`), []);
});

beneathTest("a mount beneath another goes with it when asked for all", () => {
  using root = Directory.open(SCRATCH);
  using below = root.mount("m", TMPFS);
  using top = root.mount("m", TMPFS);
  const mount = root.mount("m", { type: "tmpfs", beneath: true });
  mount.unmount({ all: true });
  assert(!top.mounted && !mount.mounted && below.mounted);
});

beneathTest("a mount beneath another stays when kept", () => {
  using root = Directory.open(SCRATCH);
  const top = root.mount("m", TMPFS);
  const mount = root.mount("m", { type: "tmpfs", beneath: true });
  mount.keep();
  assertThrows(() => mount.unmount(), MountError, "on top");
  top.unmount();
  assertEquals(topmost(root, "m"), mount.id);
  mount.unmount();
  assertEquals(mountsBelow(`${SCRATCH}/m`), []);
});

beneathTest("a bind of a file goes beneath another", () => {
  using root = Directory.open(SCRATCH);
  createFile(`${SCRATCH}/file`);
  const top = root.bind(`${SCRATCH}/file`, "m", { mkdir: true });
  using mount = root.bind(`${SCRATCH}/file`, "m", { beneath: true });
  top.unmount();
  assertEquals(mountsBelow(`${SCRATCH}/m`).length, 1);
  assert(mount.mounted);
});

beneathTest("nothing goes beneath what is no mount", () => {
  using outer = Directory.open(SCRATCH);
  using _mount = outer.mount("m", TMPFS);
  outer.mkdir("root/plain", { recursive: true });
  symlinkat("../m", AT_FDCWD, `${SCRATCH}/root/link`);
  using root = outer.openDirectory("root");
  const before = mountTable();
  const targets = [
    ["plain", "EINVAL"],
    ["nosuch", "ENOENT"],
    ["link", "ELOOP"],
    ["../m", "EXDEV"],
  ] as const;
  for (const [target, code] of targets) {
    for (const mkdir of [true, false]) {
      const options = { type: "tmpfs", beneath: true, mkdir };
      const error = assertThrows(() => root.mount(target, options), MountError);
      assertEquals(error.code, code);
      if (code === "EINVAL") {
        assertEquals(
          error.hint,
          "Nothing is mounted there to put the mount beneath",
        );
      }
    }
  }
  assertEquals(mountTable(), before);
  assertThrows(() => root.openDirectory("nosuch"), MountError, "ENOENT");
});

beneathTest("what moves beneath another is never replaced by a copy", () => {
  using root = Directory.open(SCRATCH);
  using _to = root.mount("to", TMPFS);
  using _parent = root.mount("parent", { ...TMPFS, propagation: "shared" });
  using _from = root.mount("parent/from", TMPFS);
  const before = mountTable();
  const error = assertThrows(
    () => root.move("parent/from", root, "to", { beneath: true }),
    MountError,
  );
  assertEquals(error.code, "EINVAL");
  assertEquals(mountTable(), before);
  using moved = root.move("parent/from", root, "to", {
    beneath: true,
    makePrivate: true,
  });
  assertEquals(moved.made, "moved");
  _to.unmount();
});

beneathTest(
  "what can't be made private beneath another is told to stay",
  () => {
    using root = Directory.open(SCRATCH);
    const top = root.mount("m", TMPFS);
    withCallFailing("mount_setattr", 2, () => {
      const error = assertThrows(
        () =>
          root.mount("m", {
            type: "tmpfs",
            propagation: "private",
            beneath: true,
          }),
        SuppressedError,
      );
      assert(error.suppressed.message.includes("mount_setattr: EBADF"));
      assert(error.error.message.includes("another mount is on top of it"));
    });
    top.unmount();
    root.unmount("m");
  },
);

Deno.test("what goes beneath another needs a target that ends in a name", () => {
  const root = Object.create(Directory.prototype, {
    fd: { value: 0 },
  }) as Directory;
  for (const target of [".", "a/..", "./"]) {
    const words = "must end in a name";
    const options = { type: "tmpfs", beneath: true };
    assertThrows(() => root.mount(target, options), TypeError, words);
    assertThrows(
      () => root.bind("/", target, { beneath: true }),
      TypeError,
      words,
    );
    assertThrows(
      () => root.move("m", root, target, { beneath: true }),
      TypeError,
      words,
    );
  }
});
