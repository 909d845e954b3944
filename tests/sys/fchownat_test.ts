import { assertEquals, assertThrows } from "@std/assert";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  O_DIRECTORY,
} from "../../src/sys/constants.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { DT_DIR, fchownat, readDirectory } from "../../src/sys/names.ts";
import { kernelTest, SCRATCH } from "../support/testing.ts";
import { makeDirectory, open, tracedCalls } from "../support/scratch.ts";

kernelTest("fchownat() changes the owner, and follows as it is told", () => {
  const path = makeDirectory("d");
  Deno.symlinkSync("d", `${SCRATCH}/link`);
  const owner = (path: string) => {
    const { uid, gid } = Deno.lstatSync(path);
    return [uid, gid];
  };
  fchownat(AT_FDCWD, `${SCRATCH}/link`, 1, 2);
  assertEquals(owner(path), [1, 2]);
  fchownat(AT_FDCWD, `${SCRATCH}/link`, 3, 4, AT_SYMLINK_NOFOLLOW);
  assertEquals([owner(path), owner(`${SCRATCH}/link`)], [[1, 2], [3, 4]]);
  using directory = open(path, O_DIRECTORY);
  const [call] = tracedCalls(() =>
    fchownat(directory.fd, "", 70_000, 0xffff_fffe, AT_EMPTY_PATH)
  );
  assertEquals([call!.syscall, call!.result], ["fchownat", 0]);
  assertEquals(owner(path), [70_000, 0xffff_fffe]);
  const error = assertThrows(() => fchownat(-1, "x", 1, 2), SyscallError);
  assertEquals(
    error.message,
    'fchownat(-1, "x", 1, 2, 0): EBADF (Bad file descriptor)',
  );
}, { permissions: ["read", "write"] });

kernelTest("readDirectory() tells the types of what there is", () => {
  makeDirectory("d");
  Deno.writeTextFileSync(`${SCRATCH}/f`, "");
  using directory = open(SCRATCH, O_DIRECTORY);
  const entries = readDirectory(directory.fd);
  const directories = entries.filter(({ type }) => type === DT_DIR);
  assertEquals(directories.map(({ name }) => name).sort(), [".", "..", "d"]);
  assertEquals(entries.length, 4);
  assertEquals(readDirectory(directory.fd), []);
}, { permissions: ["read", "write"] });
