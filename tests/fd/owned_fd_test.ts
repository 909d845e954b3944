import {
  gatedTest,
  kernelTest,
  missingFor,
  openDescriptors,
  ROOT,
} from "../support/testing.ts";
import { openDirectoryAt } from "../../src/fd/open.ts";
import { AT_FDCWD } from "../../src/sys/constants.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { dup } from "../../src/sys/file.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { SyscallError } from "../../src/sys/error.ts";

kernelTest("OwnedFd closes once, and never a number that was reused", () => {
  using root = openDirectoryAt(AT_FDCWD, "/", 0);
  const owned = new OwnedFd(dup(root.fd), "thing");
  const { fd } = owned;
  owned.close();
  using reused = new OwnedFd(dup(root.fd, { min: fd }));
  assertEquals(reused.fd, fd);
  owned.close();
  owned[Symbol.dispose]();
  assertEquals(fd in openDescriptors(), true);
  assertThrows(() => owned.fd, TypeError, "The thing is closed");
});

kernelTest("OwnedFd says when its number was closed behind its back", () => {
  const owned = new OwnedFd(dup(0));
  new OwnedFd(owned.fd).close();
  assertThrows(() => owned.close(), SyscallError, "EBADF");
});

gatedTest(
  "OwnedFd gives a dropped descriptor back, and never unmounts",
  missingFor({ permissions: ["run", "read"] }),
  async () => {
    const { success, stdout, stderr } = await new Deno.Command(
      Deno.execPath(),
      {
        args: [
          "run",
          "-A",
          "--v8-flags=--expose-gc",
          `${ROOT}tests/fixtures/dropped_handles.ts`,
        ],
      },
    ).output();
    const text = new TextDecoder();
    assertEquals(success, true, text.decode(stderr));
    assertEquals(text.decode(stdout), "0 descriptors left, 3 mounts\n");
  },
);
