import { Directory } from "../../src/directory.ts";
import {
  kernelTest,
  MANY,
  mountsBelow,
  mountTable,
  type Needs,
  SCRATCH,
  withoutProc,
} from "../support/testing.ts";
import type { MountInfo } from "../../src/list/mount_info.ts";
import { listMounts } from "../../src/list/list_mounts.ts";
import { libc } from "../../src/sys/libc.ts";
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  MNT_DETACH,
  MS_REC,
  MS_SHARED,
  MS_SLAVE,
  OPEN_TREE_CLONE,
  STATMOUNT_MNT_NS_ID,
  STATMOUNT_SB_SOURCE,
} from "../../src/sys/constants.ts";
import { kernelTestSince } from "../support/since.ts";
import {
  bind,
  makeDirectory,
  makeFile,
  mountEveryKind,
  mountManyOfEveryKind,
  mountTmpfs,
} from "../support/every_kind.ts";
import { mkdirat, unlinkat } from "../../src/sys/names.ts";
import {
  belowByStatmount,
  belowByTable,
  listByStatmount,
  listByTable,
  openNamespace,
} from "../../src/list/read.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { mount, openTree, umount2 } from "../../src/sys/mount.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { type Held, hold } from "../support/held.ts";
import {
  tracedCalls,
  withCallRefused,
  withoutCall,
} from "../support/scratch.ts";
import { MountError } from "../../src/error/error.ts";
import { setTracer, type TracedCall } from "../../src/sys/call.ts";
import { statmount } from "../../src/sys/statmount.ts";
import { UnsupportedError } from "../../src/sys/error.ts";

/** Takes the scratch directory's mounts away, that it is left as it was. */
function unmountScratch(lazy = false): void {
  using scratch = Directory.open(SCRATCH);
  scratch.unmountAll({ lazy });
}

function targets(mounts: MountInfo[]): string[] {
  return mounts.map(({ target }) => target.replace(SCRATCH, ""));
}

function below(path: string | Directory): string[] {
  return targets(listMounts({ below: path }));
}

const NAMESPACE_NEEDS = {
  permissions: ["run", "read", "env"],
  commands: ["unshare", "mount", "sleep"],
} satisfies Needs;

/** A function as if statmount(2) told no sources, as before Linux 6.13. */
function withoutSources(fn: () => void): void {
  const real = libc.statmount;
  Object.defineProperty(libc, "statmount", {
    value(...args: Parameters<typeof real>) {
      const mask = new DataView(args[1]!.buffer);
      const PARAM = 16;
      const known = mask.getBigUint64(PARAM, true) &
        ~BigInt(STATMOUNT_SB_SOURCE);
      mask.setBigUint64(PARAM, known, true);
      return real(...args);
    },
  });
  try {
    fn();
  } finally {
    Object.defineProperty(libc, "statmount", { value: real });
  }
}

kernelTestSince(
  "6.13",
  "listMounts() finds the same both ways, of every kind",
  () => {
    try {
      mountEveryKind();
      const many = makeDirectory("many");
      for (let i = 0; i < 200; i++) {
        mkdirat(AT_FDCWD, `${many}/${i}`, 0o755);
        bind(`${SCRATCH}/source/sub`, `${many}/${i}`, i % 2 ? MS_REC : 0);
      }
      const mounts = listByStatmount()!;
      assert(mounts.length > 300);
      assertEquals(listByTable(), mounts);
      assertEquals(listMounts(), mounts);
      assertEquals(mounts.length, mountTable().length);
      for (const path of ["", "/many", "/newer", "/odd0", "/shared", "/gone"]) {
        makeOrOpen(`${SCRATCH}${path}`, (directory) => {
          const found = belowByStatmount(directory.fd, ATTEMPTED);
          assertEquals(belowByTable(directory.fd, ATTEMPTED), found);
        });
      }
    } finally {
      unmountScratch();
    }
  },
);

const ATTEMPTED = { action: "list", target: "." };

