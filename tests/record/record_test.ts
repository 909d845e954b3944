import {
  mountsBelow,
  type Needs,
  openDescriptors,
  ROOT,
  SCRATCH,
  withoutProc,
} from "../support/testing.ts";
import {
  formatEntry,
  formatOwner,
  isRecordName,
  parseRecord,
} from "../../src/record/file.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { MountRecord } from "../../src/record/record.ts";
import {
  failEachCall,
  makeCache,
  OTHER_USER,
  recordingTest,
  recordLines,
  recordNames,
  RECORDS,
  recordTest,
} from "../support/records.ts";
import { Directory } from "../../src/directory.ts";
import { open, tracedCalls } from "../support/scratch.ts";
import { mount, mountSetattr, umount2 } from "../../src/sys/mount.ts";
import {
  AT_FDCWD,
  LOCK_EX,
  LOCK_NB,
  MNT_DETACH,
  MS_PRIVATE,
  MS_REMOUNT,
  MS_SHARED,
  O_RDONLY,
  STATX_MNT_ID_UNIQUE,
} from "../../src/sys/constants.ts";
import { flock } from "../../src/sys/file.ts";
import { unlinkat } from "../../src/sys/names.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { MountError } from "../../src/error/error.ts";
import { libc } from "../../src/sys/libc.ts";
import type { OwnedFd } from "../../src/fd/owned_fd.ts";
import {
  denoForAll,
  run,
  type RunOptions,
  shellCommand,
} from "../support/program.ts";

const needs: Needs = { permissions: ["read", "write", "env"] };

const OWNER = { pid: 7, startTime: 1234, bootId: "b" };

const ENTRY = {
  id: 2n ** 63n,
  target: '/a "b"\n\udcff',
  namespace: { inode: 4026531841n, id: 2n ** 40n },
  whole: false,
};

const OLD_ENTRY = {
  ...ENTRY,
  namespace: { inode: 1n, id: undefined },
  whole: true,
};

Deno.test("parseRecord() parses what was formatted", () => {
  const text = formatOwner(OWNER) + formatEntry(ENTRY) + formatEntry(OLD_ENTRY);
  assertEquals(parseRecord(text), {
    owner: OWNER,
    entries: [ENTRY, OLD_ENTRY],
  });
});

Deno.test("parseRecord() uses what can be read", () => {
  const [owner, entry] = [formatOwner(OWNER), formatEntry(ENTRY)];
  const whole = { owner: OWNER, entries: [ENTRY] };
  // A part of a line, and what was written after one.
  for (let end = 1; end < entry.length - 1; end++) {
    const part = entry.slice(0, end);
    assertEquals(parseRecord(owner + entry + part), whole);
    assertEquals(parseRecord(`${owner}${part}\n${entry}`), whole);
  }
  assertEquals(parseRecord(owner.trimEnd()), { owner: OWNER, entries: [] });
  for (const text of ["", "{", owner.slice(0, -3), "null", "[]", "7\n"]) {
    assertEquals(parseRecord(text), { owner: null, entries: [] });
  }
});

Deno.test("parseRecord() passes over what makes no sense", () => {
  const line = (change: object) =>
    JSON.stringify({
      mount: "4294967296",
      target: "/x",
      namespace: "4",
      ...change,
    });
  const lines = [
    { mount: 4294967296 },
    { mount: "-1" },
    { mount: "18446744073709551616" },
    { mount: "1e9" },
    { target: null },
    { namespace: "x" },
    { namespace: undefined },
  ].map(line);
  const text = [formatOwner(OWNER).trimEnd(), ...lines, "null", "[1]", "\0"];
  assertEquals(parseRecord(text.join("\n")).entries, []);
  assertEquals(parseRecord(`${text[0]}\n${line({})}`).entries.length, 1);
  for (
    const owner of [{ pid: "7" }, { pid: 1.5 }, { startTime: null }, {
      bootId: 1,
    }]
  ) {
    const text = JSON.stringify({ ...OWNER, ...owner });
    assertEquals(parseRecord(text).owner, null);
  }
});

