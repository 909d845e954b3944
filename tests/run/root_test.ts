import { Directory } from "../../src/directory.ts";
import { MountTree } from "../../src/mount/tree.ts";
import {
  keepers,
  makeRoot,
  names,
  rootTest,
  running,
  runTest,
  shell,
  text,
} from "../support/run_root.ts";
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { mountTable, ROOT, ROOT_URL, SCRATCH } from "../support/testing.ts";
import { mount, mountSetattr, umount2 } from "../../src/sys/mount.ts";
import {
  AT_FDCWD,
  AT_RECURSIVE,
  MNT_DETACH,
  MS_BIND,
  MS_PRIVATE,
  MS_SHARED,
} from "../../src/sys/constants.ts";
import { run } from "../../src/run/run.ts";
import { MountError } from "../../src/error/error.ts";
import type { Mount } from "../../src/mount/mount.ts";

rootTest(
  "run() shows a command its own processes and mounts alone",
  async () => {
    const path = makeRoot();
    using root = Directory.open(path);
    const { out, err, code } = await shell(
      root,
      "echo /proc/[0-9]*; ls /dev/fd/; cat /proc/$$/comm /proc/self/mountinfo; :",
    );
    assertEquals([code, err], [0, ""]);
    const [processes, ...lines] = out.trimEnd().split("\n");
    assertEquals(processes, "/proc/1 /proc/2");
    // The last is what ls has open itself.
    assertEquals(lines.splice(0, 5), ["0", "1", "2", "3", "sh"]);
    const mounts = lines;
    assertEquals(
      mounts.map((line) => {
        const [, , , , point, options, ...rest] = line.split(" ");
        const type = rest[rest.indexOf("-") + 1];
        return `${point} ${type} ${options}`;
      }).sort(),
      [
        "/ tmpfs rw,relatime",
        "/dev tmpfs rw,nosuid,relatime",
        "/dev/pts devpts rw,nosuid,noexec,relatime",
        "/dev/shm tmpfs rw,nosuid,nodev,relatime",
        "/proc proc rw,nosuid,nodev,noexec,relatime",
        "/sys sysfs ro,nosuid,nodev,noexec,relatime",
      ],
    );
  },
);

rootTest("run() gives a command devices that work", async () => {
  using root = Directory.open(makeRoot());
  const { out, err } = await shell(
    root,
    `echo lost >/dev/null; head -c3 /dev/zero | od -An -tx1
     echo full >/dev/full; echo err >/dev/stderr; echo a | cat /dev/stdin
     echo b >/dev/shm/b; cat /dev/shm/b; test -c /dev/pts/ptmx; echo $?`,
  );
  assertEquals(out, " 00 00 00\na\nb\n0\n");
  assertEquals(err, "sh: write error: No space left on device\nerr\n");
});

rootTest(
  "run() with stand-ins is seen by nobody, and writes nothing into the root",
  async () => {
    const path = makeRoot();
    Deno.mkdirSync(`${path}/etc`);
    using root = Directory.open(path);
    const before = mountTable();
    const { end, result } = await running(root, "echo; cat", {
      mountPoints: "stand-in",
      mounts: [
        { type: "tmpfs", target: "tmp/a/b" },
        { type: "bind", source: "/etc/passwd", target: "etc/new/passwd" },
      ],
    });
    assertEquals(mountTable(), before);
    assertEquals([names(path), names(`${path}/etc`)], [["bin", "etc"], []]);
    assertEquals(keepers(), 1);
    end();
    assertEquals((await result).code, 0);
    assertEquals(mountTable(), before);
    assertEquals([names(path), names(`${path}/etc`)], [["bin", "etc"], []]);
    assertEquals(keepers(), 0);
  },
);

rootTest(
  "run() shows nothing where the root is on a shared mount",
  async () => {
    const shared = `${SCRATCH}/shared`;
    Deno.mkdirSync(shared);
    Deno.mkdirSync(`${SCRATCH}/peer`);
    mount("scratch", shared, "tmpfs", 0, null);
    mount(null, shared, null, MS_SHARED, null);
    mount(shared, `${SCRATCH}/peer`, null, MS_BIND, null);
    try {
      const path = makeRoot("shared/root");
      for (const name of ["proc", "sys", "dev", "below"]) {
        Deno.mkdirSync(`${path}/${name}`);
      }
      mount("scratch", `${path}/below`, "tmpfs", 0, null);
      Deno.mkdirSync(`${path}/below/a`);
      using root = Directory.open(path);
      const before = mountTable();
      const { end, result } = await running(root, "echo; cat", {
        mounts: [{ type: "tmpfs", target: "below/a" }],
      });
      assertEquals(mountTable(), before);
      end();
      assertEquals((await result).code, 0);
      assertEquals(mountTable(), before);
    } finally {
      umount2(`${SCRATCH}/peer`, MNT_DETACH);
      umount2(shared, MNT_DETACH);
    }
  },
);

