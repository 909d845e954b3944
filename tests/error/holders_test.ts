import {
  gatedTest,
  kernelTest,
  missingFor,
  type Needs,
  SCRATCH,
} from "../support/testing.ts";
import { Directory } from "../../src/directory.ts";
import { findHolders, type Holder } from "../../src/error/holders.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import { MountError } from "../../src/error/error.ts";
import { compiled } from "../support/compiled.ts";
import { hold, stoppedClock } from "../support/held.ts";
import { makeDetached, open, withoutCall } from "../support/scratch.ts";
import {
  mount as mount2,
  mountSetattr,
  moveMount,
  openTree,
  umount2,
} from "../../src/sys/mount.ts";
import {
  AT_FDCWD,
  CLONE_FS,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_PRIVATE,
  MS_SHARED,
  O_CREAT,
  O_DIRECTORY,
  O_PATH,
  O_RDWR,
  STATX_MNT_ID,
} from "../../src/sys/constants.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { fchdir, openat2, statx } from "../../src/sys/file.ts";
import { unshare } from "../../src/sys/process.ts";
import { failing } from "../support/failing.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { setTracer } from "../../src/sys/call.ts";
import { UnmountAllError } from "../../src/unmount/unmount_all.ts";

const M = `${SCRATCH}/m`;

const COMPILER: Needs = {
  permissions: ["run", "read", "write"],
  commands: ["cc"],
};

/** A tmpfs on `m` that only the test's unmounting takes away. */
function stage(): Directory {
  const root = Directory.open(SCRATCH);
  root.mount("m", { type: "tmpfs", mkdir: true }).keep();
  return root;
}

function assertBusy(unmount: () => void, words: string): readonly Holder[] {
  using _ = stoppedClock();
  const { code, hint, holders } = assertThrows(unmount, MountError);
  assertEquals(code, "EBUSY");
  assert(hint!.includes(words), `${hint} lacks ${words}`);
  return holders!;
}

for (
  const { by, how, path } of [
    { by: "working directory", how: ["cwd", M], path: M },
    { by: "root", how: ["root", M], path: M },
    { by: "mapped file", how: ["map", `${M}/file`], path: `${M}/file` },
    { by: "descriptor", how: ["open", `${M}/file`], path: `${M}/file`, fd: 3 },
  ]
) {
  kernelTest(`EBUSY names a process by its ${by}`, async () => {
    using root = stage();
    Deno.writeTextFileSync(`${M}/file`, "content");
    const program = compiled("holder");
    {
      await using held = await hold([program, ...how]);
      const number = by === "descriptor" ? " 3" : "";
      const holders = assertBusy(
        () => root.unmount("m"),
        `In use: holder (pid ${held.pid}) by its ${by}${number} "${path}"`,
      );
      const { pid } = held;
      const fd = by === "descriptor" ? { fd: 3 } : {};
      assertEquals(holders, [
        { pid, command: "holder", by, ...fd, path } as Holder,
      ]);
    }
    root.unmount("m");
  }, COMPILER);
}

kernelTest("EBUSY names a process by its executable, once", async () => {
  using root = stage();
  const program = compiled("holder", M);
  {
    await using held = await hold([program, "run", "/"]);
    const holders = assertBusy(
      () => root.unmount("m"),
      `holder (pid ${held.pid}) by its executable "${M}/holder"`,
    );
    assertEquals(holders.map(({ by }) => by), ["executable"]);
  }
  root.unmount("m");
}, COMPILER);

kernelTest("EBUSY leaves alone what a waiting process has mapped", async () => {
  using root = stage();
  Deno.writeTextFileSync(`${M}/file`, "content");
  const program = compiled("holder");
  {
    await using held = await hold([program, "vfork", `${M}/file`]);
    // The child has the same mapped, and does not wait.
    const holders = assertBusy(
      () => root.unmount("m"),
      "did not look at files mapped by ",
    );
    assertEquals(holders.map(({ by }) => by), ["mapped file"]);
    assertNotEquals(holders[0]!.pid, held.pid);
  }
  // The child's end comes after its parent's.
  root.unmount("m", { lazy: true });
}, COMPILER);

