import { kernelTest, mountsBelow, SCRATCH } from "./support/testing.ts";
import { stoppedClock } from "./support/held.ts";
import { openat2 } from "../src/sys/file.ts";
import { mkdirat } from "../src/sys/names.ts";
import {
  AT_FDCWD,
  MNT_DETACH,
  MS_BIND,
  MS_MOVE,
  MS_PRIVATE,
  MS_SHARED,
  O_CLOEXEC,
  O_CREAT,
  O_RDWR,
} from "../src/sys/constants.ts";
import { SyscallError } from "../src/sys/error.ts";
import { mount, umount2 } from "../src/sys/mount.ts";
import { OwnedFd } from "../src/fd/owned_fd.ts";
import { Directory } from "../src/directory.ts";
import type { UnmountOptions } from "../src/unmount/unmountat.ts";
import { UnmountAllError } from "../src/unmount/unmount_all.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { MountError } from "../src/error/error.ts";
import { tracedCalls, withoutCall } from "./support/scratch.ts";
import { setTracer } from "../src/sys/call.ts";

/** Mounts a tmpfs on a directory of the scratch directory, made if need be. */
function mountTmpfs(name: string): string {
  const path = `${SCRATCH}/${name}`;
  try {
    mkdirat(AT_FDCWD, path, 0o755);
  } catch (error) {
    if (!(error instanceof SyscallError && error.code === "EEXIST")) {
      throw error;
    }
  }
  mount("scratch", path, "tmpfs", 0, null);
  return path;
}

function makeFile(name: string): string {
  const path = `${SCRATCH}/${name}`;
  open(path).close();
  return path;
}

function open(path: string): OwnedFd {
  const flags = O_CREAT | O_RDWR | O_CLOEXEC;
  return new OwnedFd(openat2(AT_FDCWD, path, { flags, mode: 0o644 }));
}

function left(): string[] {
  return mountsBelow(SCRATCH).slice(1).map((line) =>
    line.split(" ")[4]!.slice(SCRATCH.length + 1)
  );
}

/** The targets of what could not be unmounted, each with why. */
function failuresOf(
  directory: Directory,
  options: UnmountOptions = {},
): { error: UnmountAllError; failures: [string, string][] } {
  const error = assertThrows(
    () => directory.unmountAll(options),
    UnmountAllError,
  );
  assert(error instanceof MountError);
  const failures = error.errors.map(({ target, code }) =>
    [target, code] as [string, string]
  );
  return { error, failures };
}

kernelTest("Directory.unmountAll() unmounts everything below", () => {
  for (const name of ["a", "a/b", "a/b/c", "a/b", "d e\n", "\udcff", "a"]) {
    mountTmpfs(name);
  }
  makeFile("source");
  mount(`${SCRATCH}/source`, makeFile("file"), null, MS_BIND, null);
  using root = Directory.open(SCRATCH);
  assertEquals(root.unmountAll(), 8);
  assertEquals(left(), []);
  assertEquals(root.unmountAll(), 0);
});

kernelTest("Directory.unmountAll() leaves what is not below", () => {
  for (const name of ["a", "ab", "a/m", "a/n"]) mountTmpfs(name);
  using a = Directory.open(`${SCRATCH}/a`);
  // What it lies in stays, with lazy too.
  assertEquals(a.unmountAll({ lazy: true }), 2);
  assertEquals(left(), ["a", "ab"]);
  a.close();
  using root = Directory.open(SCRATCH);
  assertEquals(root.unmountAll(), 2);
});

kernelTest("Directory.unmountAll() names no absolute path", () => {
  for (const name of ["a", "a/b", "a/b"]) mountTmpfs(name);
  using root = Directory.open(SCRATCH);
  const calls = tracedCalls(() => assertEquals(root.unmountAll(), 3));
  const unmounts = calls.filter(({ syscall }) => syscall === "umount2");
  assertEquals(unmounts.length, 3);
  for (const { args: [path] } of unmounts) {
    assert(/^"\/proc\/self\/fd\/\d+\/[ab]"$/.test(path as string));
  }
});