rootTest(
  "run() with stand-ins takes the place of directories that lack a mount point",
  async () => {
    const path = makeRoot();
    Deno.mkdirSync(`${path}/usr/etc`, { recursive: true });
    Deno.mkdirSync(`${path}/private`, { mode: 0o700 });
    Deno.symlinkSync("usr/etc", `${path}/etc`);
    Deno.writeTextFileSync(`${path}/file`, "content");
    Deno.writeTextFileSync(`${path}/usr/etc/hosts`, "hosts");
    using root = Directory.open(path);
    const { out, err } = await shell(
      root,
      `ls /; cat /etc/hosts /file; readlink /etc; stat -c %a /private /
     echo new >/usr/etc/new; touch /new; cat /usr/share/secret; ls /usr`,
      {
        mountPoints: "stand-in",
        mounts: [{
          type: "bind",
          source: `${path}/file`,
          target: "usr/share/secret",
        }],
      },
    );
    assertEquals(
      out,
      "bin\ndev\netc\nfile\nprivate\nproc\nsys\nusr\nhostscontentusr/etc\n700\n755\ncontentetc\nshare\n",
    );
    assertEquals(err, "touch: /new: Read-only file system\n");
    // Where it was written, it is.
    assertEquals(names(`${path}/usr/etc`), ["hosts", "new"]);
    assertEquals(names(`${path}/usr`), ["etc"]);
  },
);

rootTest("run() writes where the root lacks nothing", async () => {
  const path = makeRoot();
  for (const name of ["proc", "sys", "dev"]) Deno.mkdirSync(`${path}/${name}`);
  using root = Directory.open(path);
  assertEquals((await shell(root, "echo here >/new")).code, 0);
  assertEquals(Deno.readTextFileSync(`${path}/new`), "here\n");
});

for (
  const [what, put] of [
    [
      "symlinks to outside",
      (path, name) => Deno.symlinkSync(`../outside`, `${path}/${name}`),
    ],
    [
      "absolute symlinks",
      (path, name) => Deno.symlinkSync(`${SCRATCH}/outside`, `${path}/${name}`),
    ],
    [
      "dangling symlinks",
      (path, name) => Deno.symlinkSync(`nowhere`, `${path}/${name}`),
    ],
    [
      "files",
      (path, name) => Deno.writeTextFileSync(`${path}/${name}`, "file"),
    ],
    ["FIFOs", (path, name) => {
      new Deno.Command("mkfifo", { args: [`${path}/${name}`] }).outputSync();
    }],
  ] as [string, (path: string, name: string) => void][]
) {
  rootTest(
    `run() covers ${what} in the place of proc, sys and dev`,
    async () => {
      const path = makeRoot();
      Deno.mkdirSync(`${SCRATCH}/outside`);
      for (const name of ["proc", "sys", "dev"]) put(path, name);
      const before = names(path);
      using root = Directory.open(path);
      const { out } = await shell(
        root,
        "echo $$ >/dev/null; ls /proc/self/fd; ls -d /sys/kernel; ls /dev/null",
      );
      assertEquals(out, "0\n1\n2\n3\n/sys/kernel\n/dev/null\n");
      assertEquals(names(path), before);
      assertEquals(names(`${SCRATCH}/outside`), []);
    },
  );
}

rootTest("run() mounts what it is told, in order", async () => {
  const path = makeRoot();
  Deno.mkdirSync(`${SCRATCH}/shown/sub`, { recursive: true });
  using shown = Directory.open(`${SCRATCH}/shown`);
  using _sub = shown.mount("sub", { type: "tmpfs" });
  using root = Directory.open(path);
  const { out } = await shell(
    root,
    "cat /proc/self/mountinfo | cut -d' ' -f5,6",
    {
      dev: false,
      sys: false,
      mounts: [
        { type: "tmpfs", target: "work", options: "noexec,mode=1777" },
        { type: "bind", source: shown, target: "work/shown", recursive: true },
        { type: "bind", source: "/dev/null", target: "proc/cmdline" },
      ],
    },
  );
  // A copy of a tree lists its mounts in another order.
  assertEquals(out.trimEnd().split("\n").slice(1).sort(), [
    "/proc rw,nosuid,nodev,noexec,relatime",
    "/proc/cmdline rw,relatime",
    "/work rw,noexec,relatime",
    "/work/shown rw,relatime",
    "/work/shown/sub rw,relatime",
  ]);
});