kernelTest("EBUSY lets no process's name steer the terminal", async () => {
  using root = stage();
  const path = `${M}/a)\x1b[31m b`;
  Deno.renameSync(compiled("holder", M), path);
  {
    await using held = await hold([path, "cwd", M]);
    const words = `a)\\x1b[31m b (pid ${held.pid}) by its working directory`;
    const [holder] = assertBusy(() => root.unmount("m"), words);
    assertEquals(holder!.command, "a)\x1b[31m b");
  }
  root.unmount("m");
}, COMPILER);

kernelTest("EBUSY names mounts inside, by the caller's name", () => {
  using root = stage();
  root.mount("m/sub", { type: "tmpfs", mkdir: true }).keep();
  root.mount("m/sub/deeper", { type: "tmpfs", mkdir: true }).keep();
  const holders = assertBusy(
    () => root.unmount("./m/"),
    'In use: "./m/sub" is mounted inside it',
  );
  assertEquals(holders, [{ by: "mount", path: `${M}/sub` }]);
  root.unmount("m/sub/deeper");
  root.unmount("m/sub");
  root.unmount("m");
});

kernelTest("EBUSY of Mount.unmount() names the mount on top", () => {
  using root = Directory.open(SCRATCH);
  using mount = root.mount("m", { type: "tmpfs", mkdir: true });
  root.mount("m", { type: "tmpfs" }).keep();
  const holders = assertBusy(
    () => mount.unmount(),
    "In use: another mount is on top of it",
  );
  assertEquals(holders, [{ by: "mount", path: M, onTop: true }]);
  root.unmount("m");
});

kernelTest("EBUSY counts what it does not name", () => {
  using root = stage();
  for (let i = 0; i < 70; i++) {
    root.mount(`m/${i}`, { type: "tmpfs", mkdir: true }).keep();
  }
  const holders = assertBusy(() => root.unmount("m"), "; 65 more");
  assertEquals(holders.length, 64);
  for (let i = 0; i < 70; i++) root.unmount(`m/${i}`);
  root.unmount("m");
});

kernelTest("EBUSY names the mount's own descriptor", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  using fromFsmount = makeDetached("tmpfs");
  moveMount(fromFsmount.fd, "", AT_FDCWD, M, MOVE_MOUNT_F_EMPTY_PATH);
  const own = (fd: number) =>
    `In use: descriptor ${fd} of this process is the mount's own: close it first`;
  const [holder] = assertBusy(() => root.unmount("m"), own(fromFsmount.fd));
  assertEquals(
    [holder!.by, holder!.fd, holder!.own],
    ["mount descriptor", fromFsmount.fd, true],
  );
  using fromOpenTree = new OwnedFd(openTree(AT_FDCWD, M));
  fromFsmount.close();
  assertBusy(() => root.unmount("m"), own(fromOpenTree.fd));
  fromOpenTree.close();
  root.unmount("m");
});

kernelTest("EBUSY names this process's open files and directories", () => {
  using root = stage();
  const flags = O_CREAT | O_RDWR;
  using file = new OwnedFd(
    openat2(AT_FDCWD, `${M}/file`, { flags, mode: 0o600 }),
  );
  using directory = root.openDirectory("m");
  assertBusy(
    () => root.unmount("m"),
    `In use: descriptor ${file.fd} of this process is open on "${M}/file"; descriptor ${directory.fd} of this process is open on "${M}"`,
  );
  directory.close();
  file.close();
  root.unmount("m");
});

kernelTest("EBUSY says that the mount was named by its own root", () => {
  using root = stage();
  using inside = root.openDirectory("m");
  assertBusy(
    () => inside.unmount("."),
    `In use: descriptor ${inside.fd} of this process, by which you named it, is open on it: name it from its parent directory`,
  );
  inside.close();
  root.unmount("m");
});

