import type { Mount } from "../../src/mount/mount.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { MountError } from "../../src/error/error.ts";
import { kernelTest, MANY, mountsBelow, SCRATCH } from "../support/testing.ts";
import { Directory } from "../../src/directory.ts";
import { statx } from "../../src/sys/file.ts";
import {
  AT_FDCWD,
  MS_MOVE,
  STATX_MNT_ID_UNIQUE,
  UMOUNT_NOFOLLOW,
} from "../../src/sys/constants.ts";
import { idTest, withCallRefused, withoutCall } from "../support/scratch.ts";
import { MountTree } from "../../src/mount/tree.ts";
import { mount as oldMount, umount2 } from "../../src/sys/mount.ts";
import { kernelTestSince } from "../support/since.ts";

const TMPFS = { type: "tmpfs" };

function assertNotUnmounted(mount: Mount, code: string, words: string): void {
  const error = assertThrows(() => mount.unmount(), MountError, words);
  assertEquals([error.code, error.syscall], [code, "umount2"]);
}

kernelTest("Mount.id is the kernel's id of the mount", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  using mount = root.mount("m", TMPFS);
  const { mntId } = statx(AT_FDCWD, `${SCRATCH}/m`, 0, STATX_MNT_ID_UNIQUE);
  assertEquals(mount.id, mntId!);
});

kernelTest("Mount.unmount() unmounts once", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const mount = root.mount("m", TMPFS);
  assert(mount.mounted);
  mount.unmount();
  assert(!mount.mounted);
  assertEquals(mountsBelow(`${SCRATCH}/m`), []);
  assertNotUnmounted(mount, "EINVAL", "it is gone");
  mount[Symbol.dispose]();
});

kernelTest("Mount unmounts when disposed of", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  {
    using _ = root.mount("m", TMPFS);
    assertEquals(mountsBelow(`${SCRATCH}/m`).length, 1);
  }
  assertEquals(mountsBelow(`${SCRATCH}/m`).length, 0);
});

idTest("Mount stays when kept, and can still be unmounted", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  {
    using mount = root.mount("m", TMPFS);
    mount.keep();
  }
  assertEquals(mountsBelow(`${SCRATCH}/m`).length, 1);
  root.unmount("m");
  using mount = root.mount("m", TMPFS);
  mount.keep();
  mount.unmount();
  assertEquals(mountsBelow(`${SCRATCH}/m`).length, 0);
});

kernelTest(
  "Mount.unmount() finds the mount point wherever it was renamed to",
  () => {
    using root = Directory.open(SCRATCH);
    root.mkdir("a/b", { recursive: true });
    root.mkdir("elsewhere");
    const mount = root.mount("a/b", TMPFS);
    // What holds a mount point may be renamed, and another take its place.
    Deno.renameSync(`${SCRATCH}/a`, `${SCRATCH}/elsewhere/a`);
    root.mkdir("a/b", { recursive: true });
    const other = root.mount("a/b", TMPFS);
    mount.unmount();
    assertEquals(mountsBelow(`${SCRATCH}/elsewhere`), []);
    assert(other.mounted);
    other.unmount();
  },
  { permissions: ["read", "write"] },
);

kernelTest("Mount.unmount() is not led astray by a symlink in the way", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("victim/m", { recursive: true });
  root.mkdir("root/m", { recursive: true });
  using victim = root.mount("victim/m", TMPFS);
  const mount = root.mount("root/m", TMPFS);
  Deno.renameSync(`${SCRATCH}/root`, `${SCRATCH}/moved`);
  Deno.symlinkSync("victim", `${SCRATCH}/root`);
  mount.unmount();
  assert(victim.mounted);
  assertEquals(mountsBelow(`${SCRATCH}/moved`), []);
}, { permissions: ["read", "write"] });

kernelTest("Mount.unmount() spares another mount on top of it", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  using below = root.mount("m", TMPFS);
  using above = root.mount("m", TMPFS);
  assertNotUnmounted(below, "EBUSY", "another mount is on top of it");
  assert(below.mounted && above.mounted);
  above.unmount();
  below.unmount();
});

