import { Directory } from "../../src/directory.ts";
import { MountTree } from "../../src/mount/tree.ts";
import type { RunOptions, RunResult } from "../../src/run/options.ts";
import { run } from "../../src/run/run.ts";
import {
  keepers,
  makeRoot,
  names,
  processesWith,
  rootTest,
  running,
  runTest,
  shell,
  text,
} from "../support/run_root.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  mountTable,
  openDescriptors,
  ROOT,
  ROOT_URL,
  SCRATCH,
} from "../support/testing.ts";
import { mount, mountSetattr, umount2 } from "../../src/sys/mount.ts";
import {
  AT_FDCWD,
  AT_RECURSIVE,
  MNT_DETACH,
  MS_BIND,
  MS_PRIVATE,
  MS_SHARED,
  O_CREAT,
  O_RDWR,
} from "../../src/sys/constants.ts";
import { readFile } from "../../src/fd/open.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { openat2, pipe2 } from "../../src/sys/file.ts";
import { fsopen } from "../../src/sys/fscontext.ts";
import { MountError } from "../../src/error/error.ts";
import { MountPoints } from "../../src/run/mount_points.ts";
import type { Mount } from "../../src/mount/mount.ts";
import { endSpawner } from "../../src/run/spawner.ts";
import { commandLine } from "../support/program.ts";
import { hold } from "../support/held.ts";
import { libc, NR } from "../../src/sys/libc.ts";
import { endStagingThread } from "../../src/mount/staging.ts";
import { SyscallError, UnsupportedError } from "../../src/sys/error.ts";
import {
  makeDev,
  makeProc,
  makeSys,
  RootTree,
} from "../../src/run/root_tree.ts";

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

runTest("run() tells how a command ended", async () => {
  using root = Directory.open(makeRoot());
  const { code, success, signal, timedOut, usage } = await shell(root, "true");
  assertEquals([code, success, signal, timedOut], [0, true, null, false]);
  assert(usage.minorFaults > 0 && usage.maxRss > 0);
  assertEquals((await shell(root, "exit 7")).code, 7);
  const burnt = await shell(
    root,
    "i=0; while test $i -lt 30000; do i=$((i+1)); done",
  );
  assert(burnt.usage.userTime > usage.userTime);
});

runTest("run() lets nothing outlive the command", async () => {
  using root = Directory.open(makeRoot());
  const mark = crypto.randomUUID();
  const { out } = await shell(
    root,
    `sh -c 'trap "" TERM HUP INT; echo started; while :; do sleep 1; done' ${mark} & read -t1 x; exit 0`,
    { stdin: new Uint8Array([10]) },
  );
  assertMatch(out, /^(started\n)?$/);
  assertEquals(processesWith(mark), []);
});

runTest("run() passes the environment exactly", async () => {
  using root = Directory.open(makeRoot());
  const env = {
    PATH: "/bin",
    "a-b.c%%": "()  { x\n}",
    PWD: "/nowhere",
    IFS: "x",
    PPID: "1",
    EMPTY: "",
    BYTE: "\udcff",
    _: "_",
  };
  const { stdout } = await run(root, ["env", "-0"], {
    env,
    clearEnv: true,
    stdout: "piped",
  });
  // busybox has no -0 everywhere: what it prints is compared as it is.
  const printed = text.decode(stdout);
  const expected = Object.entries(env).map(([name, value]) =>
    `${name}=${value}`
  );
  assertEquals(
    printed.split(printed.includes("\0") ? "\0" : /\n(?!\})/).filter((line) =>
      line !== ""
    ),
    expected.map((entry) => entry.replace("\udcff", "\ufffd")),
  );
  Deno.env.set("MOUNTAT_INHERITED", "yes");
  const inherited = await shell(root, "echo $MOUNTAT_INHERITED $MORE", {
    clearEnv: false,
    env: { PATH: "/bin", MORE: "more" },
  });
  Deno.env.delete("MOUNTAT_INHERITED");
  assertEquals(inherited.out, "yes more\n");
});

runTest("run() leaves a command no descriptor but three", async () => {
  using root = Directory.open(makeRoot());
  using _ = root.inheritable();
  const { out } = await shell(root, "ls /proc/$$/fd; :");
  assertEquals(out, "0\n1\n2\n");
});

