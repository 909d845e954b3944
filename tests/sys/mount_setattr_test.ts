import { OwnedFd } from "../../src/fd/owned_fd.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  AT_SYMLINK_NOFOLLOW,
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
  O_CREAT,
  O_DIRECTORY,
  O_PATH,
  O_WRONLY,
} from "../../src/sys/constants.ts";
import { openat2 } from "../../src/sys/file.ts";
import {
  gatedTest,
  kernelTest,
  missingPermission,
  SCRATCH,
} from "../support/testing.ts";
import { kernelTestSince } from "../support/since.ts";
import {
  attach,
  closedFd,
  makeDetached,
  mountTmpfs,
  open,
  tableOptions,
  tracedCalls,
  withoutCall,
} from "../support/scratch.ts";
import { type MountAttr, mountSetattr } from "../../src/sys/mount.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { SyscallError } from "../../src/sys/error.ts";
import { withUserNamespace } from "../support/user_namespace.ts";

function createFile(path: string): OwnedFd {
  const flags = O_CREAT | O_WRONLY;
  return new OwnedFd(openat2(AT_FDCWD, path, { flags, mode: 0o600 }));
}

kernelTest("mountSetattr() sets and clears attributes", () => {
  using scratch = mountTmpfs("m");
  const { path } = scratch;
  mountSetattr(AT_FDCWD, path, 0, {
    attrSet: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
      MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOSYMFOLLOW,
  });
  assertEquals(
    tableOptions(path),
    "ro,nosuid,nodev,noexec,nodiratime,relatime,nosymfollow",
  );
  mountSetattr(AT_FDCWD, path, 0, {
    attrSet: BigInt(MOUNT_ATTR_RDONLY),
    attrClr: BigInt(
      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NODIRATIME,
    ),
  });
  assertEquals(tableOptions(path), "ro,noexec,relatime,nosymfollow");
});

kernelTest(
  "mountSetattr() sets a kind of access time when the others are cleared",
  () => {
    using scratch = mountTmpfs("m");
    const { path } = scratch;
    const attrSet = MOUNT_ATTR_NOATIME;
    assertThrows(
      () => mountSetattr(AT_FDCWD, path, 0, { attrSet }),
      SyscallError,
      "EINVAL",
    );
    mountSetattr(AT_FDCWD, path, 0, { attrSet, attrClr: MOUNT_ATTR__ATIME });
    assertEquals(tableOptions(path), "rw,noatime");
    mountSetattr(AT_FDCWD, path, 0, {
      attrSet: MOUNT_ATTR_STRICTATIME,
      attrClr: MOUNT_ATTR__ATIME,
    });
    assertEquals(tableOptions(path), "rw");
  },
);

kernelTest("mountSetattr() changes the mounts below with AT_RECURSIVE", () => {
  using outer = mountTmpfs("outer");
  using inner = mountTmpfs("outer/inner");
  using innermost = mountTmpfs("outer/inner/most", MOUNT_ATTR_NOEXEC);
  const options = () =>
    [outer, inner, innermost].map(({ path }) => tableOptions(path));
  mountSetattr(AT_FDCWD, outer.path, 0, { attrSet: MOUNT_ATTR_NODEV });
  assertEquals(
    options(),
    ["rw,nodev,relatime", "rw,relatime", "rw,noexec,relatime"],
  );
  mountSetattr(AT_FDCWD, outer.path, AT_RECURSIVE, {
    attrSet: MOUNT_ATTR_RDONLY,
    attrClr: MOUNT_ATTR_NODEV,
  });
  assertEquals(
    options(),
    ["ro,relatime", "ro,relatime", "ro,noexec,relatime"],
  );
});

kernelTest("mountSetattr() changes none of the mounts when one is busy", () => {
  using outer = mountTmpfs("outer");
  using inner = mountTmpfs("outer/inner");
  using last = mountTmpfs("outer/last");
  const mounts = [outer, inner, last];
  const attr = { attrSet: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV };
  const makeReadOnly = () =>
    mountSetattr(AT_FDCWD, outer.path, AT_RECURSIVE, attr);
  {
    using _ = createFile(`${last.path}/f`);
    assertThrows(makeReadOnly, SyscallError, "EBUSY");
    assertEquals(
      mounts.map(({ path }) => tableOptions(path)),
      ["rw,relatime", "rw,relatime", "rw,relatime"],
    );
    using __ = createFile(`${outer.path}/still writable`);
  }
  makeReadOnly();
  assertEquals(
    mounts.map(({ path }) => tableOptions(path)),
    ["ro,nodev,relatime", "ro,nodev,relatime", "ro,nodev,relatime"],
  );
  assertThrows(
    () => createFile(`${inner.path}/f`),
    SyscallError,
    "EROFS",
  );
});

