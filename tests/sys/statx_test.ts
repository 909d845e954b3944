import { kernelTest, mountsBelow, SCRATCH } from "../support/testing.ts";
import { close, openat2, statx } from "../../src/sys/file.ts";
import {
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  O_CREAT,
  O_WRONLY,
  STATX_ATTR_MOUNT_ROOT,
  STATX_BASIC_STATS,
  STATX_BTIME,
  STATX_MNT_ID,
} from "../../src/sys/constants.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { SyscallError } from "../../src/sys/error.ts";

kernelTest("statx() tells what stat tells", () => {
  const path = `${SCRATCH}/file`;
  close(openat2(AT_FDCWD, path, { flags: O_CREAT | O_WRONLY, mode: 0o640 }));
  Deno.writeTextFileSync(path, "seven b");
  Deno.chownSync(path, 1, 2);
  const info = Deno.statSync(path);
  const x = statx(AT_FDCWD, path, 0, STATX_BASIC_STATS | STATX_BTIME);
  assertEquals(
    [
      x.mode,
      x.uid,
      x.gid,
      x.nlink,
      Number(x.size),
      Number(x.ino),
      Number(x.blocks),
    ],
    [info.mode!, 1, 2, 1, 7, info.ino!, info.blocks!],
  );
  assertEquals(Number(x.mtime!.sec), Math.floor(info.mtime!.getTime() / 1000));
  assertEquals(Math.floor(x.mtime!.nsec / 1e6), info.mtime!.getTime() % 1000);
  assertEquals(x.mode! & 0o7777, 0o640);
  const { devMajor: major, devMinor: minor } = x;
  // As makedev(3) makes one number of both.
  assertEquals(
    major << 8 | minor & 0xff | (minor & ~0xff) << 12,
    info.dev,
  );
  assertEquals(x.blksize, info.blksize!);
}, { permissions: ["read", "write"] });

kernelTest("statx() leaves undefined what the answer lacks", () => {
  const x = statx(AT_FDCWD, SCRATCH, 0, STATX_MNT_ID);
  assertEquals(x.dioMemAlign, undefined);
  assertEquals(x.subvol, undefined);
  assertEquals(x.mask & STATX_MNT_ID, STATX_MNT_ID);
  const [line] = mountsBelow(SCRATCH).slice(-1);
  assertEquals(String(x.mntId), line!.split(" ")[0]);
  assertEquals(
    x.attributes & BigInt(STATX_ATTR_MOUNT_ROOT),
    BigInt(STATX_ATTR_MOUNT_ROOT),
  );
});

kernelTest("statx() prints what it was asked when it fails", () => {
  const error = assertThrows(
    () => statx(AT_FDCWD, "/nowhere", AT_SYMLINK_NOFOLLOW, STATX_MNT_ID),
    SyscallError,
  );
  assertEquals(
    error.message,
    'statx(AT_FDCWD, "/nowhere", AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, …): ENOENT (No such file or directory)',
  );
  assertThrows(() => statx(AT_FDCWD, "/", 0, -1), RangeError);
});