kernelTest(
  "Mount.unmount() says what covers a directory that leads to it",
  () => {
    using scratch = Directory.open(SCRATCH);
    scratch.mkdir("x/kept", { recursive: true });
    scratch.mkdir("x/self");
    using root = scratch.openDirectory("x");
    const kept = root.mount("kept", TMPFS);
    kept.keep();
    using self = root.openDirectory("self");
    using onSelf = self.mount(".", TMPFS);
    using named = root.mount("named", { ...TMPFS, mkdir: true });
    for (
      const furnish of [
        () => {},
        (tree: MountTree) =>
          ["kept", "self"].forEach((name) => tree.mkdir(name)),
        (tree: MountTree) =>
          ["kept", "self"].forEach((name) =>
            tree.mount(name, { ...TMPFS, mkdir: true })
          ),
      ]
    ) {
      using tree = MountTree.create({ ...TMPFS, source: "cover" });
      furnish(tree);
      using _cover = tree.attach(root);
      for (const mount of [kept, onSelf, named]) {
        for (const options of [{}, { all: true }, { lazy: true }]) {
          const { code, message, hint } = assertThrows(
            () => mount.unmount(options),
            MountError,
          );
          assertEquals(code, "EBUSY", message);
          const words = `the mount on "${SCRATCH}/x" covers what leads to it`;
          assert(message.endsWith(words), message);
          assertEquals(
            hint,
            `Unmount what is on "${SCRATCH}/x" first, a "tmpfs" from "cover"; unmounting lazily does not help`,
          );
        }
        assert(mount.mounted);
      }
    }
    for (const mount of [kept, onSelf, named]) mount.unmount();
  },
);

kernelTest("Mount.unmount() spares all that took its place", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  root.mkdir("n");
  const mount = root.mount("m", TMPFS);
  oldMount(`${SCRATCH}/m`, `${SCRATCH}/n`, null, MS_MOVE, null);
  using other = root.mount("m", TMPFS);
  assertNotUnmounted(mount, "EINVAL", "it was moved elsewhere");
  using onTop = root.mount("n", TMPFS);
  for (const options of [{}, { all: true }]) {
    assertThrows(() => mount.unmount(options), MountError, "EBUSY");
  }
  assert(other.mounted && onTop.mounted && mount.mounted);
  onTop.unmount();
  root.unmount("n");
  mount[Symbol.dispose]();
});

kernelTest("Mount.unmount() takes what is on top when asked for all", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  oldMount("under", `${SCRATCH}/m`, "tmpfs", 0, null);
  const mount = root.mount("m", TMPFS);
  for (let i = 0; i < 3; i++) {
    oldMount("over", `${SCRATCH}/m`, "tmpfs", 0, null);
  }
  mount.unmount({ all: true });
  const left = mountsBelow(`${SCRATCH}/m`);
  assertEquals(left.length, 1);
  assert(left[0]!.includes(" under "));
  umount2(`${SCRATCH}/m`, UMOUNT_NOFOLLOW);
});

kernelTestSince(
  "6.8",
  "Mount.unmount() spares a mount that took its place",
  () => {
    using root = Directory.open(SCRATCH);
    root.mkdir("m");
    const mount = root.mount("m", TMPFS);
    root.unmount("m");
    assert(!mount.mounted);
    using other = root.mount("m", TMPFS);
    assertNotUnmounted(mount, "EINVAL", "it is gone");
    assertThrows(() => mount.unmount({ all: true }), MountError, "it is gone");
    mount[Symbol.dispose]();
    assert(other.mounted);
  },
);

kernelTest("Mount.unmount() says that the mount was moved elsewhere", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  root.mkdir("n");
  const mount = root.mount("m", TMPFS);
  oldMount(`${SCRATCH}/m`, `${SCRATCH}/n`, null, MS_MOVE, null);
  assert(mount.mounted);
  assertNotUnmounted(mount, "EINVAL", "it was moved elsewhere");
  root.unmount("n");
  mount[Symbol.dispose]();
});

kernelTest("Mount keeps its handle when disposing fails, to try again", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const mount = root.mount("m", TMPFS);
  using inside = root.openDirectory("m");
  const error = assertThrows(() => mount[Symbol.dispose](), MountError);
  assertEquals(error.code, "EBUSY");
  assert(mount.mounted);
  inside.close();
  mount[Symbol.dispose]();
  assert(!mount.mounted);
});

