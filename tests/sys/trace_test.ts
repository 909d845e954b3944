import { assertEquals, assertThrows } from "@std/assert";
import { OwnedFd } from "../../src/owned_fd.ts";
import { dup } from "../../src/sys/dup.ts";
import { close } from "../../src/sys/close.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { setTracer, type TracedCall } from "../../src/sys/trace.ts";
import { gatedTest, missingPermission } from "../support.ts";

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
