import { MountTree } from "../../src/mount/tree.ts";
import { Directory } from "../../src/directory.ts";
import { statx, write } from "../../src/sys/file.ts";
import { mkdirat, symlinkat } from "../../src/sys/names.ts";
import {
  AT_FDCWD,
  MS_BIND,
  MS_PRIVATE,
  MS_REC,
  MS_SHARED,
  MS_UNBINDABLE,
  O_RDONLY,
  O_RDWR,
  STATX_MODE,
} from "../../src/sys/constants.ts";
import {
  kernelTest,
  mountsBelow,
  mountTable,
  openDescriptors,
  SCRATCH,
} from "../support/testing.ts";
import { endStagingThread } from "../../src/mount/staging.ts";
import { has } from "../support/since.ts";
import {
  namesAt,
  open,
  S_IFCHR,
  typeOf,
  withoutDetachedTargets,
} from "../support/scratch.ts";
import { makeFile } from "../support/every_kind.ts";
import { readAll, readFile, S_IFDIR, S_IFREG } from "../../src/fd/open.ts";
import { encodeText } from "../../src/base/text.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { MountError } from "../../src/error/error.ts";
import { setTracer } from "../../src/sys/call.ts";
import { commandLine, programTest } from "../support/program.ts";
import { hold } from "../support/held.ts";

/** An action's root of eleven mounts, the tree's own among them not counted. */
const STEPS: ((tree: MountTree) => void)[] = [
  (tree) => tree.mount("proc", { type: "proc", mkdir: true }),
  (tree) => tree.mount("sys", { type: "sysfs", options: "ro", mkdir: true }),
  (tree) => tree.mount("tmp", { type: "tmpfs", mkdir: true }),
  (tree) => tree.mount("dev/shm", { type: "tmpfs", mkdir: true }),
  ...["null", "zero", "full", "random", "urandom", "tty"].map((name) =>
  (
    tree: MountTree,
  ) => tree.bind(`/dev/${name}`, `dev/${name}`, { mkdir: true })),
  (tree) => tree.bind("/usr", "usr", { mkdir: true }),
];

function makeRoot(): Directory {
  mkdirat(AT_FDCWD, `${SCRATCH}/root`, 0o755);
  return Directory.open(`${SCRATCH}/root`);
}

function names(path = `${SCRATCH}/root`): string[] {
  return namesAt(path);
}

/** Registers a test for both ways to build a tree, where the kernel has both. */
function treeTest(name: string, fn: () => void): void {
  kernelTest(name, () => {
    fn();
    endStagingThread();
  });
  if (!has("attachToDetached")) return;
  kernelTest(`${name}, in a namespace of its own`, () => {
    using _ = withoutDetachedTargets();
    fn();
    endStagingThread();
  });
}

/**
 * The mount table of another process. The first process of a PID namespace sees
 * no parent: then it is the table of its first thread, which runs no test.
 */
function tableOfParent(): string {
  return readFile(`/proc/${Deno.ppid || Deno.pid}/mountinfo`);
}

treeTest("MountTree appears all at once, and goes all at once", () => {
  using root = makeRoot();
  const before = [mountTable(), tableOfParent()];
  using tree = MountTree.from(root);
  for (const step of STEPS) {
    step(tree);
    assertEquals([mountTable(), tableOfParent()], before);
  }
  const mounted = tree.attach(root);
  assertEquals([mounted.made, mounted.mounted], ["attached", true]);
  assertEquals(mountsBelow(`${SCRATCH}/root`).length, 12);
  assertEquals(names(), ["dev", "proc", "sys", "tmp", "usr"]);
  assertEquals(typeOf(`${SCRATCH}/root/proc/self/`), S_IFDIR);
  assertEquals(typeOf(`${SCRATCH}/root/dev/null`), S_IFCHR);
  assertThrows(() => tree.fd, TypeError, "The mount is closed");
  mounted.unmount();
  assertEquals([mountTable(), tableOfParent()], before);
});

