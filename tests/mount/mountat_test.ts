import { close, openat2, statx } from "../../src/sys/file.ts";
import { mkdirat } from "../../src/sys/names.ts";
import {
  AT_FDCWD,
  O_CREAT,
  O_RDWR,
  STATX_TYPE,
} from "../../src/sys/constants.ts";
import { Directory } from "../../src/directory.ts";
import type { MountOptions } from "../../src/options/spec.ts";
import { MountError } from "../../src/error/error.ts";
import {
  kernelTest,
  mountsBelow,
  mountTable,
  SCRATCH,
} from "../support/testing.ts";
import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { mountat } from "../../src/mount/mountat.ts";
import { applyMounts } from "../../src/mount/apply.ts";
import { kernelTestSince } from "../support/since.ts";

const TMPFS_MADE = { type: "tmpfs", mkdir: true };

function createFile(path: string): void {
  close(openat2(AT_FDCWD, path, { flags: O_CREAT | O_RDWR, mode: 0o600 }));
}

function exists(path: string): boolean {
  try {
    statx(AT_FDCWD, path, 0, STATX_TYPE);
    return true;
  } catch {
    return false;
  }
}

/** Mounting must fail so, and leave nothing behind. */
function assertFails(
  directory: Directory,
  target: string,
  options: MountOptions,
  code: string,
  words = "",
): MountError {
  const before = mountTable();
  const error = assertThrows(
    () => mountat(directory, target, options),
    MountError,
    words,
  );
  assertEquals([error.code, error.target], [code, target], error.message);
  assertEquals(mountTable(), before);
  return error;
}

kernelTest("mountat() mounts with attributes, source and parameters", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  using mount = mountat(root, "m", {
    type: "tmpfs",
    source: "some words",
    options: "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow,size=64k",
  });
  const [, line] = mountsBelow(SCRATCH);
  assertEquals(
    // Kernels with CONFIG_TMPFS_INODE64 add a word of their own.
    line!.replace(/,inode64$/, "").split(" ").slice(4),
    `${SCRATCH}/m ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow - tmpfs some\\040words rw,size=64k`
      .split(" "),
  );
  assertEquals(mount.target, "m");
});

kernelTest("mountat() takes a bare descriptor", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  using _ = mountat(root.fd, "m", { type: "tmpfs" });
  assertEquals(mountsBelow(`${SCRATCH}/m`).length, 1);
});

kernelTest("mountat() mounts on a target of several components", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("a/b/c", { recursive: true });
  using _ = mountat(root, "./a//b/../b/c/", { type: "proc", source: "proc" });
  assertEquals(mountsBelow(`${SCRATCH}/a/b/c`).length, 1);
});

kernelTest("mountat() mounts on the directory itself", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  using inner = root.openDirectory("m");
  using mount = mountat(inner, ".", { type: "tmpfs" });
  assert(mount.mounted);
  assertEquals(mountsBelow(`${SCRATCH}/m`).length, 1);
});

kernelTest("mountat() makes what is missing when asked", () => {
  using root = Directory.open(SCRATCH);
  {
    using _ = mountat(root, "x/y/z", { type: "tmpfs", mkdir: 0o700 });
    assertEquals(mountsBelow(`${SCRATCH}/x/y/z`).length, 1);
  }
  const { mode } = statx(AT_FDCWD, `${SCRATCH}/x/y/z`, 0, 0xfff);
  assertEquals(mode! & 0o7777, 0o700);
  using _ = mountat(root, "x/y/z", { type: "tmpfs", mkdir: true });
});