kernelTest("Mount.unmount() lazily leaves a busy mount", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const mount = root.mount("m", TMPFS);
  using _inside = root.openDirectory("m");
  mount.unmount({ lazy: true });
  assert(!mount.mounted);
  assertEquals(mountsBelow(`${SCRATCH}/m`), []);
});

kernelTest("Mount unmounts from the directory itself", () => {
  using root = Directory.open(SCRATCH);
  // The mount point is the root of the scratch file system.
  const mount = root.mount(".", TMPFS);
  assertEquals(mountsBelow(SCRATCH).length, 2);
  mount.unmount();
  assertEquals(mountsBelow(SCRATCH).length, 1);
});

kernelTest("Mount unmounts from the root directory", () => {
  using root = Directory.open("/");
  const mount = root.mount(".", { type: "tmpfs" });
  mount.unmount();
  assert(!mount.mounted);
});

kernelTest("Mount unmounts from a name that is no UTF-8", () => {
  using root = Directory.open(SCRATCH);
  for (
    const name of [
      "\udcff\udc80",
      "new\nline",
      "with space",
      "é",
      "a (deleted)",
    ]
  ) {
    root.mkdir(name);
    const mount = root.mount(name, TMPFS);
    mount.unmount();
    assert(!mount.mounted);
    root.mount(name, TMPFS).unmount();
  }
});

for (
  const [call, hide] of [["ENOSYS", withoutCall], [
    "EPERM",
    withCallRefused,
  ]] as const
) {
  kernelTest(
    `Mount goes by the mount point where statmount is hidden by ${call}`,
    () => {
      using root = Directory.open(SCRATCH);
      root.mkdir("m");
      hide("statmount", () => {
        {
          using mount = root.mount("m", TMPFS);
          assert(mount.mounted);
        }
        assertEquals(mountsBelow(`${SCRATCH}/m`), []);
        const gone = root.mount("m", TMPFS);
        root.unmount("m");
        assert(!gone.mounted);
        gone[Symbol.dispose]();
        const below = root.mount("m", TMPFS);
        using above = root.mount("m", TMPFS);
        assert(below.mounted);
        assertThrows(() => below[Symbol.dispose](), MountError, "EBUSY");
        above.unmount();
        below.unmount();
      });
    },
  );
}

kernelTest("Mount unmounts from a path that is too long to be told", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("a/m", { recursive: true });
  const mount = root.mount("a/m", TMPFS);
  let outermost = "a";
  for (let depth = 0; depth < 20; depth++) {
    const next = `${depth}${"n".repeat(240)}`;
    root.mkdir(next);
    Deno.renameSync(
      `${SCRATCH}/${outermost}`,
      `${SCRATCH}/${next}/${outermost}`,
    );
    outermost = next;
  }
  assert(mount.mounted);
  mount.unmount();
  assert(!mount.mounted);
}, { permissions: ["read", "write"] });

idTest("Mount.unmount() finds a kept mount by its id", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const mount = root.mount("m", TMPFS);
  mount.keep();
  assert(mount.mounted);
  const above = root.mount("m", TMPFS);
  above.keep();
  assertThrows(() => mount.unmount(), MountError, "another mount is on top");
  mount.unmount({ all: true });
  assertEquals(mountsBelow(`${SCRATCH}/m`), []);
  assertThrows(() => above.unmount(), MountError, "it is gone");
});

kernelTest(`${MANY} cycles leave mounts and descriptors as they were`, () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  for (let i = 0; i < MANY; i++) root.mount("m", TMPFS).unmount();
});

idTest("Mount.unmount() expires the mount at the second call", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const mount = root.mount("m", TMPFS);
  const expire = () => mount.unmount({ expire: true });
  assertEquals(assertThrows(expire, MountError).code, "EAGAIN");
  expire();
  assert(!mount.mounted);
  // It does not unmount a mount on top, either.
  const below = root.mount("m", TMPFS);
  using above = root.mount("m", TMPFS);
  const other = () => below.unmount({ expire: true });
  for (let i = 0; i < 2; i++) {
    assertEquals(assertThrows(other, MountError).code, "EBUSY");
  }
  above.unmount();
  below.unmount();
  using whole = root.bind(SCRATCH, "m", { recursive: true });
  assertThrows(
    () => whole.unmount({ expire: true }),
    TypeError,
    "is unmounted as a whole: it can't expire",
  );
  assert(whole.mounted);
});