treeTest("MountTree leaves nothing when it is closed at any step", () => {
  using root = makeRoot();
  const before = mountTable();
  for (let steps = 0; steps <= STEPS.length; steps++) {
    const tree = MountTree.from(root);
    for (const step of STEPS.slice(0, steps)) step(tree);
    tree.mkdir("made/by/hand", { recursive: true });
    tree.mkdir("made/too");
    assert(names().includes("made"));
    tree.close();
    tree.close();
    assertEquals([mountTable(), names()], [before, []]);
  }
});

treeTest("MountTree.create() makes a new file system the root", () => {
  using root = makeRoot();
  using tree = MountTree.create({ type: "tmpfs", options: "mode=0711" });
  tree.mkdir("a/b", { recursive: true });
  tree.mount("a/b", { type: "tmpfs" });
  tree.bind("/proc/self/status", "a/b/file", { mkdir: true });
  assertEquals(names(), []);
  using _ = tree.attach(root);
  const { mode } = statx(AT_FDCWD, `${SCRATCH}/root`, 0, STATX_MODE);
  assertEquals(mode! & 0o777, 0o711);
  assertEquals(typeOf(`${SCRATCH}/root/a/b/file`), S_IFREG);
});

treeTest("MountTree shows nothing where its directory is shared", () => {
  mkdirat(AT_FDCWD, `${SCRATCH}/shared`, 0o755);
  mount("scratch", `${SCRATCH}/shared`, "tmpfs", 0, null);
  mkdirat(AT_FDCWD, `${SCRATCH}/shared/root`, 0o755);
  mkdirat(AT_FDCWD, `${SCRATCH}/peer`, 0o755);
  mount(null, `${SCRATCH}/shared`, null, MS_SHARED, null);
  mount(`${SCRATCH}/shared`, `${SCRATCH}/peer`, null, MS_BIND, null);
  try {
    const before = mountTable();
    using root = Directory.open(`${SCRATCH}/shared/root`);
    using tree = MountTree.from(root, { recursive: true });
    tree.mount("m", { type: "tmpfs", mkdir: true });
    assertEquals(mountTable(), before);
    const mounted = tree.attach(root);
    assertEquals(mountTable().length, before.length + 4);
    mounted.unmount();
    assertEquals(mountTable(), before);
  } finally {
    umount2(`${SCRATCH}/peer`);
    umount2(`${SCRATCH}/shared`);
  }
});

treeTest("MountTree shows nothing where what is below is shared", () => {
  using root = makeRoot();
  using sub = root.mount("sub", { type: "tmpfs", mkdir: true });
  mkdirat(AT_FDCWD, `${SCRATCH}/root/sub/x`, 0o755);
  mount(null, `${SCRATCH}/root/sub`, null, MS_SHARED, null);
  const before = mountTable();
  {
    using tree = MountTree.from(root, { recursive: true });
    tree.mount("sub/x", { type: "tmpfs" });
    assertEquals(mountTable(), before);
  }
  assertEquals(mountTable(), before);
  sub.unmount();
});

treeTest(
  "MountTree.from() takes along what is mounted below if asked",
  () => {
    using root = makeRoot();
    for (const name of ["a", "b"]) {
      using below = root.mount(name, { type: "tmpfs", mkdir: true });
      below.keep();
      makeFile(`root/${name}/file`);
    }
    mount(null, `${SCRATCH}/root/b`, null, MS_UNBINDABLE, null);
    const seen = ({ fd }: MountTree, name: string) =>
      names(`/proc/self/fd/${fd}/${name}`).length;
    using plain = MountTree.from(root);
    using recursive = MountTree.from(root, { recursive: true });
    assertEquals([seen(plain, "a"), seen(plain, "b")], [0, 0]);
    assertEquals([seen(recursive, "a"), seen(recursive, "b")], [1, 0]);
    root.unmountAll();
    // Its own mounts stay.
    assertEquals(seen(recursive, "a"), 1);
  },
);

