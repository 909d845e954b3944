import { kernelTest, SCRATCH } from "../support/testing.ts";
import { makeDirectory, open, tracedCalls } from "../support/scratch.ts";
import { O_DIRECTORY, O_PATH } from "../../src/sys/constants.ts";
import { getdents64 } from "../../src/sys/names.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { SyscallError } from "../../src/sys/error.ts";

kernelTest("getdents64() reads all names, some a call", () => {
  const names = Array.from(
    { length: 500 },
    (_, i) => `${i} ${"é".repeat(i % 100)}`,
  );
  // A byte that is no UTF-8, and one name of the greatest length.
  names.push("\udcff", "x".repeat(255));
  makeDirectory("d");
  for (const name of names) makeDirectory(`d/${name}`);
  using directory = open(`${SCRATCH}/d`, O_DIRECTORY);
  const found: string[] = [];
  let calls = 0;
  while (true) {
    const some = getdents64(directory.fd);
    calls++;
    if (some.length === 0) break;
    found.push(...some);
  }
  assertEquals(found.toSorted(), [...names, ".", ".."].toSorted());
  assertEquals(calls > 2, true);
  assertEquals(getdents64(directory.fd), []);
});

kernelTest("getdents64() prints what it was asked", () => {
  using path = open(SCRATCH, O_PATH);
  const error = assertThrows(() => getdents64(path.fd), SyscallError);
  assertEquals(
    error.message,
    `getdents64(${path.fd}, …, 32768): EBADF (Bad file descriptor)`,
  );
  using directory = open(SCRATCH, O_DIRECTORY);
  const [call] = tracedCalls(() => void getdents64(directory.fd));
  assertEquals([call!.syscall, call!.result], ["getdents64", 48]);
  assertThrows(() => getdents64(0.5), RangeError);
});
