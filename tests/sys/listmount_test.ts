import {
  closedFd,
  makeDetached,
  mountId,
  mountTmpfs,
  open,
  type ScratchMount,
  tracedCalls,
  withoutCall,
} from "../support/scratch.ts";
import { mkdirat } from "../../src/sys/names.ts";
import {
  AT_FDCWD,
  CLONE_NEWNS,
  LISTMOUNT_REVERSE,
  LSMT_ROOT,
  MS_BIND,
  STATMOUNT_MNT_BASIC,
  STATMOUNT_MNT_NS_ID,
} from "../../src/sys/constants.ts";
import { mount } from "../../src/sys/mount.ts";
import { kernelTestSince } from "../support/since.ts";
import { listmount, statmount } from "../../src/sys/statmount.ts";
import { assertEquals, assertThrows } from "@std/assert";
import {
  gatedTest,
  missingPermission,
  mountTable,
  SCRATCH,
} from "../support/testing.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { setns, unshare } from "../../src/sys/process.ts";

/** A mount with that many mounts below it, and their ids. */
function mountMany(count: number): ScratchMount & { ids: bigint[] } {
  const parent = mountTmpfs("many");
  const ids = Array.from({ length: count }, (_, i) => {
    const path = `${parent.path}/${i}`;
    mkdirat(AT_FDCWD, path, 0o755);
    mount(path, path, null, MS_BIND, null);
    return mountId(path);
  });
  return { ...parent, ids };
}

kernelTestSince(
  "6.8",
  "listmount() lists the mounts of the mount table",
  () => {
    using _ = mountTmpfs("m");
    const ids = listmount(LSMT_ROOT);
    assertEquals(
      ids.map((id) => statmount(id, STATMOUNT_MNT_BASIC).mntIdOld)
        .sort((a, b) => a! - b!),
      mountTable().map((line) => parseInt(line)).sort((a, b) => a - b),
    );
    assertEquals(ids, ids.toSorted((a, b) => a < b ? -1 : 1));
  },
);

kernelTestSince(
  "6.8",
  "listmount() lists the root of LSMT_ROOT, and not that of an id",
  () => {
    const root = mountId("/");
    const all = listmount(LSMT_ROOT);
    assertEquals(all.filter((id) => id === root), [root]);
    assertEquals(listmount(root), all.filter((id) => id !== root));
  },
);

kernelTestSince(
  "6.8",
  "listmount() lists the mounts below a mount, and theirs",
  () => {
    using outer = mountTmpfs("outer");
    using inner = mountTmpfs("outer/inner");
    using innermost = mountTmpfs("outer/inner/most");
    using _beside = mountTmpfs("beside");
    assertEquals(listmount(outer.id), [inner.id, innermost.id]);
    assertEquals(listmount(inner.id), [innermost.id]);
    assertEquals(listmount(innermost.id), []);
  },
);

kernelTestSince("6.11", "listmount() pages to the end", () => {
  using many = mountMany(2049);
  let listed: bigint[] = [];
  const counts = (options: Parameters<typeof listmount>[1]) =>
    tracedCalls(() => {
      listed = listmount(many.id, options);
    }).map(({ args, result }) => [Number(args[2]), result]);

  assertEquals(counts({}), [[1024, 1024], [1024, 1024], [1024, 1]]);
  assertEquals(listed, many.ids);

  assertEquals(
    counts({ reverse: true }),
    [[1024, 1024], [1024, 1024], [1024, 1]],
  );
  assertEquals(listed, many.ids.toReversed());

  const last = many.ids[0]!;
  assertEquals(counts({ last }), [[1024, 1024], [1024, 1024], [1024, 0]]);
  assertEquals(listed, many.ids.slice(1));

  assertEquals(counts({ count: 2000 }), [[2000, 2000]]);
  assertEquals(listed, many.ids.slice(0, 2000));

  assertEquals(counts({ count: 3000, reverse: true }), [[3000, 2049]]);
  assertEquals(listed, many.ids.toReversed());
});

kernelTestSince(
  "6.11",
  "listmount() starts after last, whichever way it goes",
  () => {
    using many = mountMany(5);
    const [a, b, c, d, e] = many.ids as [
      bigint,
      bigint,
      bigint,
      bigint,
      bigint,
    ];
    assertEquals(listmount(many.id, { last: b }), [c, d, e]);
    assertEquals(listmount(many.id, { last: b, count: 2 }), [c, d]);
    assertEquals(listmount(many.id, { last: d, reverse: true }), [c, b, a]);
    assertEquals(listmount(many.id, { last: d, reverse: true, count: 1 }), [c]);
    assertEquals(listmount(many.id, { last: e }), []);
    assertEquals(listmount(many.id, { last: a, reverse: true }), []);
  },
);

kernelTestSince(
  "6.11",
  "listmount() starts after last when that mount is gone",
  () => {
    using outer = mountTmpfs("outer");
    using first = mountTmpfs("outer/1");
    const second = mountTmpfs("outer/2");
    using third = mountTmpfs("outer/3");
    second[Symbol.dispose]();
    assertEquals(listmount(outer.id, { last: second.id }), [third.id]);
    assertEquals(
      listmount(outer.id, { last: second.id, reverse: true }),
      [first.id],
    );
  },
);