kernelTest("EBUSY names a thread's own working directory", () => {
  using root = stage();
  unshare(CLONE_FS);
  using before = open(".", O_PATH | O_DIRECTORY);
  {
    using inside = root.openDirectory("m");
    fchdir(inside.fd);
  }
  try {
    const words = `In use: this process by its working directory "${M}"`;
    const holders = assertBusy(() => root.unmount("m"), words);
    assertEquals(holders.length, 1);
  } finally {
    fchdir(before.fd);
  }
  root.unmount("m");
});

for (const propagation of ["slave", "shared"]) {
  kernelTest(`EBUSY names who holds a ${propagation} copy`, async () => {
    using root = Directory.open(SCRATCH);
    root.mkdir("m");
    root.mkdir("bind");
    const program = compiled("holder");
    mountSetattr(AT_FDCWD, SCRATCH, 0, { propagation: MS_SHARED });
    // Enters the mount that is propagated to its namespace.
    const script =
      `echo; while ! [ -e ${M}/file ]; do sleep 0.01; done; exec ${program} cwd ${M}`;
    {
      await using copy = await hold(
        ["unshare", "-m", "--propagation", propagation, "sh", "-c", script],
      );
      root.mount("m", { type: "tmpfs" }).keep();
      // The same file system once more, which is no copy of the mount.
      using _bind = root.bind(M, "bind");
      await using _other = await hold([program, "cwd", `${SCRATCH}/bind`]);
      Deno.writeTextFileSync(`${M}/file`, "");
      await copy.written();
      const holders = assertBusy(
        () => root.unmount("m"),
        `In use: holder (pid ${copy.pid}) by its working directory "${M}" in a copy of the mount`,
      );
      assertEquals(holders.map(({ copy }) => copy), [true]);
    }
    root.unmount("m");
    mountSetattr(AT_FDCWD, SCRATCH, 0, { propagation: MS_PRIVATE });
  }, { ...COMPILER, commands: ["cc", "unshare"] });
}

kernelTest("EBUSY in a user namespace names a mapped file", () => {
  Deno.mkdirSync(M);
  const program = compiled("holder");
  // There the links that lead to mapped files can't be followed.
  const { hint } = failing(["unmount", SCRATCH, "m"], {
    wrapper: ["unshare", "-Urm"],
    script: `mount -t tmpfs none ${M}; echo >${M}/file
      ${program} map ${M}/file >${SCRATCH}/said &
      while ! [ -s ${SCRATCH}/said ]; do sleep 0.01; done
      "$@"; kill $!`,
  });
  assert(hint!.includes(`by its mapped file "${M}/file"`), hint);
}, { ...COMPILER, commands: ["cc", "unshare"] });

kernelTest("EBUSY says which processes it could not look at", async () => {
  using root = stage();
  const program = compiled("holder");
  {
    await using held = await hold([program, "cwd", M]);
    // Who has more capabilities may not be looked at, whatever the user.
    const { hint, holders } = failing(["unmount", SCRATCH, "m"], {
      wrapper: ["setpriv", "--bounding-set=-sys_ptrace"],
    });
    assertMatch(
      hint!,
      /^Something uses it, but was not found \(could not look at \d+ processes[,)].*; lazy/,
    );
    assertEquals(holders, []);
    assert(!hint!.includes(String(held.pid)), hint);
  }
  root.unmount("m");
}, { ...COMPILER, commands: ["cc", "setpriv"] });

kernelTest("EBUSY says that there is no /proc to look through", () => {
  using root = stage();
  using inside = root.openDirectory("m");
  mount2("none", "/proc", "tmpfs", 0, null);
  try {
    const holders = assertBusy(
      () => root.unmount("m"),
      "Something uses it, but was not found (there is no /proc, or not of this process)",
    );
    assertEquals(holders, []);
  } finally {
    umount2("/proc");
  }
  inside.close();
  root.unmount("m");
});