kernelTest("Directory.unmountAll() unmounts a stack of thousands", () => {
  using root = Directory.open(SCRATCH);
  mountTmpfs("m");
  mkdirat(AT_FDCWD, `${SCRATCH}/source`, 0o755);
  for (let i = 0; i < 3000; i++) {
    mount(`${SCRATCH}/source`, `${SCRATCH}/m`, null, MS_BIND, null);
  }
  assertEquals(root.unmountAll(), 3001);
  assertEquals(left(), []);
});

kernelTest("Directory.unmountAll() uncovers what is covered", () => {
  for (const name of ["a", "a/hidden", "moved", "moved/in"]) mountTmpfs(name);
  // Moved onto what is newer, and over what is older.
  mkdirat(AT_FDCWD, `${SCRATCH}/a/to`, 0o755);
  mount(`${SCRATCH}/moved`, `${SCRATCH}/a/to`, null, MS_MOVE, null);
  mkdirat(AT_FDCWD, `${SCRATCH}/b`, 0o755);
  mountTmpfs("b/older");
  mountTmpfs("top");
  mount(`${SCRATCH}/top`, `${SCRATCH}/b`, null, MS_MOVE, null);
  mountTmpfs("a");
  using root = Directory.open(SCRATCH);
  assertEquals(root.unmountAll(), 7);
  assertEquals(left(), []);
});

kernelTest("Directory.unmountAll() unmounts what covers by its age", () => {
  // The mount that covers is the older one: the newer can't be unmounted first.
  const cover = mountTmpfs("cover");
  mkdirat(AT_FDCWD, `${SCRATCH}/d`, 0o755);
  mountTmpfs("d/m");
  mount(cover, `${SCRATCH}/d`, null, MS_MOVE, null);
  using root = Directory.open(SCRATCH);
  assertEquals(root.unmountAll(), 2);
  assertEquals(left(), []);
});

kernelTest("Directory.unmountAll() takes what is on it since it opened", () => {
  mkdirat(AT_FDCWD, `${SCRATCH}/d`, 0o755);
  using before = Directory.open(`${SCRATCH}/d`);
  for (const name of ["d/own", "d", "d/x", "d/x/y", "d", "d/z"]) {
    mountTmpfs(name);
  }
  assertEquals(before.unmountAll(), 6);
  assertEquals(left(), []);
});

kernelTest("Directory.unmountAll() follows no symlink", () => {
  mkdirat(AT_FDCWD, `${SCRATCH}/root`, 0o755);
  mountTmpfs("outside");
  mountTmpfs("root/m");
  using root = Directory.open(`${SCRATCH}/root`);
  // Between the listing and the unmounting all is replaced.
  onEach("listmount", () => {
    if (left().includes("root/m")) {
      umount2(`${SCRATCH}/root/m`);
      Deno.removeSync(`${SCRATCH}/root/m`);
      Deno.symlinkSync("../outside", `${SCRATCH}/root/m`);
    }
  }, () => assertEquals(root.unmountAll(), 0));
  assertEquals(left(), ["outside"]);
  umount2(`${SCRATCH}/outside`);
}, { permissions: ["read", "write"] });

/** Does something right after each call of a name that a function makes. */
function onEach(name: string, what: () => void, fn: () => void): void {
  let busy = false;
  const previous = setTracer(({ syscall }) => {
    if (syscall !== name || busy) return;
    busy = true;
    what();
    busy = false;
  });
  try {
    fn();
  } finally {
    setTracer(previous);
  }
}