Deno.test("isRecordName() knows the names of records", () => {
  const name = "12-50ce11b4-db95-4db3-8419-c3491bbcaa57.jsonl";
  assert(isRecordName(name));
  for (const other of [".", `${name}~`, `.${name}`, name.slice(1, -1), ""]) {
    assert(!isRecordName(other), other);
  }
});

function openRecord(): MountRecord {
  const record = MountRecord.open();
  if (record === null) throw new Error("Nothing is recorded");
  return record;
}

function modeOf(path: string): number {
  return Deno.lstatSync(path).mode! & 0o7777;
}

recordTest("MountRecord has a mount before it is attached", () => {
  using root = Directory.open(SCRATCH);
  using record = openRecord();
  Deno.writeTextFileSync(`${SCRATCH}/file`, "");
  for (
    const make of [
      () => root.mount("m", { type: "tmpfs", mkdir: true, record }),
      () => root.bind("/proc", "n", { mkdir: true, record }),
      () => root.bind("/proc/version", "file", { record }),
    ]
  ) {
    const calls = tracedCalls(() => {
      using made = make();
      const last = recordLines().at(-1)!;
      assertEquals(last["mount"], String(made.id));
      assertEquals(last["target"], `${SCRATCH}/${made.target}`);
    }).map(({ syscall }) => syscall);
    assert(calls.includes("write"));
    assert(calls.indexOf("write") < calls.indexOf("move_mount"));
  }
  const [{ pid, startTime, bootId }] = recordLines() as [
    Record<string, unknown>,
  ];
  assertEquals(pid, Deno.pid);
  const stat = Deno.readTextFileSync("/proc/self/stat");
  assert(stat.split(" ").includes(String(startTime)), stat);
  const path = "/proc/sys/kernel/random/boot_id";
  assertEquals(`${bootId}\n`, Deno.readTextFileSync(path));
}, needs);

recordTest("MountRecord has the copy that takes a moved mount's place", () => {
  using root = Directory.open(SCRATCH);
  using record = openRecord();
  mountSetattr(AT_FDCWD, SCRATCH, 0, { propagation: MS_SHARED });
  root.mount("a", { type: "tmpfs", mkdir: true }).keep();
  const calls = tracedCalls(() => {
    using moved = root.move("a", root, "b", { mkdir: true, record });
    assertEquals(moved.made, "cloned");
    const last = recordLines().at(-1)!;
    assertEquals(last["mount"], String(moved.id));
    assertEquals(last["target"], `${SCRATCH}/b`);
    assertEquals(last["whole"], undefined);
  }).map(({ syscall }) => syscall);
  assert(calls.indexOf("write") < calls.lastIndexOf("move_mount"));
  mountSetattr(AT_FDCWD, SCRATCH, 0, { propagation: MS_PRIVATE });
}, needs);

recordTest("MountRecord is this user's alone, synchronised and locked", () => {
  const calls = tracedCalls(() => {
    using _record = openRecord();
    const [name] = recordNames();
    assertEquals([modeOf(RECORDS), modeOf(`${RECORDS}/${name}`)], [
      0o700,
      0o600,
    ]);
    using other = open(`${RECORDS}/${name}`, O_RDONLY);
    assertThrows(
      () => flock(other.fd, LOCK_EX | LOCK_NB),
      SyscallError,
      "EAGAIN",
    );
  });
  const creating = calls.filter(({ syscall, args }) =>
    syscall === "openat2" && String(args[2]).includes("O_CREAT")
  );
  assertEquals(creating.length, 1);
  const how = String(creating[0]!.args[2]);
  for (const word of ["O_EXCL", "O_CLOEXEC", "O_DSYNC", "RESOLVE_BENEATH"]) {
    assert(how.includes(word), how);
  }
}, needs);

recordTest("MountRecord is removed when no mount of it is left", () => {
  using root = Directory.open(SCRATCH);
  const record = openRecord();
  root.mount("m", { type: "tmpfs", mkdir: true, record }).unmount();
  const kept = root.mount("m", { type: "tmpfs", record });
  kept.keep();
  assertThrows(
    () => root.mount("missing", { type: "tmpfs", record }),
    MountError,
    "ENOENT",
  );
  assertEquals(recordNames().length, 1);
  // By somebody else.
  umount2(`${SCRATCH}/m`);
  record.close();
  record.close();
  assertEquals(recordNames(), []);
  assertThrows(() => record.add(kept.id, "/x"), TypeError, "closed");
}, needs);