rootTest("run() says that nothing can be made in /proc and /sys", async () => {
  using root = Directory.open(makeRoot());
  for (const target of ["proc/a", "sys/a/b"]) {
    for (const mkdir of [false, true]) {
      const mounts = [{ type: "tmpfs", target, mkdir }];
      const { code, hint } = await assertRejects(
        () => shell(root, "true", { mounts }),
        MountError,
      );
      assertEquals(code, "ENOENT");
      assertMatch(hint!, /^No mount point can be made in \/proc and \/sys: /);
    }
  }
});

rootTest("run() keeps later mounts of the host out of its binds", async () => {
  const path = makeRoot();
  using scratch = Directory.open(SCRATCH);
  using _shared = scratch.mount("shared", {
    type: "tmpfs",
    propagation: "shared",
    mkdir: true,
  });
  Deno.mkdirSync(`${SCRATCH}/shared/sub`);
  const bind = (target: string, options: string, recursive = true) => ({
    type: "bind" as const,
    source: `${SCRATCH}/shared`,
    target,
    options,
    recursive,
  });
  using root = Directory.open(path);
  let later: Mount | undefined;
  const begun = Promise.withResolvers<void>();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  await shell(
    root,
    "echo; cat; cut -d' ' -f5 /proc/self/mountinfo | grep ^/bound",
    {
      mounts: [
        bind("bound/plain", "ro", false),
        bind("bound/whole", "rro"),
        bind("bound/private", "slave,rprivate"),
        bind("bound/slave", "slave", false),
        bind("bound/top", "slave"),
        bind("bound/rslave", "rslave"),
        bind("bound/rshared", "rshared"),
      ],
      stdin: new ReadableStream({
        async pull(controller) {
          await begun.promise;
          later = scratch.mount("shared/sub", { type: "tmpfs" });
          controller.close();
        },
      }, { highWaterMark: 0 }),
      stdout: new WritableStream({
        write(chunk) {
          chunks.push(chunk.slice());
          begun.resolve();
        },
      }),
    },
  );
  later?.unmount();
  const out = await new Blob(chunks).text();
  assertEquals(out.trim().split("\n").sort(), [
    "/bound/plain",
    "/bound/private",
    "/bound/rshared",
    "/bound/rshared/sub",
    "/bound/rslave",
    "/bound/rslave/sub",
    "/bound/slave",
    "/bound/slave/sub",
    "/bound/top",
    "/bound/top/sub",
    "/bound/whole",
  ]);
});

rootTest(
  "run() keeps what is mounted on its devices off the host's",
  async () => {
    using root = Directory.open(makeRoot());
    mountSetattr(AT_FDCWD, "/dev", AT_RECURSIVE, { propagation: MS_SHARED });
    try {
      const before = mountTable();
      const { out, err } = await shell(
        root,
        "mount --bind /bin/busybox /dev/null && test -s /dev/null && echo covered",
      );
      assertEquals([out, err], ["covered\n", ""]);
      assertEquals(mountTable(), before);
    } finally {
      mountSetattr(AT_FDCWD, "/dev", AT_RECURSIVE, { propagation: MS_PRIVATE });
    }
  },
);

rootTest("run() passes over an optional mount that fails", async () => {
  using root = Directory.open(makeRoot());
  const lost = {
    type: "bind",
    source: "/nosuch",
    target: "a",
    optional: true,
  } as const;
  const file = { ...lost, source: "/etc/passwd", target: "bin/busybox/b" };
  const { out, passedOver } = await shell(root, "ls -d /tmp /a", {
    mounts: [lost, file, { type: "tmpfs", target: "tmp" }],
  });
  assertEquals(out, "/tmp\n");
  assertEquals(passedOver.map(({ spec }) => spec), [lost, file]);
  assertEquals(
    passedOver.map(({ error }) => error instanceof MountError && error.code),
    ["ENOENT", "ENOTDIR"],
  );
  await assertRejects(
    () => shell(root, "true", { mounts: [{ ...lost, optional: false }] }),
    MountError,
    "mounts[0]",
  );
});

rootTest("run() makes no mount point in /proc and /sys", async () => {
  using root = Directory.open(makeRoot());
  for (const target of ["proc/new", "proc/a/b", "sys/new", "sys/kernel/new"]) {
    const error = await assertRejects(
      () => shell(root, "true", { mounts: [{ type: "tmpfs", target }] }),
      MountError,
    );
    assertEquals([error.code, error.target], ["ENOENT", target]);
  }
});

