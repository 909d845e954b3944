import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_RDONLY,
  MS_SHARED,
  O_CLOEXEC,
  O_PATH,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from "../../src/sys/constants.ts";
import { type MountAttr, openTreeAttr } from "../../src/sys/mount.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { readFile } from "../../src/fd/open.ts";
import { kernelTestSince } from "../support/since.ts";
import {
  attach,
  closedFd,
  makeDirectory,
  mountId,
  mountTmpfs,
  open,
  tableOptions,
  tracedCalls,
  withoutCall,
} from "../support/scratch.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { statmount } from "../../src/sys/statmount.ts";
import { gatedTest, missingPermission, SCRATCH } from "../support/testing.ts";
import { withUserNamespace } from "../support/user_namespace.ts";
import { SyscallError } from "../../src/sys/error.ts";

const CLONE = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;

function openTree(path: string, flags: number, attr?: MountAttr): OwnedFd {
  return new OwnedFd(openTreeAttr(AT_FDCWD, path, flags, attr));
}

function flagsOf(fd: number): number {
  const information = readFile(`/proc/thread-self/fdinfo/${fd}`);
  return parseInt(/^flags:\s*(\d+)/m.exec(information)![1]!, 8);
}

kernelTestSince(
  "6.15",
  "openTreeAttr() makes a copy with attributes that the mount lacks",
  () => {
    using original = mountTmpfs("original", MOUNT_ATTR_NODEV);
    using copy = openTree(original.path, CLONE, {
      attrSet: MOUNT_ATTR_RDONLY,
      attrClr: MOUNT_ATTR_NODEV,
    });
    using attached = attach(copy, "copy");
    assertEquals(tableOptions(attached.path), "ro,relatime");
    assertEquals(tableOptions(original.path), "rw,nodev,relatime");
  },
);

kernelTestSince(
  "6.15",
  "openTreeAttr() changes the whole copy with AT_RECURSIVE",
  () => {
    using original = mountTmpfs("original");
    using _inner = mountTmpfs("original/inner");
    using copy = openTree(original.path, CLONE | AT_RECURSIVE, {
      attrSet: MOUNT_ATTR_NOEXEC,
      propagation: MS_SHARED,
    });
    using attached = attach(copy, "copy");
    for (const path of [attached.path, `${attached.path}/inner`]) {
      const { mntAttr, mntPropagation } = statmount(mountId(path));
      assertEquals(
        [mntAttr, mntPropagation],
        [BigInt(MOUNT_ATTR_NOEXEC), BigInt(MS_SHARED)],
      );
    }
    assertEquals(tableOptions(original.path), "rw,relatime");
  },
);

kernelTestSince(
  "6.15",
  "openTreeAttr() changes the mount itself without OPEN_TREE_CLONE",
  () => {
    using original = mountTmpfs("original");
    using opened = openTree(original.path, OPEN_TREE_CLOEXEC, {
      attrSet: MOUNT_ATTR_NOEXEC,
    });
    assertEquals(mountId(opened), original.id);
    assertEquals(tableOptions(original.path), "rw,noexec,relatime");
  },
);

kernelTestSince(
  "6.15",
  "openTreeAttr() gives the kernel NULL and 0 without attributes",
  () => {
    using original = mountTmpfs("original");
    const calls = tracedCalls(() => {
      using opened = openTree(original.path, OPEN_TREE_CLOEXEC);
      assertEquals(mountId(opened), original.id);
      using copy = openTree(original.path, CLONE, undefined);
      using _ = attach(copy, "copy");
      assertEquals(tableOptions(`${SCRATCH}/copy`), "rw,relatime");
    }).filter(({ syscall }) => syscall === "open_tree_attr");
    assertEquals(calls.map(({ args }) => args.slice(2)), [
      ["OPEN_TREE_CLOEXEC", "NULL", "0"],
      ["OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC", "NULL", "0"],
    ]);
  },
);

kernelTestSince(
  "6.15",
  "openTreeAttr() gives a descriptor that is closed on exec with OPEN_TREE_CLOEXEC alone",
  () => {
    using original = mountTmpfs("original");
    using closed = openTree(original.path, CLONE, {});
    assertEquals(flagsOf(closed.fd) & (O_CLOEXEC | O_PATH), O_CLOEXEC | O_PATH);
    using inherited = openTree(original.path, OPEN_TREE_CLONE, {});
    assertEquals(flagsOf(inherited.fd) & (O_CLOEXEC | O_PATH), O_PATH);
  },
);