recordTest("MountRecord stays when a mount of it does", () => {
  using root = Directory.open(SCRATCH);
  {
    using record = openRecord();
    root.mount("m", { type: "tmpfs", mkdir: true, record }).keep();
  }
  assertEquals(recordLines().length, 2);
  assertEquals(mountsBelow(`${SCRATCH}/m`).length, 1);
  root.unmount("m");
}, needs);

recordTest("MountRecord stays where it can't be told what is left", () => {
  using root = Directory.open(SCRATCH);
  const record = openRecord();
  const mount = root.mount("m", { type: "tmpfs", mkdir: true, record });
  const real = libc.statmount;
  try {
    Object.defineProperty(libc, "statmount", {
      // A system call that does not exist: ENOSYS.
      value: () => libc.close(9999, -1),
    });
    mount.unmount();
    record.close();
  } finally {
    Object.defineProperty(libc, "statmount", { value: real });
  }
  assertEquals(recordNames().length, 1);
}, needs);

recordTest("MountRecord.add() refuses what is no unique id", () => {
  using record = openRecord();
  for (const id of [0n, 35n, -1n, 35, undefined]) {
    assertThrows(() => record.add(id as bigint, "/x"), TypeError);
  }
  assertEquals(recordLines().length, 1);
}, needs);

recordTest(
  "MountRecord begins a new file when most lines mean nothing",
  async () => {
    using root = Directory.open(SCRATCH);
    root.mkdir("m");
    using record = openRecord();
    using stays = root.mount("stays", { type: "tmpfs", mkdir: true, record });
    const [before] = recordNames();
    for (let i = 0; i < 2500; i++) {
      root.mount("m", { type: "tmpfs", record }).unmount();
    }
    await Promise.resolve();
    const [after] = recordNames();
    assert(before !== after);
    const lines = recordLines();
    assertEquals(lines.length, 2);
    assertEquals(lines[1]!["mount"], String(stays.id));
    assertEquals(modeOf(`${RECORDS}/${after}`), 0o600);
    using file = open(`${RECORDS}/${after}`, O_RDONLY);
    assertThrows(() => flock(file.fd, LOCK_EX | LOCK_NB), SyscallError);
    root.mount("m", { type: "tmpfs", record }).unmount();
    assertEquals(recordLines().length, 3);
  },
  needs,
);

/** Runs something with another file system on /run. */
async function withRun(
  options: string,
  body: () => void | Promise<void>,
): Promise<void> {
  mount("run", "/run", "tmpfs", 0, `mode=0755,${options}`);
  try {
    await body();
  } finally {
    umount2("/run", MNT_DETACH);
  }
}

function resize(options: string): void {
  mount(null, "/run", null, MS_REMOUNT, options);
}

const PAGE = 4096;

recordTest(
  "MountRecord keeps from mounting when it can't be written",
  () =>
    withRun(`size=${PAGE}`, () => {
      using root = Directory.open(SCRATCH);
      using record = openRecord();
      using first = root.mount("first", { type: "tmpfs", mkdir: true, record });
      const path = `${RECORDS}/${recordNames()[0]}`;
      const room = PAGE - Deno.statSync(path).size;
      Deno.writeTextFileSync(path, "\n".repeat(room - 50), { append: true });
      const error = assertThrows(
        () => root.mount("m", { type: "tmpfs", mkdir: true, record }),
        MountError,
        'Cannot record a mount in "/run/mountat": write: ENOSPC',
      );
      assertEquals(error.target, RECORDS);
      assertThrows(() => Deno.statSync(`${SCRATCH}/m`), Deno.errors.NotFound);
      assertEquals(Deno.statSync(path).size, PAGE);
      resize("size=1m");
      using second = root.mount("m", { type: "tmpfs", mkdir: true, record });
      // A part of the line that failed comes between them.
      const { entries } = parseRecord(Deno.readTextFileSync(path));
      assertEquals(entries.map(({ id }) => id), [first.id, second.id]);
    }),
  needs,
);

