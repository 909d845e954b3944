import { OwnedFd } from "../../src/fd/owned_fd.ts";
import {
  AT_FDCWD,
  CLONE_FS,
  CLONE_NEWNS,
  MNT_DETACH,
  O_CLOEXEC,
  O_CREAT,
  O_RDWR,
} from "../../src/sys/constants.ts";
import { openat2 } from "../../src/sys/file.ts";
import {
  kernelTest,
  mountsBelow,
  mountTable,
  SCRATCH,
} from "../support/testing.ts";
import {
  idTest,
  makeDirectory,
  open,
  tableOptions,
  tracedCalls,
  withCallFailing,
  withoutCall,
} from "../support/scratch.ts";
import { Directory } from "../../src/directory.ts";
import { remountat, type RemountOptions } from "../../src/mount/remountat.ts";
import { MountError } from "../../src/error/error.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { umount2 } from "../../src/sys/mount.ts";
import { setns, unshare } from "../../src/sys/process.ts";

const TMPFS = { type: "tmpfs", mkdir: true };

/** Opens a new file to write. */
function openFile(path: string): OwnedFd {
  const flags = O_CREAT | O_RDWR | O_CLOEXEC;
  return new OwnedFd(
    openat2(AT_FDCWD, `${SCRATCH}/${path}`, { flags, mode: 0o600 }),
  );
}

/** The mount's options and tags on a name. */
function own(name: string): string {
  return tableOptions(`${SCRATCH}/${name}`);
}

/** The file system's options. */
function superOptions(name: string): string {
  const line = mountsBelow(`${SCRATCH}/${name}`)[0]!;
  // Kernels with CONFIG_TMPFS_INODE64 add a word of their own.
  return line.split(" ").at(-1)!.replace(/,inode64$/, "");
}

/** Remounting must fail so, and change nothing. */
function assertFails(
  root: Directory,
  target: string,
  options: RemountOptions,
  code: string,
  words = "",
): MountError {
  const before = mountTable();
  const error = assertThrows(
    () => remountat(root, target, options),
    MountError,
    words,
  );
  assertEquals([error.code, error.target], [code, target], error.message);
  assertEquals(mountTable(), before);
  return error;
}

kernelTest("remountat() changes what is named, and nothing else", () => {
  using root = Directory.open(SCRATCH);
  using _ = root.mount("m", { ...TMPFS, options: "nosuid,noatime,size=1m" });
  remountat(root, "m", { readonly: true });
  assertEquals(own("m"), "ro,nosuid,noatime");
  remountat(root, "m", { options: "rw,noexec" });
  assertEquals(own("m"), "rw,nosuid,noexec,noatime");
  remountat(root, "m", { options: "exec", nosuid: false, atime: "relatime" });
  assertEquals(own("m"), "rw,relatime");
  root.remount("m", { propagation: "unbindable" });
  assertEquals(own("m"), "rw,relatime unbindable");
  assertEquals(superOptions("m"), "rw,size=1024k");
});

kernelTest("remountat() gives the file system all else", () => {
  using root = Directory.open(SCRATCH);
  using _ = root.mount("m", { ...TMPFS, options: "nosuid" });
  using _other = root.bind(`${SCRATCH}/m`, "other", { mkdir: true });
  remountat(root, "m", { options: "size=64k" });
  assertEquals(superOptions("m"), "rw,size=64k");
  remountat(root, "m", { options: { size: "128k" }, readonly: true });
  assertEquals([own("m"), own("other")], [
    "ro,nosuid,relatime",
    "rw,nosuid,relatime",
  ]);
  // All mounts of it share it.
  assertEquals([superOptions("m"), superOptions("other")], [
    "rw,size=128k",
    "rw,size=128k",
  ]);
});

kernelTest("remountat() tells a read-only mount from a file system", () => {
  using root = Directory.open(SCRATCH);
  using _ = root.mount("m", TMPFS);
  const both = () => [own("m"), superOptions("m")];
  remountat(root, "m", { options: "ro=fs" });
  assertEquals(both(), ["rw,relatime", "ro"]);
  remountat(root, "m", { options: "ro" });
  assertEquals(both(), ["ro,relatime", "ro"]);
  remountat(root, "m", { options: "rw=fs" });
  assertEquals(both(), ["ro,relatime", "rw"]);
  remountat(root, "m", { options: "ro=fs,rw" });
  assertEquals(both(), ["rw,relatime", "ro"]);
});

