import { fchdir, openat2 } from "../../src/sys/file.ts";
import { mkdirat, readlinkat } from "../../src/sys/names.ts";
import {
  AT_FDCWD,
  AT_RECURSIVE,
  CLONE_EMPTY_MNTNS,
  CLONE_FS,
  CLONE_NEWNS,
  CLONE_NEWUSER,
  FSMOUNT_CLOEXEC,
  FSMOUNT_NAMESPACE,
  LSMT_ROOT,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_NAMESPACE,
  STATMOUNT_BY_FD,
  STATMOUNT_MNT_BASIC,
  STATMOUNT_MNT_POINT,
  UNSHARE_EMPTY_MNTNS,
} from "../../src/sys/constants.ts";
import { kernelTest, SCRATCH } from "../support/testing.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { refusedClone3, setns, unshare } from "../../src/sys/process.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { SyscallError } from "../../src/sys/error.ts";
import { listmount, statmount } from "../../src/sys/statmount.ts";
import { mount, openTree } from "../../src/sys/mount.ts";
import { fsconfigCreate, fsmount, fsopen } from "../../src/sys/fscontext.ts";
import { kernelTestSince } from "../support/since.ts";
import {
  makeDetached,
  mountTmpfs,
  namesAt,
  open,
  tracedCalls,
} from "../support/scratch.ts";

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

/** The mount points and types of a mount namespace, the oldest first. */
function mountsIn(nsFd: number): string[] {
  return listmount(LSMT_ROOT, { nsFd }).map((id) => {
    const { mntPoint, fsType } = statmount(id, undefined, { nsFd });
    return `${mntPoint} ${fsType}`;
  });
}

/** The names in the root of a mount namespace. */
function namesInRootOf(namespace: OwnedFd): string[] {
  using own = open(NAMESPACE, O_RDONLY);
  setns(namespace.fd, CLONE_NEWNS);
  try {
    return namesAt("/");
  } finally {
    setns(own.fd, CLONE_NEWNS);
  }
}

kernelTestSince("7.0", "openTree() makes a mount namespace of a tree", () => {
  using tree = mountTmpfs("m");
  mkdirat(AT_FDCWD, `${tree.path}/in`, 0o755);
  mount("in", `${tree.path}/in`, "ramfs", 0, null);
  const flags = OPEN_TREE_NAMESPACE | OPEN_TREE_CLOEXEC;
  using one = new OwnedFd(openTree(AT_FDCWD, tree.path, flags));
  using all = new OwnedFd(openTree(AT_FDCWD, tree.path, flags | AT_RECURSIVE));
  assertEquals(mountsIn(one.fd), ["/ tmpfs"]);
  assertEquals(mountsIn(all.fd), ["/ tmpfs", "/in ramfs"]);
  assertEquals(namesInRootOf(all), ["in"]);
});

kernelTestSince("7.1", "fsmount() makes a mount namespace", () => {
  using context = new OwnedFd(fsopen("tmpfs"));
  fsconfigCreate(context.fd);
  const flags = FSMOUNT_NAMESPACE | FSMOUNT_CLOEXEC;
  using namespace = new OwnedFd(fsmount(context.fd, flags));
  assertEquals(mountsIn(namespace.fd), ["/ tmpfs"]);
  assertEquals(namesInRootOf(namespace), []);
});

kernelTestSince("7.1", "unshare() makes an empty mount namespace", () => {
  using own = open(NAMESPACE, O_RDONLY);
  unshare(UNSHARE_EMPTY_MNTNS);
  try {
    assertEquals(namesAt("/"), []);
    assertThrows(() => mkdirat(AT_FDCWD, "/d", 0o755), SyscallError);
    assertEquals(listmount(LSMT_ROOT).length, 1);
  } finally {
    setns(own.fd, CLONE_NEWNS);
  }
});

kernelTestSince("7.0", "statmount() takes a descriptor of a mount", () => {
  const stat = ({ fd }: OwnedFd) =>
    statmount(0n, STATMOUNT_MNT_BASIC | STATMOUNT_MNT_POINT, {
      nsFd: fd,
      flags: STATMOUNT_BY_FD,
    });
  using scratch = new DisposableStack();
  const { path, id } = scratch.use(mountTmpfs("m"));
  using directory = open(path, O_DIRECTORY);
  const { mntId, mntPoint } = stat(directory);
  assertEquals([mntId, mntPoint], [id, path]);
  // What was unmounted is told too, without a mount point.
  scratch.dispose();
  const gone = stat(directory);
  assertEquals([gone.mntId, gone.mntPoint], [id, undefined]);
  // What was attached nowhere yet is not.
  using detached = makeDetached("tmpfs");
  assertThrows(() => stat(detached), SyscallError, "ENOENT");
});

kernelTest("refusedClone3() makes no process, and tells of flags", () => {
  const code = (flags: bigint) =>
    assertThrows(() => refusedClone3(flags), SyscallError).code;
  const newMounts = BigInt(CLONE_NEWNS);
  const calls = tracedCalls(() => {
    assertEquals(code(newMounts), "EFAULT");
    assertEquals(code(1n << 63n), "EINVAL");
    assert(["EFAULT", "EINVAL"].includes(code(newMounts | CLONE_EMPTY_MNTNS)));
  });
  assertEquals(calls.map(({ args }) => args[0]), [
    "{flags=CLONE_VM|CLONE_PIDFD|CLONE_NEWNS, pidfd=0xffffffffffffffff}",
    "{flags=CLONE_VM|CLONE_PIDFD|0x8000000000000000, pidfd=0xffffffffffffffff}",
    "{flags=CLONE_VM|CLONE_PIDFD|CLONE_NEWNS|CLONE_EMPTY_MNTNS, pidfd=0xffffffffffffffff}",
  ]);
});