runTest(
  "run() leaves a command no signal ignored that Deno ignores",
  async () => {
    using root = Directory.open(makeRoot());
    const { out } = await shell(root, "cat /proc/self/status; :");
    const mask = (status: string, name: string) =>
      BigInt(`0x${new RegExp(`${name}:\\t(.*)`).exec(status)![1]}`);
    const own = mask(readFile("/proc/self/status"), "SigIgn");
    const sigpipe = 1n << 12n;
    assertEquals(own & sigpipe, sigpipe);
    // The C library's own, 32 and 33, are as it likes.
    const internal = 3n << 31n;
    assertEquals(
      mask(out, "SigIgn") & ~internal,
      own & ~sigpipe & ~internal,
    );
    assertEquals(mask(out, "SigBlk"), 0n);
  },
);

/** Runs a program's text by a command that runs another. */
function evaluate(
  script: string,
  [command, ...args]: string[],
): Deno.CommandOutput {
  const deno = [Deno.execPath(), "eval", `--config=${ROOT}deno.json`, script];
  return new Deno.Command(command!, {
    args: [...args, ...deno],
    stdin: "null",
  }).outputSync();
}

runTest("run() leaves ignored what who started this process ignored", () => {
  const path = makeRoot();
  const script = `
    import { Directory, run } from "${ROOT_URL}mod.ts";
    using root = Directory.open(${JSON.stringify(path)});
    for (const name of ["SIGINT", "SIGUSR1"]) {
      await run(root, ["/bin/grep", "SigIgn", "/proc/self/status"], {
        forwardSignals: [name],
      });
    }
    Deno.kill(Deno.pid, "SIGHUP");
    await new Promise((resolve) => {
      // It comes after the other.
      Deno.addSignalListener("SIGUSR2", resolve);
      Deno.kill(Deno.pid, "SIGUSR2");
    });
    Deno.exit(3);`;
  const wrapper = ["env", "--default-signal"];
  wrapper.push("--ignore-signal=HUP,INT,QUIT,TERM");
  const { code, stdout, stderr } = evaluate(script, wrapper);
  assertEquals(code, 3, text.decode(stderr));
  const masks = text.decode(stdout).trimEnd().split("\n")
    .map((line) => Number.parseInt(line.split("\t")[1]!, 16) & 0xffff);
  assertEquals(masks, [0x4007, 0x4007]);
});

runTest("run() moves bytes and streams", async () => {
  using root = Directory.open(makeRoot());
  const bytes = crypto.getRandomValues(new Uint8Array(65536));
  const chunks = Array.from({ length: 32 }, () => bytes);
  const chunksOut: Uint8Array[] = [];
  const { stderr } = await run(root, ["sh", "-c", "tee /dev/stderr"], {
    stdin: ReadableStream.from(chunks),
    stdout: new WritableStream({
      write(chunk) {
        chunksOut.push(chunk);
      },
    }),
    stderr: "piped",
  });
  const whole = await new Blob(chunks).bytes();
  assertEquals(await new Blob(chunksOut as BlobPart[]).bytes(), whole);
  assertEquals(stderr, whole);
  const few = await run(root, ["cat"], { stdin: bytes, stdout: "piped" });
  assertEquals(few.stdout, bytes);
  assertEquals(few.stderr, undefined);
  // What the command does not read is no failure.
  const unread = await run(root, ["true"], { stdin: whole });
  assertEquals(unread.code, 0);
});

runTest(
  "run() tells of a stream that fails, when the command has ended",
  async () => {
    using root = Directory.open(makeRoot());
    await assertRejects(
      () =>
        run(root, ["cat"], {
          stdin: ReadableStream.from((async function* () {
            yield new Uint8Array(1);
            await Promise.reject(new Error("from in"));
          })()),
          stdout: "null",
        }),
      Error,
      "from in",
    );
    await assertRejects(
      () =>
        run(root, ["yes"], {
          stdout: new WritableStream({
            write() {
              throw new Error("from out");
            },
          }),
        }),
      Error,
      "from out",
    );
    assertEquals(keepers(), 0);
  },
);