recordTest(
  "MountRecord goes on in its file when a new one fails",
  () =>
    withRun("", async () => {
      using root = Directory.open(SCRATCH);
      using record = openRecord();
      const [before] = recordNames();
      using stays = root.mount("m", { type: "tmpfs", mkdir: true, record });
      const ids = Array.from({ length: 1000 }, (_, i) => 2n ** 40n + BigInt(i));
      for (const id of ids) record.add(id, "/nowhere");
      // The root, the directory, the file.
      resize("nr_inodes=3");
      await Promise.resolve();
      assertEquals(recordNames(), [before!]);
      assertEquals(recordLines().length, 1002);
      resize("nr_inodes=100");
      for (const id of [...ids, 2n ** 41n]) record.add(id, "/nowhere");
      await Promise.resolve();
      assert(recordNames()[0] !== before);
      assertEquals(recordLines()[1]!["mount"], String(stays.id));
      assertEquals(recordLines().length, 2);
    }),
  needs,
);

recordTest(
  "MountRecord leaves no new file that it can't write",
  () =>
    withRun(`size=${PAGE}`, () => {
      Deno.writeTextFileSync("/run/filler", "x".repeat(PAGE));
      assertThrows(
        () => MountRecord.open(),
        MountError,
        'Cannot record mounts in "/run/mountat": write: ENOSPC',
      );
      assertEquals(recordNames(), []);
    }),
  needs,
);

/** Nothing may be thrown but this, when a call fails. */
function assertTold(error: unknown, call: string): void {
  assert(error === undefined || error instanceof MountError, call);
}

recordTest("MountRecord.open() leaves nothing when any call fails", () => {
  Deno.mkdirSync(RECORDS, { mode: 0o700 });
  const calls = failEachCall((call, failing) => {
    let record: MountRecord | null = null;
    const before = openDescriptors();
    const error = failing(() => record = MountRecord.open());
    assertTold(error, call);
    if (error === undefined) (record as MountRecord | null)?.close();
    else assert((error as MountError).code === "EBADF", call);
    assertEquals([openDescriptors(), recordNames()], [before, []], call);
  });
  assert(calls > 10, String(calls));
}, needs);

recordTest("MountRecord keeps from mounting when any call of it fails", () => {
  using root = Directory.open(SCRATCH);
  using record = openRecord();
  const calls = failEachCall((call, failing) => {
    const before = openDescriptors();
    const error = failing(() => record.add(2n ** 40n, root.fd));
    assertTold(error, call);
    assertEquals(openDescriptors(), before, call);
    // What comes after is recorded all the same.
    record.add(2n ** 41n, "/next");
    const lines = recordLines();
    assertEquals(lines.at(-1)!["target"], "/next");
    assertEquals(lines.at(-2)!["target"] === SCRATCH, error === undefined);
  });
  assert(calls >= 5, String(calls));
}, needs);

recordTest("MountRecord is closed whatever call fails", () => {
  using root = Directory.open(SCRATCH);
  using mounted = root.mount("m", { type: "tmpfs", mkdir: true });
  const calls = failEachCall((call, failing) => {
    const before = openDescriptors();
    const record = openRecord();
    record.add(mounted.id, root.fd);
    assertTold(failing(() => record.close()), call);
    assertEquals(openDescriptors(), before, call);
    assertEquals(recordLines()[1]!["mount"], String(mounted.id));
    Deno.removeSync(`${RECORDS}/${recordNames()[0]}`);
  });
  assert(calls >= 4, String(calls));
}, needs);

for (
  const [what, interfere] of [
    ["locks", (path: string) => {
      const file = open(path, O_RDONLY);
      flock(file.fd, LOCK_EX);
      return file;
    }],
    ["removes", (path: string) => {
      unlinkat(AT_FDCWD, path);
      return null;
    }],
  ] as const
) {
  recordTest(`MountRecord.open() tries again when a sweep ${what} it`, () => {
    const real = libc.flock;
    let held: OwnedFd | null = null;
    let seen = "";
    Object.defineProperty(libc, "flock", {
      configurable: true,
      value: (...args: Parameters<typeof real>) => {
        Object.defineProperty(libc, "flock", { value: real });
        seen = recordNames()[0]!;
        held = interfere(`${RECORDS}/${seen}`);
        return real(...args);
      },
    });
    using _record = openRecord();
    (held as OwnedFd | null)?.close();
    const [name, ...others] = recordNames();
    assert(seen !== "" && name !== seen);
    assertEquals(others, []);
  }, needs);
}