kernelTestSince(
  "6.11",
  "listmount() takes LISTMOUNT_REVERSE among the flags too",
  () => {
    using many = mountMany(3);
    const flags = LISTMOUNT_REVERSE;
    assertEquals(listmount(many.id, { flags }), many.ids.toReversed());
    const reverse = true;
    assertEquals(listmount(many.id, { flags, reverse }), many.ids.toReversed());
  },
);

kernelTestSince(
  "6.8",
  "listmount() lists nothing for a count of 0, but asks the kernel",
  () => {
    assertEquals(listmount(LSMT_ROOT, { count: 0 }), []);
    const error = assertThrows(
      () => listmount(LSMT_ROOT - 1n, { count: 0 }),
      SyscallError,
    );
    assertEquals(
      error.message,
      "listmount({size=24, mnt_id=0xfffffffffffffffe, param=0}, …, 0, 0): ENOENT (No such file or directory)",
    );
  },
);

kernelTestSince(
  "6.18",
  "listmount() lists another namespace by nsId and nsFd",
  () => {
    using many = mountMany(1100);
    using namespace = open("/proc/thread-self/ns/mnt", 0);
    const nsId = statmount(many.id, STATMOUNT_MNT_NS_ID).mntNsId!;
    const own = listmount(LSMT_ROOT);
    unshare(CLONE_NEWNS);
    try {
      assertThrows(() => listmount(many.id), SyscallError, "ENOENT");
      assertEquals(listmount(many.id, { nsId }), many.ids);
      assertEquals(
        listmount(many.id, { nsFd: namespace.fd, reverse: true }),
        many.ids.toReversed(),
      );
      // More than from within, where the root is not that of the namespace, as
      // after an initramfs.
      const all = new Set(listmount(LSMT_ROOT, { nsId }));
      assertEquals(own.filter((id) => !all.has(id)), []);
    } finally {
      setns(namespace.fd, CLONE_NEWNS);
    }
  },
);

kernelTestSince("6.18", "listmount() passes on what the kernel refuses", () => {
  using detached = makeDetached("tmpfs");
  using namespace = open("/proc/thread-self/ns/mnt", 0);
  using directory = open(SCRATCH, 0);
  const nsId = statmount(mountId("/")).mntNsId!;
  const refused = (code: string, ...args: Parameters<typeof listmount>) => {
    const error = assertThrows(() => listmount(...args), SyscallError);
    assertEquals([error.syscall, error.code], ["listmount", code]);
  };
  refused("EINVAL", 0n);
  refused("EINVAL", 5n);
  refused("EINVAL", LSMT_ROOT, { last: 5n });
  refused("EINVAL", LSMT_ROOT, { flags: 0xffff_ffff });
  refused("EINVAL", LSMT_ROOT, { flags: 2, reverse: true });
  refused("ENOENT", mountId(detached));
  refused("EOVERFLOW", LSMT_ROOT, { count: 1_000_001 });
  refused("ENOENT", LSMT_ROOT, { nsId: 1n << 60n });
  refused("EBADF", LSMT_ROOT, { nsFd: -1 });
  refused("EBADF", LSMT_ROOT, { nsFd: closedFd() });
  refused("EINVAL", LSMT_ROOT, { nsFd: directory.fd });
  refused("EINVAL", LSMT_ROOT, { nsFd: namespace.fd, nsId });
});

gatedTest(
  "listmount() throws ENOSYS where the kernel lacks the call",
  missingPermission(["ffi"]),
  () =>
    withoutCall("listmount", () => {
      const error = assertThrows(
        () =>
          listmount(LSMT_ROOT, {
            last: 0x8000_0001n,
            reverse: true,
            nsFd: 7,
            nsId: 16n,
          }),
        SyscallError,
      );
      assertEquals(
        error.message,
        "listmount({size=32, mnt_ns_fd=7, mnt_id=LSMT_ROOT, param=0x80000001, mnt_ns_id=0x10}, …, 1024, LISTMOUNT_REVERSE): ENOSYS (Function not implemented)",
      );
    }),
);

Deno.test("listmount() refuses a wrong type", () => {
  for (const wrong of ["1", {}, true] as never[]) {
    const refused = (options: unknown) =>
      assertThrows(() => listmount(1n, options as never), TypeError);
    assertThrows(() => listmount(wrong), TypeError, '"id" must be');
    refused({ last: wrong });
    refused({ count: wrong });
    refused({ nsId: wrong });
    refused({ nsFd: wrong });
    refused({ flags: wrong });
  }
});

Deno.test("listmount() refuses a number that does not fit", () => {
  const refused = (...args: Parameters<typeof listmount>) =>
    assertThrows(() => listmount(...args), RangeError);
  refused(-1n);
  refused(1n << 64n);
  refused(LSMT_ROOT, { last: 1n << 64n });
  refused(LSMT_ROOT, { count: -1 });
  refused(LSMT_ROOT, { count: 1.5 });
  refused(LSMT_ROOT, { count: 2 ** 52 });
  refused(LSMT_ROOT, { count: Infinity });
  refused(LSMT_ROOT, { nsId: -1n });
  refused(LSMT_ROOT, { nsFd: 2 ** 31 });
  refused(LSMT_ROOT, { flags: 2 ** 32 });
});