function makeOrOpen(path: string, fn: (directory: Directory) => void): void {
  using root = Directory.open(SCRATCH);
  const name = path.slice(SCRATCH.length + 1);
  if (name !== "") root.mkdir(name, { recursive: true });
  using directory = Directory.open(path);
  fn(directory);
}

kernelTestSince("6.8", "listMounts() tells what a mount is", () => {
  try {
    mountEveryKind();
    const find = (name: string) => {
      const { id, parentId, tableId, parentTableId, ...rest } = listMounts()
        .findLast(({ target }) => target === `${SCRATCH}/${name}`)!;
      assert(id >= 1n << 31n && parentId >= 1n << 31n);
      const [line] = mountsBelow(`${SCRATCH}/${name}`);
      if (name === "flags0") {
        assert(line!.startsWith(`${tableId} ${parentTableId} `), line);
      }
      return {
        ...rest,
        target: rest.target.slice(SCRATCH.length),
        // Kernels with CONFIG_TMPFS_INODE64 add a word of their own.
        superOptions: rest.superOptions.filter((word) => word !== "inode64"),
      };
    };
    const plain = find("flags0");
    assert(/^0:\d+$/.test(plain.deviceNumber));
    assertEquals(plain, {
      target: "/flags0",
      root: "/",
      type: "tmpfs",
      source: "scratch",
      options: ["rw", "relatime"],
      superOptions: ["rw", "size=64k"],
      propagation: "private",
      deviceNumber: plain.deviceNumber,
    });
    assertEquals(
      Array.from({ length: 11 }, (_, i) => find(`bind${i}`).options.join()),
      [
        "rw,relatime",
        "ro,relatime",
        "rw,nosuid,nodev,noexec,relatime",
        "rw,noatime",
        "rw,noatime,nodiratime",
        "rw,nodiratime,relatime",
        "rw",
        "rw,nodiratime",
        "rw,relatime,nosymfollow",
        "rw,relatime",
        "ro,nosuid,nodev,noexec,noatime,nosymfollow",
      ],
    );
    assertEquals(find("flags1").superOptions, ["ro", "size=64k"]);
    assertEquals(find("flags9").superOptions, ["rw", "sync", "size=64k"]);
    assertEquals(find("bind0").root, "/source");
    assertEquals(find("of gone").root, "/gone//deleted");
    assertEquals(find("\udcff\udc80").source, "\udcff\udc80");
    assertEquals(find("line\nbreak").source, "line\nbreak");
    assertEquals(find("no source").source, "");
    assertEquals(find("on a b").root, "/file a b");
    assert(/^net:\[\d+\]$/.test(find("ns").root));
    assertEquals(
      find("merged").superOptions.find((word) => word.startsWith("lowerdir")),
      `lowerdir=${SCRATCH}/a\\,b:${SCRATCH}/c\\:d:${SCRATCH}/e\\\\f`,
    );
    const shared = find("shared");
    assertEquals(shared.propagation, "shared");
    assertEquals(find("peer").peerGroup, shared.peerGroup);
    const slave = find("slave");
    assertEquals([slave.propagation, slave.peerGroup, slave.master], [
      "slave",
      undefined,
      shared.peerGroup,
    ]);
    const both = find("slave and shared");
    assertEquals([both.propagation, both.master], ["shared", shared.peerGroup]);
    assert(both.peerGroup !== shared.peerGroup);
    assertEquals(find("unbindable").propagation, "unbindable");
    for (const name of ["shared", "peer", "slave", "slave and shared"]) {
      assertEquals(find(`${name}/in`).type, "tmpfs");
    }
  } finally {
    unmountScratch();
  }
});