kernelTest("Directory.unmountAll() goes on, and names each failure", () => {
  for (const name of ["a", "a/busy", "a/busy/in", "b", "b", "c"]) {
    mountTmpfs(name);
  }
  const inA = open(`${SCRATCH}/a/busy/file`);
  const inB = open(`${SCRATCH}/b/file`);
  using root = Directory.open(SCRATCH);
  using _ = stoppedClock();
  const { error, failures } = failuresOf(root);
  assertEquals(failures, [
    ["b", "EBUSY"],
    ["b", "EBUSY"],
    ["a/busy", "EBUSY"],
    ["a", "EBUSY"],
  ]);
  assertEquals(error.unmounted, 2);
  assertEquals(
    error.message,
    "Cannot unmount 4 of 6 mounts: umount2: EBUSY (Device or resource busy): " +
      '"b" EBUSY, "b" EBUSY, "a/busy" EBUSY, "a" EBUSY',
  );
  assertEquals([error.name, error.code, error.target, error.syscall], [
    "UnmountAllError",
    "EBUSY",
    "b",
    "umount2",
  ]);
  // Who is in the way is said, though not at the first attempt.
  assert(error.hint!.includes("file"), error.hint);
  assert(error.errors[2]!.hint!.includes("a/busy/file"));
  assert(error.errors[1]!.message.includes("another mount is on top of it"));
  inA.close();
  inB.close();
  assertEquals(root.unmountAll(), 4);
});

kernelTest("Directory.unmountAll() detaches what is busy when lazy", () => {
  for (const name of ["a", "a/busy", "a/busy"]) mountTmpfs(name);
  using _file = open(`${SCRATCH}/a/busy/file`);
  using root = Directory.open(SCRATCH);
  assertEquals(root.unmountAll({ lazy: true }), 3);
  assertEquals(left(), []);
});

kernelTest("Directory.unmountAll() expires nothing in one call", () => {
  for (const name of ["a", "b", "b"]) mountTmpfs(name);
  using root = Directory.open(SCRATCH);
  const first = failuresOf(root, { expire: true });
  assertEquals(first.failures, [["b", "EAGAIN"], ["b", "EBUSY"], [
    "a",
    "EAGAIN",
  ]]);
  // The one beneath was not asked for before.
  const second = failuresOf(root, { expire: true });
  assertEquals([second.failures, second.error.unmounted], [
    [["b", "EAGAIN"]],
    2,
  ]);
  assertEquals(root.unmountAll({ expire: true }), 1);
});

kernelTest("Directory.unmountAll() passes force and strategy on", () => {
  using root = Directory.open(SCRATCH);
  mountTmpfs("a");
  const calls = tracedCalls(() => root.unmountAll({ force: true }));
  const call = calls.find(({ syscall }) => syscall === "umount2")!;
  assert(String(call.args[1]).includes("MNT_FORCE"));
  mountTmpfs("a");
  mountTmpfs("a/b");
  assertEquals(root.unmountAll({ strategy: "mtab", all: true }), 2);
  const strategy = "magic" as "mtab";
  assertThrows(() => root.unmountAll({ strategy }), TypeError, "magic");
});

kernelTest("Directory.unmountAll() unmounts what appears meanwhile", () => {
  mountTmpfs("a");
  using root = Directory.open(SCRATCH);
  let more = 3;
  onEach("umount2", () => {
    if (more-- > 0) mountTmpfs(`more${more}`);
  }, () => assertEquals(root.unmountAll(), 4));
  assertEquals(left(), []);
});

kernelTest("Directory.unmountAll() ends though more appears always", () => {
  mountTmpfs("a");
  using root = Directory.open(SCRATCH);
  onEach("umount2", () => {
    mountTmpfs("more");
  }, () => assertEquals(root.unmountAll(), 10));
  assertEquals(left(), ["more"]);
  umount2(`${SCRATCH}/more`);
});

kernelTest("Directory.unmountAll() counts not what vanishes meanwhile", () => {
  for (const name of ["a", "b"]) mountTmpfs(name);
  using root = Directory.open(SCRATCH);
  onFirst("umount2", () => umount2(`${SCRATCH}/a`));
  assertEquals(root.unmountAll(), 1);
  assertEquals(left(), []);
});

