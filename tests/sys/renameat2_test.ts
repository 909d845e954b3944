import { assertEquals, assertThrows } from "@std/assert";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RENAME_EXCHANGE,
  AT_RENAME_NOREPLACE,
  AT_SYMLINK_NOFOLLOW,
  O_PATH,
  STATX_ATIME,
  STATX_MTIME,
} from "../../src/sys/constants.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { statx } from "../../src/sys/file.ts";
import { renameat2, symlinkat, utimensat } from "../../src/sys/names.ts";
import { kernelTest, SCRATCH } from "../support/testing.ts";
import {
  makeDirectory,
  namesAt,
  open,
  tracedCalls,
} from "../support/scratch.ts";

kernelTest(
  "renameat2() renames in and between directories, and exchanges",
  () => {
    using one = open(makeDirectory("one"), O_PATH);
    using two = open(makeDirectory("two"), O_PATH);
    for (const name of ["a", "b"]) makeDirectory(`one/${name}`);
    renameat2(one.fd, "a", two.fd, "c");
    assertEquals(namesAt(`${SCRATCH}/two`), ["c"]);
    makeDirectory("two/c/inside");
    const error = assertThrows(
      () => renameat2(one.fd, "b", two.fd, "c"),
      SyscallError,
    );
    assertEquals(
      error.message,
      `renameat2(${one.fd}, "b", ${two.fd}, "c", 0): ENOTEMPTY (Directory not empty)`,
    );
    assertThrows(
      () => renameat2(one.fd, "b", two.fd, "c", AT_RENAME_NOREPLACE),
      SyscallError,
      '"c", RENAME_NOREPLACE): EEXIST',
    );
    const [call] = tracedCalls(() =>
      renameat2(one.fd, "b", two.fd, "c", AT_RENAME_EXCHANGE)
    );
    assertEquals([call!.syscall, call!.result], ["renameat2", 0]);
    assertEquals(namesAt(`${SCRATCH}/one/b`), ["inside"]);
  },
);

kernelTest("utimensat() sets both times, to the nanosecond", () => {
  using directory = open(makeDirectory("d"), O_PATH);
  symlinkat("d", AT_FDCWD, `${SCRATCH}/link`);
  const times = (path: string) => {
    const { atime, mtime } = statx(
      AT_FDCWD,
      `${SCRATCH}/${path}`,
      AT_SYMLINK_NOFOLLOW,
      STATX_ATIME | STATX_MTIME,
    );
    return [atime, mtime];
  };
  const [long, short] = [
    { sec: 1_000_000_000n, nsec: 123_456_789 },
    { sec: 5n, nsec: 999_999_999 },
  ];
  utimensat(directory.fd, "", long, short, AT_EMPTY_PATH);
  utimensat(AT_FDCWD, `${SCRATCH}/link`, short, long, AT_SYMLINK_NOFOLLOW);
  assertEquals(times("d"), [long, short]);
  assertEquals(times("link"), [short, long]);
  const error = assertThrows(
    () => utimensat(-1, "x", long, short),
    SyscallError,
  );
  assertEquals(
    error.message,
    'utimensat(-1, "x", [{tv_sec=1000000000, tv_nsec=123456789}, {tv_sec=5, tv_nsec=999999999}], 0): EBADF (Bad file descriptor)',
  );
});
