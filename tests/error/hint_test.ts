import { assert, assertEquals, assertThrows } from "@std/assert";
import { MountError } from "../../src/error/error.ts";
import { kernelTest, SCRATCH } from "../support/testing.ts";
import { Directory } from "../../src/directory.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { listMounts } from "../../src/list/list_mounts.ts";
import { withoutCall } from "../support/scratch.ts";
import { UnsupportedError } from "../../src/sys/error.ts";
import { setTracer } from "../../src/sys/call.ts";

function hintOf(call: () => void): string | undefined {
  return assertThrows(call, MountError).hint;
}

kernelTest("ENODEV names the file systems that are spelt alike", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  assertEquals(
    hintOf(() => root.mount("m", { type: "tmpsf" })),
    'This kernel knows no file system "tmpsf", but "tmpfs" (see /proc/filesystems): its module may have to be loaded (modprobe)',
  );
  assertEquals(
    hintOf(() => root.mount("m", { type: "\x1b nosuchfs" })),
    'This kernel knows no file system "\\x1b nosuchfs" (see /proc/filesystems): its module may have to be loaded (modprobe)',
  );
});

kernelTest("hints do without /proc", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  mount("none", "/proc", "tmpfs", 0, null);
  try {
    assertEquals(
      hintOf(() => root.mount("m", { type: "tmpsf" })),
      'This kernel knows no file system "tmpsf": its module may have to be loaded (modprobe)',
    );
    const hint = hintOf(() => root.unmount("m", { strategy: "worker" }));
    assert(hint!.startsWith("Nothing is mounted there"), hint);
  } finally {
    umount2("/proc");
  }
});

kernelTest("ENOENT says that /proc is missing", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  using directory = root.openDirectory("m");
  // A test that fails without /proc takes Deno down: what is found is kept.
  const hints: (string | undefined)[] = [];
  mount("none", "/proc", "tmpfs", 0, null);
  try {
    hints.push(
      hintOf(() => directory.unmountAll()),
      hintOf(() => listMounts({ below: `${SCRATCH}/m` })),
      hintOf(() => root.unmount("m", { strategy: "procfd" })),
      hintOf(() => Directory.open("/nowhere")),
    );
  } finally {
    umount2("/proc");
  }
  hints.push(hintOf(() => Directory.open("/proc/self/nowhere")));
  const needed = "This needs /proc, which is not mounted here";
  assertEquals(hints, [
    ...[needed, needed, needed],
    '"/nowhere" does not exist',
    `"/proc/self" is a symlink to "${Deno.pid}", and "/proc/${Deno.pid}/nowhere" does not exist`,
  ]);
});

kernelTest("EAGAIN says that the mount is to expire", () => {
  using root = Directory.open(SCRATCH);
  root.mount("m", { type: "tmpfs", mkdir: true }).keep();
  assertEquals(
    hintOf(() => root.unmount("m", { expire: true })),
    "Marked for expiry: the next call unmounts it if it was not used meanwhile",
  );
  root.unmount("m", { expire: true });
});

kernelTest("ENOSYS names the call and the version", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  withoutCall("fsopen", () => {
    assertThrows(
      () => root.mount("m", { type: "tmpfs" }),
      UnsupportedError,
      'Cannot mount tmpfs on "m": fsopen: this kernel has no such call, which came with Linux 5.2',
    );
  });
});

kernelTest("looking for a hint is not traced, and leaves the tracer", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const calls: string[] = [];
  const tracer = ({ syscall }: { syscall: string }) => void calls.push(syscall);
  const before = setTracer(tracer);
  try {
    hintOf(() => root.mount("m", { type: "tmpsf" }));
    hintOf(() => root.unmount("m"));
  } finally {
    assertEquals(setTracer(before), tracer);
  }
  assertEquals(
    calls,
    ["fsopen", "umount2", "openat2", "close"],
  );
});