kernelTest("remountat() changes the mounts below when recursive", () => {
  using root = Directory.open(SCRATCH);
  using _mount = root.mount("m", TMPFS);
  using _in = root.mount("m/in", TMPFS);
  const both = () => [own("m"), own("m/in")];
  remountat(root, "m", { nodev: true, recursive: true });
  assertEquals(both(), ["rw,nodev,relatime", "rw,nodev,relatime"]);
  remountat(root, "m", { nodev: false });
  assertEquals(both(), ["rw,relatime", "rw,nodev,relatime"]);
  // A word for the mount itself overrides a recursive word.
  remountat(root, "m", { options: "rro,rnoexec,rw,nosuid,rshared,private" });
  assertEquals(both().map((options) => options.replace(/\d+/, "N")), [
    "rw,nosuid,noexec,relatime",
    "ro,nodev,noexec,relatime shared:N",
  ]);
  remountat(root, "m", { propagation: "private", recursive: true });
  assertEquals(both(), [
    "rw,nosuid,noexec,relatime",
    "ro,nodev,noexec,relatime",
  ]);
});

kernelTest(
  "remountat() sets the attributes back when the file system refuses",
  () => {
    using root = Directory.open(SCRATCH);
    using _mount = root.mount("m", {
      ...TMPFS,
      options: "nosuid,strictatime,size=4m",
      propagation: "shared",
    });
    Deno.writeFileSync(`${SCRATCH}/m/file`, new Uint8Array(1 << 20));
    const options = {
      options: "size=64k,ro,suid,nodev,noatime,nodiratime",
      propagation: "private",
    } as const;
    const refuse = () => {
      const { log, cause } = assertFails(
        root,
        "m",
        options,
        "EINVAL",
        'Cannot remount "m": fsconfig: EINVAL (Invalid argument): tmpfs: Too small a size for current use',
      );
      assertEquals(log.length, 1);
      assert(cause.message.includes("FSCONFIG_CMD_RECONFIGURE"));
    };
    refuse();
    // Then the attributes are read from the mount table.
    withoutCall("statmount", refuse);
    const calls = tracedCalls(refuse).filter(({ syscall }) =>
      syscall === "mount_setattr"
    );
    assertEquals(calls.length, 2);
    remountat(root, "m", { ...options, options: "size=2m,ro" });
    assertEquals([own("m"), superOptions("m")], [
      "ro,nosuid",
      "rw,size=2048k",
    ]);
  },
  { permissions: ["write"] },
);

kernelTest(
  "remountat() changes nothing before a parameter is refused by itself",
  () => {
    using root = Directory.open(SCRATCH);
    using _ = root.mount("m", TMPFS);
    const calls = tracedCalls(() =>
      assertFails(
        root,
        "m",
        { options: "ro,nosuch" },
        "EINVAL",
        "tmpfs: Unknown parameter 'nosuch'",
      )
    );
    assertEquals(
      calls.filter(({ syscall }) => syscall === "mount_setattr"),
      [],
    );
  },
);

kernelTest(
  "remountat() leaves the file system when attributes are refused",
  () => {
    using root = Directory.open(SCRATCH);
    using _ = root.mount("m", { ...TMPFS, options: "size=1m" });
    using _file = openFile("m/file");
    const { hint } = assertFails(
      root,
      "m",
      { options: "ro,size=2m" },
      "EBUSY",
      'Cannot remount "m": mount_setattr: EBUSY',
    );
    assert(hint?.startsWith("Files there are open for writing"), hint);
    assertFails(root, "m", { options: "ro=fs" }, "EBUSY", "fsconfig: EBUSY");
  },
);

kernelTest("remountat() changes no mount when one below refuses", () => {
  using root = Directory.open(SCRATCH);
  using _mount = root.mount("m", TMPFS);
  using _in = root.mount("m/in", TMPFS);
  using _file = openFile("m/in/file");
  for (const options of ["rro", "rro,noexec", "rro,rw,noatime,shared"]) {
    assertFails(root, "m", { options }, "EBUSY");
  }
});

kernelTest("remountat() tells of attributes that can't be set back", () => {
  using root = Directory.open(SCRATCH);
  using _ = root.mount("m", { ...TMPFS, options: "size=4m" });
  Deno.writeFileSync(`${SCRATCH}/m/file`, new Uint8Array(1 << 20));
  withCallFailing("mount_setattr", 2, () => {
    const error = assertThrows(
      () => remountat(root, "m", { options: "nodev,size=64k" }),
      SuppressedError,
    );
    assertEquals(
      [error.suppressed.message, error.error.message].map((message) =>
        message.split(" (")[0]
      ),
      [
        'Cannot remount "m": fsconfig: EINVAL',
        'Cannot set back the attributes of "m": mount_setattr: EBADF',
      ],
    );
  });
  assertEquals(own("m"), "rw,nodev,relatime");
}, { permissions: ["write"] });

kernelTest("remountat() takes the topmost mount, by its own root", () => {
  using root = Directory.open(SCRATCH);
  using _below = root.mount("m", TMPFS);
  using _above = root.mount("m", TMPFS);
  const calls = tracedCalls(() => remountat(root, "m", { readonly: true }));
  assertEquals(
    mountsBelow(`${SCRATCH}/m`).map((line) => line.split(" ")[5]),
    ["rw,relatime", "ro,relatime"],
  );
  // The target is looked up once: a rename meanwhile can't misdirect the
  // change.
  assertEquals(
    calls.filter(({ syscall }) => syscall !== "close")
      .map(({ syscall, args }) => [syscall, args[1]]),
    [["openat2", '"m"'], ["mount_setattr", '""']],
  );
});

