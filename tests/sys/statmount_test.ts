import { kernelTestSince, missingSince } from "../support/since.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  CLONE_NEWNS,
  LSMT_ROOT,
  MNT_DETACH,
  MNT_ID_REQ_SIZE_VER0,
  MNT_ID_REQ_SIZE_VER1,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_BIND,
  MS_PRIVATE,
  MS_RDONLY,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
  O_DIRECTORY,
  O_PATH,
  O_RDWR,
  STATMOUNT_BY_FD,
  STATMOUNT_FS_TYPE,
  STATMOUNT_MNT_BASIC,
  STATMOUNT_MNT_GIDMAP,
  STATMOUNT_MNT_NS_ID,
  STATMOUNT_MNT_POINT,
  STATMOUNT_MNT_ROOT,
  STATMOUNT_MNT_UIDMAP,
  STATMOUNT_PROPAGATE_FROM,
  STATMOUNT_SB_BASIC,
} from "../../src/sys/constants.ts";
import {
  attach,
  closedFd,
  makeDetached,
  makeDirectory,
  mountId,
  mountTmpfs,
  open,
  tracedCalls,
  withoutCall,
} from "../support/scratch.ts";
import { mkdirat } from "../../src/sys/names.ts";
import {
  mount,
  mountSetattr,
  moveMount,
  umount2,
} from "../../src/sys/mount.ts";
import {
  enterPrivateNamespace,
  gatedTest,
  leavePrivateNamespace,
  missingPermission,
  mountsBelow,
  SCRATCH,
} from "../support/testing.ts";
import {
  listmount,
  type Statmount,
  statmount,
} from "../../src/sys/statmount.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { libc, NR } from "../../src/sys/libc.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { withUserNamespace } from "../support/user_namespace.ts";
import { setns, unshare } from "../../src/sys/process.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import {
  fsconfigCreate,
  fsconfigSetString,
  fsmount,
  fsopen,
} from "../../src/sys/fscontext.ts";

kernelTestSince("6.13", "statmount() says what the mount table says", () => {
  const attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
    MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME | MOUNT_ATTR_NODIRATIME |
    MOUNT_ATTR_NOSYMFOLLOW | MOUNT_ATTR_RDONLY;
  using plain = mountTmpfs("plain");
  using _restricted = mountTmpfs("restricted", attributes);
  using _strict = mountTmpfs("strict", MOUNT_ATTR_STRICTATIME);
  using detachedProc = makeDetached("proc", [["hidepid", "ptraceable"]]);
  using _proc = attach(detachedProc, "a proc");
  mkdirat(AT_FDCWD, `${plain.path}/sub directory`, 0o755);
  mkdirat(AT_FDCWD, `${plain.path}/bind`, 0o755);
  mount(
    `${plain.path}/sub directory`,
    `${plain.path}/bind`,
    null,
    MS_BIND,
    null,
  );
  mount(null, `${plain.path}/bind`, null, MS_SHARED, null);
  makeDirectory("slave");
  mount(`${plain.path}/bind`, `${SCRATCH}/slave`, null, MS_BIND, null);
  mount(null, `${SCRATCH}/slave`, null, MS_SLAVE, null);

  const scratch = mountId(SCRATCH);
  const found = [scratch, ...listmount(scratch)].map((id) =>
    tableLine(statmount(id))
  );
  assertEquals(found.toSorted(), mountsBelow(SCRATCH).map(unescape).toSorted());
  umount2(`${SCRATCH}/slave`, MNT_DETACH);
});

kernelTestSince(
  "6.8",
  "statmount() gives the ids of the mount and its parent",
  () => {
    using outer = mountTmpfs("outer");
    using inner = mountTmpfs("outer/inner");
    const answer = statmount(inner.id, STATMOUNT_MNT_BASIC);
    assertEquals(answer.mntId, inner.id);
    assertEquals(answer.mntParentId, outer.id);
  },
);

