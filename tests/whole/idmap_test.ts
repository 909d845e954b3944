import type { IdMaps } from "../../src/options/attributes.ts";
import {
  kernelTest,
  missingFor,
  mountsBelow,
  mountTable,
  SCRATCH,
  withoutProc,
} from "../support/testing.ts";
import { readFile } from "../../src/fd/open.ts";
import { MountTree } from "../../src/mount/tree.ts";
import { MountError } from "../../src/error/error.ts";
import { Directory } from "../../src/directory.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  mountId,
  open,
  tableOptions,
  withCallFailing,
  withoutCall,
} from "../support/scratch.ts";
import { kernelTestSince } from "../support/since.ts";
import { statmount } from "../../src/sys/statmount.ts";
import { createUserNamespace } from "../../src/mount/idmap.ts";
import { commandLine, programTest } from "../support/program.ts";

/** The same for user and group ids. */
function maps(inside: number, outside: number, length: number): IdMaps {
  const ids = [{ inside, outside, length }];
  return { uids: ids, gids: ids };
}

function owner(path: string): [uid: number | null, gid: number | null] {
  const { uid, gid } = Deno.statSync(`${SCRATCH}/${path}`);
  return [uid, gid];
}

function createFile(path: string): void {
  Deno.writeTextFileSync(`${SCRATCH}/${path}`, "", { createNew: true });
}

/** This thread's children, zombies too. */
function children(): string {
  return readFile("/proc/thread-self/children");
}

const permissions: Deno.PermissionName[] = ["read", "write"];

/** Whether a tmpfs can have an id map: which file systems can grows with Linux. */
const missing = missingFor({}) ?? whyNoMap();

function whyNoMap(): string | null {
  try {
    MountTree.create({ type: "tmpfs", idmap: maps(0, 1, 1) }).close();
    return null;
  } catch (error) {
    if (error instanceof MountError && error.code === "EINVAL") {
      return "needs Linux 6.3";
    }
    throw error;
  }
}

kernelTest(
  "a recursive bind is id-mapped and read-only at every level",
  () => {
    using root = Directory.open(SCRATCH);
    const levels = ["", "/1", "/1/2", "/1/2/3"];
    using _mounts = new DisposableStack();
    for (const [uid, level] of levels.entries()) {
      const path = `source${level}`;
      _mounts.use(root.mount(path, { type: "tmpfs", mkdir: true }));
      createFile(`${path}/file`);
      Deno.chownSync(`${SCRATCH}/${path}/file`, uid, uid + 4);
    }
    const mount = root.bind(`${SCRATCH}/source`, "view", {
      readonly: true,
      idmap: {
        uids: [{ inside: 0, outside: 1000, length: 3 }],
        gids: [{ inside: 4, outside: 2000, length: 10 }],
      },
      recursive: true,
      mkdir: true,
    });
    assertEquals(mountsBelow(`${SCRATCH}/view`).length, levels.length);
    for (const [uid, level] of levels.entries()) {
      // The last one is in no range.
      const seen = uid < 3 ? 1000 + uid : 65534;
      assertEquals(owner(`view${level}/file`), [seen, 2000 + uid]);
      assertEquals(owner(`source${level}/file`), [uid, uid + 4]);
      for (
        const write of [
          () => createFile(`view${level}/new`),
          () => Deno.writeTextFileSync(`${SCRATCH}/view${level}/file`, "x"),
          () => Deno.removeSync(`${SCRATCH}/view${level}/file`),
          () => Deno.chownSync(`${SCRATCH}/view${level}/file`, 1000, 2000),
        ]
      ) {
        assertThrows(write, Error, "Read-only file system");
      }
      createFile(`source${level}/new`);
      assertEquals(
        tableOptions(`${SCRATCH}/view${level}`),
        "ro,relatime,idmapped",
      );
      assertEquals(tableOptions(`${SCRATCH}/source${level}`), "rw,relatime");
    }
    mount.unmount({ lazy: true });
    assertEquals(children(), "");
  },
  { permissions, missing },
);

