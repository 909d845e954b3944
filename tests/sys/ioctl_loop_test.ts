import { kernelTest, type Needs, SCRATCH } from "../support/testing.ts";
import { loopConfigure, loopCtlGetFree } from "../../src/sys/loop.ts";
import type { OwnedFd } from "../../src/fd/owned_fd.ts";
import { closedFd, open, tracedCalls } from "../support/scratch.ts";
import {
  LO_FLAGS_AUTOCLEAR,
  LO_FLAGS_DIRECT_IO,
  LO_FLAGS_READ_ONLY,
  O_PATH,
  O_RDONLY,
  O_RDWR,
} from "../../src/sys/constants.ts";
import { isErrno, SyscallError } from "../../src/sys/error.ts";
import { EBUSY } from "../../src/sys/errno.ts";
import { loopAttribute, loopsOf, sparseFile } from "../file_systems/support.ts";
import { assertEquals, assertThrows } from "@std/assert";

const needs: Needs = { permissions: ["read", "write"] };

/** Puts a file behind a device that was free, whatever others do meanwhile. */
function configureFree(config: Parameters<typeof loopConfigure>[1]): OwnedFd {
  using control = open("/dev/loop-control", O_RDWR);
  while (true) {
    const path = `/dev/loop${loopCtlGetFree(control.fd)}`;
    const device = open(path, O_RDWR);
    try {
      loopConfigure(device.fd, config);
      return device;
    } catch (error) {
      device.close();
      if (!isErrno(error, EBUSY)) throw error;
    }
  }
}

kernelTest(
  "loopConfigure() puts a part of a file behind a device, which clears itself",
  () => {
    const image = sparseFile(`${SCRATCH}/image`, 1 << 20);
    {
      using file = open(image, O_RDWR);
      using _device = configureFree({
        fd: file.fd,
        blockSize: 4096,
        offset: 4096,
        sizelimit: 65536n,
        flags: LO_FLAGS_AUTOCLEAR | LO_FLAGS_READ_ONLY,
      });
      const [name] = loopsOf(image);
      assertEquals(
        ["offset", "sizelimit", "autoclear"].map((attribute) =>
          loopAttribute(name!, attribute)
        ),
        ["4096", "65536", "1"],
      );
      const block = `/sys/block/${name}`;
      assertEquals(
        ["size", "ro", "queue/logical_block_size"].map((attribute) =>
          Deno.readTextFileSync(`${block}/${attribute}`).trimEnd()
        ),
        ["128", "1", "4096"],
      );
    }
    assertEquals(loopsOf(image), []);
  },
  needs,
);

kernelTest(
  "loopConfigure() throws the kernel's answers",
  () => {
    using file = open(sparseFile(`${SCRATCH}/image`, 1 << 20), O_RDWR);
    using directory = open(SCRATCH, O_RDONLY);
    using other = open("/", O_PATH);
    using device = configureFree({ fd: file.fd, flags: LO_FLAGS_AUTOCLEAR });
    const codeOf = (fd: number, fileFd: number) =>
      assertThrows(() => loopConfigure(fd, { fd: fileFd }), SyscallError).code;
    assertEquals(codeOf(device.fd, file.fd), "EBUSY");
    assertEquals(codeOf(directory.fd, file.fd), "ENOTTY");
    assertEquals(codeOf(other.fd, file.fd), "EBADF");
    assertEquals(codeOf(closedFd(), file.fd), "EBADF");
    const error = assertThrows(
      () => configureFree({ fd: directory.fd }),
      SyscallError,
    );
    assertEquals([error.syscall, error.code], ["ioctl", "EINVAL"]);
    assertThrows(() => loopCtlGetFree(directory.fd), SyscallError, "ENOTTY");
  },
  needs,
);

Deno.test("loopConfigure() throws what its C types can't hold", () => {
  for (
    const wrong of [
      { fd: 2 ** 31 },
      { fd: 0, offset: -1 },
      { fd: 0, sizelimit: 2n ** 64n },
      { fd: 0, flags: 2 ** 32 },
      { fd: 0, blockSize: 1.5 },
    ]
  ) {
    assertThrows(() => loopConfigure(-1, wrong), RangeError);
  }
});

kernelTest("the loop ioctls are traced as strace prints them", () => {
  const calls = tracedCalls(() => {
    assertThrows(() => loopCtlGetFree(-1), SyscallError);
    const flags = LO_FLAGS_READ_ONLY | LO_FLAGS_DIRECT_IO;
    const config = { fd: 7, offset: 512, flags };
    assertThrows(() => loopConfigure(-1, config), SyscallError);
  });
  assertEquals(calls, [
    {
      syscall: "ioctl",
      args: [{ fd: -1 }, "LOOP_CTL_GET_FREE"],
      result: -1,
      errno: 9,
    },
    {
      syscall: "ioctl",
      args: [
        { fd: -1 },
        "LOOP_CONFIGURE",
        "{fd=7, block_size=0, info={lo_offset=512, lo_sizelimit=0, lo_flags=LO_FLAGS_READ_ONLY|LO_FLAGS_DIRECT_IO, ...}}",
      ],
      result: -1,
      errno: 9,
    },
  ]);
});
