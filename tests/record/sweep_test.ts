import {
  mountsBelow,
  mountTable,
  type Needs,
  openDescriptors,
  SCRATCH,
  withoutProc,
} from "../support/testing.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import {
  makeDirectory,
  mountId,
  open,
  withoutCall,
} from "../support/scratch.ts";
import { type LeftMount, sweep } from "../../src/record/sweep.ts";
import {
  DEAD,
  failEachCall,
  leaveMounts,
  recorder,
  recorderCommand,
  recordingTest,
  recordLines,
  recordName,
  recordNames,
  RECORDS,
  recordTest,
  recordText,
  writeRecord,
} from "../support/records.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  AT_FDCWD,
  LOCK_EX,
  MNT_DETACH,
  MS_BIND,
  MS_MOVE,
  MS_REC,
  O_RDONLY,
} from "../../src/sys/constants.ts";
import { Directory } from "../../src/directory.ts";
import { MountRecord } from "../../src/record/record.ts";
import { commandLine, run } from "../support/program.ts";
import { thisNamespace, thisProcess } from "../../src/record/store.ts";
import { type Held, hold } from "../support/held.ts";
import { MountError } from "../../src/error/error.ts";
import { flock } from "../../src/sys/file.ts";
import { mkdirat } from "../../src/sys/names.ts";
import { libc } from "../../src/sys/libc.ts";

const needs: Needs = { permissions: ["read", "write", "env"] };

const mayRun: Needs = { permissions: ["read", "write", "env", "run"] };

/** Mounts a tmpfs on a path, and returns its id. */
function mountOn(path: string): bigint {
  mount("left", path, "tmpfs", 0, null);
  return mountId(path);
}

/** Mounts tmpfs on new directories, and returns their ids. */
function mountAll(...names: string[]): bigint[] {
  return names.map((name) => mountOn(makeDirectory(name)));
}

/** What is mounted below the scratch directory. */
function places(): string[] {
  return mountsBelow(SCRATCH).slice(1).map((line) =>
    line.split(" ")[4]!.slice(SCRATCH.length + 1)
  );
}

function reasons(left: LeftMount[]): string[] {
  return left.map(({ reason }) => reason);
}

const NOTHING = { unmounted: [], left: [], ignored: [] };

recordTest("sweep() does nothing where there is nothing", () => {
  assertEquals(sweep(), NOTHING);
  // Nor does it make the directory.
  assertEquals(recordNames("/run"), []);
  Deno.mkdirSync(RECORDS, { mode: 0o700 });
  assertEquals(sweep(), NOTHING);
}, needs);

recordTest("sweep() unmounts what a killed process left", async () => {
  const pid = await leaveMounts(SCRATCH, ["a", "b"]);
  assertEquals(places(), ["a", "b"]);
  const [, a, b] = recordLines().map(({ mount }) => mount);
  assertEquals(sweep(), {
    ...NOTHING,
    unmounted: [
      { id: BigInt(b as string), target: `${SCRATCH}/b`, pid },
      { id: BigInt(a as string), target: `${SCRATCH}/a`, pid },
    ],
  });
  assertEquals(places(), []);
  assertEquals(recordNames(), []);
}, mayRun);

recordTest("sweep() finds a mount wherever it is by now", () => {
  makeDirectory("x");
  const ids = mountAll("x/a", "b");
  writeRecord(recordText(ids));
  Deno.renameSync(`${SCRATCH}/x`, `${SCRATCH}/y`);
  mount(`${SCRATCH}/b`, makeDirectory("c"), null, MS_MOVE, null);
  // At the old paths are other mounts, which are not recorded.
  makeDirectory("x");
  mountAll("x/a");
  mountOn(`${SCRATCH}/b`);
  const { unmounted, left } = sweep();
  assertEquals(left, []);
  assertEquals(unmounted.map(({ target }) => target), [
    `${SCRATCH}/c`,
    `${SCRATCH}/y/a`,
  ]);
  assertEquals(places(), ["x/a", "b"]);
  umount2(`${SCRATCH}/b`);
  umount2(`${SCRATCH}/x/a`);
}, needs);

