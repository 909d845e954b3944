import { Directory } from "../../src/directory.ts";
import { run } from "../../src/run/run.ts";
import { applyMounts } from "../../src/mount/apply.ts";
import { MountError } from "../../src/error/error.ts";
import { UnsupportedError } from "../../src/sys/error.ts";
import {
  LOCK_EX,
  LOCK_UN,
  MNT_DETACH,
  MS_BIND,
  MS_RDONLY,
  MS_REMOUNT,
  O_DIRECTORY,
  O_RDONLY,
} from "../../src/sys/constants.ts";
import { flock } from "../../src/sys/file.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import {
  keepers,
  makeRoot,
  names,
  rootTest,
  running,
  runTest,
  shell,
} from "../support/run_root.ts";
import { commandLine } from "../support/program.ts";
import { hold } from "../support/held.ts";
import { open } from "../support/scratch.ts";
import { SCRATCH } from "../support/testing.ts";
import { assertEquals, assertRejects } from "@std/assert";

const LOOKS = "echo; cat; test -e /proc/self/stat -a -c /dev/null";

rootTest("run() makes mount points in the root, and removes them", async () => {
  const path = makeRoot();
  Deno.mkdirSync(`${path}/etc`);
  using root = Directory.open(path);
  const { end, result } = await running(
    root,
    `${LOOKS}; mkdir /out; echo file >/etc/file; mv /etc/file /out/moved
     ln /out/moved /bin/linked; cat /host; echo mine >/opt/kept`,
    {
      mounts: [
        { type: "tmpfs", target: "tmp/a/b" },
        { type: "tmpfs", target: "opt/c" },
        { type: "bind", source: "/etc/passwd", target: "etc/new/passwd" },
      ],
    },
  );
  assertEquals(
    names(path),
    ["bin", "dev", "etc", "opt", "proc", "sys", "tmp"],
  );
  // It sees what comes meanwhile.
  Deno.writeTextFileSync(`${path}/host`, "host\n");
  end();
  assertEquals((await result).code, 0);
  assertEquals(names(path), ["bin", "etc", "host", "opt", "out"]);
  assertEquals([names(`${path}/etc`), names(`${path}/opt`)], [[], ["kept"]]);
  assertEquals(Deno.readTextFileSync(`${path}/out/moved`), "file\n");
  assertEquals(Deno.statSync(`${path}/bin/linked`).nlink, 2);
});

runTest(
  "run() makes mount points where a command could not go on",
  async () => {
    const path = makeRoot();
    using root = Directory.open(path);
    const before = Deno.umask(0o077);
    try {
      const { end, result } = await running(root, "echo; cat", {
        mounts: [{ type: "tmpfs", target: "opt/a/b" }],
        uid: 1000,
      });
      // Every user may pass, whatever this process's umask.
      for (const name of ["proc", "opt", "opt/a", "opt/a/b"]) {
        assertEquals(Deno.statSync(`${path}/${name}`).mode! & 0o7777, 0o755);
      }
      end();
      assertEquals((await result).code, 0);
    } finally {
      Deno.umask(before);
    }
    assertEquals(names(path), ["bin"]);
  },
  { permissions: ["sys"] },
);

runTest("run() makes a mount point inside a bound directory", async () => {
  const path = makeRoot();
  const bound = `${SCRATCH}/bound`;
  Deno.mkdirSync(bound);
  using root = Directory.open(path);
  const { end, result } = await running(root, "echo; cat; echo >/data/new", {
    mounts: [
      { type: "bind", source: bound, target: "data" },
      { type: "tmpfs", target: "data/cache/a" },
    ],
  });
  assertEquals(names(bound), ["cache"]);
  end();
  assertEquals((await result).code, 0);
  assertEquals(names(bound), ["new"]);
  assertEquals(names(path), ["bin"]);
});

