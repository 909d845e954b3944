import { assertEquals, assertThrows } from "@std/assert";
import {
  AT_FDCWD,
  O_CLOEXEC,
  O_CREAT,
  O_RDONLY,
  O_RDWR,
} from "../../src/sys/constants.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { openat2 } from "../../src/sys/openat2.ts";
import { read } from "../../src/sys/read.ts";
import { write } from "../../src/sys/write.ts";
import { OwnedFd } from "../../src/owned_fd.ts";
import { kernelTest, SCRATCH } from "../support.ts";
import { closedFd, tracedCalls } from "./scratch.ts";

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