recordTest("sweep() spares what was mounted at the same path later", () => {
  const ids = mountAll("a");
  writeRecord(recordText(ids));
  umount2(`${SCRATCH}/a`);
  mountOn(`${SCRATCH}/a`);
  assertEquals(sweep(), NOTHING);
  assertEquals(places(), ["a"]);
  assertEquals(recordNames(), []);
  umount2(`${SCRATCH}/a`);
}, needs);

recordTest("sweep() leaves a mount that another covers, and the other", () => {
  const [id] = mountAll("a");
  mountOn(`${SCRATCH}/a`);
  const path = writeRecord(recordText([id!]));
  for (const lazy of [false, true]) {
    const { unmounted, left } = sweep({ lazy });
    assertEquals([unmounted, reasons(left)], [[], ["failed"]]);
    const { message, hint } = left[0]!.error!;
    assertEquals(
      message,
      `Cannot unmount "${SCRATCH}/a": umount2: EBUSY (Device or resource busy): another mount is on top of it`,
    );
    assertEquals(
      hint,
      `Unmount what is on "${SCRATCH}/a" first, a "tmpfs" from "left"; unmounting lazily does not help`,
    );
    assertEquals(places(), ["a", "a"]);
  }
  assertEquals(reasons(sweep({ dryRun: true }).left), ["failed"]);
  assert(Deno.statSync(path).isFile);
  umount2(`${SCRATCH}/a`);
  assertEquals(sweep().unmounted.length, 1);
  assertEquals([places(), recordNames()], [[], []]);
}, needs);

recordTest(
  "sweep() leaves a mount below a directory that another covers",
  () => {
    makeDirectory("x");
    const ids = mountAll("x/a");
    mountOn(`${SCRATCH}/x`);
    for (const make of [() => {}, () => Deno.mkdirSync(`${SCRATCH}/x/a`)]) {
      make();
      writeRecord(recordText(ids));
      const { unmounted, left } = sweep({ lazy: true });
      assertEquals([unmounted, reasons(left)], [[], ["failed"]]);
      const { message, hint } = left[0]!.error!;
      const words = `the mount on "${SCRATCH}/x" covers what leads to it`;
      assert(message.endsWith(words), message);
      assert(hint!.startsWith(`Unmount what is on "${SCRATCH}/x" first`), hint);
    }
    assertEquals(reasons(sweep({ dryRun: true }).left), ["failed"]);
    umount2(`${SCRATCH}/x`);
    // There are two records of it by now.
    assertEquals(sweep().unmounted.length, 1);
    assertEquals([places(), recordNames()], [[], []]);
  },
  needs,
);

recordTest("sweep() takes a mount that what it takes later covered", () => {
  // They are older than the mounts that they cover, and that they lie in.
  const [moved, top] = mountAll("moved", "top");
  using root = Directory.open(SCRATCH);
  using beneath = root.mount("top", { type: "tmpfs", beneath: true });
  const { id } = beneath;
  beneath.keep();
  const [holder] = mountAll("holder");
  makeDirectory("holder/inside");
  mount(`${SCRATCH}/moved`, `${SCRATCH}/holder/inside`, null, MS_MOVE, null);
  writeRecord(recordText([moved!, top!, id, holder!]));
  const before = mountTable();
  const { unmounted, left } = sweep({ dryRun: true });
  assertEquals(left, []);
  assertEquals(unmounted.length, 4);
  assertEquals(mountTable(), before);
  assertEquals(sweep(), { ...NOTHING, unmounted });
  assertEquals([places(), recordNames()], [[], []]);
}, needs);