kernelTest("what is made through an id-mapped mount is the inside's", () => {
  using root = Directory.open(SCRATCH);
  using _disk = root.mount("disk", {
    type: "tmpfs",
    options: "uid=1000,gid=3000",
    mkdir: true,
  });
  using _view = root.bind(`${SCRATCH}/disk`, "view", {
    idmap: {
      uids: [{ inside: 1000, outside: 0, length: 1 }],
      gids: [{ inside: 3000, outside: 0, length: 1 }],
    },
    mkdir: true,
  });
  createFile("view/file");
  assertEquals(owner("view/file"), [0, 0]);
  assertEquals(owner("disk/file"), [1000, 3000]);
}, { permissions, missing });

kernelTest("who is in no range can make nothing", () => {
  using root = Directory.open(SCRATCH);
  using _mount = root.mount("m", {
    type: "tmpfs",
    options: "mode=0777",
    idmap: maps(0, 1000, 10),
    mkdir: true,
  });
  assertEquals(owner("m"), [1000, 1000]);
  assertThrows(() => createFile("m/file"), Error, "Value too large");
}, { permissions, missing });

kernelTest("a bind is id-mapped alone when it is not recursive", () => {
  using root = Directory.open(SCRATCH);
  createFile("file");
  using _file = root.bind(`${SCRATCH}/file`, "view", {
    idmap: maps(0, 7, 1),
    mkdir: true,
  });
  assertEquals([owner("view"), owner("file")], [[7, 7], [0, 0]]);
}, { permissions, missing });

kernelTestSince("6.15", "the kernel has the ranges of an id map", () => {
  using root = Directory.open(SCRATCH);
  const uids = [
    { inside: 0, outside: 1000, length: 1 },
    { inside: 5, outside: 70000, length: 0xfffe_0000 },
  ];
  const gids = Array.from(
    { length: 340 },
    (_, i) => ({ inside: 2 * i, outside: 3 * i, length: 1 }),
  );
  using _ = root.mount("m", {
    type: "tmpfs",
    idmap: { uids, gids },
    mkdir: true,
  });
  const { mntUidmap, mntGidmap } = statmount(mountId(`${SCRATCH}/m`));
  const triples = (maps: typeof uids) =>
    maps.map(({ inside, outside, length }) => [inside, outside, length]);
  assertEquals(mntUidmap, triples(uids) as typeof mntUidmap);
  assertEquals(mntGidmap, triples(gids) as typeof mntGidmap);
});

kernelTest("an id map can be that of a user namespace", () => {
  using root = Directory.open(SCRATCH);
  using namespace = createUserNamespace(maps(0, 9, 1));
  withoutProc(() => {
    using _mount = root.mount("m", {
      type: "tmpfs",
      idmap: namespace.fd,
      mkdir: true,
    });
    using _bind = root.bind(SCRATCH, "b", {
      idmap: namespace.fd,
      mkdir: true,
    });
    assertEquals([owner("m"), owner("b")], [[9, 9], [9, 9]]);
  });
}, { permissions, missing });

kernelTestSince("6.15", "a bind's id map takes the place of another", () => {
  using root = Directory.open(SCRATCH);
  using _first = root.mount("first", {
    type: "tmpfs",
    idmap: maps(0, 1, 1),
    mkdir: true,
  });
  {
    using _second = root.bind(`${SCRATCH}/first`, "second", {
      idmap: maps(0, 2, 1),
      mkdir: true,
    });
    using _third = root.bind(`${SCRATCH}/first`, "third", { mkdir: true });
    assertEquals(["first", "second", "third"].map(owner), [
      [1, 1],
      [2, 2],
      [1, 1],
    ]);
  }
  withoutCall("open_tree_attr", () => {
    const before = mountTable();
    const error = assertThrows(
      () => root.bind(`${SCRATCH}/first`, "second", { idmap: maps(0, 2, 1) }),
      MountError,
      `Cannot bind "${SCRATCH}/first" to "second": mount_setattr: EPERM`,
    );
    assertEquals(error.hint?.includes("has an id map already"), true);
    assertEquals(mountTable(), before);
  });
}, { permissions });