rootTest(
  "run() runs in a mount tree, and leaves that to the caller",
  async () => {
    using directory = Directory.open(makeRoot());
    using tree = MountTree.from(directory);
    tree.mount("tmp", { type: "tmpfs", mkdir: true });
    const first = await shell(tree, "echo kept >/tmp/file; ls /");
    assertEquals(first.out, "bin\ndev\nproc\nsys\ntmp\n");
    const second = await shell(tree, "cat /tmp/file");
    assertEquals(second.out, "kept\n");
  },
);

runTest(
  "run() lets every user on the way to a mount, whatever the umask",
  async () => {
    const path = makeRoot();
    Deno.writeTextFileSync(`${path}/file`, "content");
    using root = Directory.open(path);
    const before = Deno.umask(0o077);
    try {
      const { out, err } = await shell(root, "cat /opt/a/b", {
        mounts: [{ type: "bind", source: `${path}/file`, target: "opt/a/b" }],
        uid: 1000,
      });
      assertEquals([out, err], ["content", ""]);
    } finally {
      Deno.umask(before);
    }
  },
  { permissions: ["sys"] },
);

rootTest("run() starts nowhere but in the root", async () => {
  const path = makeRoot();
  Deno.mkdirSync(`${path}/etc`);
  Deno.symlinkSync("/etc", `${path}/absolute`);
  Deno.symlinkSync("../../../etc", `${path}/above`);
  Deno.symlinkSync("/proc/self/root/etc", `${path}/work`);
  Deno.symlinkSync("/bin/sh", `${path}/file`);
  using root = Directory.open(path);
  for (const hostPid of [false, true]) {
    for (const cwd of ["/absolute", "/above", "/../etc"]) {
      const { out } = await shell(root, "pwd; ls", { cwd, hostPid });
      assertEquals(out, "/etc\n");
    }
    for (
      const [cwd, code] of [["/work", /ELOOP|ENOENT/], [
        "/file",
        /ENOTDIR/,
      ]] as const
    ) {
      const error = await assertRejects(
        () => shell(root, "cat passwd", { cwd, hostPid, uid: 65534 }),
        MountError,
        `Cannot start in "${cwd}": openat2: `,
      );
      assertMatch(error.code, code);
    }
  }
});

runTest("run() runs in a root that is no mount point", () => {
  const path = makeRoot();
  // A root with the host's programs: its own directory is no mount.
  const outer = `${SCRATCH}/outer`;
  Deno.mkdirSync(`${outer}/host`, { recursive: true });
  using host = Directory.open("/");
  using scratch = Directory.open(SCRATCH);
  using _host = scratch.bind(host, "outer/host", { recursive: true });
  for (const name of Deno.readDirSync("/")) {
    if (["proc", "sys", "dev"].includes(name.name)) {
      Deno.mkdirSync(`${outer}/${name.name}`);
    } else Deno.symlinkSync(`host/${name.name}`, `${outer}/${name.name}`);
  }
  const binds = (["proc", "sys", "dev"] as const).map((name) =>
    scratch.bind(`/${name}`, `outer/${name}`, { recursive: true })
  );
  try {
    const script = `
      import { Directory, run } from "${ROOT_URL}mod.ts";
      using root = Directory.open(${JSON.stringify(path)});
      const { code } = await run(root, ["sh", "-c", "ls -a /proc/1/root/ >&2; echo $$ /proc/[0-9]*"]);
      Deno.exitCode = code;`;
    const { code, stdout, stderr } = new Deno.Command("chroot", {
      args: [
        outer,
        Deno.execPath(),
        "eval",
        `--config=${ROOT}deno.json`,
        script,
      ],
      stdin: "null",
    }).outputSync();
    const listed = ".\n..\nbin\ndev\nproc\nsys\n";
    assertEquals(
      [code, text.decode(stdout), text.decode(stderr)],
      [0, "2 /proc/1 /proc/2\n", listed],
    );
  } finally {
    for (const mount of binds.toReversed()) mount.unmount({ lazy: true });
    _host.unmount({ lazy: true });
  }
}, { commands: ["chroot"] });

runTest("run() takes a descriptor as it is", async () => {
  using root = Directory.open(makeRoot());
  Deno.mkdirSync(`${SCRATCH}/root/etc`);
  Deno.writeTextFileSync(`${SCRATCH}/root/etc/passwd`, "me:x:7:8::/:/bin/sh\n");
  const number = (fd: number) => fd as unknown as Directory;
  for (const options of [{}, { user: "me" }]) {
    assertEquals((await run(number(root.fd), ["true"], options)).code, 0);
    await assertRejects(
      () => run(number(-1), ["true"], options),
      TypeError,
      "must be an open descriptor",
    );
    // There is none of this number.
    const { code } = await assertRejects(
      () => run(number(0x7fff_ffff), ["true"], options),
      MountError,
    );
    assertEquals(code, "EBADF");
  }
});