recordTest("sweep() says what is inside a mount, and not to be lazy", () => {
  const [id] = mountAll("a", "a/theirs");
  writeRecord(recordText([id!]));
  for (const options of [{}, { lazy: true }, { dryRun: true }]) {
    const { message, hint } = sweep(options).left[0]!.error!;
    assert(message.endsWith("another mount is inside it"), message);
    assertEquals(
      hint,
      `Unmount what is on "${SCRATCH}/a/theirs" first, a "tmpfs" from "left"; unmounting lazily does not help`,
    );
  }
  umount2(`${SCRATCH}/a/theirs`);
  assertEquals(sweep().unmounted.length, 1);
}, needs);

recordTest("sweep() leaves what is in use, unless lazily", () => {
  const ids = mountAll("a", "b");
  writeRecord(recordText(ids));
  using _file = Deno.createSync(`${SCRATCH}/a/file`);
  const { unmounted, left } = sweep();
  assertEquals([unmounted.length, reasons(left)], [1, ["failed"]]);
  const { error, target } = left[0]!;
  assertEquals([target, error!.code], [`${SCRATCH}/a`, "EBUSY"]);
  assert(error!.hint!.includes(`${SCRATCH}/a/file`), error!.hint);
  assertEquals(sweep({ lazy: true }).unmounted.length, 1);
  assertEquals([places(), recordNames()], [[], []]);
}, needs);

recordTest("sweep() takes no mount of others along, not even lazily", () => {
  const ids = mountAll("a", "a/theirs");
  writeRecord(recordText([ids[0]!]));
  for (const lazy of [false, true]) {
    assertEquals(reasons(sweep({ lazy }).left), ["failed"]);
  }
  assertEquals(places(), ["a", "a/theirs"]);
  // If the mount inside is recorded, too, it is unmounted first.
  writeRecord(recordText([ids[1]!]));
  assertEquals(sweep().unmounted.map(({ id }) => id), ids.toReversed());
}, needs);

recordTest("sweep() leaves a living process alone", async () => {
  {
    await using living = await recorder(SCRATCH, ["a"]);
    const { unmounted, left } = sweep({ lazy: true });
    assertEquals([unmounted, reasons(left)], [[], ["owner alive"]]);
    assertEquals(left[0]!.pid, living.pid);
    assertEquals(left[0]!.target, `${SCRATCH}/a`);
  }
  assertEquals(sweep().unmounted.length, 1);
}, mayRun);

recordTest(
  "sweep() leaves a process alone that can't be seen in /proc",
  async () => {
    // The process has its record locked, even if its id is another one here.
    await using _ = await recorder(SCRATCH, ["a"], {
      wrapper: ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"],
    });
    assertEquals(recordLines()[0]!["pid"], 1);
    // Its mount is in the mount namespace that --mount-proc makes.
    assertEquals(reasons(sweep().left), ["owner alive"]);
  },
  { ...mayRun, commands: ["unshare"] },
);

recordTest("sweep() leaves what this process kept, and has still open", () => {
  using root = Directory.open(SCRATCH);
  {
    using record = MountRecord.open();
    root.mount("a", { type: "tmpfs", mkdir: true, record }).keep();
    assertEquals(reasons(sweep().left), ["owner alive"]);
  }
  // The record has no lock any more.
  assertEquals(reasons(sweep().left), ["owner alive"]);
  assertEquals(recordNames().length, 1);
  root.unmount("a");
}, needs);

recordTest(
  "sweep() leaves a mount that a living process has taken over",
  () => {
    const [id] = mountAll("a");
    writeRecord(recordText([id!]));
    using record = MountRecord.open();
    record!.add(id!, `${SCRATCH}/a`);
    writeRecord(recordText([id!]));
    assertEquals(reasons(sweep().left), ["owner alive"]);
    assertEquals(recordNames().length, 3);
    umount2(`${SCRATCH}/a`);
    assertEquals(sweep(), NOTHING);
    assertEquals(recordNames().length, 1);
  },
  needs,
);

