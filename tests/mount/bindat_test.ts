import { close, openat2, statx } from "../../src/sys/file.ts";
import { mkdirat } from "../../src/sys/names.ts";
import {
  AT_FDCWD,
  MS_REC,
  MS_SHARED,
  MS_SLAVE,
  O_CREAT,
  O_RDWR,
} from "../../src/sys/constants.ts";
import {
  kernelTest,
  mountsBelow,
  mountTable,
  SCRATCH,
} from "../support/testing.ts";
import { Directory } from "../../src/directory.ts";
import { bindat } from "../../src/mount/bindat.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { mount } from "../../src/sys/mount.ts";
import { MountError } from "../../src/error/error.ts";

function createFile(path: string): void {
  close(openat2(AT_FDCWD, path, { flags: O_CREAT | O_RDWR, mode: 0o600 }));
}

function inode(path: string): bigint {
  return statx(AT_FDCWD, path, 0, 0xfff).ino!;
}

function exists(path: string): boolean {
  try {
    inode(path);
    return true;
  } catch {
    return false;
  }
}

kernelTest("bindat() shows a directory at a second place", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("source/inside", { recursive: true });
  root.mkdir("target");
  using source = root.openDirectory("source");
  for (
    const from of [
      `${SCRATCH}/source`,
      new URL(`file://${SCRATCH}/source`),
      source,
    ]
  ) {
    using mount = bindat(root, "target", from);
    assertEquals(mount.made, "bound");
    assert(exists(`${SCRATCH}/target/inside`));
  }
  assert(!exists(`${SCRATCH}/target/inside`));
});

kernelTest("bindat() takes mounts below along when recursive", () => {
  using root = Directory.open(SCRATCH);
  using _inner = root.mount("source/inner", { type: "tmpfs", mkdir: true });
  root.mkdir("source/inner/file");
  {
    using _ = root.bind(`${SCRATCH}/source`, "target", { mkdir: true });
    assert(!exists(`${SCRATCH}/target/inner/file`));
  }
  const mount = root.bind(`${SCRATCH}/source`, "target", { recursive: true });
  assert(exists(`${SCRATCH}/target/inner/file`));
  assertEquals(mountsBelow(`${SCRATCH}/target`).length, 2);
  mount.unmount();
  assertEquals(mountsBelow(`${SCRATCH}/target`).length, 0);
});

kernelTest("a recursive bind goes without what it was made of", () => {
  using root = Directory.open(SCRATCH);
  using source = root.mount("source", { type: "tmpfs", mkdir: true });
  root.mount("source/inner", { type: "tmpfs", mkdir: true }).keep();
  mount(null, `${SCRATCH}/source`, null, MS_REC | MS_SHARED, null);
  const before = mountTable();
  const target = { recursive: true, mkdir: true };
  {
    using _ = root.bind(`${SCRATCH}/source`, "target", target);
    assertEquals(
      root.mounts().slice(-2).map(({ propagation }) => propagation),
      ["slave", "slave"],
    );
  }
  assertEquals(mountTable(), before);
  // Peers on purpose go one by one.
  const propagation = "shared";
  const shared = root.bind(`${SCRATCH}/source`, "target", {
    ...target,
    propagation,
  });
  const error = assertThrows(() => shared.unmount(), MountError);
  assertEquals(error.code, "EBUSY");
  mount(null, `${SCRATCH}/target`, null, MS_REC | MS_SLAVE, null);
  shared.unmount({ lazy: true });
  assertEquals(mountTable(), before);
  root.unmount("source/inner");
  source.unmount();
});

kernelTest("bindat() binds a file on a file, which it makes when asked", () => {
  using root = Directory.open(SCRATCH);
  createFile(`${SCRATCH}/source`);
  {
    using mount = root.bind(`${SCRATCH}/source`, "a/b/file", { mkdir: 0o700 });
    assert(mount.mounted);
    assertEquals(inode(`${SCRATCH}/a/b/file`), inode(`${SCRATCH}/source`));
  }
  assertEquals(mountsBelow(`${SCRATCH}/a`), []);
  const { mode } = statx(AT_FDCWD, `${SCRATCH}/a/b/file`, 0, 0xfff);
  assertEquals(mode! & 0o777, 0o700);
  using _again = root.bind(`${SCRATCH}/source`, "a/b/file");
});

kernelTest("bindat() removes what it made when the mount fails", () => {
  using root = Directory.open(SCRATCH);
  createFile(`${SCRATCH}/file`);
  root.mkdir("directory");
  const failing: [string, string, string][] = [
    ["missing", "a/b", "ENOENT"],
    ["file", `a/${"x".repeat(300)}`, "ENAMETOOLONG"],
    ["file", "file/b", "ENOTDIR"],
    ["file", "../b", "EXDEV"],
    ["file", "directory", "EINVAL"],
    ["directory", "file", "ENOTDIR"],
  ];
  for (const [source, target, code] of failing) {
    const error = assertThrows(
      () => root.bind(`${SCRATCH}/${source}`, target, { mkdir: true }),
      MountError,
      `Cannot bind "${SCRATCH}/${source}" to `,
    );
    assertEquals([error.code, exists(`${SCRATCH}/a`)], [code, false]);
  }
});

kernelTest(
  "bindat() follows the caller's symlinks, and none in the target",
  () => {
    using root = Directory.open(SCRATCH);
    mkdirat(AT_FDCWD, `${SCRATCH}/outside`, 0o755);
    root.mkdir("root");
    root.mkdir("source");
    Deno.symlinkSync("source", `${SCRATCH}/link`);
    Deno.symlinkSync("../outside", `${SCRATCH}/root/link`);
    using inner = root.openDirectory("root");
    using _ = inner.bind(`${SCRATCH}/link`, "m", { mkdir: true });
    for (const mkdir of [false, true]) {
      const error = assertThrows(
        () => inner.bind(`${SCRATCH}/source`, "link", { mkdir }),
        MountError,
      );
      assertEquals(error.code, "ELOOP");
    }
  },
  { permissions: ["read", "write"] },
);

kernelTest("bindat() throws before any call when an argument is wrong", () => {
  using root = Directory.open(SCRATCH);
  for (const source of ["", "a\0b", 7 as unknown as string]) {
    assertThrows(() => bindat(root, "m", source), TypeError);
  }
  assertThrows(() => bindat(root, "/m", "/proc"), TypeError);
  assertThrows(() => bindat(-1, "m", "/proc"), TypeError);
  assertThrows(() => bindat(root, "m", new URL("https://x.y/")), TypeError);
  assertThrows(
    () => bindat(root, "m", "/proc", { mkdir: 0o10000 }),
    RangeError,
  );
  const closed = Directory.open(SCRATCH);
  closed.close();
  assertThrows(() => bindat(root, "m", closed), TypeError, "closed");
});