runTest("run() gives a command open descriptors", async () => {
  using root = Directory.open(makeRoot());
  const file = `${SCRATCH}/file`;
  using output = new OwnedFd(
    openat2(AT_FDCWD, file, { flags: O_CREAT | O_RDWR, mode: 0o600 }),
  );
  // Each is what another becomes.
  using input = new OwnedFd(
    openat2(AT_FDCWD, "/etc/passwd", { flags: 0 }),
  );
  const options = { stdin: input.fd, stdout: output.fd, stderr: output.fd };
  await run(root, ["sh", "-c", "head -c4; echo err >&2"], options);
  assertEquals(Deno.readTextFileSync(file), "rooterr\n");
  const crossed = await run(root, ["sh", "-c", "ls -l /proc/$$/fd >/crossed"], {
    stdin: 2,
    stdout: 0,
    stderr: 1,
    mounts: [{ type: "bind", source: file, target: "crossed" }],
  });
  assertEquals(crossed.code, 0);
  const led = [0, 1, 2].map((fd) => Deno.readLinkSync(`/proc/self/fd/${fd}`));
  const lines = Deno.readTextFileSync(file).trimEnd().split("\n").slice(1);
  const links = lines.map((line) => line.split(" -> ")[1]!);
  assertEquals([links[0], links[2]], [led[2], led[1]]);
});

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
      assertMatch(hint!, /^Nothing can be made in \/proc and \/sys: /);
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

runTest("run() changes the user and groups of the command alone", async () => {
  const path = makeRoot();
  using root = Directory.open(path);
  const script = "grep -E '^(Uid|Gid|Groups|CapEff):' /proc/self/status";
  const before = await shell(root, script);
  const { out } = await shell(root, script, { uid: 1000, gid: 1001 });
  assertEquals(
    out.replaceAll(" \n", "\n"),
    "Uid:\t1000\t1000\t1000\t1000\nGid:\t1001\t1001\t1001\t1001\nGroups:\nCapEff:\t0000000000000000\n"
      .replace("Groups:\n", "Groups:\t\n").replace("\t\n", "\t\n"),
  );
  assertEquals((await shell(root, "id -g", { uid: 1000 })).out, "1000\n");
  const group = await shell(root, "id -u; id -g", { gid: 7 });
  assertEquals(group.out, "0\n7\n");
  // Who starts commands is who it was.
  assertEquals((await shell(root, script)).out, before.out);
});

runTest(
  "run() takes the supplementary groups from a user it changes to",
  () => {
    const [command, ...args] = commandLine([makeRoot()], {
      entry: "tests/fixtures/groups.ts",
      wrapper: ["setpriv", "--groups=7,8"],
    });
    const { stdout } = new Deno.Command(command!, { args }).outputSync();
    assertEquals(
      text.decode(stdout).replaceAll(" \n", "\n"),
      "Groups:\t\nGroups:\t7 8\n",
    );
  },
  { commands: ["setpriv"] },
);