kernelTest("findHolders() stops when its time is up", () => {
  using root = stage();
  root.mount("m/sub", { type: "tmpfs", mkdir: true }).keep();
  using inside = root.openDirectory("m");
  const id = Number(statx(root.fd, "m", 0, STATX_MNT_ID).mntId);
  const none = findHolders(id, { limit: 0, now: () => 0 });
  assertEquals(none.holders, [{ by: "mount", path: `${M}/sub` }]);
  assertEquals(none.obstacles, ["stopped searching after 0 ms"]);
  // By this clock a millisecond goes by between two looks at it.
  let clock = 0;
  const some = findHolders(id, { limit: 3, now: () => clock++ });
  assertEquals(clock, 4);
  assertEquals(some.obstacles, ["stopped searching after 3 ms"]);
  const all = findHolders(id);
  assertEquals(all.holders.map(({ by }) => by), ["mount", "descriptor"]);
  inside.close();
  root.unmount("m/sub");
  root.unmount("m");
});

kernelTest("EBUSY names holders on older kernels, too", () => {
  using root = Directory.open(SCRATCH);
  using mount = root.mount("m", { type: "tmpfs", mkdir: true });
  using inside = root.openDirectory("m");
  for (const unmount of [() => root.unmount("m"), () => mount.unmount()]) {
    withoutCall("statmount", () => {
      const holders = assertBusy(unmount, `descriptor ${inside.fd}`);
      assertEquals(holders.map(({ fd }) => fd), [inside.fd]);
    });
  }
});

const noFuse = missingFor({}) ?? missingFuse();

const fuseTest: typeof kernelTest = noFuse === null
  ? kernelTest
  : (name, fn) => gatedTest(name, noFuse, fn);

function missingFuse(): string | null {
  try {
    open("/dev/fuse", O_RDWR).close();
    return null;
  } catch (error) {
    if (error instanceof SyscallError) return "needs /dev/fuse";
    throw error;
  }
}

fuseTest("findHolders() asks no file system that does not answer", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  using device = open("/dev/fuse", O_RDWR);
  using mount = makeDetached("fuse", [
    ["fd", String(device.fd)],
    ["rootmode", "40000"],
    ["user_id", "0"],
    ["group_id", "0"],
  ]);
  moveMount(mount.fd, "", AT_FDCWD, M, MOVE_MOUNT_F_EMPTY_PATH);
  // Nobody reads what the kernel asks this file system.
  assertBusy(() => root.unmount("m"), `descriptor ${mount.fd} of this process`);
  mount.close();
  root.unmount("m");
});

kernelTest("looking for holders is not traced", () => {
  using root = stage();
  using inside = root.openDirectory("m");
  const calls: string[] = [];
  const before = setTracer(({ syscall }) => calls.push(syscall));
  try {
    assertBusy(() => root.unmount("m"), `descriptor ${inside.fd}`);
  } finally {
    setTracer(before);
  }
  assertEquals(calls, ["umount2", "openat2", "close"]);
  inside.close();
  root.unmount("m");
});

kernelTest("unmountAll() names the holders of each mount that is left", () => {
  using root = Directory.open(SCRATCH);
  const files = ["a", "b"].map((name) => {
    root.mount(name, { type: "tmpfs", mkdir: true }).keep();
    return open(`${SCRATCH}/${name}`, O_PATH | O_DIRECTORY);
  });
  using _ = stoppedClock();
  const error = assertThrows(() => root.unmountAll(), UnmountAllError);
  assertEquals(
    error.errors.map(({ holders }) => holders!.map(({ fd }) => fd)),
    files.map(({ fd }) => [fd]).reverse(),
  );
  assertEquals(error.holders, error.errors[0]!.holders);
  for (const file of files) file.close();
  root.unmountAll();
});