kernelTestSince(
  "6.13",
  "listMounts() tells a group that mounts come from by way of one out of sight",
  () => {
    const shared = mountTmpfs(makeDirectory("shared"));
    mount(null, shared, null, MS_SHARED, null);
    const between = makeDirectory("between");
    bind(shared, between);
    mount(null, between, null, MS_SLAVE, null);
    mount(null, between, null, MS_SHARED, null);
    const last = makeDirectory("last");
    bind(between, last);
    mount(null, last, null, MS_SLAVE, null);
    using _outOfSight = new OwnedFd(
      openTree(AT_FDCWD, between, OPEN_TREE_CLONE),
    );
    umount2(between);
    const mounts = listByStatmount()!;
    assertEquals(listByTable(), mounts);
    const [from, to] = mounts.slice(-2);
    assertEquals([from!.target, to!.target], [shared, last]);
    assertEquals(to!.propagateFrom, from!.peerGroup);
    assert(to!.master !== from!.peerGroup);
    unmountScratch();
  },
);

kernelTestSince(
  "6.13",
  `listMounts() finds the same both ways, of ${MANY} of every kind`,
  async () => {
    const many = mountManyOfEveryKind(MANY);
    await using held = await hold(["sh", "-c", "echo; exec sleep 1000"]);
    try {
      const mounts = listByStatmount()!;
      assert(mounts.length >= MANY);
      assertEquals(mounts.length, mountTable().length);
      // Their text compares faster, and says as much.
      const text = (mounts: MountInfo[]) =>
        mounts.map((mount) => Object.entries(mount).join("; ")).join("\n");
      const found = text(mounts);
      assert(text(listByTable()) === found);
      assert(text(listMounts({ namespace: held.pid })) === found);
      const inside = mountsBelow(many).length;
      assertEquals(listMounts({ below: many }).length, inside);
    } finally {
      umount2(many, MNT_DETACH);
    }
  },
  NAMESPACE_NEEDS,
);

kernelTestSince(
  "6.13",
  "listMounts() asks the kernel for no more than the subtree",
  () => {
    const a = mountTmpfs(makeDirectory("a"));
    for (let i = 0; i < 5; i++) mountTmpfs(makeDirectory(`a/${i}`));
    const calls = tracedCalls(() => assertEquals(below(a).length, 6));
    const asked = calls.filter(({ syscall }) => syscall === "statmount");
    // Each mount once, and the places of the directory and of its mounts.
    assert(asked.length < 6 + 8, String(asked.length));
    assert(!calls.some(({ args }) => args.join().includes("mountinfo")));
    umount2(a, MNT_DETACH);
  },
);

kernelTest("listMounts() with below takes no name that only starts so", () => {
  for (const name of ["a", "ab", "a/b", "a-"]) mountTmpfs(makeDirectory(name));
  assertEquals(below(`${SCRATCH}/a`), ["/a", "/a/b"]);
  assertEquals(below(`${SCRATCH}/a/b`), ["/a/b"]);
  assertEquals(below(SCRATCH), ["", "/a", "/ab", "/a/b", "/a-"]);
  makeDirectory("none");
  assertEquals(below(`${SCRATCH}/none`), []);
  assertEquals(listMounts({ below: "/" }), listMounts());
  unmountScratch();
});

kernelTest("listMounts() with below follows the caller's symlinks", () => {
  mountTmpfs(makeDirectory("a"));
  Deno.symlinkSync("a", `${SCRATCH}/link`);
  assertEquals(below(`${SCRATCH}/link`), ["/a"]);
  unmountScratch();
}, { permissions: ["read", "write"] });

kernelTest("listMounts() with below takes a file that is mounted on", () => {
  const file = makeFile("file");
  assertEquals(below(file), []);
  bind(makeFile("source"), file);
  bind(makeFile("other"), file);
  assertEquals(below(file), ["/file", "/file"]);
  unmountScratch();
});

kernelTest("listMounts() throws when it can't open what is below", () => {
  const error = assertThrows(
    () => listMounts({ below: `${SCRATCH}/no\nne` }),
    MountError,
    `Cannot list the mounts below "${SCRATCH}/no\\nne": openat2: ENOENT`,
  );
  assertEquals([error.code, error.target], ["ENOENT", `${SCRATCH}/no\nne`]);
  assertThrows(() => listMounts({ below: "" }), TypeError);
  assertThrows(() => listMounts({ below: "a\0b" }), TypeError);
  const number = 7.5 as unknown as string;
  assertThrows(() => listMounts({ below: number }), TypeError);
  using directory = Directory.open(SCRATCH);
  directory.close();
  assertThrows(() => listMounts({ below: directory }), TypeError, "closed");
});