runTest(
  "run() leaves another user no ambient capabilities, and keeps its own",
  () => {
    const path = makeRoot();
    const script = `
      import { Directory, run } from "${ROOT_URL}mod.ts";
      using root = Directory.open(${JSON.stringify(path)});
      for (const options of [{ uid: 1000 }, { gid: 1000 }, {}]) {
        await run(root, ["/bin/grep", "CapAmb", "/proc/self/status"], options);
      }`;
    const wrapper = ["setpriv", "--inh-caps=+chown,+net_raw"];
    wrapper.push("--ambient-caps=+chown,+net_raw");
    const { stdout, stderr } = evaluate(script, wrapper);
    const line = (mask: string) => `CapAmb:\t${mask.padStart(16, "0")}\n`;
    assertEquals(
      text.decode(stdout),
      line("0") + line("2001") + line("2001"),
      text.decode(stderr),
    );
  },
  { commands: ["setpriv"] },
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

runTest(
  "run() starts in its working directory, and finds the program",
  async () => {
    const path = makeRoot();
    Deno.mkdirSync(`${path}/work/tools`, { recursive: true });
    Deno.symlinkSync("/bin/busybox", `${path}/work/tools/pwd`);
    Deno.writeTextFileSync(`${path}/bin/plain`, "");
    Deno.writeTextFileSync(`${path}/bin/garbage`, "garbage", { mode: 0o755 });
    Deno.writeTextFileSync(`${path}/bin/lost`, "#!/nowhere\n", { mode: 0o755 });
    using root = Directory.open(path);
    const pwd = async (program: string, PATH: string) => {
      const { stdout } = await run(root, [program], {
        cwd: "/work",
        env: { PATH },
        clearEnv: true,
        stdout: "piped",
      });
      return text.decode(stdout);
    };
    assertEquals(await pwd("tools/pwd", ""), "/work\n");
    assertEquals(await pwd("pwd", "/nowhere:/work:tools"), "/work\n");
    assertEquals(await pwd("pwd", "/bin"), "/work\n");
    for (
      const [program, code] of [
        ["nosuch", "ENOENT"],
        ["/nosuch", "ENOENT"],
        ["lost", "ENOENT"],
        ["plain", "EACCES"],
        ["/bin", "EACCES"],
        ["garbage", "ENOEXEC"],
        ["bin/sh/x", "ENOTDIR"],
        ["a".repeat(300), "ENAMETOOLONG"],
        [`/${"a".repeat(300)}`, "ENAMETOOLONG"],
      ] as const
    ) {
      const error = await assertRejects(
        () => shell(root, "", {}).then(() => run(root, [program])),
        MountError,
        `Cannot run "${program}": execve: ${code}`,
      );
      assertEquals([error.syscall, error.code], ["execve", code]);
      const asks = error.hint?.startsWith("The file has no #! line, ") ?? false;
      assertEquals(asks, code === "ENOEXEC");
    }
    const error = await assertRejects(
      () => shell(root, "true", { cwd: "/nosuch" }),
      MountError,
      'Cannot start in "/nosuch": openat2: ENOENT',
    );
    assertEquals(error.target, "/nosuch");
    assertEquals(keepers(), 0);
  },
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

runTest("run() lets the program end after it failed", async () => {
  using root = Directory.open(makeRoot());
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      `--config=${ROOT}deno.json`,
      `import { Directory, run } from "${ROOT_URL}mod.ts";
       using root = Directory.open(${JSON.stringify(`${SCRATCH}/root`)});
       const mounts = [{ type: "bind", source: "/nosuch", target: "a" }];
       for (const [program, options] of [["true", {}], ["nosuch", {}], ["true", { mounts }]]) {
         await run(root, [program], options).catch((error) => console.log(error.code));
       }`,
    ],
    stdin: "null",
    signal: AbortSignal.timeout(20_000),
  }).output();
  assertEquals([code, text.decode(stdout)], [0, "ENOENT\nENOENT\n"]);
  assertEquals((await run(root, ["true"])).code, 0);
});

runTest("run() ends a command that takes too long", async () => {
  using root = Directory.open(makeRoot());
  const wait = "while :; do read -t 9 x; done";
  for (
    const [script, expected, options] of [
      [wait, [143, "SIGTERM", true], { timeout: 100 }],
      [`trap 'exit 9' TERM; ${wait}`, [9, null, true], { timeout: 100 }],
      [`trap '' TERM; ${wait}`, [137, "SIGKILL", true], {
        timeout: 100,
        killAfter: 50,
      }],
      ["exit 3", [3, null, false], { timeout: 60_000 }],
    ] as [string, unknown[], RunOptions][]
  ) {
    using input = new OwnedFd(pipe2()[0]);
    const { code, signal, timedOut } = await shell(root, script, {
      ...options,
      stdin: input.fd,
    });
    assertEquals([code, signal, timedOut], expected, script);
  }
});

runTest("run() kills a command when it is aborted", async () => {
  using root = Directory.open(makeRoot());
  const controller = new AbortController();
  const { result } = await running(root, "trap '' TERM; echo; cat", {
    signal: controller.signal,
  });
  const reason = new Error("no longer wanted");
  controller.abort(reason);
  assertEquals(await assertRejects(() => result, Error), reason);
  assertEquals(keepers(), 0);
  const before = assertRejects(() => run(root, ["true"], controller), Error);
  assertEquals(await before, reason);
});

runTest(
  "run() was in time when the command was, whoever reads on",
  async () => {
    using root = Directory.open(makeRoot());
    const chunks: Uint8Array[] = [];
    const { timedOut, code } = await shell(root, "echo a; echo b >&2", {
      timeout: 400,
      killAfter: 0,
      stdout: new WritableStream({
        async write(chunk) {
          await new Promise((resolve) => setTimeout(resolve, 800));
          chunks.push(chunk.slice());
        },
      }),
    });
    assertEquals([timedOut, code], [false, 0]);
    assertEquals(text.decode(chunks[0]), "a\n");
  },
);

