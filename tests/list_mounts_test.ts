import { assert, assertEquals, assertThrows } from "@std/assert";
import { Directory } from "../src/directory.ts";
import { MountError } from "../src/error.ts";
import {
  belowByStatmount,
  belowByTable,
  listMounts,
} from "../src/list_mounts.ts";
import type { MountInfo } from "../src/mount_info.ts";
import { OwnedFd } from "../src/owned_fd.ts";
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  MNT_DETACH,
  MS_BIND,
  MS_MOVE,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_NOSYMFOLLOW,
  MS_RDONLY,
  MS_REC,
  MS_REMOUNT,
  MS_SHARED,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
  MS_UNBINDABLE,
  O_CLOEXEC,
  O_CREAT,
  O_RDWR,
  OPEN_TREE_CLONE,
  STATMOUNT_SB_SOURCE,
} from "../src/sys/constants.ts";
import { libc } from "../src/sys/libc.ts";
import { mkdirat } from "../src/sys/mkdirat.ts";
import { mount } from "../src/sys/mount.ts";
import { openTree } from "../src/sys/open_tree.ts";
import { openat2 } from "../src/sys/openat2.ts";
import { setTracer, type TracedCall } from "../src/sys/trace.ts";
import { umount2 } from "../src/sys/umount2.ts";
import { unlinkat } from "../src/sys/unlinkat.ts";
import { tracedCalls, withCallRefused, withoutCall } from "./sys/scratch.ts";
import { listByStatmount, listByTable } from "../src/ways_to_list.ts";
import { hold } from "./held.ts";
import { kernelTest, mountsBelow, mountTable, SCRATCH } from "./support.ts";

/** Makes a directory in the scratch directory; gives its path. */
function makeDirectory(name: string): string {
  const path = `${SCRATCH}/${name}`;
  mkdirat(AT_FDCWD, path, 0o755);
  return path;
}

function makeFile(name: string): string {
  const path = `${SCRATCH}/${name}`;
  const flags = O_CREAT | O_RDWR | O_CLOEXEC;
  new OwnedFd(openat2(AT_FDCWD, path, { flags, mode: 0o644 })).close();
  return path;
}

function mountTmpfs(path: string, flags = 0, source = "scratch"): string {
  mount(source, path, "tmpfs", flags, "size=64k");
  return path;
}

function bind(from: string, to: string, flags = 0): void {
  mount(from, to, null, MS_BIND | flags, null);
}

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

/** Mounts of every kind that needs no device. */
function mountEveryKind(): void {
  const source = makeDirectory("source");
  mkdirat(AT_FDCWD, `${source}/sub`, 0o755);
  const flagSets = [
    0,
    MS_RDONLY,
    MS_NOSUID | MS_NODEV | MS_NOEXEC,
    MS_NOATIME,
    MS_NOATIME | MS_NODIRATIME,
    MS_NODIRATIME,
    MS_STRICTATIME,
    MS_STRICTATIME | MS_NODIRATIME,
    MS_NOSYMFOLLOW,
    MS_SYNCHRONOUS,
    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME |
    MS_NOSYMFOLLOW,
  ];
  for (const [i, flags] of flagSets.entries()) {
    mountTmpfs(makeDirectory(`flags${i}`), flags);
    const path = makeDirectory(`bind${i}`);
    bind(source, path);
    mount(null, path, null, MS_REMOUNT | MS_BIND | flags, null);
  }
  const names = [
    "a b",
    "tab\there",
    "line\nbreak",
    "back\\slash",
    "\\040",
    "num#ber",
    "ünï😀",
    "\udcff\udc80",
    "esc\x1b[31m",
    'quo"te',
    "com,ma",
    "x".repeat(255),
  ];
  for (const [i, name] of names.entries()) {
    mountTmpfs(makeDirectory(name), 0, name);
    const odd = makeDirectory(`source/${name}`);
    bind(odd, makeDirectory(`odd${i}`));
    const short = name.slice(0, 200);
    bind(makeFile(`file ${short}`), makeFile(`on ${short}`));
  }
  mountTmpfs(makeDirectory("no source"), 0, "");
  for (let i = 0; i < 20; i++) mountTmpfs(`${SCRATCH}/odd0`);
  // Options that have to be escaped.
  const layers = ["a,b", "c:d", "e\\f"].map((name) => makeDirectory(name));
  const literal = (path: string) =>
    path.replace(/\\/g, "\\\\").replace(/[,:]/g, "\\$&");
  for (const name of ["upper", "work", "merged"]) makeDirectory(name);
  mount(
    "an overlay",
    `${SCRATCH}/merged`,
    "overlay",
    0,
    `lowerdir=${layers.map(literal).join(":")},` +
      `upperdir=${SCRATCH}/upper,workdir=${SCRATCH}/work`,
  );
  mount("p", makeDirectory("proc"), "proc", MS_RDONLY, "hidepid=2");
  mount("s", makeDirectory("sys"), "sysfs", 0, null);
  mount("d", makeDirectory("pts"), "devpts", 0, "newinstance,mode=620");
  mount("m", makeDirectory("mqueue"), "mqueue", 0, null);
  bind("/proc/self/ns/net", makeFile("ns"));
  // A root that is gone.
  const gone = makeDirectory("gone");
  bind(gone, makeDirectory("of gone"));
  unlinkat(AT_FDCWD, gone, AT_REMOVEDIR);
  mountPropagations();
  // Moved: it is older than what it is now in.
  const moved = mountTmpfs(makeDirectory("moved"));
  mkdirat(AT_FDCWD, `${moved}/in`, 0o755);
  mountTmpfs(`${moved}/in`);
  const newer = mountTmpfs(makeDirectory("newer"));
  mkdirat(AT_FDCWD, `${newer}/to`, 0o755);
  mount(moved, `${newer}/to`, null, MS_MOVE, null);
  // Covered.
  mountTmpfs(newer);
}