kernelTest("mountSetattr() sets the propagation", () => {
  using scratch = mountTmpfs("m");
  const { path } = scratch;
  const set = (propagation: number | bigint) => {
    mountSetattr(AT_FDCWD, path, 0, { propagation });
    return tableOptions(path).replace(/\d+/, "N");
  };
  assertEquals(set(MS_SHARED), "rw,relatime shared:N");
  assertEquals(set(0), "rw,relatime shared:N");
  assertEquals(set(BigInt(MS_UNBINDABLE)), "rw,relatime unbindable");
  assertEquals(set(MS_PRIVATE), "rw,relatime");
});

kernelTest("mountSetattr() passes every bit on", () => {
  using scratch = mountTmpfs("m");
  const refused = (attr: MountAttr) =>
    assertThrows(
      () => mountSetattr(AT_FDCWD, scratch.path, 0, attr),
      SyscallError,
      "EINVAL",
    );
  for (const bits of [1n << 40n, 2 ** 40, 1n << 63n, 2 ** 31, 1n << 32n]) {
    refused({ attrSet: bits });
    refused({ attrClr: bits });
    refused({ propagation: bits });
  }
  const error = refused({
    attrSet: (1n << 40n) | BigInt(MOUNT_ATTR_RDONLY),
    attrClr: (1n << 64n) - 1n,
    propagation: (1n << 33n) | BigInt(MS_SHARED),
    usernsFd: -1,
  });
  assertEquals(
    error.message,
    `mount_setattr(AT_FDCWD, "${SCRATCH}/m", 0, {attr_set=MOUNT_ATTR_RDONLY|0x10000000000, attr_clr=MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC|MOUNT_ATTR_NOATIME|MOUNT_ATTR_STRICTATIME|MOUNT_ATTR_NODIRATIME|MOUNT_ATTR_IDMAP|MOUNT_ATTR_NOSYMFOLLOW|0xffffffffffcfff40, propagation=MS_SHARED|0x200000000, userns_fd=-1}, 32): EINVAL (Invalid argument)`,
  );
  assertEquals(tableOptions(scratch.path), "rw,relatime");
});

kernelTest("mountSetattr() changes a detached mount by its descriptor", () => {
  using detached = makeDetached("tmpfs");
  mountSetattr(detached.fd, "", AT_EMPTY_PATH, { attrSet: MOUNT_ATTR_NOEXEC });
  using scratch = attach(detached, "m");
  assertEquals(tableOptions(scratch.path), "rw,noexec,relatime");
});

kernelTest("mountSetattr() takes attributes that change nothing", () => {
  using scratch = mountTmpfs("m");
  mountSetattr(-1, scratch.path, 0, {});
  assertEquals(tableOptions(scratch.path), "rw,relatime");
});

kernelTestSince(
  "6.3",
  "mountSetattr() gives a detached mount an id map",
  () =>
    withUserNamespace(["0 1000 10"], ["0 2000 10"], (usernsFd) => {
      const attr = { attrSet: MOUNT_ATTR_IDMAP, usernsFd };
      using detached = makeDetached("tmpfs");
      mountSetattr(detached.fd, "", AT_EMPTY_PATH, attr);
      using scratch = attach(detached, "m");
      assertEquals(tableOptions(scratch.path), "rw,relatime,idmapped");
      using attached = mountTmpfs("attached");
      assertThrows(
        () => mountSetattr(AT_FDCWD, attached.path, 0, attr),
        SyscallError,
        "EINVAL",
      );
    }),
  { permissions: ["run", "read", "env"], commands: ["unshare", "sh"] },
);