recordTest("sweep() unmounts what was kept by a process that ended", () => {
  const { code, stderr } = run(["keep", SCRATCH, "a"], {
    entry: "tests/fixtures/recorder.ts",
    permissions: ["-A"],
  });
  assertEquals([code, stderr], [0, ""]);
  assertEquals(places(), ["a"]);
  assertEquals(sweep().unmounted.length, 1);
}, mayRun);

recordTest("sweep() knows a process that has a dead one's number", () => {
  const ids = mountAll("a");
  const owner = thisProcess();
  const living = writeRecord(recordText(ids, owner));
  assertEquals(reasons(sweep().left), ["owner alive"]);
  Deno.removeSync(living);
  writeRecord(recordText(ids, { ...owner, startTime: owner.startTime - 1 }));
  assertEquals(sweep().unmounted.length, 1);
}, needs);

recordTest(
  "sweep() takes one for dead that nobody has waited for",
  async () => {
    const ids = mountAll("a");
    // The child ends once its parent is no shell any more: a shell would wait.
    await using parent = await hold([
      "sh",
      "-c",
      "while read -r name < /proc/$$/comm && [ $name = sh ]; do :; done & echo; exec sleep 1000",
    ]);
    const list = `/proc/${parent.pid}/task/${parent.pid}/children`;
    const pid = Number(Deno.readTextFileSync(list));
    let fields: string[];
    do {
      const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
      fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    } while (fields[0] !== "Z");
    const startTime = Number(fields[19]);
    writeRecord(recordText(ids, { ...DEAD, pid, startTime }));
    assertEquals(sweep().unmounted.length, 1);
  },
  mayRun,
);

recordTest(
  "sweep() removes what an earlier boot recorded, unmounts nothing",
  () => {
    const ids = mountAll("a");
    for (const owner of [DEAD, thisProcess()]) {
      writeRecord(recordText(ids, { ...owner, bootId: "earlier" }));
      assertEquals(sweep(), NOTHING);
      assertEquals(recordNames(), []);
    }
    assertEquals(places(), ["a"]);
    umount2(`${SCRATCH}/a`);
  },
  needs,
);

recordTest("sweep() uses what can be read of a record", () => {
  const ids = mountAll("a", "b");
  // The owner was killed while it wrote the last line.
  const text = recordText(ids);
  writeRecord(text.slice(0, text.lastIndexOf("/recorded")));
  assertEquals(sweep().unmounted.map(({ id }) => id), [ids[0]]);
  assertEquals(recordNames(), []);
  writeRecord(text.replace("}\n{", "}\n\0\n[\n{\n{"));
  assertEquals(sweep().unmounted.map(({ id }) => id), [ids[1]]);
  // Before it had written its first line.
  writeRecord("");
  writeRecord(text.slice(0, 20));
  assertEquals(sweep(), NOTHING);
  assertEquals(recordNames(), []);
}, needs);

recordTest("sweep() changes nothing when it is to be dry", () => {
  const ids = mountAll("a");
  writeRecord(recordText(ids));
  const gone = writeRecord(recordText([2n ** 60n]));
  writeRecord("");
  const before = recordNames();
  const { unmounted, left } = sweep({ dryRun: true });
  assertEquals([unmounted.map(({ id }) => id), left], [ids, []]);
  assertEquals([places(), recordNames()], [["a"], before]);
  sweep();
  assertThrows(() => Deno.statSync(gone), Deno.errors.NotFound);
  assertEquals([places(), recordNames()], [[], []]);
}, needs);