runTest(
  "run() says why nothing can be mounted somewhere",
  async () => {
    const path = makeRoot();
    Deno.mkdirSync(`${path}/directory`);
    Deno.writeTextFileSync(`${path}/file`, "");
    Deno.symlinkSync("/proc/mounts", `${path}/mtab`);
    using root = Directory.open(path);
    const bind = { type: "bind", source: `${path}/bin` };
    for (
      const [mount, hint] of [
        [
          { ...bind, target: "file" },
          "A directory can't be mounted on a file: make the mount point a directory",
        ],
        [
          { type: "tmpfs", target: "file" },
          "A directory can't be mounted on a file: make the mount point a directory",
        ],
        [
          { ...bind, source: `${path}/file`, target: "directory" },
          "A file can't be mounted on a directory: make the mount point a file",
        ],
        [
          { ...bind, source: `${path}/file`, target: "mtab" },
          "The path leads through /proc/self, which is no process before the command is started",
        ],
      ] as const
    ) {
      const error = await assertRejects(
        () => run(root, ["true"], { mounts: [mount] }),
        MountError,
      );
      assertEquals(error.hint, hint);
    }
  },
);

runTest("run() removes no mount point that another run uses", async () => {
  const path = makeRoot();
  using root = Directory.open(path);
  const commands = await Promise.all(
    Array.from({ length: 8 }, () => running(root, LOOKS)),
  );
  // The first has made them, and is not the first to end, nor the last.
  for (const i of [3, 0, 7, 1, 2, 6, 5, 4]) {
    commands[i]!.end();
    assertEquals((await commands[i]!.result).code, 0);
  }
  assertEquals(names(path), ["bin"]);
});

runTest(
  "run() removes no mount point that another process's run uses",
  async () => {
    const path = makeRoot();
    const commands = [];
    for (let i = 0; i < 4; i++) {
      const [command, ...args] = commandLine(
        ["run", path, "/bin/sh", "-c", LOOKS],
        { permissions: ["-A"] },
      );
      const process = new Deno.Command(command!, {
        args,
        stdin: "piped",
        stdout: "piped",
      }).spawn();
      const reader = process.stdout.getReader();
      await reader.read();
      commands.push({ process, reader });
    }
    for (const i of [1, 0, 3, 2]) {
      const { process, reader } = commands[i]!;
      await process.stdin.close();
      await reader.cancel();
      assertEquals((await process.status).code, 0, String(i));
    }
    // Who made them was not the last: they stay, and the next run uses them.
    assertEquals(names(path), ["bin", "dev", "proc", "sys"]);
    using root = Directory.open(path);
    assertEquals((await shell(root, LOOKS)).code, 0);
  },
);

runTest("a killed run leaves empty mount points, and no lock", async () => {
  const path = makeRoot();
  {
    await using _killed = await hold(
      commandLine(["run", path, "/bin/sh", "-c", LOOKS], {
        permissions: ["-A"],
      }),
      { stdin: "piped" },
    );
  }
  assertEquals(names(path), ["bin", "dev", "proc", "sys"]);
  for (const name of ["dev", "proc", "sys"]) {
    assertEquals(names(`${path}/${name}`), []);
  }
  using lock = open(path, O_RDONLY | O_DIRECTORY);
  // The kernel ends what the killed process ran a moment later.
  flock(lock.fd, LOCK_EX);
});

runTest("unmounting what was mounted takes no mount from a run", async () => {
  const path = makeRoot();
  using root = Directory.open(path);
  const applied = applyMounts(root, [
    { type: "tmpfs", target: "proc", mkdir: true },
    { type: "tmpfs", target: "opt/a", mkdir: true },
  ]);
  const { end, result } = await running(root, LOOKS, {
    mounts: [{ type: "tmpfs", target: "opt/a" }],
  });
  applied.unmount();
  assertEquals(names(`${path}/opt`), ["a"]);
  end();
  assertEquals((await result).code, 0);
});