/** Does something right after the first call of a name that is made. */
function onFirst(name: string, fn: () => void): void {
  const previous = setTracer(({ syscall }) => {
    if (syscall !== name) return;
    setTracer(previous);
    fn();
  });
}

kernelTest("Directory.unmountAll() looks again when it is covered", () => {
  mkdirat(AT_FDCWD, `${SCRATCH}/d`, 0o755);
  using before = Directory.open(`${SCRATCH}/d`);
  for (const name of ["d", "d/x"]) mountTmpfs(name);
  onFirst("listmount", () => mountTmpfs("d"));
  assertEquals(before.unmountAll(), 3);
  assertEquals(left(), []);
});

kernelTest("Directory.unmountAll() throws where the kernel can't", () => {
  mkdirat(AT_FDCWD, `${SCRATCH}/d`, 0o755);
  mountTmpfs("d/a");
  using root = Directory.open(`${SCRATCH}/d`);
  for (const name of ["umount2", "readlinkat", "statx"] as const) {
    withoutCall(name, () => {
      assertThrows(() => root.unmountAll({ strategy: "procfd" }), Error, name);
    });
  }
  assertEquals(left(), ["d/a"]);
  root.unmountAll();
});

kernelTest("Directory.unmountAll() takes copies in peers for gone", () => {
  const shared = mountTmpfs("shared");
  mount(null, shared, null, MS_SHARED, null);
  mkdirat(AT_FDCWD, `${SCRATCH}/peer`, 0o755);
  mount(shared, `${SCRATCH}/peer`, null, MS_BIND, null);
  for (const name of ["x", "x/y", "x"]) mountTmpfs(`shared/${name}`);
  assertEquals(left().length, 8);
  using root = Directory.open(SCRATCH);
  // Each unmount takes the copy along.
  assertEquals(root.unmountAll(), 5);
  assertEquals(left(), []);
});

kernelTest("Directory.unmountAll() goes by the descriptor", () => {
  mkdirat(AT_FDCWD, `${SCRATCH}/d`, 0o755);
  mountTmpfs("d/m");
  using root = Directory.open(`${SCRATCH}/d`);
  Deno.renameSync(`${SCRATCH}/d`, `${SCRATCH}/e`);
  mkdirat(AT_FDCWD, `${SCRATCH}/d`, 0o755);
  mountTmpfs("d/m");
  assertEquals(root.unmountAll(), 1);
  assertEquals(left(), ["d/m"]);
  umount2(`${SCRATCH}/d/m`);
}, { permissions: ["read", "write"] });

kernelTest("Directory.unmountAll() says that it can't list", () => {
  mountTmpfs("a");
  using lazy = Directory.open(`${SCRATCH}/a`);
  umount2(`${SCRATCH}/a`, MNT_DETACH);
  const error = assertThrows(() => lazy.unmountAll(), MountError);
  assertEquals([error.name, error.code], ["MountError", "ENOENT"]);
  lazy.close();
  assertThrows(() => lazy.unmountAll(), TypeError, "closed");
  assertThrows(() => lazy.mounts(), TypeError, "closed");
});

kernelTest("Directory.unmountAll() works by the mount table", () => {
  for (const name of ["a", "a/b", "a/b", "c"]) mountTmpfs(name);
  mkdirat(AT_FDCWD, `${SCRATCH}/d`, 0o755);
  using root = Directory.open(SCRATCH);
  withoutCall("listmount", () => {
    assertEquals(root.unmountAll(), 4);
    assertEquals(root.unmountAll(), 0);
  });
  mount(null, SCRATCH, null, MS_PRIVATE, null);
  for (const name of ["a", "a/b", "a/b"]) mountTmpfs(name);
  withoutCall("statmount", () => assertEquals(root.unmountAll(), 3));
  assertEquals(left(), []);
});