kernelTestSince(
  "6.8",
  "listMounts() leaves out what vanishes meanwhile",
  () => {
    const a = mountTmpfs(makeDirectory("a"));
    const b = mountTmpfs(makeDirectory("b"));
    const before = listMounts().length;
    onFirst("listmount", () => umount2(a));
    assertEquals(listMounts().length, before - 1);
    onFirst("listmount", () => umount2(b));
    assertEquals(below(SCRATCH), [""]);
    // Between the table and the ids.
    mountTmpfs(a);
    withoutSources(() => {
      onFirst("listmount", () => umount2(a));
      assertEquals(targets(listByTable()).includes("/a"), false);
    });
  },
);

/** Does something right after the first call of a name that is made. */
function onFirst(name: string, fn: () => void): void {
  const previous = setTracer(({ syscall }: TracedCall) => {
    if (syscall !== name) return;
    setTracer(previous);
    fn();
  });
}

kernelTest("Directory.mounts() goes by the descriptor", () => {
  const bytes = "\udcff\udc80 \n";
  makeDirectory(bytes);
  using root = Directory.open(`${SCRATCH}/${bytes}`);
  mountTmpfs(makeDirectory(`${bytes}/m`));
  makeDirectory(`${bytes}/m/n\udcfe`);
  mountTmpfs(`${SCRATCH}/${bytes}/m/n\udcfe`);
  mountTmpfs(makeDirectory("other"));
  assertEquals(targets(root.mounts()), [
    `/${bytes}/m`,
    `/${bytes}/m/n\udcfe`,
  ]);
  using scratch = Directory.open(SCRATCH);
  rename(scratch, bytes, "new");
  makeDirectory(bytes);
  mountTmpfs(makeDirectory(`${bytes}/m`));
  assertEquals(targets(root.mounts()), ["/new/m", "/new/m/n\udcfe"]);
  unmountScratch();
});

/** Renames by the shortest way that the system calls of this project have. */
function rename(directory: Directory, from: string, to: string): void {
  const encode = (text: string) =>
    Uint8Array.from(
      [...text, "\0"].map((character) => character.charCodeAt(0) & 0xff),
    );
  const renameat = Deno.build.arch === "aarch64" ? 38 : 264;
  const result = libc.move_mount(
    renameat,
    directory.fd,
    encode(from),
    directory.fd,
    encode(to),
    0,
  );
  assertEquals(result, 0);
}

kernelTestSince(
  "6.13",
  "Directory.mounts() has a stack, opened before or after",
  () => {
    makeDirectory("d");
    using before = Directory.open(`${SCRATCH}/d`);
    assertEquals(before.mounts(), []);
    mountTmpfs(`${SCRATCH}/d`);
    using between = Directory.open(`${SCRATCH}/d`);
    makeDirectory("d/in");
    mountTmpfs(`${SCRATCH}/d/in`);
    mountTmpfs(`${SCRATCH}/d`);
    using after = Directory.open(`${SCRATCH}/d`);
    const all = ["/d", "/d/in", "/d"];
    for (const directory of [before, between, after]) {
      assertEquals(targets(directory.mounts()), all);
      assertEquals(
        belowByTable(directory.fd, ATTEMPTED),
        belowByStatmount(directory.fd, ATTEMPTED),
      );
    }
    unmountScratch(true);
  },
);