kernelTestSince("6.8", "statmount() gives the mount's propagation", () => {
  using scratch = mountTmpfs("m");
  const propagation = () => {
    const { mntPropagation, mntPeerGroup, mntMaster, propagateFrom } =
      statmount(scratch.id, STATMOUNT_MNT_BASIC | STATMOUNT_PROPAGATE_FROM);
    assertEquals(mntMaster, 0n);
    assertEquals(propagateFrom, 0n);
    return [mntPropagation, mntPeerGroup !== 0n];
  };
  assertEquals(propagation(), [BigInt(MS_PRIVATE), false]);
  mountSetattr(AT_FDCWD, scratch.path, 0, { propagation: MS_SHARED });
  assertEquals(propagation(), [BigInt(MS_SHARED), true]);
  mountSetattr(AT_FDCWD, scratch.path, 0, { propagation: MS_UNBINDABLE });
  assertEquals(propagation(), [BigInt(MS_UNBINDABLE), false]);
});

kernelTestSince(
  "6.8",
  "statmount() tells the file system's flags from the mount's",
  () => {
    using readOnlyMount = mountTmpfs("m", MOUNT_ATTR_RDONLY);
    const mask = STATMOUNT_SB_BASIC | STATMOUNT_MNT_BASIC;
    const first = statmount(readOnlyMount.id, mask);
    assertEquals([first.sbFlags, first.mntAttr], [
      0,
      BigInt(MOUNT_ATTR_RDONLY),
    ]);
    makeDirectory("s");
    mount("scratch", `${SCRATCH}/s`, "tmpfs", MS_RDONLY, null);
    mountSetattr(AT_FDCWD, `${SCRATCH}/s`, 0, { attrClr: MOUNT_ATTR_RDONLY });
    const second = statmount(mountId(`${SCRATCH}/s`), mask);
    assertEquals([second.sbFlags, second.mntAttr], [MS_RDONLY, 0n]);
    assertEquals(second.sbMagic, 0x0102_1994n);
    umount2(`${SCRATCH}/s`, MNT_DETACH);
  },
);

kernelTestSince("6.8", "statmount() answers what is asked for", () => {
  using scratch = mountTmpfs("m");
  const answer = statmount(
    scratch.id,
    BigInt(STATMOUNT_FS_TYPE | STATMOUNT_MNT_ROOT),
  );
  const { mask, fsType, mntRoot, ...rest } = answer;
  assertEquals(mask, BigInt(STATMOUNT_FS_TYPE | STATMOUNT_MNT_ROOT));
  assertEquals([fsType, mntRoot], ["tmpfs", "/"]);
  assertEquals(Object.values(rest).filter((value) => value !== undefined), []);
});

kernelTestSince(
  "6.8",
  "statmount() answers an empty mask with an empty one",
  () => {
    using scratch = mountTmpfs("m");
    const { mask, ...rest } = statmount(scratch.id, 0);
    assertEquals(mask, 0n);
    assertEquals(
      Object.values(rest).filter((value) => value !== undefined),
      [],
    );
  },
);

kernelTestSince(
  "6.8",
  "statmount() passes on mask bits beyond the 32nd",
  () => {
    using scratch = mountTmpfs("m");
    const [call] = tracedCalls(() => statmount(scratch.id, 1n << 63n));
    assertEquals(
      call!.args[0],
      `{size=24, mnt_id=0x${
        scratch.id.toString(16)
      }, param=0x8000000000000000}`,
    );
  },
);

kernelTestSince(
  "6.15",
  "statmount() leaves out what a mount does not have",
  () => {
    using detached = makeDetached("proc");
    using proc = attach(detached, "proc");
    const answer = statmount(proc.id);
    assertEquals(answer.fsSubtype, undefined);
    assertEquals(answer.mntUidmap, undefined);
    assertEquals(answer.mntGidmap, undefined);
    const kernelKnows = answer.supportedMask!;
    assertEquals(answer.mask & ~kernelKnows, 0n);
    assertEquals(kernelKnows & BigInt(STATMOUNT_MNT_UIDMAP) & answer.mask, 0n);
  },
);

kernelTestSince(
  "6.8",
  "statmount() gives the mount point when it holds a newline",
  () => {
    using scratch = mountTmpfs("new\nline");
    assertEquals(statmount(scratch.id).mntPoint, `${SCRATCH}/new\nline`);
  },
);

