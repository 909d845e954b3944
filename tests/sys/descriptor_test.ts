import { gatedTest, missingPermission } from "../support/testing.ts";
import { readFile } from "../../src/fd/open.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { close, dup, openat2, read } from "../../src/sys/file.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { SyscallError } from "../../src/sys/error.ts";
import {
  AT_FDCWD,
  O_CLOEXEC,
  O_PATH,
  O_RDONLY,
} from "../../src/sys/constants.ts";

const missing = missingPermission(["ffi"]);

function closesOnExec(fd: number): boolean {
  const [, flags] = /flags:\s+(\d+)/.exec(readFile(`/proc/self/fdinfo/${fd}`))!;
  return (parseInt(flags!, 8) & 0o2000000) !== 0;
}

gatedTest("dup() closes on exec unless told otherwise", missing, () => {
  using copy = new OwnedFd(dup(0));
  assertEquals(closesOnExec(copy.fd), true);
  using inherited = new OwnedFd(dup(0, { cloexec: false }));
  assertEquals(closesOnExec(inherited.fd), false);
});

gatedTest("dup() gives a number of at least min", missing, () => {
  using copy = new OwnedFd(dup(0, { min: 700 }));
  assertEquals(copy.fd >= 700, true);
  const error = assertThrows(() => dup(0, { min: -1 }), SyscallError);
  assertEquals(
    error.message,
    "fcntl(0, F_DUPFD_CLOEXEC, -1): EINVAL (Invalid argument)",
  );
  assertThrows(
    () => dup(-1, { cloexec: false }),
    SyscallError,
    "fcntl(-1, F_DUPFD, 0): EBADF",
  );
});

gatedTest("close() passes a negative descriptor to the kernel", missing, () => {
  const error = assertThrows(() => close(-1), SyscallError);
  assertEquals(error.message, "close(-1): EBADF (Bad file descriptor)");
  assertThrows(() => close(1.5), RangeError);
  assertThrows(() => close("1" as unknown as number), TypeError);
});

gatedTest(
  "openat2() passes all 64 bits and prints what it was asked",
  missing,
  () => {
    const error = assertThrows(
      () => openat2(AT_FDCWD, "/", { flags: BigInt(O_PATH) | 1n << 40n }),
      SyscallError,
    );
    assertEquals(
      error.message,
      'openat2(AT_FDCWD, "/", {flags=O_PATH|0x10000000000, mode=0, resolve=0}, 24): EINVAL (Invalid argument)',
    );
    assertThrows(
      () => openat2(AT_FDCWD, "/", { flags: 0, resolve: 1n << 63n }),
      SyscallError,
      "resolve=0x8000000000000000",
    );
    assertThrows(() => openat2(AT_FDCWD, "/", { flags: -1 }), RangeError);
    assertThrows(
      () => openat2(AT_FDCWD, "/", { flags: 0, mode: 1n << 64n }),
      RangeError,
    );
  },
);

gatedTest("read() fills shared memory, too", missing, () => {
  using file = new OwnedFd(
    openat2(AT_FDCWD, "/proc/self/comm", { flags: O_RDONLY | O_CLOEXEC }),
  );
  const shared = new Uint8Array(new SharedArrayBuffer(64));
  const count = read(file.fd, shared);
  assertEquals(shared[count - 1], "\n".charCodeAt(0));
  assertEquals(count > 1 && shared[0] !== 0, true);
});