kernelTest("a target may lead up again, but not out, where it is made", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("a");
  Deno.writeTextFileSync(`${SCRATCH}/file`, "");
  const made: [string, string, (target: string) => Disposable][] = [
    ["a/../new", "new", (target) => root.mount(target, TMPFS_MADE)],
    ["b/../b/c", "b/c", (target) => root.mount(target, TMPFS_MADE)],
    ["a/..//c/./../d/e", "d/e", (target) => root.mount(target, TMPFS_MADE)],
    ["e/f/..", "e", (target) => root.mount(target, TMPFS_MADE)],
    [
      "a/../bound",
      "bound",
      (target) => root.bind(`${SCRATCH}/a`, target, { mkdir: true }),
    ],
    [
      "a/../bound-file",
      "bound-file",
      (target) => root.bind(`${SCRATCH}/file`, target, { mkdir: true }),
    ],
    [
      "a/../applied",
      "applied",
      (target) => applyMounts(root, [{ ...TMPFS_MADE, target }]),
    ],
  ];
  for (const [target, place, make] of made) {
    {
      using _ = make(target);
      assertEquals(mountsBelow(`${SCRATCH}/${place}`).length, 1, target);
    }
    assertEquals(mountsBelow(SCRATCH).length, 1, target);
  }
  root.mkdir("g/../h/i", { recursive: true });
  assert(Deno.statSync(`${SCRATCH}/h/i`).isDirectory);
  for (const target of ["../x", "a/../../x", "x/../../x"]) {
    const error = assertThrows(
      () => root.mount(target, TMPFS_MADE),
      MountError,
    );
    assertEquals([error.code, error.syscall], ["EXDEV", "openat2"], target);
  }
  assertThrows(() => Deno.statSync(`${SCRATCH}/x`), Deno.errors.NotFound);
}, { permissions: ["read", "write"] });

kernelTest("mountat() removes what it made when the mount fails", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("kept");
  const options = { type: "tmpfs", options: "size=wrong", mkdir: true };
  assertFails(root, "x/y/z", options, "EINVAL");
  assert(!exists(`${SCRATCH}/x`));
  assertFails(root, "kept/y", options, "EINVAL");
  assert(!exists(`${SCRATCH}/kept/y`));
  assert(exists(`${SCRATCH}/kept`));
});

kernelTest(
  "mountat() removes what it made when the path ends at a file",
  () => {
    using root = Directory.open(SCRATCH);
    createFile(`${SCRATCH}/file`);
    const options = { type: "tmpfs", mkdir: true };
    assertFails(root, "file/y", options, "ENOTDIR");
    assertFails(root, "new/../../x", options, "EXDEV");
    assert(!exists(`${SCRATCH}/new`));
  },
);

kernelTest("mountat() says what the kernel said of an option", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const unknown = assertFails(
    root,
    "m",
    { type: "tmpfs", options: "nosuch" },
    "EINVAL",
    `Cannot mount tmpfs on "m": fsconfig: EINVAL (Invalid argument): tmpfs: Unknown parameter 'nosuch'`,
  );
  assertEquals(unknown.log, ["tmpfs: Unknown parameter 'nosuch'"]);
  assertEquals(
    unknown.cause.message,
    `fsconfig(${
      /\d+/.exec(unknown.cause.message)![0]
    }, FSCONFIG_SET_FLAG, "nosuch", NULL, 0): EINVAL (Invalid argument)`,
  );
  assertFails(
    root,
    "m",
    { type: "proc", options: { hidepid: 9 } },
    "EINVAL",
    "proc: unknown value of hidepid - 9",
  );
});

kernelTest("mountat() shows no control characters of a type or option", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const { log } = assertFails(
    root,
    "m",
    { type: "tmpfs", options: { "\x1b[31m\n": true } },
    "EINVAL",
    String.raw`tmpfs: Unknown parameter '\x1b[31m\n'`,
  );
  assertEquals(log, ["tmpfs: Unknown parameter '\x1b[31m\n'"]);
  const { hint } = assertFails(
    root,
    "m",
    { type: "\x1b[31mext5" },
    "ENODEV",
    String.raw`Cannot mount \x1b[31mext5 on "m": fsopen: `,
  );
  assertStringIncludes(hint!, String.raw`no file system "\x1b[31mext5"`);
});

kernelTest("mountat() stops at the first option that fails", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const error = assertFails(
    root,
    "m",
    { type: "tmpfs", options: "nosuch,size=wrong" },
    "EINVAL",
  );
  assertEquals(error.log, ["tmpfs: Unknown parameter 'nosuch'"]);
});

kernelTestSince(
  // Before, overlay checks no option until it has them all.
  "6.8",
  "mountat() names the option that a file system refuses without a word",
  () => {
    using root = Directory.open(SCRATCH);
    root.mkdir("m");
    root.mkdir("lower");
    const error = assertFails(
      root,
      "m",
      {
        type: "overlay",
        options: { "lowerdir+": `${SCRATCH}/missing`, redirect_dir: "on" },
      },
      "ENOENT",
      `the option is "lowerdir+=${SCRATCH}/missing"`,
    );
    assertEquals(error.log, []);
    // If the options don't fit together, the message blames no single one.
    const whole = { type: "overlay", options: `lowerdir=${SCRATCH}/lower` };
    assertEquals(
      assertFails(root, "m", whole, "EINVAL").message,
      'Cannot mount overlay on "m": fsconfig: EINVAL (Invalid argument)',
    );
  },
);