treeTest("MountTree is as it was after what fails in it", () => {
  using root = makeRoot();
  symlinkat("/tmp", AT_FDCWD, `${SCRATCH}/root/link`);
  makeFile("root/file");
  using tree = MountTree.from(root);
  const failing: [() => void, string][] = [
    [() => tree.mount("link", { type: "tmpfs" }), "ELOOP"],
    [() => tree.mount("link/a", { type: "tmpfs", mkdir: true }), "ELOOP"],
    [() => tree.mount("../a", { type: "tmpfs", mkdir: true }), "EXDEV"],
    [() => tree.mount("file", { type: "tmpfs", mkdir: true }), "ENOTDIR"],
    [() => tree.mount("a/b", { type: "tmpfs", options: "x=1" }), "EINVAL"],
    [() => tree.bind(`${SCRATCH}/none`, "a/b", { mkdir: true }), "ENOENT"],
    [() => tree.bind("/dev/null", "link", { mkdir: true }), "ELOOP"],
    [() => tree.mkdir("link/a"), "ELOOP"],
    [() => tree.mkdir("file"), "EEXIST"],
    [() => void tree.attach(root, "missing"), "ENOENT"],
    [() => void tree.attach(root, "link"), "ELOOP"],
    [() => void tree.attach(root, "file"), "ENOTDIR"],
  ];
  for (const [call, code] of failing) {
    assertEquals(assertThrows(call, MountError).code, code);
    assertEquals(names(), ["file", "link"]);
  }
  // The change that is kept for later holds a descriptor: it must be closed.
  const descriptors = openDescriptors();
  const { code } = assertThrows(
    () => tree.mount("missing", { type: "tmpfs", propagation: "private" }),
    MountError,
  );
  assertEquals([code, openDescriptors()], ["ENOENT", descriptors]);
  for (
    const [call, type] of [
      [() => tree.mount("/a", { type: "tmpfs" }), TypeError],
      [() => tree.bind("", "a"), TypeError],
      [() => tree.mkdir("a", { mode: -1 }), RangeError],
      [() => void tree.attach(root, ""), TypeError],
      [() => MountTree.create({ type: "" }), TypeError],
    ] as const
  ) assertThrows(call, type);
  tree.mount("m", { type: "tmpfs", mkdir: true });
  using _ = tree.attach(root);
  assertEquals(mountsBelow(`${SCRATCH}/root`).length, 2);
});

treeTest(
  "MountTree.attach() puts a tree on a target, over a mount, too",
  () => {
    using root = makeRoot();
    using _below = root.mount("m", { type: "tmpfs", mkdir: true });
    using tree = MountTree.create({ type: "tmpfs" });
    using again = root.openDirectory(".");
    using _tree = tree.attach(again, "m");
    assertEquals(mountsBelow(`${SCRATCH}/root/m`).length, 2);
  },
);

treeTest(
  "MountTree gives each mount its propagation under a shared one",
  () => {
    using root = makeRoot();
    using _shared = root.mount("m", {
      type: "tmpfs",
      propagation: "shared",
      mkdir: true,
    });
    using place = root.openDirectory("m");
    using tree = MountTree.create({ type: "tmpfs", propagation: "private" });
    for (const propagation of ["unbindable", "slave", "private"] as const) {
      tree.mount(propagation, { type: "tmpfs", propagation, mkdir: true });
    }
    tree.mount("private/plain", { type: "tmpfs", mkdir: true });
    using _tree = tree.attach(place);
    assertEquals(
      root.mounts().slice(1).map((
        { target, propagation },
      ) => [target.split("/").at(-1), propagation]).sort(),
      [
        ["m", "private"],
        ["plain", "shared"],
        ["private", "private"],
        ["slave", "private"],
        ["unbindable", "unbindable"],
      ],
    );
  },
);