kernelTest("Directory.mounts() has nothing of what covers it", () => {
  makeDirectory("a");
  makeDirectory("a/b");
  using inside = Directory.open(`${SCRATCH}/a/b`);
  makeDirectory("a/b/own");
  mountTmpfs(`${SCRATCH}/a/b/own`);
  mountTmpfs(`${SCRATCH}/a`);
  makeDirectory("a/b");
  makeDirectory("a/b/foreign");
  mountTmpfs(`${SCRATCH}/a/b/foreign`);
  assertEquals(targets(inside.mounts()), ["/a/b/own"]);
  assertEquals(below(`${SCRATCH}/a/b`), ["/a/b/foreign"]);
  unmountScratch();
});

kernelTest("Directory.mounts() knows a directory that was removed", () => {
  const gone = makeDirectory("gone");
  const on = makeDirectory("on");
  bind(gone, on);
  using plain = Directory.open(gone);
  using root = Directory.open(on);
  unlinkat(AT_FDCWD, gone, AT_REMOVEDIR);
  // This directory has the name that the kernel shows for the removed one.
  mountTmpfs(makeDirectory("gone (deleted)"));
  assertEquals(plain.mounts(), []);
  assertEquals(targets(root.mounts()), ["/on"]);
  unmountScratch(true);
});

kernelTest("Directory.mounts() asks again when it is renamed meanwhile", () => {
  makeDirectory("a");
  mountTmpfs(makeDirectory("a/m"));
  using root = Directory.open(`${SCRATCH}/a`);
  using scratch = Directory.open(SCRATCH);
  onFirst("listmount", () => rename(scratch, "a", "b"));
  assertEquals(targets(root.mounts()), ["/b/m"]);
  // The same by the mount table.
  onFirst("read", () => rename(scratch, "b", "c"));
  withoutCall("statmount", () => {
    assertEquals(targets(root.mounts()), ["/c/m"]);
  });
  unmountScratch();
});

kernelTest(
  "Directory.unmountAll() takes all though it was elsewhere for a while",
  () => {
    using scratch = Directory.open(SCRATCH);
    makeDirectory("a");
    using root = Directory.open(`${SCRATCH}/a`);
    let places = 0;
    for (let nth = 1, reached = true; reached; nth++) {
      for (const name of ["a/m", "a/m/in"]) {
        root.mkdir(name.slice(2), { recursive: true });
        mountTmpfs(`${SCRATCH}/${name}`);
      }
      // It is moved away for as long as one statmount(2) takes, and comes back.
      const real = libc.statmount;
      let calls = 0;
      Object.defineProperty(libc, "statmount", {
        configurable: true,
        value: (...args: Parameters<typeof real>) => {
          if (++calls !== nth) return real(...args);
          rename(scratch, "a", "b");
          const result = real(...args);
          rename(scratch, "b", "a");
          return result;
        },
      });
      try {
        assertEquals(root.unmountAll(), 2);
      } finally {
        Object.defineProperty(libc, "statmount", {
          configurable: true,
          value: real,
        });
      }
      reached = calls >= nth;
      places++;
    }
    assert(places > 4);
  },
);

kernelTest(
  "Directory.mounts() gives up when it is renamed all the time",
  () => {
    makeDirectory("a");
    using root = Directory.open(`${SCRATCH}/a`);
    using scratch = Directory.open(SCRATCH);
    let name = "a";
    const previous = setTracer(({ syscall }) => {
      if (syscall !== "readlinkat") return;
      const next = name === "a" ? "b" : "a";
      rename(scratch, name, next);
      name = next;
    });
    try {
      const error = assertThrows(() => root.mounts(), MountError, "renamed");
      assertEquals(error.code, "EAGAIN");
    } finally {
      setTracer(previous);
    }
  },
);