runTest("run() does not wait for a daemon that holds the pipe", async () => {
  using root = Directory.open(makeRoot());
  const mark = crypto.randomUUID();
  // It leaves the group, and ends when it is killed here.
  const script = `mkfifo /dev/shm/p
    setsid sh -c 'echo $$; exec sh -c "read x" ${mark}' <>/dev/shm/p &
    read x`;
  const end = (pid: string) => Deno.kill(Number(pid), "SIGKILL");
  using input = new OwnedFd(pipe2()[0]);
  const options = { hostPid: true, stdin: input.fd, stderr: "null" } as const;
  const late = await shell(root, `${script} <>/dev/shm/p`, {
    ...options,
    timeout: 200,
    killAfter: 50,
  });
  assertEquals([late.timedOut, late.code], [true, 143]);
  end(late.out);
  await untilGone(mark);
  const controller = new AbortController();
  const pid = Promise.withResolvers<string>();
  const aborted = shell(root, `${script}; exit 0`, {
    ...options,
    signal: controller.signal,
    stdout: new WritableStream({
      write: (chunk) => pid.resolve(text.decode(chunk)),
    }),
  });
  const daemon = await pid.promise;
  controller.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  end(daemon);
  await untilGone(mark);
  assertEquals(keepers(), 0);
});

runTest(
  "run() does not wait for an input that can't be cancelled",
  async () => {
    using root = Directory.open(makeRoot());
    let cancelled = 0;
    for (const script of ["exit 3", "exec <&-; exit 3", "read -n1 x; exit 3"]) {
      const { code } = await shell(root, script, {
        stdin: new ReadableStream({
          pull: (controller) => controller.enqueue(new Uint8Array(65536)),
          cancel() {
            cancelled++;
            return new Promise(() => {});
          },
        }),
      });
      assertEquals(code, 3);
    }
    assertEquals(cancelled, 3);
  },
);

runTest(
  "run() forwards signals, and ends a command as they would",
  async () => {
    using root = Directory.open(makeRoot());
    for (
      const [script, expected] of [
        ["echo; cat", [138, "SIGUSR1"]],
        ["trap 'exit 5' USR1; echo; while :; do read x; done", [5, null]],
      ] as const
    ) {
      const { result } = await running(root, script, {
        forwardSignals: ["SIGUSR1"],
      });
      Deno.kill(Deno.pid, "SIGUSR1");
      const { code, signal } = await result;
      assertEquals([code, signal], [...expected]);
    }
    const { end, result } = await running(root, "trap '' USR1; echo; cat", {
      forwardSignals: ["SIGUSR1"],
    });
    Deno.kill(Deno.pid, "SIGUSR1");
    end();
    assertEquals((await result).code, 0);
  },
);

runTest("run() runs several commands at once", async () => {
  using root = Directory.open(makeRoot());
  const results = await Promise.all(
    Array.from(
      { length: 24 },
      (_, i) =>
        shell(root, `echo $$ >/dev/shm/pid; cat /dev/shm/pid; cat; exit ${i}`, {
          stdin: new TextEncoder().encode(String(i)),
        }),
    ),
  );
  assertEquals(
    results.map(({ code, out }) => [code, out]),
    results.map((_, i) => [i, `2\n${i}`]),
  );
});

runTest(
  "run() with hostPid leaves the command among the host's processes",
  async () => {
    using root = Directory.open(makeRoot());
    const mark = crypto.randomUUID();
    const { code, out } = await shell(
      root,
      `mkfifo /dev/shm/p; sh -c 'read x' ${mark} <>/dev/shm/p & cat /proc/${Deno.pid}/comm; echo $$; exit 3`,
      { hostPid: true },
    );
    assertEquals(code, 3);
    assertMatch(out, /^deno\n\d+\n$/);
    await untilGone(mark);
    assertEquals(keepers(), 0);
  },
);

runTest(
  "run() with hostPid ends the group of a command that killed who waits for it",
  async () => {
    using root = Directory.open(makeRoot());
    const mark = crypto.randomUUID();
    // Who waits for the command is the first of the group: its number is that.
    const { code, signal } = await shell(
      root,
      `mkfifo /dev/shm/p; sh -c 'read x' ${mark} <>/dev/shm/p & set -- $(cut -d' ' -f5 /proc/$$/stat); kill -9 $1; exit 3`,
      { hostPid: true },
    );
    assertEquals([code, signal], [137, "SIGKILL"]);
    await untilGone(mark);
    assertEquals(keepers(), 0);
  },
);

