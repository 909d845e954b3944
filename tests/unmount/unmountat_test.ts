import { Directory } from "../../src/directory.ts";
import { mountat } from "../../src/mount/mountat.ts";
import { unmountat, type UnmountOptions } from "../../src/unmount/unmountat.ts";
import { MountError } from "../../src/error/error.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { kernelTest, mountsBelow, SCRATCH } from "../support/testing.ts";
import {
  AT_FDCWD,
  O_CLOEXEC,
  O_CREAT,
  O_RDWR,
} from "../../src/sys/constants.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { openat2 } from "../../src/sys/file.ts";
import { mkdirat } from "../../src/sys/names.ts";

/** Mounts a tmpfs that only the test's unmounting takes away. */
function mountKept(root: Directory, target: string): void {
  using mount = mountat(root, target, { type: "tmpfs", mkdir: true });
  mount.keep();
}

function assertFails(
  root: Directory,
  target: string,
  code: string,
  options: UnmountOptions = {},
): MountError {
  const error = assertThrows(
    () => unmountat(root, target, options),
    MountError,
    "Cannot unmount",
  );
  assertEquals([error.code, error.target], [code, target], error.message);
  return error;
}

kernelTest("unmountat() unmounts by name", () => {
  using root = Directory.open(SCRATCH);
  mountKept(root, "m");
  unmountat(root, "m");
  assertEquals(mountsBelow(`${SCRATCH}/m`), []);
});

kernelTest("unmountat() says what is no directory's descriptor", () => {
  using root = Directory.open(SCRATCH);
  const flags = O_CREAT | O_RDWR | O_CLOEXEC;
  using file = new OwnedFd(openat2(root.fd, "file", { flags, mode: 0o600 }));
  const codes = [file.fd, 0x7fff_ffff].map((fd) => {
    const { syscall, code } = assertThrows(
      () => unmountat(fd, "m"),
      MountError,
    );
    return [syscall, code];
  });
  assertEquals(codes, [["openat2", "ENOTDIR"], ["openat2", "EBADF"]]);
});

kernelTest("unmountat() unmounts a target of several components", () => {
  using root = Directory.open(SCRATCH);
  mountKept(root, "a/b/m");
  unmountat(root.fd, "./a/b/../b//m/");
  assertEquals(mountsBelow(`${SCRATCH}/a/b/m`), []);
});

kernelTest("unmountat() unmounts what is on the directory itself", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  using before = root.openDirectory("m");
  mountKept(before, ".");
  using after = root.openDirectory("m");
  // A descriptor that lies in the mount keeps it busy.
  assertFails(after, ".", "EBUSY");
  after.close();
  unmountat(before, ".");
  assertEquals(mountsBelow(`${SCRATCH}/m`), []);
});

kernelTest(
  "unmountat() takes the topmost of a stack, all of it when asked",
  () => {
    using root = Directory.open(SCRATCH);
    for (let i = 0; i < 4; i++) mountKept(root, "m");
    unmountat(root, "m");
    assertEquals(mountsBelow(`${SCRATCH}/m`).length, 3);
    unmountat(root, "m", { all: true });
    assertEquals(mountsBelow(`${SCRATCH}/m`).length, 0);
    assertFails(root, "m", "EINVAL", { all: true });
  },
);

kernelTest(
  "unmountat() takes all that is on the directory, not what it lies in",
  () => {
    using root = Directory.open(SCRATCH);
    mountKept(root, "m");
    using inner = root.openDirectory("m");
    for (const options of [{ all: true }, { all: true, lazy: true }]) {
      mountKept(inner, ".");
      mountKept(inner, ".");
      unmountat(inner, ".", options);
      assertEquals(mountsBelow(`${SCRATCH}/m`).length, 1);
    }
    inner.close();
    unmountat(root, "m");
  },
);

kernelTest("unmountat() stops at a busy mount of a stack", () => {
  using root = Directory.open(SCRATCH);
  mountKept(root, "m");
  using _inner = root.openDirectory("m");
  mountKept(root, "m");
  mountKept(root, "m");
  assertFails(root, "m", "EBUSY", { all: true });
  assertEquals(mountsBelow(`${SCRATCH}/m`).length, 1);
  _inner.close();
  unmountat(root, "m");
});