/** Makes a file that is called like a record; its text names the mount. */
const DISTRUSTED: Record<string, (path: string, text: string) => void> = {
  "it is no regular file": (path) => {
    Deno.mkdirSync(path, { mode: 0o700 });
  },
  "no regular file, but a FIFO": (path) => {
    new Deno.Command("mkfifo", { args: ["-m", "600", path] }).outputSync();
  },
  "ELOOP (Too many levels of symbolic links)": (path, text) => {
    const target = `${SCRATCH}/target`;
    Deno.writeTextFileSync(target, text, { mode: 0o600 });
    Deno.symlinkSync(target, path);
  },
  "it has another name": (path, text) => {
    Deno.writeTextFileSync(path, text, { mode: 0o600 });
    Deno.linkSync(path, "/run/elsewhere");
  },
  "it is another user's": (path, text) => {
    Deno.writeTextFileSync(path, text, { mode: 0o600 });
    Deno.chownSync(path, 65534, 65534);
  },
  "it is not closed to others": (path, text) => {
    Deno.writeTextFileSync(path, text);
    Deno.chmodSync(path, 0o622);
  },
  "it is too large": (path, text) => {
    Deno.writeTextFileSync(path, text, { mode: 0o600 });
    Deno.truncateSync(path, 2 ** 40);
  },
  "it is no record": (path, text) => {
    Deno.writeTextFileSync(path, `nonsense\n${text}`, { mode: 0o600 });
  },
};

for (const [reason, make] of Object.entries(DISTRUSTED)) {
  recordTest(`sweep() ignores a file when ${reason}`, () => {
    const ids = mountAll("a");
    Deno.mkdirSync(RECORDS, { mode: 0o700 });
    const path = `${RECORDS}/${recordName(7)}`;
    make(path, recordText(ids));
    const before = Deno.lstatSync(path);
    const { unmounted, left, ignored } = sweep();
    assertEquals([unmounted, left], [[], []]);
    assertEquals(ignored.map(({ path }) => path), [path]);
    assert(
      ignored[0]!.reason.includes(reason.replace(/^no.*/, "no regular file")),
      ignored[0]!.reason,
    );
    assertEquals(places(), ["a"]);
    const { ino, size, mode, nlink } = Deno.lstatSync(path);
    assertEquals(
      [ino, size, mode, nlink],
      [before.ino, before.size, before.mode, before.nlink],
    );
    umount2(`${SCRATCH}/a`);
  }, mayRun);
}

recordTest("sweep() knows its files by their names", () => {
  const ids = mountAll("a");
  Deno.mkdirSync(RECORDS, { mode: 0o700 });
  for (const name of ["notes", "1.jsonl", `${recordName(1)}~`]) {
    const path = `${RECORDS}/${name}`;
    Deno.writeTextFileSync(path, recordText(ids), { mode: 0o600 });
  }
  assertEquals(sweep(), NOTHING);
  assertEquals(recordNames().length, 3);
  umount2(`${SCRATCH}/a`);
}, needs);

recordTest("sweep() reads all records of a large directory", () => {
  const ids = mountAll("a", "b");
  for (let i = 0; i < 1000; i++) writeRecord(i === 500 ? recordText(ids) : "");
  assertEquals(sweep().unmounted.length, 2);
  assertEquals(recordNames(), []);
}, needs);

recordTest("sweep() throws when others may write to its directory", () => {
  const ids = mountAll("a");
  writeRecord(recordText(ids));
  Deno.chmodSync(RECORDS, 0o770);
  const error = assertThrows(() => sweep(), MountError);
  assertEquals(error.code, "EACCES");
  Deno.chmodSync(RECORDS, 0o700);
  Deno.renameSync(RECORDS, `/run/elsewhere`);
  Deno.symlinkSync("elsewhere", RECORDS);
  assertThrows(() => sweep(), MountError, "ELOOP");
  Deno.chownSync("/run", 65534, 65534);
  assertEquals(sweep(), NOTHING);
  assertEquals(places(), ["a"]);
  umount2(`${SCRATCH}/a`);
}, needs);

/** Holds a mount namespace in which a process left a mount on "a". */
function leftInNamespace(): Promise<Held> {
  return hold([
    "unshare",
    "--mount",
    "--propagation=private",
    "sh",
    "-c",
    '"$@" >/dev/null; echo; exec sleep 1000',
    "sh",
    ...recorderCommand("keep", SCRATCH, ["a"]),
  ]);
}