kernelTestSince(
  "6.8",
  "statmount() gives the mount point when it holds a space, a backslash and digits",
  () => {
    using scratch = mountTmpfs("a \\040\tb");
    assertEquals(statmount(scratch.id).mntPoint, `${SCRATCH}/a \\040\tb`);
  },
);

kernelTestSince(
  "6.8",
  "statmount() gives the mount point when it holds bytes that are no UTF-8",
  () => {
    using scratch = mountTmpfs("\udcff\udc80ä\udce4\u{1f4c1}\udc9f");
    const { mntPoint } = statmount(scratch.id);
    assertEquals(mntPoint, scratch.path);
    // And back again: the name still leads there.
    assertEquals(mountId(mntPoint!), scratch.id);
  },
);

kernelTestSince(
  "6.8",
  "statmount() gives the root of a bind mount when it holds a newline and a byte that is no UTF-8",
  () => {
    using scratch = mountTmpfs("m");
    const name = "d\n\udcfe";
    mkdirat(AT_FDCWD, `${scratch.path}/${name}`, 0o755);
    makeDirectory("b");
    mount(`${scratch.path}/${name}`, `${SCRATCH}/b`, null, MS_BIND, null);
    const { mntRoot } = statmount(mountId(`${SCRATCH}/b`));
    assertEquals(mntRoot, `/${name}`);
    umount2(`${SCRATCH}/b`, MNT_DETACH);
  },
);

kernelTestSince(
  "6.13",
  "statmount() gives a source that holds a space and a newline",
  () => {
    using detached = makeDetached("tmpfs", [["source", "a source\n\udcff"]]);
    using scratch = attach(detached, "m");
    assertEquals(statmount(scratch.id).sbSource, "a source\n\udcff");
  },
);

kernelTestSince(
  "6.13",
  "statmount() gives each option as it is when one holds a comma",
  () => {
    const layers = ["a,b", "c d", "e\\f", "g\nh", "\udcff"].map(makeDirectory);
    using detached = makeDetached(
      "overlay",
      layers.map((layer) => ["lowerdir+", layer] as const),
    );
    using overlay = attach(detached, "m");
    const { optArray, mntOpts } = statmount(overlay.id);
    assertEquals(
      optArray!.slice(0, layers.length),
      layers.map((layer) => `lowerdir+=${layer}`),
    );
    assertEquals(
      mntOpts!.split(",").slice(0, layers.length),
      ["a\\054b", "c\\040d", "e\\134f", "g\\012h", "\udcff"].map((name) =>
        `lowerdir+=${SCRATCH}/${name}`
      ),
    );
  },
);

kernelTestSince(
  "6.13",
  "statmount() grows its buffer for an overlay of many layers",
  () => {
    const layers = Array.from(
      { length: 100 },
      (_, i) => makeDirectory(`${"l".repeat(200)}${i}`),
    );
    using detached = makeDetached(
      "overlay",
      layers.map((layer) => ["lowerdir+", layer] as const),
    );
    using overlay = attach(detached, "m");
    let answer: Statmount | undefined;
    const calls = tracedCalls(() => {
      answer = statmount(overlay.id);
    });
    assertEquals(
      answer!.optArray!.slice(0, layers.length),
      layers.map((layer) => `lowerdir+=${layer}`),
    );
    assertEquals(
      [tableLine(answer!)],
      mountsBelow(overlay.path).map(unescape),
    );
    assertEquals(
      calls.map(({ args, result }) => [args[2], result]),
      [["4096", -1], ["16384", -1], ["65536", 0]],
    );
  },
);

