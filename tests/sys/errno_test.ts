import { assert, assertEquals } from "@std/assert";
import { errnoCode, errnoText } from "../../src/sys/errno.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { close, openat2 } from "../../src/sys/file.ts";
import { openTree } from "../../src/sys/mount.ts";
import { gatedTest, missingPermission, timesOf } from "../support/testing.ts";
import {
  bindUncompiled,
  errno,
  ERRNO_SIZE,
  libc,
  NR,
} from "../../src/sys/libc.ts";
import { cString } from "../../src/sys/call.ts";

Deno.test("errnoCode() and errnoText() know every number or say so", () => {
  assertEquals([errnoCode(22), errnoText(22)], ["EINVAL", "Invalid argument"]);
  assertEquals(errnoCode(11), "EAGAIN");
  assertEquals(errnoCode(95), "EOPNOTSUPP");
  assertEquals(errnoCode(35), "EDEADLK");
  assertEquals([errnoCode(524), errnoText(524)], ["E524", "Unknown error 524"]);
  assertEquals(errnoCode(0), "E0");
});

function errnoOf(call: () => void): number {
  try {
    call();
  } catch (error) {
    if (error instanceof SyscallError) return error.errno;
    throw error;
  }
  return 0;
}

const calls: [() => void, number][] = [
  // EBADF, ENOENT, EINVAL: a stale or foreign errno would be told apart.
  [() => close(-1), 9],
  [() => openat2(-100, "", { flags: 0 }), 2],
  [() => openTree(-1, "", 0x80000000), 22],
];

/** How many calls fail in each of the two tests; `deno task test:long`: more. */
const CALLS = timesOf("LONG_CALLS", 10_000_000) ?? 100_000;

/** Does something again and again while garbage is made and collected. */
function whileGarbageIsMade(rounds: number, round: () => void): void {
  let garbage: unknown[] = [];
  for (let i = 0; i < rounds; i++) {
    round();
    garbage.push({ i, text: `garbage ${i}`, list: [i, i] });
    if (garbage.length > 10_000) garbage = [];
  }
  assert(garbage.length > 0);
}

// So many failing calls, each an Error with a stack trace, would take minutes;
// what disturbs errno is the garbage, and that is made all the same.
gatedTest(
  `errno is right for ${CALLS} failing calls while garbage is made`,
  missingPermission(["ffi"]),
  () => {
    const { stackTraceLimit } = Error as { stackTraceLimit?: number };
    (Error as { stackTraceLimit?: number }).stackTraceLimit = 0;
    try {
      let wrong = 0;
      whileGarbageIsMade(CALLS / calls.length, () => {
        for (const [call, errno] of calls) {
          if (errnoOf(call) !== errno) wrong++;
        }
      });
      assertEquals(wrong, 0);
    } finally {
      Object.assign(Error, { stackTraceLimit });
    }
  },
);

// The first calls of a process are these. It is read as in src/sys.
gatedTest(
  `errno is right for ${CALLS} failing calls that Deno does not compile`,
  missingPermission(["ffi"]),
  () => {
    const close = bindUncompiled(["i32"]);
    const openat2 = bindUncompiled(["i32", "buffer", "buffer", "usize"]);
    const path = cString("path", "");
    const how = new Uint8Array(24);
    const wrong: unknown[] = [];
    whileGarbageIsMade(CALLS / 2, () => {
      const closed = close(NR.close, -1);
      if (closed === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
      if (closed !== -1 || errno[0] !== 9) wrong.push([closed, errno[0]]);
      const fd = openat2(NR.openat2, -100, path, how, how.length);
      if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
      if (fd !== -1 || errno[0] !== 2) wrong.push([fd, errno[0]]);
    });
    assertEquals(wrong, []);
  },
);
