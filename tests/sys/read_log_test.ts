import { assertEquals, assertThrows } from "@std/assert";
import {
  fsconfigCreate,
  fsconfigSetFlag,
  fsconfigSetString,
  fsopen,
  parseMessage,
  readLog,
} from "../../src/sys/fscontext.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { kernelTest } from "../support/testing.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";

Deno.test("parseMessage() takes off the level and the newline", () => {
  assertEquals(parseMessage("e tmpfs: Bad value for 'size'\n"), {
    level: "error",
    message: "tmpfs: Bad value for 'size'",
  });
  assertEquals(parseMessage("w careful").level, "warning");
  assertEquals(parseMessage("i by the way\n\n"), {
    level: "info",
    message: "by the way\n",
  });
});

function attempt(call: () => void): void {
  assertThrows(call, SyscallError, "EINVAL");
}

kernelTest("readLog() drains what the kernel said, oldest first", () => {
  using fs = new OwnedFd(fsopen("tmpfs"));
  assertEquals(readLog(fs.fd), []);
  attempt(() => fsconfigSetFlag(fs.fd, "one"));
  attempt(() => fsconfigSetString(fs.fd, "size", "much"));
  assertEquals(readLog(fs.fd), [
    { level: "error", message: "tmpfs: Unknown parameter 'one'" },
    { level: "error", message: "tmpfs: Bad value for 'size'" },
  ]);
  assertEquals(readLog(fs.fd), []);
});

kernelTest("readLog() has the last eight messages, each whole", () => {
  using fs = new OwnedFd(fsopen("tmpfs"));
  const long = "k".repeat(250);
  for (let i = 0; i < 12; i++) {
    attempt(() => fsconfigSetFlag(fs.fd, `${i}${long}`));
  }
  assertEquals(
    readLog(fs.fd).map(({ message }) => message),
    Array.from(
      { length: 8 },
      (_, i) => `tmpfs: Unknown parameter '${i + 4}${long}'`,
    ),
  );
});

kernelTest("readLog() keeps bytes that are no UTF-8", () => {
  using fs = new OwnedFd(fsopen("tmpfs"));
  attempt(() => fsconfigSetFlag(fs.fd, "a\udcffb"));
  assertEquals(
    readLog(fs.fd)[0]!.message,
    "tmpfs: Unknown parameter 'a\udcffb'",
  );
});

kernelTest("readLog() throws when the descriptor is not open", () => {
  const error = assertThrows(() => readLog(987654), SyscallError);
  assertEquals([error.syscall, error.code], ["read", "EBADF"]);
});

kernelTest("a context whose creation failed is of no more use", () => {
  using fs = new OwnedFd(fsopen("ext4"));
  const error = assertThrows(() => fsconfigCreate(fs.fd), SyscallError);
  assertEquals(error.syscall, "fsconfig");
  assertThrows(() => fsconfigSetFlag(fs.fd, "ro"), SyscallError, "EBUSY");
});