kernelTest("Directory.mounts() throws outside this namespace", async () => {
  mkdirat(AT_FDCWD, `${SCRATCH}/a`, 0o755);
  using detached = new OwnedFd(
    openTree(AT_FDCWD, `${SCRATCH}/a`, OPEN_TREE_CLONE),
  );
  using inDetached = Directory.fromFd(detached.fd);
  mountTmpfs(`${SCRATCH}/a`);
  using lazy = Directory.open(`${SCRATCH}/a`);
  umount2(`${SCRATCH}/a`, MNT_DETACH);
  const script = "echo there; exec sleep 60";
  await using other = await hold(["unshare", "-m", "sh", "-c", script]);
  using foreign = Directory.open(`/proc/${other.pid}/root/proc`);
  for (const directory of [inDetached, lazy, foreign]) {
    const check = () => {
      const error = assertThrows(
        () => directory.mounts(),
        MountError,
        "another mount namespace",
      );
      assertEquals([error.code, error.target], ["ENOENT", "."]);
    };
    check();
    withoutCall("statmount", check);
  }
}, { permissions: ["run", "read", "env"], commands: ["unshare", "sleep"] });

/** Holds a process in a mount namespace of its own, with a tmpfs on a path. */
async function holdNamespace(path: string, inside = ""): Promise<Held> {
  const script = `mount -t tmpfs there "$0"; ${inside} echo; exec sleep 1000`;
  return await hold([
    ...["unshare", "-m", "--propagation", "private"],
    ...["sh", "-ec", script, path],
  ]);
}

kernelTestSince(
  "6.13",
  "listMounts() lists another process's mounts",
  async () => {
    const a = makeDirectory("a");
    const own = listMounts();
    await using held = await holdNamespace(a, 'mkdir "$0/b";');
    const namespace = held.pid;
    const theirs = listMounts({ namespace });
    assertEquals(theirs.length, own.length + 1);
    assertEquals(targets(listMounts({ namespace, below: a })), ["/a"]);
    assertEquals(listMounts({ namespace, below: `${a}/` }).length, 1);
    assertEquals(listMounts({ namespace, below: `${a}/b` }), []);
    assertEquals(listMounts(), own);
    const { id, source } = theirs.at(-1)!;
    assertEquals([source, id > own.at(-1)!.id], ["there", true]);
    // The same by the namespace's id.
    using file = openNamespace(`/proc/${namespace}`);
    const nsFd = file.fd;
    const { mntNsId } = statmount(id, STATMOUNT_MNT_NS_ID, { nsFd });
    const all = listMounts({ namespace: mntNsId! });
    const seen = new Set(theirs.map(({ id }) => id));
    assertEquals(all.filter(({ id }) => seen.has(id)), theirs);
    // The process's root hides the others, for example an initramfs.
    const hidden = all.filter(({ id }) => !seen.has(id));
    assertEquals(
      hidden.filter(({ tableId }) => inTable(held.pid, tableId)),
      [],
    );
    // If the kernel tells no unique ids, they are those of the table.
    withoutCall("listmount", () => {
      assertEquals(
        listMounts({ namespace }).map(({ id }) => Number(id)),
        theirs.map(({ tableId }) => tableId),
      );
      assertThrows(
        () => listMounts({ namespace: mntNsId! }),
        UnsupportedError,
        "Linux 6.13",
      );
    });
  },
  NAMESPACE_NEEDS,
);

kernelTest("listMounts() shows what a process sees from its root", async () => {
  const jail = makeDirectory("jail");
  bind("/", jail);
  mountTmpfs(`${jail}/tmp`);
  await using held = await hold([
    ...["unshare", "-m", "--propagation", "private", `--root=${jail}`],
    ...["sh", "-c", "echo; exec sleep 1000"],
  ]);
  assertEquals(
    listMounts({ namespace: held.pid }).map(({ target }) => target),
    ["/", "/tmp"],
  );
  umount2(jail, MNT_DETACH);
}, NAMESPACE_NEEDS);