kernelTestSince("6.8", "statmount() gives up with EOVERFLOW at 16 MiB", () => {
  const sizes: bigint[] = [];
  const real = libc.statmount;
  const buffer = new Uint8Array(8);
  Object.defineProperty(libc, "statmount", {
    value: (
      _number: number,
      request: Uint8Array<ArrayBuffer>,
      ...rest: [
        unknown,
        bigint,
      ]
    ) => {
      sizes.push(rest[1]);
      // The kernel refuses to list so many, before it writes any.
      return libc.listmount(NR.listmount, request, buffer, 2_000_000n, 0);
    },
  });
  try {
    assertThrows(() => statmount(LSMT_ROOT), SyscallError, "EOVERFLOW");
  } finally {
    Object.defineProperty(libc, "statmount", { value: real });
  }
  assertEquals(sizes, [12n, 14n, 16n, 18n, 20n, 22n, 24n].map((n) => 1n << n));
});

kernelTestSince(
  "6.15",
  "statmount() gives the id maps of an idmapped mount",
  () =>
    withUserNamespace(["0 1000 10", "20 5000 1"], ["7 8 9"], (usernsFd) => {
      using detached = makeDetached("tmpfs");
      mountSetattr(detached.fd, "", AT_EMPTY_PATH, {
        attrSet: MOUNT_ATTR_IDMAP,
        usernsFd,
      });
      using idmapped = attach(detached, "m");
      const answer = statmount(idmapped.id);
      assertEquals(answer.mntUidmap, [[0, 1000, 10], [20, 5000, 1]]);
      assertEquals(answer.mntGidmap, [[7, 8, 9]]);
      assertEquals(answer.mntAttr, BigInt(MOUNT_ATTR_IDMAP));
      assertEquals(
        statmount(idmapped.id, STATMOUNT_MNT_UIDMAP).mask,
        BigInt(STATMOUNT_MNT_UIDMAP),
      );
      assertEquals(
        statmount(idmapped.id, STATMOUNT_MNT_GIDMAP).mask,
        BigInt(STATMOUNT_MNT_GIDMAP),
      );
    }),
  { permissions: ["run", "read", "env"], commands: ["unshare", "sh"] },
);

kernelTestSince(
  "6.18",
  "statmount() finds a mount of another namespace by nsId and nsFd",
  () => {
    using scratch = mountTmpfs("m");
    using namespace = open("/proc/thread-self/ns/mnt", 0);
    const mask = STATMOUNT_MNT_POINT | STATMOUNT_MNT_NS_ID;
    const here = statmount(scratch.id, mask);
    const nsId = here.mntNsId!;
    unshare(CLONE_NEWNS);
    try {
      assertThrows(() => statmount(scratch.id), SyscallError, "ENOENT");
      assertEquals(statmount(scratch.id, mask, { nsId }), here);
      assertEquals(statmount(scratch.id, mask, { nsFd: namespace.fd }), here);
      const there = statmount(mountId(scratch.path), mask);
      assertEquals(there.mntPoint, here.mntPoint);
      assert(there.mntNsId !== nsId);
    } finally {
      setns(namespace.fd, CLONE_NEWNS);
    }
  },
);

