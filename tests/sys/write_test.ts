import { OwnedFd } from "../../src/fd/owned_fd.ts";
import {
  AT_FDCWD,
  O_CLOEXEC,
  O_CREAT,
  O_RDONLY,
  O_RDWR,
} from "../../src/sys/constants.ts";
import {
  openat2,
  pipe2,
  read,
  write,
  writeElsewhere,
} from "../../src/sys/file.ts";
import { kernelTest, SCRATCH } from "../support/testing.ts";
import { closedFd, tracedCalls } from "../support/scratch.ts";
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { SyscallError } from "../../src/sys/error.ts";
import { setTracer, type TracedCall } from "../../src/sys/call.ts";

function openFile(flags: number): OwnedFd {
  const how = { flags: flags | O_CREAT | O_CLOEXEC, mode: 0o600 };
  return new OwnedFd(openat2(AT_FDCWD, `${SCRATCH}/file`, how));
}

kernelTest("write() writes bytes, and says how many", () => {
  using file = openFile(O_RDWR);
  const bytes = new TextEncoder().encode("a line\n");
  const [call] = tracedCalls(() => assertEquals(write(file.fd, bytes), 7));
  assertEquals(call!.args, [{ fd: file.fd }, '"a line\\n"', "7"]);
  using again = openFile(O_RDONLY);
  const found = new Uint8Array(16);
  assertEquals(read(again.fd, found), 7);
  assertEquals(found.subarray(0, 7), bytes);
  const shared = new Uint8Array(new SharedArrayBuffer(3));
  assertEquals(write(file.fd, shared), 3);
});

kernelTest("write() throws what the kernel answers", () => {
  using readOnly = openFile(O_RDONLY);
  assertThrows(
    () => write(readOnly.fd, new Uint8Array(1)),
    SyscallError,
    `write(${readOnly.fd}, "\\x00", 1): EBADF`,
  );
  const closed = closedFd();
  assertThrows(() => write(closed, new Uint8Array(1)), SyscallError, "EBADF");
  const text = "text" as unknown as Uint8Array;
  assertThrows(() => write(readOnly.fd, text), TypeError);
});

kernelTest(
  "writeElsewhere() waits for room, while all else goes on",
  async () => {
    const [reading, writing] = pipe2().map((fd) => new OwnedFd(fd));
    using ours = reading!;
    using theirs = writing!;
    const bytes = new Uint8Array(1 << 20);
    let done = false;
    const calls: TracedCall[] = [];
    const previous = setTracer((call) => calls.push(call));
    const waiting = writeElsewhere(theirs.fd, bytes).finally(() => done = true);
    // Timers go on.
    await new Promise((resolve) => setTimeout(resolve, 0));
    assertEquals([done, calls.length], [false, 0]);
    setTracer(null);
    const page = new Uint8Array(65536);
    for (let left = bytes.length; left > 0;) left -= read(ours.fd, page);
    setTracer((call) => calls.push(call));
    assertEquals(await waiting, bytes.length);
    setTracer(previous);
    const [{ syscall, args, result }] = calls as [TracedCall];
    assertEquals([syscall, args[2], result], ["write", "1048576", 1048576]);
  },
);

kernelTest("writeElsewhere() throws what the kernel answers", async () => {
  const [reading, writing] = pipe2().map((fd) => new OwnedFd(fd));
  using theirs = writing!;
  reading!.close();
  const byte = new Uint8Array(1);
  await assertRejects(
    () => writeElsewhere(theirs.fd, byte),
    SyscallError,
    `write(${theirs.fd}, "\\x00", 1): EPIPE`,
  );
  const text = "text" as unknown as Uint8Array;
  await assertRejects(() => writeElsewhere(theirs.fd, text), TypeError);
});