function mountPropagations(): void {
  const shared = mountTmpfs(makeDirectory("shared"));
  mount(null, shared, null, MS_SHARED, null);
  for (const name of ["in", "deep"]) mkdirat(AT_FDCWD, `${shared}/${name}`, 0);
  const peer = makeDirectory("peer");
  bind(shared, peer);
  const slave = makeDirectory("slave");
  bind(shared, slave);
  mount(null, slave, null, MS_SLAVE, null);
  const both = makeDirectory("slave and shared");
  bind(shared, both);
  mount(null, both, null, MS_SLAVE, null);
  mount(null, both, null, MS_SHARED, null);
  const unbindable = makeDirectory("unbindable");
  mountTmpfs(unbindable);
  mount(null, unbindable, null, MS_UNBINDABLE, null);
  // Made once, this is there four times.
  mountTmpfs(`${shared}/in`);
}

kernelTest("listMounts() finds the same both ways, of every kind", () => {
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
});

const ATTEMPTED = { action: "list", target: "." };

function makeOrOpen(path: string, fn: (directory: Directory) => void): void {
  using root = Directory.open(SCRATCH);
  const name = path.slice(SCRATCH.length + 1);
  if (name !== "") root.mkdir(name, { recursive: true });
  using directory = Directory.open(path);
  fn(directory);
}

kernelTest("listMounts() tells what a mount is", () => {
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
      return { ...rest, target: rest.target.slice(SCRATCH.length) };
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

kernelTest(
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

kernelTest("listMounts() finds the same both ways, of 10,000", () => {
  const source = makeDirectory("source");
  const many = makeDirectory("many");
  // Together with this they are gone at once.
  mountTmpfs(many);
  mount(null, many, "tmpfs", MS_REMOUNT, "size=16m,nr_inodes=20000");
  for (let i = 0; i < 10_000; i++) {
    const path = `${many}/${i}`;
    mkdirat(AT_FDCWD, path, 0o755);
    bind(source, path);
  }
  const mounts = listByStatmount()!;
  assertEquals(mounts.length > 10_000, true);
  // Their text compares faster, and says as much.
  const text = (mounts: MountInfo[]) =>
    mounts.map((mount) => Object.entries(mount).join("; ")).join("\n");
  const found = text(mounts);
  assert(text(listByTable()) === found);
  assertEquals(listMounts({ below: many }).length, 10_001);
  umount2(many, MNT_DETACH);
});

kernelTest("listMounts() asks the kernel for no more than the subtree", () => {
  const a = mountTmpfs(makeDirectory("a"));
  for (let i = 0; i < 5; i++) mountTmpfs(makeDirectory(`a/${i}`));
  const calls = tracedCalls(() => assertEquals(below(a).length, 6));
  const asked = calls.filter(({ syscall }) => syscall === "statmount");
  // Each once, and where the directory and what holds it are.
  assert(asked.length < 6 + 8, String(asked.length));
  assert(!calls.some(({ args }) => args.join().includes("mountinfo")));
  umount2(a, MNT_DETACH);
});

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

kernelTest("listMounts() leaves out what vanishes meanwhile", () => {
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
});

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

kernelTest("Directory.mounts() has a stack, opened before or after", () => {
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
});

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
  // What is now called as the kernel calls the one that was removed.
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
  // Of an empty source the answer has nothing either.
  const b = mountTmpfs(makeDirectory("b"), 0, "");
  assertEquals(listMounts({ below: b })[0]!.source, "");
  unmountScratch();
});

kernelTest("listMounts() needs /proc for a path alone", () => {
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
