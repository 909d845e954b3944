import { OwnedFd } from "../../src/fd/owned_fd.ts";
import {
  AT_FDCWD,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  LOCK_UN,
  O_CLOEXEC,
  O_CREAT,
  O_PATH,
  O_RDONLY,
} from "../../src/sys/constants.ts";
import { flock, openat2 } from "../../src/sys/file.ts";
import { kernelTest, SCRATCH } from "../support/testing.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { SyscallError } from "../../src/sys/error.ts";
import { open, tracedCalls } from "../support/scratch.ts";

function openFile(): OwnedFd {
  const how = { flags: O_CREAT | O_CLOEXEC, mode: 0o600 };
  return new OwnedFd(openat2(AT_FDCWD, `${SCRATCH}/file`, how));
}

kernelTest("flock() locks an open file against others of the file", () => {
  using one = openFile();
  using other = openFile();
  flock(one.fd, LOCK_SH);
  flock(other.fd, LOCK_SH | LOCK_NB);
  const error = assertThrows(
    () => flock(one.fd, LOCK_EX | LOCK_NB),
    SyscallError,
  );
  assertEquals(
    error.message,
    `flock(${one.fd}, LOCK_EX|LOCK_NB): EAGAIN (Resource temporarily unavailable)`,
  );
  flock(other.fd, LOCK_UN);
  const [call] = tracedCalls(() => flock(one.fd, LOCK_EX | LOCK_NB));
  assertEquals(call!.args, [{ fd: one.fd }, "LOCK_EX|LOCK_NB"]);
  one.close();
  flock(other.fd, LOCK_EX | LOCK_NB);
});

kernelTest("flock() locks a directory, and nothing of O_PATH", () => {
  using directory = open(SCRATCH, O_RDONLY);
  flock(directory.fd, LOCK_EX);
  using place = open(SCRATCH, O_PATH);
  assertThrows(() => flock(place.fd, LOCK_EX), SyscallError, "EBADF");
  assertThrows(() => flock(directory.fd, 77), SyscallError, "EINVAL");
  assertThrows(() => flock(1.5, LOCK_EX), RangeError);
});