kernelTestSince(
  "6.13",
  "mountat() passes a Directory as the value of an option",
  () => {
    using root = Directory.open(SCRATCH);
    for (const name of ["m", "lower", "upper", "work"]) root.mkdir(name);
    root.mkdir("lower/seen");
    using lower = root.openDirectory("lower");
    using upper = root.openDirectory("upper");
    using work = root.openDirectory("work");
    using _ = mountat(root, "m", {
      type: "overlay",
      options: { "lowerdir+": lower, upperdir: upper, workdir: work },
    });
    assert(exists(`${SCRATCH}/m/seen`));
  },
);

kernelTest("mountat() names an unknown file system", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const error = assertFails(
    root,
    "m",
    { type: "nosuchfs" },
    "ENODEV",
    "fsopen",
  );
  assert(error.hint!.includes("/proc/filesystems"), error.hint);
});

kernelTest("mountat() says that a mount point is missing", () => {
  using root = Directory.open(SCRATCH);
  const error = assertFails(root, "m/n", { type: "tmpfs" }, "ENOENT");
  assert(error.hint!.includes("mkdir"), error.hint);
});

kernelTest("mountat() refuses a file as a mount point", () => {
  using root = Directory.open(SCRATCH);
  createFile(`${SCRATCH}/file`);
  assertFails(root, "file", { type: "tmpfs" }, "ENOTDIR");
  assertFails(root, "file", { type: "tmpfs", mkdir: true }, "ENOTDIR");
});

kernelTest("mountat() refuses a target that leaves the directory", () => {
  mkdirat(AT_FDCWD, `${SCRATCH}/outside`, 0o755);
  mkdirat(AT_FDCWD, `${SCRATCH}/root`, 0o755);
  using root = Directory.open(`${SCRATCH}/root`);
  const error = assertFails(root, "../outside", { type: "tmpfs" }, "EXDEV");
  assert(error.hint !== undefined);
  assertFails(root, "..", { type: "tmpfs" }, "EXDEV");
  assertFails(root, "../x", { type: "tmpfs", mkdir: true }, "EXDEV");
  assert(!exists(`${SCRATCH}/x`));
});

kernelTest("mountat() follows no symlink in a target", () => {
  mkdirat(AT_FDCWD, `${SCRATCH}/outside`, 0o755);
  mkdirat(AT_FDCWD, `${SCRATCH}/root`, 0o755);
  mkdirat(AT_FDCWD, `${SCRATCH}/root/inside`, 0o755);
  Deno.symlinkSync(`${SCRATCH}/outside`, `${SCRATCH}/root/absolute`);
  Deno.symlinkSync("../outside", `${SCRATCH}/root/relative`);
  Deno.symlinkSync("inside", `${SCRATCH}/root/harmless`);
  Deno.symlinkSync("nowhere", `${SCRATCH}/root/dangling`);
  Deno.symlinkSync("/proc/self/root", `${SCRATCH}/root/magic`);
  using root = Directory.open(`${SCRATCH}/root`);
  for (
    const name of ["absolute", "relative", "harmless", "dangling", "magic"]
  ) {
    for (const target of [name, `${name}/x`]) {
      for (const mkdir of [false, true]) {
        const error = assertFails(
          root,
          target,
          { type: "tmpfs", mkdir },
          "ELOOP",
        );
        assert(error.hint!.includes("symlink"), error.hint);
      }
    }
  }
  assertEquals([...Deno.readDirSync(`${SCRATCH}/outside`)], []);
  assert(!exists(`${SCRATCH}/root/nowhere`));
}, { permissions: ["read", "write"] });

kernelTest("mountat() follows no magic link in a target", () => {
  using proc = Directory.open("/proc/thread-self");
  assertFails(proc, "cwd", { type: "tmpfs" }, "ELOOP");
  assertFails(proc, "root/tmp", { type: "tmpfs" }, "ELOOP");
});

kernelTest("mountat() refuses a directory that was deleted", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("gone");
  using gone = root.openDirectory("gone");
  Deno.removeSync(`${SCRATCH}/gone`);
  assertFails(gone, ".", { type: "tmpfs" }, "ENOENT");
}, { permissions: ["write"] });

