import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_HANDLE_FID,
  AT_HANDLE_MNT_ID_UNIQUE,
  AT_SYMLINK_FOLLOW,
  O_PATH,
} from "../../src/sys/constants.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { nameToHandleAt } from "../../src/sys/names.ts";
import { mountsBelow, SCRATCH } from "../support/testing.ts";
import { kernelTestSince } from "../support/since.ts";
import { mountId, open, tracedCalls } from "../support/scratch.ts";

kernelTestSince(
  "6.12",
  "nameToHandleAt() tells files and their mounts apart",
  () => {
    Deno.mkdirSync(`${SCRATCH}/a`);
    Deno.symlinkSync("a", `${SCRATCH}/link`);
    const ask = (name: string, flags = 0) =>
      nameToHandleAt(AT_FDCWD, `${SCRATCH}/${name}`, flags | AT_HANDLE_FID);
    const directory = ask("a");
    const [line] = mountsBelow(SCRATCH);
    assertEquals(String(directory.mountId), line!.split(" ")[0]);
    assertEquals(ask("a", AT_HANDLE_MNT_ID_UNIQUE), {
      ...directory,
      mountId: mountId(SCRATCH),
    });
    assertNotEquals(ask("link").bytes, directory.bytes);
    assertEquals(ask("link", AT_SYMLINK_FOLLOW).bytes, directory.bytes);
    using opened = open(`${SCRATCH}/a`, O_PATH);
    const [call] = tracedCalls(() =>
      assertEquals(
        nameToHandleAt(opened.fd, "", AT_EMPTY_PATH | AT_HANDLE_FID),
        directory,
      )
    );
    assertEquals([call!.syscall, call!.result], ["name_to_handle_at", 0]);
  },
  { permissions: ["read", "write"] },
);

kernelTestSince("6.5", "nameToHandleAt() says what the kernel says", () => {
  const error = assertThrows(
    () => nameToHandleAt(AT_FDCWD, `${SCRATCH}/none`, AT_HANDLE_FID),
    SyscallError,
  );
  assertEquals(
    error.message,
    `name_to_handle_at(AT_FDCWD, "${SCRATCH}/none", …, …, AT_HANDLE_FID): ENOENT (No such file or directory)`,
  );
});
