import { fchdir, openat2, readlinkat } from "../../src/sys/file.ts";
import {
  AT_FDCWD,
  CLONE_FS,
  CLONE_NEWNS,
  CLONE_NEWUSER,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
} from "../../src/sys/constants.ts";
import { kernelTest, SCRATCH } from "../support/testing.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { setns, unshare } from "../../src/sys/process.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { SyscallError } from "../../src/sys/error.ts";

const NAMESPACE = "/proc/thread-self/ns/mnt";

function namespace(path = NAMESPACE): string {
  return readlinkat(AT_FDCWD, path);
}

kernelTest(
  "unshare() gives this thread alone a mount namespace, setns() the old one back",
  () => {
    using old = new OwnedFd(
      openat2(AT_FDCWD, NAMESPACE, { flags: O_RDONLY | O_CLOEXEC }),
    );
    const before = namespace();
    const ofProcess = namespace("/proc/self/ns/mnt");
    unshare(CLONE_NEWNS);
    assert(namespace() !== before);
    assertEquals(namespace("/proc/self/ns/mnt"), ofProcess);
    setns(old.fd, CLONE_NEWNS);
    assertEquals(namespace(), before);
    assertThrows(
      () => setns(old.fd, CLONE_NEWUSER),
      SyscallError,
      "CLONE_NEWUSER): EINVAL",
    );
  },
);

kernelTest(
  "unshare() says that a process with threads gets no user namespace",
  () => {
    const error = assertThrows(() => unshare(CLONE_NEWUSER), SyscallError);
    assertEquals(
      error.message,
      "unshare(CLONE_NEWUSER): EINVAL (Invalid argument)",
    );
  },
);

kernelTest(
  "fchdir() changes this thread's directory once it is unshared",
  () => {
    const cwd = () => readlinkat(AT_FDCWD, "/proc/thread-self/cwd");
    unshare(CLONE_FS);
    const ofProcess = readlinkat(AT_FDCWD, "/proc/self/cwd");
    const before = cwd();
    using scratch = new OwnedFd(
      openat2(AT_FDCWD, SCRATCH, { flags: O_DIRECTORY | O_CLOEXEC }),
    );
    using back = new OwnedFd(
      openat2(AT_FDCWD, ".", { flags: O_DIRECTORY | O_CLOEXEC }),
    );
    fchdir(scratch.fd);
    assertEquals(cwd(), SCRATCH);
    assertEquals(readlinkat(AT_FDCWD, "/proc/self/cwd"), ofProcess);
    fchdir(back.fd);
    assertEquals(cwd(), before);
  },
);

kernelTest("readlinkat() says that something is no symlink", () => {
  const error = assertThrows(() => readlinkat(AT_FDCWD, SCRATCH), SyscallError);
  assertEquals(error.code, "EINVAL");
});