kernelTestSince(
  "6.15",
  "openTreeAttr() replaces and clears an id map",
  () =>
    withUserNamespace(["0 1000 10"], ["0 2000 10"], async (usernsFd) => {
      using original = mountTmpfs("original");
      using mapped = openTree(original.path, CLONE, {
        attrSet: MOUNT_ATTR_IDMAP,
        usernsFd,
      });
      using first = attach(mapped, "mapped");
      assertEquals(statmount(first.id).mntUidmap, [[0, 1000, 10]]);
      using unmapped = openTree(first.path, CLONE, {
        attrClr: MOUNT_ATTR_IDMAP,
      });
      using second = attach(unmapped, "unmapped");
      assertEquals(statmount(second.id).mntUidmap, undefined);
      await withUserNamespace(["5 6 7"], ["8 9 10"], (usernsFd) => {
        using remapped = openTree(first.path, CLONE, {
          attrClr: MOUNT_ATTR_IDMAP,
          attrSet: MOUNT_ATTR_IDMAP,
          usernsFd,
        });
        using third = attach(remapped, "remapped");
        const { mntUidmap, mntGidmap } = statmount(third.id);
        assertEquals([mntUidmap, mntGidmap], [[[5, 6, 7]], [[8, 9, 10]]]);
      });
    }),
  { permissions: ["run", "read", "env"], commands: ["unshare", "sh"] },
);

kernelTestSince("6.15", "openTreeAttr() passes every bit on", () => {
  using original = mountTmpfs("original");
  for (const flags of [CLONE, OPEN_TREE_CLOEXEC]) {
    for (const bits of [1n << 40n, 2 ** 40, 1n << 63n]) {
      for (const field of ["attrSet", "attrClr", "propagation"]) {
        assertThrows(
          () => openTree(original.path, flags, { [field]: bits }),
          SyscallError,
          "EINVAL",
        );
      }
    }
  }
});

kernelTestSince(
  "6.15",
  "openTreeAttr() passes on what the kernel refuses",
  () => {
    makeDirectory("plain");
    using original = mountTmpfs("original");
    using file = open(SCRATCH, O_PATH);
    const attr = { attrSet: MOUNT_ATTR_NODEV };
    const refused = (
      code: string,
      ...args: Parameters<typeof openTreeAttr>
    ) => {
      const error = assertThrows(() => openTreeAttr(...args), SyscallError);
      assertEquals([error.syscall, error.code], ["open_tree_attr", code]);
    };
    refused("ENOENT", file.fd, "nosuch", CLONE, attr);
    refused("ENOENT", file.fd, "", CLONE, attr);
    refused("EBADF", closedFd(), "original", CLONE, attr);
    refused("EINVAL", file.fd, "original", OPEN_TREE_CLONE | 8, attr);
    // To change mounts below, a copy must be made.
    refused("EINVAL", file.fd, "original", AT_RECURSIVE, attr);
    refused("EINVAL", file.fd, "plain", OPEN_TREE_CLOEXEC, attr);
    refused("EBADF", file.fd, "original", CLONE, {
      attrSet: MOUNT_ATTR_IDMAP,
      usernsFd: closedFd(),
    });
    assertEquals(tableOptions(original.path), "rw,relatime");
  },
);

gatedTest(
  "openTreeAttr() throws ENOSYS where the kernel lacks the call",
  missingPermission(["ffi"]),
  () =>
    withoutCall("open_tree_attr", () => {
      const error = assertThrows(
        () =>
          openTreeAttr(7, "", CLONE | AT_EMPTY_PATH, {
            attrSet: MOUNT_ATTR_RDONLY,
          }),
        SyscallError,
      );
      assertEquals(
        error.message,
        'open_tree_attr(7, "", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_EMPTY_PATH, {attr_set=MOUNT_ATTR_RDONLY, attr_clr=0, propagation=0, userns_fd=0}, 32): ENOSYS (Function not implemented)',
      );
    }),
);

Deno.test("openTreeAttr() refuses a wrong type", () => {
  const refused = (...args: unknown[]) =>
    assertThrows(
      () => openTreeAttr(...args as Parameters<typeof openTreeAttr>),
      TypeError,
    );
  for (const wrong of ["1", null, {}, true]) {
    refused(wrong, "m", 0);
    refused(AT_FDCWD, "m", wrong);
  }
  refused(AT_FDCWD, 1, 0);
  refused(AT_FDCWD, "a\0b", 0);
  refused(AT_FDCWD, "m", 0, { attrSet: "1" });
  refused(AT_FDCWD, "m", 0, { usernsFd: 1n });
  refused(AT_FDCWD, "m", 0, null);
});

Deno.test("openTreeAttr() refuses a number that does not fit", () => {
  const refused = (flags: number, attr: MountAttr) =>
    assertThrows(
      () => openTreeAttr(AT_FDCWD, "m", flags, attr),
      RangeError,
      "does not fit",
    );
  refused(-1, {});
  refused(2 ** 32, {});
  refused(0, { attrSet: 1n << 64n });
  refused(0, { attrClr: -1 });
  refused(0, { propagation: 2 ** 53 });
  refused(0, { usernsFd: -(2 ** 31) - 1 });
});