kernelTest("mountSetattr() passes on what the kernel refuses", () => {
  using scratch = mountTmpfs("m");
  using directory = open(SCRATCH, O_PATH | O_DIRECTORY);
  using initialUserNamespace = open("/proc/thread-self/ns/user", 0);
  using _ = createFile(`${scratch.path}/f`);
  const attr = { attrSet: MOUNT_ATTR_NODEV };
  const refused = (code: string, ...args: Parameters<typeof mountSetattr>) => {
    const error = assertThrows(() => mountSetattr(...args), SyscallError);
    assertEquals([error.syscall, error.code], ["mount_setattr", code]);
  };
  const { path } = scratch;
  refused("ENOENT", AT_FDCWD, `${SCRATCH}/nosuch`, 0, attr);
  refused("ENOENT", AT_FDCWD, "", 0, attr);
  refused("ENOTDIR", AT_FDCWD, `${path}/f/g`, 0, attr);
  refused("EINVAL", AT_FDCWD, `${path}/f`, 0, attr);
  refused("EBADF", closedFd(), "m", 0, attr);
  refused("EBADF", -1, "m", 0, attr);
  refused("EINVAL", directory.fd, "m", 1, attr);
  const propagation = MS_SHARED | MS_SLAVE;
  refused("EINVAL", directory.fd, "m", 0, { propagation });
  const attrSet = MOUNT_ATTR_IDMAP;
  const idmap = (usernsFd: number) => ({ attrSet, usernsFd });
  refused("EINVAL", directory.fd, "m", 0, idmap(-1));
  refused("EBADF", directory.fd, "m", 0, idmap(closedFd()));
  refused("EPERM", directory.fd, "m", 0, idmap(initialUserNamespace.fd));
});

kernelTest("mountSetattr() tells a tracer its arguments", () => {
  using scratch = mountTmpfs("m");
  using directory = open(SCRATCH, O_PATH | O_DIRECTORY);
  const flags = AT_RECURSIVE | AT_SYMLINK_NOFOLLOW;
  const calls = tracedCalls(() =>
    mountSetattr(directory.fd, "m", flags, { propagation: MS_PRIVATE })
  );
  assertEquals(calls, [{
    syscall: "mount_setattr",
    args: [
      { fd: directory.fd },
      '"m"',
      "AT_RECURSIVE|AT_SYMLINK_NOFOLLOW",
      "{attr_set=0, attr_clr=0, propagation=MS_PRIVATE, userns_fd=0}",
      "32",
    ],
    result: 0,
    errno: 0,
  }]);
  assertEquals(tableOptions(scratch.path), "rw,relatime");
});

gatedTest(
  "mountSetattr() throws ENOSYS where the kernel lacks the call",
  missingPermission(["ffi"]),
  () =>
    withoutCall("mount_setattr", () => {
      const error = assertThrows(
        () => mountSetattr(AT_FDCWD, "m", 0, {}),
        SyscallError,
      );
      assertEquals([error.syscall, error.code], ["mount_setattr", "ENOSYS"]);
    }),
);

Deno.test("mountSetattr() refuses a wrong type", () => {
  const refused = (...args: unknown[]) =>
    assertThrows(
      () => mountSetattr(...args as Parameters<typeof mountSetattr>),
      TypeError,
    );
  for (const wrong of ["1", null, {}, true]) {
    refused(wrong, "m", 0, {});
    refused(AT_FDCWD, "m", wrong, {});
  }
  for (const wrong of ["1", {}, true]) {
    refused(AT_FDCWD, "m", 0, { attrSet: wrong });
    refused(AT_FDCWD, "m", 0, { attrClr: wrong });
    refused(AT_FDCWD, "m", 0, { propagation: wrong });
    refused(AT_FDCWD, "m", 0, { usernsFd: wrong });
  }
  refused(AT_FDCWD, "m", 0, { usernsFd: 1n });
  refused(AT_FDCWD, "m", 0, undefined);
  refused(AT_FDCWD, 1, 0, {});
  refused(AT_FDCWD, "a\0b", 0, {});
});

Deno.test("mountSetattr() refuses a number that does not fit", () => {
  const refused = (flags: number, attr: MountAttr) =>
    assertThrows(
      () => mountSetattr(AT_FDCWD, "m", flags, attr),
      RangeError,
      "does not fit",
    );
  refused(-1, {});
  refused(2 ** 32, {});
  for (const bits of [-1, -1n, 0.5, NaN, 2 ** 53, 1n << 64n]) {
    refused(0, { attrSet: bits });
    refused(0, { attrClr: bits });
    refused(0, { propagation: bits });
  }
  refused(0, { usernsFd: 2 ** 31 });
});