for (const hostPid of [false, true]) {
  runTest(
    `run() with hostPid ${hostPid} in a Worker that was terminated ends with the process`,
    async () => {
      const path = makeRoot();
      const mark = crypto.randomUUID();
      const program = [Deno.execPath(), "run", "-A"];
      const fixture = `${ROOT}tests/fixtures/terminated_worker.ts`;
      const args = [path, mark, String(hostPid)];
      {
        await using _killed = await hold([...program, fixture, ...args]);
        // The command has no more than that of the fixture's.
        const lines = processesWith(mark);
        assertEquals(lines.filter((line) => !line.includes(path)).length, 1);
      }
      await untilGone(mark);
    },
  );
}

runTest(
  "run() starts a command in a session, and group, of its own",
  async () => {
    using root = Directory.open(makeRoot());
    for (const newSession of [false, true]) {
      // Its process group, session and terminal: proc_pid_stat(5).
      const { out } = await shell(
        root,
        "cut -d' ' -f1,5-7 /proc/$$/stat",
        { newSession },
      );
      assertEquals(out, "2 2 2 0\n");
    }
  },
);

/** Waits until what was killed is gone: another process reaps it. */
async function untilGone(mark: string): Promise<void> {
  for (let left = 1000; processesWith(mark).length > 0; left--) {
    assert(left > 0, "A process of the group is left");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Runs something as on a kernel that lacks a call. */
async function lacking<T>(
  name: keyof typeof NR,
  fn: () => Promise<T>,
): Promise<T> {
  const numbers: Record<string, number> = NR;
  const real = numbers[name]!;
  // No call has this number.
  numbers[name] = 9999;
  try {
    return await fn();
  } finally {
    numbers[name] = real;
  }
}

runTest(
  "run() says what is wrong with its arguments, before any call",
  async () => {
    using root = Directory.open(SCRATCH);
    const word = 1 as unknown as string;
    for (
      const [command, options, message] of [
        [[], {}, "The command must have a program"],
        [[""], {}, "The command must have a program"],
        [["a", word], {}, "The command must be text, not number"],
        [["a\0b"], {}, "The command must not contain a NUL"],
        [["a", "\ud800"], {}, "stands for no byte"],
        [["a"], { cwd: "relative" }, "must be absolute"],
        [["a"], { cwd: "/\0" }, "must not contain a NUL"],
        [["a"], { env: { "a=b": "" } }, 'a name without "="'],
        [["a"], { env: { "": "" } }, 'a name without "="'],
        [["a"], { env: { A: word } }, "must be text, not number"],
        [["a"], { uid: -1 }, '"uid" must be a whole number'],
        [["a"], { gid: 0xffff_ffff }, '"gid" must be a whole number'],
        [["a"], { timeout: 1.5 }, '"timeout" must be a whole number'],
        [["a"], { killAfter: NaN }, '"killAfter" must be a whole number'],
        [["a"], { stdin: "piped" }, '"stdin" can\'t be piped'],
        [["a"], { stdout: new Uint8Array() }, '"stdout" can\'t be'],
        [["a"], { stderr: -1 }, "must be an open descriptor"],
        [["a"], { forwardSignals: ["SIGNOT"] }, "Unknown signal"],
        [["a"], { mounts: [{ type: "", target: "a" }] }, "mounts[0]: The type"],
        [
          ["a"],
          { mounts: [{ type: "tmpfs", target: "./" }] },
          "mounts[0]: Noth",
        ],
        ["sh", {}, "The command must be an array, not string"],
        [["a"], { mounts: "x" }, '"mounts" must be an array'],
        [["a"], { forwardSignals: "SIGINT" }, '"forwardSignals" must be an'],
        [["a"], { signal: null }, '"signal" must be an AbortSignal'],
        [["a"], { newSession: 1 }, '"newSession" must be true or false'],
        [
          ["a"],
          { newSession: true, hostPid: true },
          'can\'t go with "hostPid"',
        ],
        [["a"], { hostPid: "false" }, '"hostPid" must be true or false'],
        [["a"], { proc: "no" }, '"proc" must be true or false'],
        [["a"], { clearEnv: "no" }, '"clearEnv" must be true or false'],
      ] as unknown as [string[], RunOptions, string][]
    ) {
      const error = await assertRejects(
        () => run(root, command, options),
        Error,
      );
      assert(error instanceof TypeError || error instanceof RangeError);
      assert(error.message.includes(message), error.message);
    }
    const error = await assertRejects(
      () => run(root, ["a"], { stdin: 4000 }),
      Error,
    );
    assert(error instanceof MountError && error.code === "EBADF");
  },
);

/** Calls that can't fail as they are made here, or give back what was had. */
const UNFAILING = ["close", "kill", "waitid", "rt_sigprocmask", "ppoll"];

/**
 * Lets the n-th call of this thread fail.
 *
 * @returns Its name, null where there were fewer.
 */
async function withFailing(
  n: number,
  fn: () => Promise<unknown>,
): Promise<string | null> {
  type Call = (...args: unknown[]) => number;
  const calls = libc as unknown as Record<string, Call>;
  const real = new Map<string, Call>();
  let left = n;
  let failed: string | null = null;
  for (const name of Object.keys(Object.getOwnPropertyDescriptors(libc))) {
    if (!(name in NR) || UNFAILING.includes(name)) continue;
    const call = calls[name]!;
    real.set(name, call);
    Object.defineProperty(libc, name, {
      value(...args: unknown[]) {
        if (--left !== 0) return call(...args);
        failed = name;
        // EBADF
        return libc.close(NR.close, -1);
      },
    });
  }
  try {
    await fn();
  } finally {
    for (const [name, value] of real) {
      Object.defineProperty(libc, name, { value });
    }
  }
  return failed;
}

rootTest("run() leaves nothing whichever call fails", async () => {
  const path = makeRoot();
  Deno.mkdirSync(`${path}/etc`);
  // Covered, and so is the root.
  Deno.symlinkSync("etc", `${path}/sys`);
  using root = Directory.open(path);
  const mark = crypto.randomUUID();
  const attempt = () =>
    run(root, ["sh", "-c", `: ${mark}; cat; sleep 100 & exit 0`], {
      stdin: new Uint8Array(10),
      stdout: "piped",
      env: { PATH: "/bin" },
      uid: 7,
      mounts: [
        { type: "tmpfs", target: "dev/tmp" },
        { type: "bind", source: "/etc/passwd", target: "etc/passwd" },
        { type: "tmpfs", target: "etc/new" },
      ],
    });
  assertEquals((await attempt()).code, 0);
  // Its thread, which ends by itself when it isn't used for a while.
  endSpawner();
  endStagingThread();
  const descriptors = openDescriptors();
  const table = mountTable();
  const failures: Record<string, number> = {};
  for (let n = 1;; n++) {
    let outcome: unknown;
    const failed = await withFailing(n, async () => {
      outcome = await attempt().catch((error) => error);
    });
    if (failed === null) {
      assertEquals((outcome as RunResult).code, 0);
      break;
    }
    failures[failed] = (failures[failed] ?? 0) + 1;
    const told = outcome instanceof MountError ||
      outcome instanceof UnsupportedError || outcome instanceof SyscallError;
    // Not every failure is one of the run: of who asks what a process is named.
    assert(told || (outcome as RunResult).code === 0, String(outcome));
    assertEquals(keepers(), 0, `${n}: ${failed}`);
    // A mount point stays where it is in doubt who has it.
    if (!["flock", "openat2", "statx", "unlinkat"].includes(failed)) {
      assertEquals(names(`${path}/etc`), [], `${n}: ${failed}`);
    }
    for (const name of names(`${path}/etc`)) {
      Deno.removeSync(`${path}/etc/${name}`);
    }
    assertEquals(processesWith(mark), [], `${n}: ${failed}`);
    endSpawner();
    endStagingThread();
    assertEquals(openDescriptors(), descriptors, `${n}: ${failed}`);
  }
  assertEquals(mountTable(), table);
  for (
    const name of [
      "fsconfig",
      "fsmount",
      "fspick",
      "memfd_create",
      "mkdirat",
      "mount_setattr",
      "move_mount",
      "open_tree",
      "openat2",
      "pidfd_open",
      "pipe2",
      "recvmsg",
      "sendmsg",
      "socketpair",
      "symlinkat",
    ]
  ) assert((failures[name] ?? 0) > 0, JSON.stringify(failures));
});

for (
  const name of [
    "unshare",
    "move_mount",
    "chroot",
    "fchdir",
    "setns",
    "setresuid",
    "setsid",
    "execve",
  ] as const
) {
  runTest(`run() runs nothing where ${name} fails`, async () => {
    using root = Directory.open(makeRoot());
    const options = {
      uid: 7,
      stdin: "null",
      proc: false,
      sys: false,
      dev: false,
    } as const;
    await run(root, ["true"], options);
    await assertRejects(
      () => lacking(name, () => run(root, ["true"], options)),
      UnsupportedError,
      name === "setresuid"
        ? `Cannot change who the command runs as: ${name}: `
        : `Cannot run "true": ${name}: `,
    );
    assertEquals(keepers(), 0);
    assertEquals((await run(root, ["true"], options)).code, 0);
  });
}

/** How many roots are made ready in the contest, and in how many a command runs. */
const ROOTS = 10_000;

const STARTS = 2_500;

const CONTEST =
  `run() is led nowhere by a hostile root, in ${STARTS} starts and ${ROOTS} roots made ready`;

runTest(CONTEST, async () => {
  const path = makeRoot();
  const outside = `${SCRATCH}/outside`;
  for (const name of ["proc", "sys", "dev"]) {
    Deno.mkdirSync(`${path}/${name}`);
    Deno.mkdirSync(`${outside}/${name}`, { recursive: true });
  }
  Deno.writeTextFileSync(`${outside}/null`, "");
  using outer = Directory.open(outside);
  using victim = outer.mount("proc", { type: "tmpfs" });
  using root = Directory.open(path);
  const swapper = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      `${ROOT}tests/fixtures/root_swapper.ts`,
      path,
      outside,
    ],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const ready = swapper.stdout.getReader();
  await ready.read();
  const table = mountTable();
  const starts: Record<string, number> = {};
  const others: Record<string, number> = {};
  const script =
    "test -c /dev/null -a -d /sys/kernel -a -e /proc/1/stat && echo >/dev/null";
  for (let i = 0; i < ROOTS; i++) {
    const isStart = i % (ROOTS / STARTS) === 0;
    const outcomes = isStart ? starts : others;
    let outcome = "done";
    try {
      if (isStart && i % 10 === 0) {
        // Its mount points are renamed under the command, too.
        const { code } = await shell(root, script);
        outcome = code === 0 ? "seen" : "disturbed";
      } else if (isStart) {
        // Looking takes longer: most don't.
        const { code } = await run(root, ["/bin/true"], { stdin: "null" });
        assertEquals(code, 0);
      } else {
        furnishRoot(root);
      }
    } catch (error) {
      const kernels = error instanceof MountError ||
        error instanceof SyscallError;
      if (!kernels) throw error;
      outcome = error.code;
      assert(
        ["ELOOP", "ENOTDIR", "ENOENT", "EINVAL"].includes(outcome),
        error.message,
      );
    }
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  }
  Deno.removeSync(`${path}/ready`);
  await ready.cancel();
  await swapper.status;
  assertEquals(mountTable(), table);
  assert(victim.mounted);
  assertEquals(names(outside), ["dev", "null", "proc", "sys"]);
  for (const name of ["proc", "sys", "dev"]) {
    assertEquals(names(`${outside}/${name}`), []);
  }
  assertEquals(Deno.readTextFileSync(`${outside}/null`), "");
  // It was a contest: both sides won some.
  assert((starts["seen"] ?? 0) > 100, JSON.stringify(starts));
  for (const outcomes of [starts, others]) {
    const [won, ...lost] = ["done", "ELOOP", "ENOTDIR", "ENOENT"].map((code) =>
      outcomes[code] ?? 0
    );
    assert(won! > 100, JSON.stringify(outcomes));
    assert(lost.some((count) => count > 0), JSON.stringify(outcomes));
  }
});

/** What is done to a root before a command runs in it. */
function furnishRoot(root: Directory): void {
  using points = new MountPoints();
  using tree = new RootTree(root, points, true);
  tree.makeRoom(["proc", "sys", "dev"]);
  tree.put("sys", makeSys());
  tree.put("dev", makeDev(tree.staging));
  tree.put("proc", makeProc("", new OwnedFd(fsopen("proc"))));
  tree.seal();
}