recordTest("sweep() leaves mounts in another mount namespace", async () => {
  {
    await using _ = await leftInNamespace();
    assertEquals(places(), []);
    const { unmounted, left } = sweep();
    assertEquals([unmounted, reasons(left)], [[], ["other namespace"]]);
    assertEquals(left[0]!.target, `${SCRATCH}/a`);
    assertEquals(recordNames().length, 1);
  }
  // The namespace ended, and its mounts with it.
  assertEquals(sweep(), NOTHING);
  assertEquals(recordNames(), []);
}, mayRun);

recordTest(
  "sweep() keeps the record where it can't tell what is gone",
  async () => {
    {
      await using _ = await leftInNamespace();
    }
    const [owner, entry] = recordLines();
    const [name] = recordNames();
    const path = `${RECORDS}/${name}`;
    const text = Deno.readTextFileSync(path);
    // As before Linux 6.11, which has no ids of mount namespaces.
    delete entry!["namespaceId"];
    Deno.writeTextFileSync(path, [owner, entry].map(toLine).join(""));
    assertEquals(reasons(sweep().left), ["other namespace"]);
    // By its inode, this is the mount namespace of this thread.
    entry!["namespace"] = String(thisNamespace().inode);
    Deno.writeTextFileSync(path, [owner, entry].map(toLine).join(""));
    assertEquals(sweep(), NOTHING);
    assertEquals(recordNames(), []);
    // Up to Linux 6.17, the kernel tells this only with CAP_SYS_ADMIN.
    writeRecord(text);
    const { stdout } = run(["sweep"], {
      permissions: ["-A"],
      wrapper: ["setpriv", "--bounding-set=-sys_admin"],
    });
    assert(stdout.includes("in another mount namespace"), stdout);
    assertEquals(recordNames().length, 1);
  },
  { ...mayRun, commands: ["setpriv", "unshare"] },
);

function toLine(line: unknown): string {
  return `${JSON.stringify(line)}\n`;
}

recordTest("sweep() leaves what is outside its root, and its root", () => {
  const jail = makeDirectory("jail");
  const ids = mountAll("a");
  mount("/", jail, null, MS_BIND | MS_REC, null);
  writeRecord(recordText([...ids, mountId(jail)]));
  const before = mountTable();
  const { code, stdout, stderr } = run(["sweep", "--json", "--lazy"], {
    permissions: ["-A"],
    wrapper: ["chroot", jail],
  });
  assertEquals(code, 32, stderr);
  const { unmounted, left } = JSON.parse(stdout);
  assertEquals([unmounted, reasons(left)], [[], ["failed", "out of sight"]]);
  assert(stderr.includes("it is the root of this process"), stderr);
  assertEquals(mountTable(), before);
  umount2(jail, MNT_DETACH);
  assertEquals(sweep().unmounted.length, 1);
}, { ...mayRun, commands: ["chroot"] });

recordTest("sweep() leaves all where no id can be asked for", () => {
  const ids = mountAll("a");
  writeRecord(recordText(ids));
  withoutCall("statmount", () => {
    assertEquals(reasons(sweep().left), ["out of sight"]);
  });
  assertEquals(sweep().unmounted.length, 1);
}, needs);

recordTest("sweep() waits for another one", async () => {
  const ids = mountAll("a");
  writeRecord(recordText(ids));
  const directory = open(RECORDS, O_RDONLY);
  flock(directory.fd, LOCK_EX);
  const [command, ...args] = commandLine(["sweep"], { permissions: ["-A"] });
  const waiting = new Deno.Command(command!, {
    args,
    stdin: "null",
    stdout: "piped",
  }).spawn();
  // Blocked processes are marked by an arrow.
  const mark = new RegExp(`-> FLOCK .* ${waiting.pid} `);
  while (!mark.test(Deno.readTextFileSync("/proc/locks")));
  assertEquals(places(), ["a"]);
  directory.close();
  const { success, stdout } = await waiting.output();
  assert(success);
  assert(new TextDecoder().decode(stdout).includes(`Unmounted "${SCRATCH}/a"`));
}, mayRun);

