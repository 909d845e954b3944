import { kernelTestSince } from "../support/since.ts";
import { gatedTest, missingPermission, SCRATCH } from "../support/testing.ts";
import { close, dup, openat2, statx } from "../../src/sys/file.ts";
import { readlinkat } from "../../src/sys/names.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_CLOEXEC,
  O_PATH,
  STATX_INO,
} from "../../src/sys/constants.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { setTracer, type TracedCall } from "../../src/sys/call.ts";
import { Directory } from "../../src/directory.ts";
import { statmount } from "../../src/sys/statmount.ts";
import { mountId } from "../../src/kernel/mount_id.ts";
import { SyscallError } from "../../src/sys/error.ts";

gatedTest(
  "what a tracer or a getter calls changes no call that is being made",
  missingPermission(["ffi"]),
  () => {
    const number = (dirfd: number, path: string) =>
      statx(dirfd, path, AT_EMPTY_PATH, STATX_INO).ino;
    const open = (path: string, flags: number) =>
      new OwnedFd(openat2(AT_FDCWD, path, {
        get flags() {
          number(AT_FDCWD, "/proc/self/exe");
          return flags | O_CLOEXEC;
        },
      }));
    const see = () => {
      using directory = open("/", O_PATH);
      const link = readlinkat(AT_FDCWD, "/proc/self/cwd");
      return [number(directory.fd, ""), number(AT_FDCWD, "/"), link];
    };
    const untold = see();
    assertEquals(untold[0], untold[1]);
    let told = 0;
    const tracer = () => {
      setTracer(null);
      number(AT_FDCWD, "/proc");
      readlinkat(AT_FDCWD, "/proc/self/exe");
      open("/proc/self/status", 0).close();
      setTracer(tracer);
      told++;
    };
    const previous = setTracer(tracer);
    try {
      assertEquals(see(), untold);
    } finally {
      setTracer(previous);
    }
    assertEquals(told, 6);
  },
);

kernelTestSince(
  "6.13",
  "what a tracer asks of mounts changes no answer that has to grow",
  () => {
    using root = Directory.open(SCRATCH);
    const layers = Array.from(
      { length: 30 },
      (_, i) => `layer-${i}`.repeat(20),
    );
    for (const layer of layers) {
      root.mkdir(layer);
    }
    using overlay = root.mount("o", {
      type: "overlay",
      options: { "lowerdir+": layers.map((layer) => `${SCRATCH}/${layer}`) },
      mkdir: true,
    });
    const untold = statmount(overlay.id);
    // More than fits at first.
    assert(untold.optArray!.join().length > 4096);
    const rootId = mountId(AT_FDCWD, "/", 0);
    const tracer = () => {
      setTracer(null);
      statmount(rootId);
      setTracer(tracer);
    };
    const previous = setTracer(tracer);
    try {
      assertEquals(statmount(overlay.id), untold);
    } finally {
      setTracer(previous);
    }
  },
);

gatedTest(
  "setTracer() tells of each call, failed ones too",
  missingPermission(["ffi"]),
  () => {
    const calls: TracedCall[] = [];
    const previous = setTracer((call) => calls.push(call));
    let fd: number;
    try {
      using copy = new OwnedFd(dup(0));
      fd = copy.fd;
      assertThrows(() => close(-1), SyscallError);
    } finally {
      setTracer(previous);
    }
    assertThrows(() => close(-1), SyscallError);
    assertEquals(calls, [
      {
        syscall: "fcntl",
        args: [{ fd: 0 }, "F_DUPFD_CLOEXEC", "0"],
        result: fd,
        errno: 0,
      },
      { syscall: "close", args: [{ fd: -1 }], result: -1, errno: 9 },
      { syscall: "close", args: [{ fd }], result: 0, errno: 0 },
    ]);
  },
);