kernelTest("mountat() refuses a directory that was lazily unmounted", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const mount = mountat(root, "m", { type: "tmpfs" });
  using inside = root.openDirectory("m");
  inside.mkdir("x");
  mount.unmount({ lazy: true });
  const before = mountTable();
  const error = assertThrows(
    () => mountat(inside, "x", { type: "tmpfs" }),
    MountError,
  );
  // Linux 6.15 and later say ENOENT here, the ones before EINVAL.
  assert(["ENOENT", "EINVAL"].includes(error.code), error.message);
  assertEquals(mountTable(), before);
});

kernelTest("mountat() throws before any call when an argument is wrong", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const tmpfs = { type: "tmpfs" };
  const closed = Directory.open(SCRATCH);
  closed.close();
  const wrong: [() => unknown, typeof TypeError | typeof RangeError][] = [
    [() => mountat(-1, "m", tmpfs), TypeError],
    [() => mountat(AT_FDCWD, "m", tmpfs), TypeError],
    [() => mountat(1.5, "m", tmpfs), TypeError],
    [() => mountat(closed, "m", tmpfs), TypeError],
    [() => mountat(undefined as unknown as number, "m", tmpfs), TypeError],
    [() => mountat(root, "", tmpfs), TypeError],
    [() => mountat(root, "/m", tmpfs), TypeError],
    [() => mountat(root, "m\0x", tmpfs), TypeError],
    [() => mountat(root, "m", { type: "" }), TypeError],
    [() => mountat(root, "m", { type: "tmp\0fs" }), TypeError],
    [() => mountat(root, "m", { type: 1 as unknown as string }), TypeError],
    [() => mountat(root, "m", { ...tmpfs, source: "a\0" }), TypeError],
    [
      () => mountat(root, "m", { ...tmpfs, source: "x".repeat(4096) }),
      RangeError,
    ],
    [() => mountat(root, "m", { ...tmpfs, options: "ro=1" }), TypeError],
    [() => mountat(root, "new", { ...tmpfs, mkdir: 0o10000 }), RangeError],
    [() => mountat(root, "new", { ...tmpfs, mkdir: -1 }), RangeError],
    [
      () =>
        mountat(root, "new", { ...tmpfs, mkdir: "0755" as unknown as number }),
      TypeError,
    ],
  ];
  for (const [call, error] of wrong) assertThrows(call, error);
  assertEquals(mountsBelow(`${SCRATCH}/m`), []);
  assert(!exists(`${SCRATCH}/new`));
});

kernelTest("mountat() names a descriptor that is not open", () => {
  const error = assertThrows(
    () => mountat(987654, "m", { type: "tmpfs" }),
    MountError,
  );
  assertEquals([error.code, error.syscall], ["EBADF", "openat2"]);
});

kernelTest("mountat() stacks mounts on one target", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  using _first = mountat(root, "m", { type: "tmpfs" });
  using _second = mountat(root, "m", { type: "tmpfs" });
  assertEquals(mountsBelow(`${SCRATCH}/m`).length, 2);
});

kernelTest(
  "mountat() mounts a device that can only be read with ro, or says so",
  () => {
    using root = Directory.open(SCRATCH);
    root.mkdir("m");
    const image = `${SCRATCH}/image`;
    Deno.writeFileSync(image, new Uint8Array(4 << 20));
    runCommand("mkfs.ext4", ["-q", image]);
    const device = runCommand("losetup", ["-rf", "--show", image]).trim();
    try {
      const ext4 = { type: "ext4", source: device };
      const error = assertFails(root, "m", ext4, "EACCES");
      assert(error.hint!.includes("option ro"), error.hint);
      using _ = mountat(root, "m", { ...ext4, options: "ro" });
      assert(mountsBelow(`${SCRATCH}/m`)[0]!.includes(` ${device} ro`));
    } finally {
      runCommand("losetup", ["-d", device]);
    }
  },
  { permissions: ["run", "read", "write"], commands: ["mkfs.ext4", "losetup"] },
);

kernelTest("mountat() makes the file system read-only with ro=fs", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  using _ = mountat(root, "m", { type: "tmpfs", options: "ro=fs" });
  assert(/ rw,relatime .* ro(,|$)/.test(mountsBelow(`${SCRATCH}/m`)[0]!));
});

function runCommand(command: string, args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command(command, { args })
    .outputSync();
  const text = new TextDecoder();
  if (!success) throw new Error(`${command}: ${text.decode(stderr)}`);
  return text.decode(stdout);
}