runTest("run() covers a root that another process has locked", async () => {
  const path = makeRoot();
  for (const name of ["proc", "opt"]) Deno.mkdirSync(`${path}/${name}`);
  using root = Directory.open(path);
  using lock = open(path, O_RDONLY | O_DIRECTORY);
  using below = open(`${path}/opt`, O_RDONLY | O_DIRECTORY);
  flock(lock.fd, LOCK_EX);
  flock(below.fd, LOCK_EX);
  const { end, result } = await running(root, `${LOOKS}; ls /opt`, {
    mounts: [{ type: "tmpfs", target: "opt/new" }],
  });
  // What has the lock may remove what is there: nothing is mounted on that.
  Deno.removeSync(`${path}/proc`);
  assertEquals([names(path), names(`${path}/opt`)], [["bin", "opt"], []]);
  end();
  assertEquals((await result).code, 0);
  flock(lock.fd, LOCK_UN);
});

rootTest("run() covers a root that can't be written to", async () => {
  const path = makeRoot();
  mount(path, path, null, MS_BIND, null);
  mount(null, path, null, MS_REMOUNT | MS_BIND | MS_RDONLY, null);
  try {
    using root = Directory.open(path);
    const { code, out } = await shell(
      root,
      "test -e /proc/self/stat && ls /opt; touch /new || echo no",
      { mounts: [{ type: "tmpfs", target: "opt/a" }] },
    );
    assertEquals([code, out], [0, "a\nno\n"]);
  } finally {
    umount2(path, MNT_DETACH);
  }
  assertEquals(names(path), ["bin"]);
});

runTest(
  "run() with hostPid leaves its mount points to who survives",
  async () => {
    const path = makeRoot();
    using root = Directory.open(path);
    const { code } = await shell(root, "exit 3", { hostPid: true });
    assertEquals(code, 3);
    assertEquals(names(path), ["bin", "dev", "proc", "sys"]);
  },
);

rootTest("run() takes targets for paths in the root", async () => {
  const path = makeRoot();
  for (const name of ["run", "usr/lib/modules", "var", "etc", "a"]) {
    Deno.mkdirSync(`${path}/${name}`, { recursive: true });
  }
  Deno.mkdirSync(`${SCRATCH}/outside`);
  Deno.symlinkSync("/run", `${path}/var/run`);
  Deno.symlinkSync("usr/lib", `${path}/lib`);
  Deno.symlinkSync("../run/resolve/stub.conf", `${path}/etc/resolv.conf`);
  Deno.symlinkSync("../../outside", `${path}/a/up`);
  Deno.writeTextFileSync(`${SCRATCH}/secret`, "secret\n");
  const bind = (target: string) =>
    ({ type: "bind", source: `${SCRATCH}/secret`, target }) as const;
  using root = Directory.open(path);
  const { code, out, err } = await shell(
    root,
    "cat /run/secrets/a /usr/lib/modules/b /etc/resolv.conf /outside/c; stat -c %F /a/up",
    {
      mounts: [
        bind("var/run/secrets/a"),
        bind("lib/modules/b"),
        bind("etc/resolv.conf"),
        bind("a/up/c"),
      ],
    },
  );
  assertEquals([code, err], [0, ""]);
  assertEquals(out, `${"secret\n".repeat(4)}symbolic link\n`);
  assertEquals(names(path), ["a", "bin", "etc", "lib", "run", "usr", "var"]);
  assertEquals([names(`${path}/run`), names(`${SCRATCH}/outside`)], [[], []]);
});

runTest("run() mounts nothing on the root by a symlink", async () => {
  const path = makeRoot();
  Deno.symlinkSync("/", `${path}/self`);
  Deno.symlinkSync("circle", `${path}/circle`);
  using root = Directory.open(path);
  const mounts = (target: string) => [{ type: "tmpfs", target }];
  await assertRejects(
    () => run(root, ["true"], { mounts: mounts("self") }),
    UnsupportedError,
    "leads to the root itself",
  );
  const { code, hint } = await assertRejects(
    () => run(root, ["true"], { mounts: mounts("circle/a") }),
    MountError,
  );
  assertEquals([code, hint], [
    "ELOOP",
    "The symlinks of the path lead in a circle",
  ]);
  assertEquals([names(path), keepers()], [["bin", "circle", "self"], 0]);
});