kernelTest("a bind is id-mapped where open_tree_attr(2) is missing", () => {
  using root = Directory.open(SCRATCH);
  using _disk = root.mount("disk", { type: "tmpfs", mkdir: true });
  using _inner = root.mount("disk/in", { type: "tmpfs", mkdir: true });
  withoutCall("open_tree_attr", () => {
    const mount = root.bind(`${SCRATCH}/disk`, "view", {
      idmap: maps(0, 5, 1),
      recursive: true,
      mkdir: true,
    });
    assertEquals([owner("view"), owner("view/in")], [[5, 5], [5, 5]]);
    mount.unmount({ lazy: true });
  });
}, { permissions, missing });

kernelTest("an id map of its own holds for fewer mounts than the bind", () => {
  using root = Directory.open(SCRATCH);
  using _disk = root.mount("disk", { type: "tmpfs", mkdir: true });
  using _inner = root.mount("disk/in", { type: "proc", mkdir: true });
  const idmap = { ...maps(0, 5, 1), recursive: false };
  const mount = root.bind(`${SCRATCH}/disk`, "view", {
    idmap,
    readonly: true,
    recursive: true,
    mkdir: true,
  });
  assertEquals(
    ["view", "view/in"].map((name) => tableOptions(`${SCRATCH}/${name}`)),
    ["ro,relatime,idmapped", "ro,relatime"],
  );
  mount.unmount({ lazy: true });
}, { missing });

kernelTest("nothing stays where a file system can have no id map", () => {
  using root = Directory.open(SCRATCH);
  using _disk = root.mount("disk", { type: "tmpfs", mkdir: true });
  using _proc = root.mount("disk/proc", { type: "proc", mkdir: true });
  const before = mountTable();
  const options = { idmap: maps(0, 1, 1), mkdir: true };
  const whole = { ...options, recursive: true };
  const refuse = () => {
    for (
      const [words, make] of [
        [
          "Cannot mount proc",
          () => root.mount("a/m", { ...options, type: "proc" }),
        ],
        ["Cannot bind", () => root.bind(`${SCRATCH}/disk`, "a/m", whole)],
      ] as const
    ) {
      const error = assertThrows(make, MountError, words);
      assertEquals(error.code, "EINVAL");
      assertEquals(error.hint?.includes("does not support id maps"), true);
      assertEquals(mountTable(), before);
      assertThrows(() => root.openDirectory("a"), MountError, "ENOENT");
    }
  };
  refuse();
  withoutCall("open_tree_attr", refuse);
  assertEquals(children(), "");
});

kernelTest("no process stays of a map that the kernel refuses", () => {
  using root = Directory.open(SCRATCH);
  const before = mountTable();
  const fail = (idmap: IdMaps) =>
    assertThrows(
      () => root.mount("a/m", { type: "tmpfs", idmap, mkdir: true }),
      MountError,
      "Cannot mount tmpfs on",
    );
  const overlapping = [
    { inside: 0, outside: 0, length: 2 },
    { inside: 1, outside: 5, length: 2 },
  ];
  const { syscall, code, hint } = fail({
    uids: overlapping,
    gids: overlapping,
  });
  assertEquals([syscall, code], ["write", "EINVAL"]);
  assertEquals(hint?.includes("they overlap"), true);
  for (const nth of [1, 2]) {
    withCallFailing("write", nth, () => {
      assertEquals(fail(maps(0, 1, 1)).code, "EBADF");
    });
  }
  assertEquals(children(), "");
  assertEquals(mountTable(), before);
});

kernelTest("an id map can be made in a user namespace", () => {
  const [command, ...args] = commandLine(["idmap", SCRATCH, "m", "0"], {
    wrapper: ["unshare", "-Urm"],
    entry: "tests/fixtures/failing.ts",
  });
  Deno.mkdirSync(`${SCRATCH}/m`);
  const { stdout } = new Deno.Command(command!, { args }).outputSync();
  assertEquals(new TextDecoder().decode(stdout), "done\n");
}, {
  permissions: ["run", "read", "write", "env"],
  missing,
  commands: ["unshare"],
});