kernelTest(
  "MountTree needs a thread only for moments where it needs one",
  () => {
    using root = makeRoot();
    const calls: string[] = [];
    const tracer = setTracer(({ syscall }) => void calls.push(syscall));
    try {
      using _old = withoutDetachedTargets();
      using tree = MountTree.from(root);
      for (const step of STEPS) {
        step(tree);
        // Its namespace stays.
        endStagingThread();
      }
      using _ = tree.attach(root);
      assertEquals(mountsBelow(`${SCRATCH}/root`).length, 12);
    } finally {
      setTracer(tracer);
      endStagingThread();
    }
    assert(calls.filter((call) => call === "setns").length > STEPS.length);
  },
);

programTest(
  "a process can be put into a MountTree that is not attached",
  () => {
    using root = makeRoot();
    using tree = MountTree.from(root);
    // Where the dynamic linker is; on aarch64 Debian has no lib64.
    const names = ["bin", "lib", "lib64", "usr"].filter(isThere);
    for (const name of names) {
      tree.bind(`/${name}`, name, { mkdir: true });
    }
    tree.mount("proc", { type: "proc", mkdir: true });
    const { fd } = tree;
    const { success, stdout, stderr } = new Deno.Command("chroot", {
      args: [`/proc/${Deno.pid}/fd/${fd}`, "/bin/ls", "/", "/proc/self/root"],
    }).outputSync();
    const text = new TextDecoder();
    assert(success, text.decode(stderr));
    const listed = [...names, "proc"].sort().map((name) => `${name}\n`).join(
      "",
    );
    assertEquals(
      text.decode(stdout),
      `/:\n${listed}\n/proc/self/root:\n${listed}`,
    );
    using inherited = tree.inheritable();
    assertEquals(
      Deno.statSync(`/proc/self/fd/${inherited.fd}`).ino,
      Deno.statSync(`/proc/self/fd/${fd}`).ino,
    );
  },
);

programTest(
  "nothing of a MountTree is left by a process that is killed",
  async () => {
    using root = makeRoot();
    const before = mountTable();
    const command = commandLine([`${SCRATCH}/root`], {
      entry: "tests/fixtures/tree_holder.ts",
    });
    {
      await using holder = await hold(command);
      // The tree is there, for processes that know the descriptor.
      const fds = names(`/proc/${holder.pid}/fd`).map((fd) =>
        `/proc/${holder.pid}/fd/${fd}/proc/self/`
      );
      const seen = (path: string) => {
        try {
          return Deno.lstatSync(path).isDirectory;
        } catch {
          return false;
        }
      };
      assert(fds.some(seen));
      assertEquals(mountTable(), before);
    } // Killed.
    assertEquals(mountTable(), before);
    using _ = root.mount("proc", { type: "proc" });
  },
);

treeTest(
  "MountTree goes even while it is used, and its users go on",
  () => {
    using root = makeRoot();
    using tree = MountTree.create({ type: "tmpfs" });
    const mounted = tree.attach(root);
    const path = makeFile("root/file");
    using written = open(path, O_RDWR);
    write(written.fd, encodeText("x"));
    using file = open(path, O_RDONLY);
    mounted.unmount();
    assertEquals(names(), []);
    assertEquals(readAll(file.fd), "x");
  },
);

kernelTest("MountTree.from() refuses what can't be bound", () => {
  using root = makeRoot();
  root.mount("m", { type: "tmpfs", mkdir: true }).keep();
  mount(null, `${SCRATCH}/root/m`, null, MS_UNBINDABLE, null);
  {
    using unbindable = root.openDirectory("m");
    const error = assertThrows(() => MountTree.from(unbindable), MountError);
    assertEquals([error.syscall, error.code], ["open_tree", "EINVAL"]);
    assert(error.hint!.includes("unbindable"), error.hint);
  }
  mount(null, `${SCRATCH}/root/m`, null, MS_PRIVATE | MS_REC, null);
  root.unmount("m");
});

/** Whether the root directory has this name. */
function isThere(name: string): boolean {
  return [...Deno.readDirSync("/")].some((entry) => entry.name === name);
}