recordTest("two sweeps at once do no harm", async () => {
  const names = Array.from({ length: 40 }, (_, i) => `m${i}`);
  const ids = mountAll(...names);
  for (const id of ids) writeRecord(recordText([id]));
  const [command, ...args] = commandLine(["sweep", "--json"], {
    permissions: ["-A"],
  });
  const ended = await Promise.all(
    [1, 2].map(() =>
      new Deno.Command(command!, { args, stdin: "null" }).output()
    ),
  );
  const found = ended.flatMap(({ success, stdout }) => {
    assert(success);
    const { unmounted, left, ignored } = JSON.parse(
      new TextDecoder().decode(stdout),
    );
    assertEquals([left, ignored], [[], []]);
    return unmounted.map(({ id }: { id: number }) => BigInt(id));
  });
  assertEquals(found, ids.toReversed());
  assertEquals([places(), recordNames()], [[], []]);
}, mayRun);

recordTest("sweep() reads no record that its owner just removed", () => {
  using root = Directory.open(SCRATCH);
  const mounted = root.mount("a", { type: "tmpfs", mkdir: true });
  // The owner looks dead, as if it were in another PID namespace.
  const path = writeRecord(recordText([mounted.id]));
  const owners = open(path, O_RDONLY);
  flock(owners.fd, LOCK_EX);
  const real = libc.flock;
  let calls = 0;
  Object.defineProperty(libc, "flock", {
    value: (...args: Parameters<typeof real>) => {
      // The first one is for the directory.
      if (++calls === 2) {
        Deno.removeSync(path);
        owners.close();
      }
      return real(...args);
    },
  });
  try {
    assertEquals(sweep(), NOTHING);
  } finally {
    Object.defineProperty(libc, "flock", { value: real });
  }
  assertEquals(calls, 2);
  assert(mounted.mounted);
  mounted.unmount();
}, needs);

recordingTest("sweep() throws without the permission", () => {
  mkdirat(AT_FDCWD, RECORDS, 0o700);
  const denied = run(["sweep"], { permissions: ["--allow-ffi"] });
  assertEquals([denied.code, denied.stdout], [1, ""]);
  assert(
    denied.stderr.includes("run again with --allow-write=/run/mountat"),
    denied.stderr,
  );
  const permissions = ["--allow-ffi", "--allow-write=/run/mountat"];
  assertEquals(run(["sweep"], { permissions }).code, 0);
  assertEquals(run(["sweep"], { permissions: permissions.slice(1) }).code, 1);
});

recordTest("sweep() throws where it can't tell who is alive", () => {
  const ids = mountAll("a");
  writeRecord(recordText(ids));
  withoutProc(() => {
    const { hint } = assertThrows(() => sweep(), MountError, "ENOENT");
    assertEquals(hint, "This needs /proc, which is not mounted here");
  });
  assertEquals(sweep().unmounted.length, 1);
}, needs);

recordTest("sweep() forgets no mount when any call of it fails", () => {
  makeDirectory("a");
  makeDirectory("b");
  const calls = failEachCall((call, failing) => {
    const ids = ["a", "b"].map((name) => mountOn(`${SCRATCH}/${name}`));
    writeRecord(recordText(ids.slice(0, 1)));
    writeRecord(recordText(ids.slice(1)));
    const before = openDescriptors();
    const error = failing(() => sweep({ lazy: true }));
    assert(error === undefined || error instanceof MountError, call);
    assertEquals(openDescriptors(), before, call);
    assert(recordNames().length >= places().length, call);
    assertEquals(sweep().left, [], call);
    assertEquals([places(), recordNames()], [[], []], call);
  });
  assert(calls > 30, String(calls));
}, needs);