kernelTest("remountat() takes the directory itself, before and after", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  using before = root.openDirectory("m");
  using _ = before.mount(".", { type: "tmpfs" });
  using after = root.openDirectory("m");
  remountat(before, ".", { noexec: true });
  assertEquals(own("m"), "rw,noexec,relatime");
  remountat(after, "./", { noexec: false });
  assertEquals(own("m"), "rw,relatime");
  root.mkdir("plain");
  using plain = root.openDirectory("plain");
  assertFails(plain, ".", { noexec: true }, "EINVAL");
});

kernelTest("remountat() remounts a file's mount", () => {
  using root = Directory.open(SCRATCH);
  openFile("file").close();
  using _ = root.bind(`${SCRATCH}/file`, "m", { mkdir: true });
  remountat(root, "m", { readonly: true });
  assertEquals(own("m"), "ro,relatime");
});

kernelTest("remountat() is not led astray", () => {
  using outer = Directory.open(SCRATCH);
  using _victim = outer.mount("victim", TMPFS);
  outer.mkdir("root/plain", { recursive: true });
  Deno.symlinkSync("../victim", `${SCRATCH}/root/link`);
  openFile("root/file").close();
  using root = outer.openDirectory("root");
  const options = { options: "ro,size=1m" };
  assertFails(root, "link", options, "ELOOP");
  assertFails(root, "link/.", options, "ELOOP");
  assertFails(root, "../victim", options, "EXDEV");
  assertFails(root, "nosuch", options, "ENOENT");
  assertFails(root, "file/x", options, "ENOTDIR");
  for (const target of ["plain", "file", "."]) {
    for (const words of ["ro", "size=1m", "rro"]) {
      const { hint } = assertFails(root, target, { options: words }, "EINVAL");
      assertEquals(hint, "Nothing is mounted there");
    }
  }
}, { permissions: ["read", "write"] });

kernelTest("remountat() says so of a mount that is not there", () => {
  using root = Directory.open(SCRATCH);
  root.mount("m", TMPFS).keep();
  using inside = root.openDirectory("m");
  umount2(`${SCRATCH}/m`, MNT_DETACH);
  const lazily = assertFails(inside, ".", { readonly: true }, "EINVAL");
  assert(lazily.hint?.includes("lazily unmounted"), lazily.hint);
  using _ = root.mount("m", TMPFS);
  using old = root.openDirectory("m");
  using namespace = open("/proc/thread-self/ns/mnt", 0);
  unshare(CLONE_FS | CLONE_NEWNS);
  try {
    for (
      const [options, code] of [
        ["ro", "EINVAL"],
        // With two changes, the old attributes must be known, to restore them.
        ["ro,size=1m", "ENOENT"],
      ] as const
    ) {
      const { hint } = assertFails(old, ".", { options }, code);
      assert(hint?.includes("another mount namespace"), hint);
    }
  } finally {
    setns(namespace.fd, CLONE_NEWNS);
  }
});

kernelTest(
  "remountat() throws before any call when an argument is wrong",
  () => {
    using root = Directory.open(SCRATCH);
    using _ = root.mount("m", TMPFS);
    const wrong: [string, RemountOptions, string][] = [
      ["m", {}, "At least one option must say what to change"],
      ["m", { options: "" }, "At least one option must say what to change"],
      ["m", { options: {} }, "At least one option must say what to change"],
      ["m", { options: "ro=1" }, '"ro"'],
      ["m", { options: "loop,ro" }, '"loop"'],
      ["m", { options: "rro,size=1m" }, 'remount twice, once with "size"'],
      [
        "m",
        { options: "size=1m", nodev: true, recursive: true },
        'once with "size"',
      ],
      ["/m", { readonly: true }, "relative"],
      ["", { readonly: true }, "empty"],
    ];
    for (const [target, options, words] of wrong) {
      const calls = tracedCalls(() =>
        assertThrows(() => remountat(root, target, options), TypeError, words)
      );
      assertEquals(calls, []);
    }
    assertThrows(() => remountat(-1, "m", { readonly: true }), TypeError);
    assertThrows(
      () => remountat(root, "m", { options: `a=${"x".repeat(256)}` }),
      RangeError,
    );
  },
);

idTest("remountat() makes a read-only file system writable, too", () => {
  using root = Directory.open(SCRATCH);
  using _m = root.mount("m", {
    type: "tmpfs",
    options: "ro,ro=fs",
    mkdir: true,
  });
  root.remount("m", { readonly: false });
  makeDirectory("m/written");
  root.remount("m", { options: "ro,ro=fs" });
  // The mount's part alone.
  root.remount("m", { options: "rw,ro=fs" });
  assertThrows(() => makeDirectory("m/more"), SyscallError, "EROFS");
  assertEquals(root.mounts()[1]!.options[0], "rw");
});