kernelTest("a wrong user namespace is the kernel's to refuse", () => {
  using root = Directory.open(SCRATCH);
  using file = open("/proc/self/status", 0);
  using mountNamespace = open("/proc/self/ns/mnt", 0);
  using first = open("/proc/self/ns/user", 0);
  const fail = (idmap: number) =>
    assertThrows(
      () => root.bind(SCRATCH, "m", { idmap, mkdir: true }),
      MountError,
    ).code;
  assertEquals(fail(file.fd), "EINVAL");
  assertEquals(fail(mountNamespace.fd), "EINVAL");
  assertEquals(fail(first.fd), "EPERM");
  assertEquals(fail(0x7fff_ffff), "EBADF");
});

kernelTest("a map can't be made without /proc", () => {
  using root = Directory.open(SCRATCH);
  withoutProc(() => {
    const error = assertThrows(
      () =>
        root.mount("m", { type: "tmpfs", idmap: maps(0, 1, 1), mkdir: true }),
      MountError,
      "ENOENT",
    );
    assertEquals(error.hint, "This needs /proc, which is not mounted here");
  });
}, { permissions });

programTest("a map is made where /proc is of a PID namespace outside", () => {
  Deno.mkdirSync(`${SCRATCH}/source`);
  Deno.mkdirSync(`${SCRATCH}/target`);
  Deno.chownSync(`${SCRATCH}/source`, 7, 8);
  const [command, ...args] = commandLine([
    "bind",
    "-o",
    "X-mount.idmap=u:7:1007:1 g:8:1008:1",
    `${SCRATCH}/source`,
    SCRATCH,
    "target",
  ], { wrapper: ["unshare", "--pid", "--fork"] });
  const { success, stderr } = new Deno.Command(command!, { args })
    .outputSync();
  assert(success, new TextDecoder().decode(stderr));
  const { uid, gid } = Deno.statSync(`${SCRATCH}/target`);
  assertEquals([uid, gid], [1007, 1008]);
  using root = Directory.open(SCRATCH);
  root.unmount("target");
}, { commands: ["unshare"] });

Deno.test("an id map that is none is refused before any call", () => {
  const root = Object.create(Directory.prototype, {
    fd: { value: 0 },
  }) as Directory;
  const good = [{ inside: 0, outside: 0, length: 1 }];
  const map = (range: object) => ({ uids: [range], gids: good });
  const wrong: [unknown, typeof TypeError | typeof RangeError][] = [
    [null, TypeError],
    ["", TypeError],
    ["proc/self/ns/user", TypeError],
    ["/proc/self/ns/user\0", TypeError],
    [-1, TypeError],
    [0.5, TypeError],
    [{}, TypeError],
    [{ uids: good }, TypeError],
    [{ uids: good, gids: [] }, TypeError],
    [{ uids: Array(341).fill(good[0]), gids: good }, TypeError],
    [map({ inside: 0, outside: 0 }), TypeError],
    [map({ inside: "0", outside: 0, length: 1 }), TypeError],
    [{ uids: [null], gids: good }, TypeError],
    [map({ inside: -1, outside: 0, length: 1 }), RangeError],
    [map({ inside: 0, outside: 0.5, length: 1 }), RangeError],
    [map({ inside: 0, outside: 2 ** 32, length: 1 }), RangeError],
    [map({ inside: 0, outside: 0, length: 0 }), RangeError],
    [map({ inside: 1, outside: 0, length: 0xffff_ffff }), RangeError],
    [map({ inside: 0, outside: 0xffff_fffe, length: 2 }), RangeError],
  ];
  for (const [idmap, error] of wrong) {
    assertThrows(
      () => root.bind("/", "m", { idmap: idmap as IdMaps }),
      error,
      undefined,
      JSON.stringify(idmap),
    );
    assertThrows(
      () => root.mount("m", { type: "tmpfs", idmap: idmap as IdMaps }),
      error,
    );
  }
});
