import { assertEquals, assertThrows } from "@std/assert";
import { AT_FDCWD, O_RDONLY } from "../../src/sys/constants.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { symlinkat } from "../../src/sys/names.ts";
import {
  fgetxattr,
  flistxattr,
  fremovexattr,
  fsetxattr,
  llistxattr,
  lremovexattr,
} from "../../src/sys/xattr.ts";
import { kernelTest, SCRATCH } from "../support/testing.ts";
import { makeDirectory, open, tracedCalls } from "../support/scratch.ts";

kernelTest("extended attributes are set, listed, read and removed", () => {
  using directory = open(makeDirectory("d"), O_RDONLY);
  const { fd } = directory;
  assertEquals(flistxattr(fd), []);
  // Any bytes, a NUL among them, and none.
  const values = {
    "trusted.a": Uint8Array.of(0, 255, 1),
    "trusted.ü": new Uint8Array(),
  };
  for (const [name, value] of Object.entries(values)) {
    fsetxattr(fd, name, value);
  }
  assertEquals(flistxattr(fd).sort(), ["trusted.a", "trusted.ü"]);
  assertEquals(llistxattr(`${SCRATCH}/d`).sort(), ["trusted.a", "trusted.ü"]);
  for (const [name, value] of Object.entries(values)) {
    assertEquals(fgetxattr(fd, name), value);
  }
  fremovexattr(fd, "trusted.ü");
  lremovexattr(`${SCRATCH}/d`, "trusted.a");
  assertEquals(flistxattr(fd), []);
  // A symlink's are not those of where it leads.
  fsetxattr(fd, "trusted.a", values["trusted.a"]);
  symlinkat("d", AT_FDCWD, `${SCRATCH}/link`);
  assertEquals(llistxattr(`${SCRATCH}/link`), []);
  assertThrows(
    () => lremovexattr(`${SCRATCH}/link`, "trusted.a"),
    SyscallError,
    "ENODATA",
  );
});

kernelTest(
  "calls of extended attributes are told, and fail, as strace has it",
  () => {
    using directory = open(makeDirectory("d"), O_RDONLY);
    const { fd } = directory;
    const path = `${SCRATCH}/d`;
    const calls = tracedCalls(() => {
      fsetxattr(fd, "trusted.a", Uint8Array.of(1));
      fgetxattr(fd, "trusted.a");
      flistxattr(fd);
      llistxattr(path);
      lremovexattr(path, "trusted.a");
    });
    assertEquals(
      calls.map(({ syscall, result }) => `${syscall} ${result}`),
      [
        "fsetxattr 0",
        "fgetxattr 1",
        "flistxattr 10",
        "llistxattr 10",
        "lremovexattr 0",
      ],
    );
    const refused: [() => void, string][] = [
      [
        () => fgetxattr(fd, "trusted.a"),
        `fgetxattr(${fd}, "trusted.a", …, 65536): ENODATA`,
      ],
      [
        () => fsetxattr(fd, "no", new Uint8Array(2), 0),
        `fsetxattr(${fd}, "no", …, 2, 0): EOPNOTSUPP`,
      ],
      [
        () => fsetxattr(fd, "trusted.a", new Uint8Array(2), 2),
        `fsetxattr(${fd}, "trusted.a", …, 2, 2): ENODATA`,
      ],
      [
        () => fremovexattr(fd, "trusted.a"),
        `fremovexattr(${fd}, "trusted.a"): ENODATA`,
      ],
      [() => flistxattr(-1), "flistxattr(-1, …, 65536): EBADF"],
      [
        () => llistxattr("/nowhere"),
        'llistxattr("/nowhere", …, 65536): ENOENT',
      ],
      [
        () => lremovexattr("/nowhere", "a"),
        'lremovexattr("/nowhere", "a"): ENOENT',
      ],
    ];
    for (const [call, message] of refused) {
      assertThrows(call, SyscallError, message);
    }
  },
);