kernelTestSince(
  "6.11",
  "listMounts() throws for a namespace that is not there",
  async () => {
    const held = await hold(["sh", "-c", "echo; exec sleep 1000"]);
    const { pid } = held;
    await held[Symbol.asyncDispose]();
    const error = assertThrows(
      () => listMounts({ namespace: pid }),
      MountError,
      `Cannot list the mounts of process ${pid}: openat2: ENOENT (No such file or directory): it is not there`,
    );
    assertEquals(error.target, "/");
    const byId = assertThrows(() => listMounts({ namespace: 1n }), MountError);
    assertEquals([byId.code, byId.syscall], ["ENOENT", "listmount"]);
    for (const namespace of [0, -1, 1.5, NaN, 2 ** 31, 0n]) {
      assertThrows(() => listMounts({ namespace }), RangeError);
    }
    const text = "1" as unknown as number;
    assertThrows(() => listMounts({ namespace: text }), TypeError);
    using directory = Directory.open(SCRATCH);
    for (const below of ["relative", "", directory]) {
      assertThrows(
        () => listMounts({ namespace: Deno.pid, below }),
        TypeError,
        "absolute",
      );
    }
  },
  NAMESPACE_NEEDS,
);

kernelTest("listMounts() reads the table where statmount() is missing", () => {
  mountTmpfs(makeDirectory("a"));
  const expected = listMounts();
  const strip = (mounts: MountInfo[]) =>
    mounts.map(({ id: _id, parentId: _parentId, ...rest }) => rest);
  const reusedIds = mountTable().map((line) => BigInt(line.split(" ")[0]!));
  const check = () => {
    assertEquals(strip(listMounts()), strip(expected));
    assertEquals(listMounts().map(({ id }) => id), reusedIds);
    assertEquals(below(`${SCRATCH}/a`), ["/a"]);
    assertEquals(below(SCRATCH), ["", "/a"]);
    assertEquals(listMounts({ below: "/" }).length, expected.length);
  };
  withoutCall("statmount", check);
  withoutCall("listmount", () => {
    assertEquals(listByStatmount(), null);
    check();
  });
  // As old seccomp filters answer.
  withCallRefused("statmount", check);
  unmountScratch();
});

kernelTest("listMounts() has unique ids where sources can't be asked", () => {
  mountTmpfs(makeDirectory("a"));
  const expected = listMounts();
  const inA = listMounts({ below: `${SCRATCH}/a` });
  withoutSources(() => {
    assertEquals(listByStatmount(), null);
    assertEquals(listMounts(), expected);
    assertEquals(listMounts({ below: `${SCRATCH}/a` }), inA);
  });
  // The answer omits an empty source, too.
  const b = mountTmpfs(makeDirectory("b"), 0, "");
  assertEquals(listMounts({ below: b })[0]!.source, "");
  unmountScratch();
});

kernelTestSince("6.13", "listMounts() needs /proc for a path alone", () => {
  mountTmpfs(makeDirectory("a"));
  makeDirectory("d");
  using plain = Directory.open(`${SCRATCH}/d`);
  mount("cover", "/proc", "tmpfs", 0, null);
  try {
    assertEquals(listMounts().at(-1)!.target, "/proc");
    assertEquals(below(SCRATCH), ["", "/a"]);
    const list = () => plain.mounts();
    const error = assertThrows(list, MountError, "/proc is missing");
    assertEquals([error.code, error.syscall], ["ENOENT", "readlinkat"]);
    assertThrows(() => plain.unmountAll(), MountError, "/proc is missing");
  } finally {
    umount2("/proc");
  }
  unmountScratch();
});

kernelTest("listMounts() throws where the table can't be read", () => {
  withoutCall("listmount", () =>
    withoutCall("read", () => {
      assertThrows(() => listMounts(), Error, "read");
    }));
});

/** Whether the mount table of a process has a mount. */
function inTable(pid: number, tableId: number): boolean {
  return Deno.readTextFileSync(`/proc/${pid}/mountinfo`).split("\n")
    .some((line) => line.startsWith(`${tableId} `));
}

kernelTest("listMounts() of a process says that it needs /proc", () => {
  withoutProc(() => {
    const { message, hint } = assertThrows(
      () => listMounts({ namespace: Deno.pid }),
      MountError,
      `Cannot list the mounts of process ${Deno.pid}: openat2: ENOENT`,
    );
    assertEquals(hint, "This needs /proc, which is not mounted here");
    assert(!message.includes("it is not there"), message);
  });
});