for (
  const [what, code, make] of [
    ["a symlink", "ELOOP", () => {
      Deno.mkdirSync(`${SCRATCH}/elsewhere`, { mode: 0o700 });
      Deno.symlinkSync(`${SCRATCH}/elsewhere`, RECORDS);
    }],
    ["a file", "ENOTDIR", () => Deno.writeTextFileSync(RECORDS, "")],
    ["another user's", "EACCES", () => {
      Deno.mkdirSync(RECORDS, { mode: 0o700 });
      Deno.chownSync(RECORDS, 65534, 65534);
    }],
    ["writable by others", "EACCES", () => {
      Deno.mkdirSync(RECORDS);
      Deno.chmodSync(RECORDS, 0o777);
    }],
    ["readable by others", "EACCES", () => {
      Deno.mkdirSync(RECORDS);
      Deno.chmodSync(RECORDS, 0o755);
    }],
  ] as const
) {
  recordTest(`MountRecord.open() throws when its directory is ${what}`, () => {
    make();
    const error = assertThrows(() => MountRecord.open(), MountError);
    assertEquals(error.code, code);
    assert(error.message.startsWith('Cannot use "/run/mountat" for records'));
    const { isDirectory } = Deno.statSync(RECORDS);
    assertEquals(isDirectory ? recordNames() : [], []);
  }, needs);
}

for (
  const [what, make] of [
    ["/run is another user's", () => Deno.chownSync("/run", 65534, 65534)],
    ["others may write to /run", () => Deno.chmodSync("/run", 0o1777)],
  ] as const
) {
  recordTest(`MountRecord.open() gives null when ${what}`, () => {
    make();
    assertEquals(MountRecord.open(), null);
  }, needs);
}

recordTest(
  "MountRecord.open() gives null when /run is read-only",
  () => withRun("ro", () => assertEquals(MountRecord.open(), null)),
);

recordTest("MountRecord.open() gives null without /proc", () => {
  withoutProc(() => assertEquals(MountRecord.open(), null));
});

recordTest("MountRecord.open() gives null where no boot can be told", () => {
  mount("proc", "/proc", "proc", 0, "subset=pid");
  try {
    assertEquals(MountRecord.open(), null);
  } finally {
    umount2("/proc", MNT_DETACH);
  }
  assertThrows(() => Deno.statSync(RECORDS), Deno.errors.NotFound);
}, needs);

recordTest("MountRecord.open() gives null where ids are used again", () => {
  const real = libc.statx;
  try {
    // As before Linux 6.8: the bit is unknown.
    Object.defineProperty(libc, "statx", {
      value: (...args: Parameters<typeof real>) => {
        args[4] &= ~STATX_MNT_ID_UNIQUE;
        return real(...args);
      },
    });
    assertEquals(MountRecord.open(), null);
  } finally {
    Object.defineProperty(libc, "statx", { value: real });
  }
  assertThrows(() => Deno.statSync(RECORDS), Deno.errors.NotFound);
}, needs);

/** What a process says of its record, and that it failed nowhere. */
function said(options: RunOptions, env: Record<string, string> = {}): string {
  const assignments = Object.entries(env).map(([key, value]) =>
    `${key}=${value}`
  );
  const { code, stdout, stderr } = run(["keep", SCRATCH], {
    entry: "tests/fixtures/recorder.ts",
    ...options,
    permissions: [
      ...options.permissions ?? ["-A"],
      "--no-config",
      "--no-lock",
    ],
    wrapper: [...options.wrapper ?? [], "env", ...assignments],
  });
  assertEquals([code, stderr], [0, ""]);
  return stdout;
}

recordingTest("MountRecord.open() gives null without the permission", () => {
  for (
    const permissions of [
      ["--allow-ffi"],
      ["--allow-ffi", "--allow-write=/run/mountat2", "--allow-read"],
      ["-A", "--deny-write=/run/mountat"],
    ]
  ) {
    assertEquals(said({ permissions }), "not recorded\n");
    assertThrows(() => Deno.statSync(RECORDS), Deno.errors.NotFound);
  }
  const permissions = ["--allow-ffi", "--allow-write=/run/mountat"];
  assertEquals(said({ permissions }), "recorded\n");
  assertEquals(recordNames(), []);
});

