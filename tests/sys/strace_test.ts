import { trace } from "../../src/sys/strace.ts";
import {
  gatedTest,
  kernelTest,
  missingPermission,
  SCRATCH,
} from "../support/testing.ts";
import { Directory } from "../../src/directory.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { close, dup } from "../../src/sys/file.ts";
import { readlinkat } from "../../src/sys/names.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { kernelTestSince } from "../support/since.ts";
import { listMounts } from "../../src/list/list_mounts.ts";
import { AT_FDCWD, MNT_DETACH } from "../../src/sys/constants.ts";
import { statmount } from "../../src/sys/statmount.ts";
import { mountat } from "../../src/mount/mountat.ts";
import { MountError } from "../../src/error/error.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { endThread, threadUmount2 } from "../../src/unmount/other_ways.ts";
import { unshare } from "../../src/sys/process.ts";
import { setTracer } from "../../src/sys/call.ts";

/** The lines that are told while a function runs. */
function linesOf(fn: () => void): string[] {
  const lines: string[] = [];
  using _trace = trace((line) => lines.push(line));
  fn();
  return lines;
}

kernelTest(
  "trace() tells where descriptors lead, before they are closed",
  () => {
    let number: number;
    const lines = linesOf(() => {
      using directory = Directory.open(SCRATCH);
      using copy = new OwnedFd(dup(directory.fd));
      number = directory.fd;
      assert(copy.fd > number);
    });
    const [opened, copied, ...closed] = lines;
    assert(
      opened!.startsWith(`openat2(AT_FDCWD<${Deno.cwd()}>, "${SCRATCH}", `),
    );
    assert(opened!.endsWith(`) = ${number!}<${SCRATCH}>`), opened);
    const copy = Number(/= (\d+)</.exec(copied!)![1]);
    assertEquals([copied, ...closed], [
      `fcntl(${number!}<${SCRATCH}>, F_DUPFD_CLOEXEC, 0) = ${copy}<${SCRATCH}>`,
      `close(${copy}<${SCRATCH}>)`.padEnd(39) + " = 0",
      `close(${number!}<${SCRATCH}>)`.padEnd(39) + " = 0",
    ]);
  },
);

kernelTestSince(
  "6.8",
  "trace() changes nothing of what the calls answer",
  () => {
    using scratch = Directory.open(SCRATCH);
    using _mount = scratch.mount("a", {
      type: "tmpfs",
      mkdir: true,
    });
    const lists = [
      () => listMounts(),
      () => listMounts({ below: `${SCRATCH}/a` }),
      () => [readlinkat(AT_FDCWD, "/proc/self/fd/0")],
      () => [statmount(listMounts().at(-1)!.id)],
    ];
    for (const list of lists) {
      const expected = list();
      linesOf(() => assertEquals(list(), expected));
    }
  },
);

kernelTest("trace() does not guess what an unseen descriptor led to", () => {
  const directory = Directory.open(SCRATCH);
  const { fd } = directory;
  assertEquals(linesOf(() => directory.close()), [
    `close(${fd})`.padEnd(39) + " = 0",
  ]);
});

kernelTest("trace() tells what the kernel said on a context", () => {
  using directory = Directory.open(SCRATCH);
  directory.mkdir("tmp");
  const lines = linesOf(() => {
    assertThrows(
      () => mountat(directory, "tmp", { type: "tmpfs", options: "nosuch" }),
      MountError,
    );
  });
  const at = lines.findIndex((line) => line.includes("FSCONFIG_SET_FLAG"));
  const [, fd] = /^fsconfig\((\d+)<anon_inode:\[fscontext\]>, /.exec(
    lines[at]!,
  )!;
  const context = `${fd}<anon_inode:[fscontext]>`;
  assertEquals(lines.slice(at, at + 4), [
    `fsconfig(${context}, FSCONFIG_SET_FLAG, "nosuch", NULL, 0) = -1 EINVAL (Invalid argument)`,
    `read(${context}, "e tmpfs: Unknown parameter 'nosuch'\\n", 1024) = 36`,
    `read(${context}, …, 1024) = -1 ENODATA (No data available)`,
    `close(${context})`.padEnd(39) + " = 0",
  ]);
});

kernelTest("trace() lets no control character out, nor a forged end", () => {
  using directory = Directory.open(SCRATCH);
  const name = "a\n> = 0\x1b[31m\x9b\udcff";
  const lines = linesOf(() => {
    directory.mkdir(name);
    directory.openDirectory(name).close();
  });
  for (const line of lines) {
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x1f\x7f-\x9f]/.test(line) && line.isWellFormed(), line);
  }
  const escaped = "a\\n\\x3e = 0\\x1b[31m\\x9b\\xff";
  assert(lines.at(-1)!.includes(`<${SCRATCH}/${escaped}>)`), lines.at(-1));
});

kernelTest("trace() leaves errno alone where /proc can't be asked", () => {
  using directory = Directory.open(SCRATCH);
  mount("none", "/proc", "tmpfs", 0, null);
  try {
    const lines = linesOf(() => {
      using copy = new OwnedFd(dup(0));
      const error = assertThrows(() => umount2(SCRATCH + "/no"), SyscallError);
      assertEquals(error.code, "ENOENT");
      assertEquals(assertThrows(() => close(-1), SyscallError).code, "EBADF");
      // Two calls, one errno.
      const unmount = () => threadUmount2(directory.fd, ".", 0, 0n);
      assertThrows(unmount, SyscallError, "EBUSY");
      assert(copy.fd > 0);
    });
    assert(/^fcntl\(0, F_DUPFD_CLOEXEC, 0\) += \d+$/.test(lines[0]!), lines[0]);
    assertEquals(
      lines[2],
      "close(-1)".padEnd(39) + " = -1 EBADF (Bad file descriptor)",
    );
  } finally {
    endThread();
    umount2("/proc", MNT_DETACH);
  }
});

const missing = missingPermission(["ffi"]);

gatedTest(
  "trace() does not tell what is called to write a line",
  missing,
  () => {
    const lines: string[] = [];
    {
      using _trace = trace((line) => {
        unshare(0);
        lines.push(line);
      });
      unshare(0);
      unshare(0);
    }
    unshare(0);
    assertEquals(lines.length, 2);
  },
);

gatedTest("trace() gives way to the tracer before it", missing, () => {
  const names: string[] = [];
  const previous = setTracer(({ syscall }) => names.push(syscall));
  try {
    assertEquals(linesOf(() => unshare(0)).length, 1);
    unshare(0);
    assertEquals(names, ["unshare"]);
  } finally {
    setTracer(previous);
  }
});