kernelTestSince(
  "6.8",
  "statmount() sends the first version of its request when no namespace is given",
  () => {
    using scratch = mountTmpfs("m");
    const sizeOf = (options: { nsId?: bigint; nsFd?: number }) => {
      const [call] = tracedCalls(() => statmount(scratch.id, 0, options));
      return Number(/^\{size=(\d+)/.exec(String(call!.args[0]))![1]);
    };
    assertEquals(sizeOf({}), MNT_ID_REQ_SIZE_VER0);
    assertEquals(sizeOf({ nsId: 0n }), MNT_ID_REQ_SIZE_VER1);
    assertEquals(sizeOf({ nsFd: 0 }), MNT_ID_REQ_SIZE_VER1);
  },
);

kernelTestSince("6.18", "statmount() passes on what the kernel refuses", () => {
  using scratch = mountTmpfs("m");
  using directory = open(SCRATCH, O_PATH | O_DIRECTORY);
  using namespace = open("/proc/thread-self/ns/mnt", 0);
  using readable = open(SCRATCH, O_DIRECTORY);
  using network = open("/proc/thread-self/ns/net", 0);
  const { id } = scratch;
  const { mntIdOld, mntNsId: nsId } = statmount(id) as Required<Statmount>;
  const refused = (
    code: string,
    ...args: Parameters<typeof statmount>
  ) => {
    const error = assertThrows(() => statmount(...args), SyscallError);
    assertEquals([error.syscall, error.code], ["statmount", code]);
  };
  refused("EINVAL", BigInt(mntIdOld!));
  refused("EINVAL", 0n);
  refused("ENOENT", LSMT_ROOT);
  refused("EBADF", id, 0, { nsFd: -1 });
  refused("EBADF", id, 0, { nsFd: closedFd() });
  refused("EBADF", id, 0, { nsFd: directory.fd });
  refused("EINVAL", id, 0, { nsFd: readable.fd });
  refused("EINVAL", id, 0, { nsFd: network.fd });
  refused("EINVAL", id, 0, { nsFd: namespace.fd, nsId: nsId! });
  refused("ENOENT", id, 0, { nsId: 1n << 60n });
  refused("EINVAL", id, 0, { flags: 0x8000_0000 });
});

kernelTestSince(
  "6.8",
  "statmount() passes STATMOUNT_BY_FD on as it is given",
  () => {
    using scratch = mountTmpfs("m");
    using directory = open(scratch.path, O_PATH | O_DIRECTORY);
    const calls = tracedCalls(() => {
      try {
        const answer = statmount(0n, STATMOUNT_MNT_BASIC, {
          nsFd: directory.fd,
          flags: STATMOUNT_BY_FD,
        });
        assertEquals(answer.mntId, scratch.id);
      } catch (error) {
        // Before Linux 7.0.
        assertEquals((error as SyscallError).code, "EINVAL");
      }
    });
    assertEquals(calls.map(({ args }) => args), [[
      `{size=32, mnt_ns_fd=${directory.fd}, mnt_id=0, param=STATMOUNT_MNT_BASIC}`,
      "…",
      "4096",
      "STATMOUNT_BY_FD",
    ]]);
  },
);

kernelTestSince("6.8", "statmount() throws ENOENT for a detached mount", () => {
  using detached = makeDetached("tmpfs");
  const id = mountId(detached);
  assertThrows(() => statmount(id), SyscallError, "ENOENT");
  using _ = attach(detached, "m");
  assertEquals(statmount(id).mntId, id);
});

kernelTestSince(
  "6.8",
  "statmount() throws ENOENT for a mount that was unmounted",
  () => {
    const scratch = mountTmpfs("m");
    scratch[Symbol.dispose]();
    const error = assertThrows(() => statmount(scratch.id, 0), SyscallError);
    assertEquals(
      error.message,
      `statmount({size=24, mnt_id=0x${
        scratch.id.toString(16)
      }, param=0}, …, 4096, 0): ENOENT (No such file or directory)`,
    );
  },
);

gatedTest(
  "statmount() gives the subtype of a FUSE file system",
  missingSince("6.13", {}) ?? missingFuse(),
  () => {
    enterPrivateNamespace();
    try {
      makeDirectory("m");
      using device = open("/dev/fuse", O_RDWR);
      using context = new OwnedFd(fsopen("fuse"));
      fsconfigSetString(context.fd, "fd", String(device.fd));
      fsconfigSetString(context.fd, "subtype", "of.mine");
      fsconfigSetString(context.fd, "rootmode", "40000");
      fsconfigSetString(context.fd, "user_id", "0");
      fsconfigSetString(context.fd, "group_id", "0");
      fsconfigCreate(context.fd);
      using mount = new OwnedFd(fsmount(context.fd));
      moveMount(
        mount.fd,
        "",
        AT_FDCWD,
        `${SCRATCH}/m`,
        MOVE_MOUNT_F_EMPTY_PATH,
      );
      // Nobody answers there: a call with its path would wait for ever.
      const [id] = listmount(LSMT_ROOT, { reverse: true, count: 1 });
      const { fsType, fsSubtype, mntPoint } = statmount(id!);
      assertEquals(
        [fsType, fsSubtype, mntPoint],
        ["fuse", "of.mine", `${SCRATCH}/m`],
      );
    } finally {
      leavePrivateNamespace();
    }
  },
);

gatedTest(
  "statmount() throws ENOSYS where the kernel lacks the call",
  missingPermission(["ffi"]),
  () =>
    withoutCall("statmount", () => {
      const error = assertThrows(() => statmount(1n), SyscallError);
      assertEquals([error.syscall, error.code], ["statmount", "ENOSYS"]);
    }),
);

Deno.test("statmount() refuses a wrong type", () => {
  for (const wrong of [null, "1", {}, true] as never[]) {
    assertThrows(() => statmount(wrong), TypeError, '"id" must be');
    assertThrows(() => statmount(1n, wrong ?? "1"), TypeError, '"mask" must');
  }
  for (const wrong of ["1", 1n, {}, true] as never[]) {
    const refused = (options: unknown) =>
      assertThrows(() => statmount(1n, 0, options as never), TypeError);
    refused({ nsFd: wrong });
    refused({ flags: wrong });
    if (wrong !== 1n) refused({ nsId: wrong });
  }
});

Deno.test("statmount() refuses a number that does not fit", () => {
  const refused = (...args: Parameters<typeof statmount>) =>
    assertThrows(() => statmount(...args), RangeError, "does not fit");
  refused(-1n);
  refused(1n << 64n);
  refused(1n, -1);
  refused(1n, 0.5);
  refused(1n, 2 ** 53);
  refused(1n, 1n << 64n);
  refused(1n, 0, { nsId: -1n });
  refused(1n, 0, { nsFd: 2 ** 31 });
  refused(1n, 0, { flags: -1 });
  refused(1n, 0, { flags: 2 ** 32 });
});

/** A line of /proc/self/mountinfo, from what statmount says. */
function tableLine(answer: Statmount): string {
  const { sbFlags, mntAttr, mntPropagation, mntMaster } = answer;
  const attributes = Object.entries({
    nosuid: MOUNT_ATTR_NOSUID,
    nodev: MOUNT_ATTR_NODEV,
    noexec: MOUNT_ATTR_NOEXEC,
    noatime: MOUNT_ATTR_NOATIME,
    nodiratime: MOUNT_ATTR_NODIRATIME,
    nosymfollow: MOUNT_ATTR_NOSYMFOLLOW,
    idmapped: MOUNT_ATTR_IDMAP,
  }).filter(([, bit]) => (mntAttr! & BigInt(bit)) !== 0n);
  const words = attributes.map(([word]) => word);
  const others = MOUNT_ATTR_NOATIME | MOUNT_ATTR_STRICTATIME;
  if ((mntAttr! & BigInt(others)) === 0n) {
    const at = words.findIndex((word) => word.startsWith("nosym"));
    words.splice(at === -1 ? words.length : at, 0, "relatime");
  }
  const readOnly = (is: boolean) => is ? "ro" : "rw";
  const tags = [];
  if (mntPropagation === BigInt(MS_SHARED)) {
    tags.push(`shared:${answer.mntPeerGroup}`);
  }
  if (mntMaster !== 0n) tags.push(`master:${mntMaster}`);
  const type = answer.fsSubtype === undefined
    ? answer.fsType
    : `${answer.fsType}.${answer.fsSubtype}`;
  return [
    answer.mntIdOld,
    answer.mntParentIdOld,
    `${answer.sbDevMajor}:${answer.sbDevMinor}`,
    answer.mntRoot,
    answer.mntPoint,
    [readOnly((mntAttr! & 1n) !== 0n), ...words].join(),
    ...tags,
    "-",
    type,
    answer.sbSource ?? "none",
    [
      readOnly((sbFlags! & MS_RDONLY) !== 0),
      ...answer.optSecArray ?? [],
      ...answer.optArray ?? [],
    ].join(),
  ].join(" ");
}

/** Undoes the octals of /proc/self/mountinfo. */
function unescape(line: string): string {
  return line.replace(
    /\\([0-7]{3})/g,
    (_, octal) => String.fromCharCode(parseInt(octal, 8)),
  );
}

function missingFuse(): string | null {
  try {
    using _ = open("/dev/fuse", O_RDWR);
    return null;
  } catch (error) {
    if (error instanceof SyscallError) return "needs /dev/fuse";
    throw error;
  }
}