/** What the program shows at a terminal, until it ends or asks something. */
async function atTerminal(...permissions: string[]): Promise<string> {
  const program = [`${ROOT}mod.ts`, `${SCRATCH}/root`, "0"];
  const command = [Deno.execPath(), "run", ...permissions, ...program];
  const process = new Deno.Command("script", {
    args: ["-qec", shellCommand(command), "/dev/null"],
    env: { NO_COLOR: "1" },
    // Open to the end: the end of the input would answer a prompt.
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  let shown = "";
  for await (
    const text of process.stdout.pipeThrough(new TextDecoderStream())
  ) {
    shown += text;
    if (shown.includes("Allow?")) {
      process.kill("SIGKILL");
      break;
    }
  }
  await process.status;
  await process.stdin.close();
  return shown;
}

recordingTest("MountRecord.open() asks nobody at a terminal", async () => {
  const shown = await atTerminal("--allow-ffi");
  assert(!shown.includes("requests"), shown);
  assert(shown.includes("Unmounting sys"), shown);
  // Without --allow-ffi, Deno prompts, and the prompt is seen.
  assert((await atTerminal()).includes("requests ffi access"));
}, { commands: ["script"] });

recordingTest(
  "MountRecord is in XDG_RUNTIME_DIR where /run is not the user's",
  () => {
    const runtime = `${SCRATCH}/runtime`;
    Deno.mkdirSync(runtime);
    Deno.chownSync(runtime, 65534, 65534);
    Deno.chmodSync(runtime, 0o700);
    const cache = { DENO_DIR: makeCache() };
    const env = { ...cache, XDG_RUNTIME_DIR: runtime };
    const made = () => {
      const { uid, mode } = Deno.lstatSync(`${runtime}/mountat`);
      assertEquals([uid, mode! & 0o7777], [65534, 0o700]);
      Deno.removeSync(`${runtime}/mountat`);
    };
    const as = (
      options: RunOptions = {},
      others: Record<string, string> = env,
    ) => said({ wrapper: OTHER_USER, ...options }, others);
    assertEquals(as(), "recorded\n");
    made();
    const permissions = [
      "--allow-ffi",
      `--allow-write=${runtime}/mountat`,
      "--allow-env=XDG_RUNTIME_DIR",
    ];
    assertEquals(as({ permissions }), "recorded\n");
    made();
    const withoutEnv = permissions.slice(0, 2);
    assertEquals(as({ permissions: withoutEnv }), "not recorded\n");
    assertEquals(as({}, cache), "not recorded\n");
    assertEquals(
      as({}, { ...cache, XDG_RUNTIME_DIR: "runtime" }),
      "not recorded\n",
    );
    // If others may rename what is in it, or if it belongs to another user.
    Deno.chmodSync(runtime, 0o1777);
    assertEquals(as(), "not recorded\n");
    Deno.chmodSync(runtime, 0o700);
    Deno.chownSync(runtime, 65533, 65533);
    assertEquals(as(), "not recorded\n");
    assertEquals(recordNames(runtime), []);
    assertEquals(recordNames("/run"), []);
  },
  { commands: ["setpriv"] },
);

recordingTest("MountRecord of a user namespace's root is not root's", () => {
  const env = {
    DENO_DIR: makeCache(),
    XDG_RUNTIME_DIR: `${SCRATCH}/runtime`,
  };
  Deno.mkdirSync(env.XDG_RUNTIME_DIR, { mode: 0o700 });
  Deno.chownSync(env.XDG_RUNTIME_DIR, 65534, 65534);
  const wrapper = [...OTHER_USER, "unshare", "--user", "--map-root-user"];
  assertEquals(said({ wrapper, deno: denoForAll() }, env), "recorded\n");
  assertEquals(recordNames(env.XDG_RUNTIME_DIR), ["mountat"]);
  assertEquals(recordNames("/run"), []);
}, { commands: ["setpriv", "unshare"] });
