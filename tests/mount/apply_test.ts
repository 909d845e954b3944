import type { MountSpec } from "../../src/options/spec.ts";
import { Directory } from "../../src/directory.ts";
import {
  kernelTest,
  mountsBelow,
  mountTable,
  SCRATCH,
} from "../support/testing.ts";
import { applyMounts } from "../../src/mount/apply.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { MountError } from "../../src/error/error.ts";
import { setTracer } from "../../src/sys/call.ts";
import { mount } from "../../src/sys/mount.ts";
import { MountTree } from "../../src/mount/tree.ts";
import {
  makeDirectory,
  namesAt,
  open,
  S_IFCHR,
  typeOf,
} from "../support/scratch.ts";
import { S_IFREG } from "../../src/fd/open.ts";
import { O_RDONLY } from "../../src/sys/constants.ts";

const mkdir = true;

const SPECS: MountSpec[] = [
  { target: "proc", type: "proc", mkdir },
  { target: "dev", type: "tmpfs", options: "mode=755", mkdir },
  { target: "dev/null", type: "bind", source: "/dev/null", mkdir },
  { target: "etc/status", type: "bind", source: "/proc/self/status", mkdir },
];

function openRoot(): Directory {
  return Directory.open(makeDirectory("root"));
}

function names(): string[] {
  return namesAt(`${SCRATCH}/root`);
}

kernelTest("applyMounts() mounts in order, and undoes all of it", () => {
  using root = openRoot();
  const before = mountTable();
  {
    using applied = applyMounts(root, SPECS);
    assertEquals(
      applied.mounts.map(({ target, made }) => [target, made]),
      [
        ["proc", "mounted"],
        ["dev", "mounted"],
        ["dev/null", "bound"],
        ["etc/status", "bound"],
      ],
    );
    assertEquals(
      ["dev/null", "etc/status"].map((name) =>
        typeOf(`${SCRATCH}/root/${name}`)
      ),
      [S_IFCHR, S_IFREG],
    );
  }
  assertEquals([mountTable(), names()], [before, []]);
});

kernelTest("applyMounts() leaves nothing, whichever entry fails", () => {
  using root = openRoot();
  const before = mountTable();
  for (let at = 0; at <= SPECS.length; at++) {
    const bad: MountSpec = { target: "a/b", type: "tmpfs", options: "x=1" };
    const error = assertThrows(
      () => applyMounts(root, SPECS.toSpliced(at, 0, bad)),
      MountError,
      `Cannot mount tmpfs on "a/b" (specs[${at}]): fsconfig: EINVAL`,
    );
    assertEquals(error.target, "a/b");
    assertEquals([mountTable(), names()], [before, []]);
  }
});

kernelTest("applyMounts() checks every entry before it mounts one", () => {
  using root = openRoot();
  const before = mountTable();
  const wrong: [MountSpec, typeof TypeError | typeof RangeError, string][] = [
    [{ target: "/a", type: "tmpfs" }, TypeError, "line 7: A target must be"],
    [{ target: "a", type: "" }, TypeError, "line 7: The type"],
    [
      { target: "a", type: "tmpfs", mkdir: 0o10000 },
      RangeError,
      "line 7: A mode must",
    ],
    [{ target: "a", type: "bind", source: "" }, TypeError, "line 7: The sourc"],
  ];
  for (const [spec, type, message] of wrong) {
    assertThrows(
      () => applyMounts(root, [...SPECS, { ...spec, place: "line 7" }]),
      type,
      message,
    );
    assertEquals([mountTable(), names()], [before, []]);
  }
});

kernelTest("applyMounts() passes over what is optional and fails", () => {
  using root = openRoot();
  const optional = true;
  using applied = applyMounts(root, [
    { target: "a", type: "nosuchfs", mkdir, optional },
    { target: "b", type: "tmpfs", mkdir, optional },
    { target: "c", type: "tmpfs", optional },
  ]);
  assertEquals(applied.mounts.map(({ target }) => target), ["b"]);
  assertEquals(
    applied.passedOver.map(({ spec, error }) => [
      spec.target,
      error instanceof MountError && error.code,
    ]),
    [["a", "ENODEV"], ["c", "ENOENT"]],
  );
  assertEquals(names(), ["b"]);
});

kernelTest("AppliedMounts can be kept, and unmounted all the same", () => {
  using root = openRoot();
  const before = mountTable();
  const applied = applyMounts(root, SPECS);
  applied.keep();
  applied[Symbol.dispose]();
  assertEquals(mountsBelow(`${SCRATCH}/root`).length, SPECS.length);
  applied.unmount();
  applied.unmount();
  assertEquals([mountTable(), names()], [before, ["dev", "etc", "proc"]]);
});

kernelTest("AppliedMounts goes on after what was busy is let go", () => {
  using root = openRoot();
  const before = mountTable();
  const applied = applyMounts(root, SPECS);
  {
    using _ = open(`${SCRATCH}/root/etc/status`, O_RDONLY);
    const error = assertThrows(() => applied.unmount(), MountError, "EBUSY");
    assertEquals(error.target, "etc/status");
    assertEquals(mountsBelow(`${SCRATCH}/root`).length, SPECS.length);
  }
  applied.unmount({ lazy: true });
  assertEquals([mountTable(), names()], [before, []]);
});

kernelTest(
  "applyMounts() tells of both failures when its undoing fails",
  () => {
    using root = openRoot();
    // While the second entry is attached, somebody mounts inside the first.
    const tracer = setTracer(({ syscall, args }) => {
      if (syscall !== "move_mount" || !meddle) return;
      meddle = false;
      mount("other", `${SCRATCH}/root/a`, "tmpfs", 0, null);
      assert(args.length > 0);
    });
    let meddle = true;
    try {
      const error = assertThrows(
        () =>
          applyMounts(root, [
            { target: "a", type: "tmpfs", mkdir },
            { target: "missing", type: "tmpfs" },
          ]),
        SuppressedError,
      );
      assertEquals((error.error as MountError).code, "EBUSY");
      assertEquals((error.suppressed as MountError).code, "ENOENT");
    } finally {
      setTracer(tracer);
    }
    root.unmount("a");
    assertEquals(mountsBelow(`${SCRATCH}/root`).length, 1);
    root.unmount("a");
  },
);

kernelTest("applyMounts() fills a MountTree, which holds what was made", () => {
  using root = openRoot();
  const before = mountTable();
  using tree = MountTree.from(root);
  {
    using applied = applyMounts(tree, SPECS);
    assertEquals(applied.mounts, []);
  }
  assertEquals(mountTable(), before);
  const mounted = tree.attach(root);
  assertEquals(mountsBelow(`${SCRATCH}/root`).length, SPECS.length + 1);
  mounted.unmount();
  assertEquals([mountTable(), names()], [before, ["dev", "etc", "proc"]]);
});

kernelTest("applyMounts() closes a MountTree that an entry fails in", () => {
  using root = openRoot();
  const before = mountTable();
  const tree = MountTree.from(root);
  assertThrows(
    () => applyMounts(tree, [...SPECS, { target: "x", type: "tmpfs" }]),
    MountError,
    'Cannot mount tmpfs on "x" (specs[4]): openat2: ENOENT',
  );
  assertThrows(() => tree.fd, TypeError);
  assertEquals([mountTable(), names()], [before, []]);
});