kernelTest("unmountat() says that nothing is mounted there", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  assert(assertFails(root, "m", "EINVAL").hint!.includes("Nothing is mounted"));
  assertFails(root, "missing", "ENOENT");
  assertFails(root, "missing/m", "ENOENT");
});

kernelTest("unmountat() says that a mount is busy, and takes it lazily", () => {
  using root = Directory.open(SCRATCH);
  mountKept(root, "m");
  using file = new OwnedFd(
    openat2(AT_FDCWD, `${SCRATCH}/m/file`, {
      flags: O_CREAT | O_RDWR | O_CLOEXEC,
      mode: 0o600,
    }),
  );
  const { hint } = assertFails(root, "m", "EBUSY");
  assert(hint!.includes(`descriptor ${file.fd} of this process`), hint);
  assertEquals(mountsBelow(`${SCRATCH}/m`).length, 1);
  unmountat(root, "m", { lazy: true });
  assertEquals(mountsBelow(`${SCRATCH}/m`).length, 0);
  assert(!file.closed);
});

kernelTest("unmountat() expires a mount at the second call", () => {
  using root = Directory.open(SCRATCH);
  mountKept(root, "m");
  assertFails(root, "m", "EAGAIN", { expire: true });
  unmountat(root, "m", { expire: true });
  assertEquals(mountsBelow(`${SCRATCH}/m`).length, 0);
});

kernelTest("unmountat() passes force on", () => {
  using root = Directory.open(SCRATCH);
  mountKept(root, "m");
  unmountat(root, "m", { force: true });
  assertEquals(mountsBelow(`${SCRATCH}/m`).length, 0);
  // umount(2): MNT_EXPIRE goes with neither MNT_FORCE nor MNT_DETACH.
  mountKept(root, "m");
  assertFails(root, "m", "EINVAL", { force: true, expire: true });
  assertFails(root, "m", "EINVAL", { lazy: true, expire: true });
  unmountat(root, "m");
});

kernelTest("unmountat() refuses a target that leaves the directory", () => {
  mkdirat(AT_FDCWD, `${SCRATCH}/root`, 0o755);
  using outer = Directory.open(SCRATCH);
  using root = Directory.open(`${SCRATCH}/root`);
  mountKept(outer, "m");
  assertFails(root, "../m", "EXDEV");
  assertThrows(() => unmountat(root, ".."), TypeError, "end in a name");
  assertThrows(() => unmountat(root, "x/.."), TypeError, "end in a name");
  unmountat(outer, "m");
});

kernelTest("unmountat() follows no symlink", () => {
  mkdirat(AT_FDCWD, `${SCRATCH}/root`, 0o755);
  using outer = Directory.open(SCRATCH);
  using root = Directory.open(`${SCRATCH}/root`);
  mountKept(outer, "outside/m");
  Deno.symlinkSync(`${SCRATCH}/outside/m`, `${SCRATCH}/root/absolute`);
  Deno.symlinkSync("../outside/m", `${SCRATCH}/root/relative`);
  Deno.symlinkSync("../outside", `${SCRATCH}/root/leading`);
  Deno.symlinkSync("nowhere", `${SCRATCH}/root/dangling`);
  assertFails(root, "absolute", "EINVAL");
  assertFails(root, "relative", "EINVAL");
  assertFails(root, "dangling", "EINVAL");
  assertFails(root, "leading/m", "ELOOP");
  assertEquals(mountsBelow(`${SCRATCH}/outside/m`).length, 1);
  unmountat(outer, "outside/m");
}, { permissions: ["read", "write"] });

kernelTest(
  "unmountat() throws before any call when an argument is wrong",
  () => {
    using root = Directory.open(SCRATCH);
    mountKept(root, "m");
    for (const target of ["", "/m", "m\0"]) {
      assertThrows(() => unmountat(root, target), TypeError);
    }
    assertThrows(() => unmountat(-1, "m"), TypeError);
    const strategy = "magic" as "procfd";
    assertThrows(() => unmountat(root, "m", { strategy }), TypeError, "magic");
    assertEquals(mountsBelow(`${SCRATCH}/m`).length, 1);
    unmountat(root, "m");
  },
);
