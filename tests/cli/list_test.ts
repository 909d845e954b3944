import { type Arguments, format, list } from "../../src/cli/list.ts";
import { parseWords } from "../../src/cli/command.ts";
import {
  assert,
  assertEquals,
  assertGreater,
  assertRejects,
} from "@std/assert";
import { UsageError } from "../../src/cli/print.ts";
import type { MountInfo } from "../../src/list/mount_info.ts";
import { mountTable, ROOT, SCRATCH } from "../support/testing.ts";
import { setNonblocking } from "../../src/sys/file.ts";
import { mkdirat } from "../../src/sys/names.ts";
import {
  AT_FDCWD,
  MNT_DETACH,
  MS_BIND,
  MS_MOVE,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  MS_REC,
} from "../../src/sys/constants.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import {
  commandLine,
  programTest,
  run,
  type RunOptions,
  shellCommand,
} from "../support/program.ts";
import { decodeText } from "../../src/base/text.ts";
import { mountManyOfEveryKind } from "../support/every_kind.ts";
import { hold } from "../support/held.ts";
import { readAll, readFile } from "../../src/fd/open.ts";
import { Pipe } from "../support/pipe.ts";
import { NR } from "../../src/sys/libc.ts";
import { parseMountinfo } from "../../src/kernel/mountinfo.ts";

async function parse(args: string[]): Promise<Arguments> {
  return list.parse(await parseWords(list.description, args));
}

Deno.test("list takes a directory or none", async () => {
  assertEquals((await parse([])).directory, null);
  assertEquals((await parse(["d"])).directory, "d");
  assertEquals((await parse(["--", "-d"])).directory, "-d");
});

Deno.test("list takes findmnt's options", async () => {
  const { columns, ...rest } = await parse(
    "-o id,TARGET -t noproc,sysfs -O ro,+noexec -T a --target b --tree d"
      .split(" "),
  );
  assertEquals(columns.map(({ name }) => name), ["ID", "TARGET"]);
  assertEquals(rest, {
    directory: "d",
    types: "noproc,sysfs",
    options: "ro,+noexec",
    targets: ["a", "b"],
    namespace: null,
    as: "tree",
  });
  const other = await parse(["-N", "17", "--watch", "-O", "", "/d"]);
  assertEquals([other.namespace, other.as, other.options], [17, "events", ""]);
});

Deno.test("list takes paths elsewhere by their text", async () => {
  const elsewhere = await parse(
    "-N 1 -T //a/./b/../c/ -T /../. /d//e".split(" "),
  );
  assertEquals(elsewhere.targets, ["/a/c", "/"]);
  assertEquals(elsewhere.directory, "/d/e");
  const here = await parse(["-T", "a/../b", "c//d"]);
  assertEquals([here.directory, here.targets], ["c//d", ["a/../b"]]);
});

Deno.test("list throws when its arguments make no sense", async () => {
  for (
    const call of [
      ["a", "b"],
      [""],
      ["--nope"],
      ["-x", "a"],
      ["-o", "NOPE"],
      ["-o", ""],
      ["-o", "TARGET,"],
      ["-o", "ACTION"],
      ["-o", "TARGET", "--output-all"],
      ["--tree", "--watch"],
      ["--watch", "-T", "/a"],
      ["-O"],
      ["-N", "0"],
      ["-N", "self"],
      ["-N", "2147483648"],
      ["-N", "1", "relative"],
      ["-N", "1", "-T", "relative"],
    ]
  ) {
    await assertRejects(() => parse(call), UsageError, "", call.join(" "));
  }
});

const MOUNT: MountInfo = {
  id: 2148384949n,
  parentId: 2148384948n,
  tableId: 30,
  parentTableId: 29,
  target: "/mnt",
  root: "/",
  type: "tmpfs",
  source: "none",
  options: ["rw", "nosuid", "relatime"],
  superOptions: ["ro", "size=1m"],
  propagation: "shared",
  peerGroup: 7,
  deviceNumber: "0:40",
};

const MANNER = { json: false, quiet: false, progressAfter: Infinity };

Deno.test("list aligns for a terminal, and quotes what would mislead", async () => {
  const mounts = [
    MOUNT,
    { ...MOUNT, target: "/a\x1b]0;x\x07b", source: "" },
    { ...MOUNT, target: "/with space", source: '"q"', type: "fuse.sshfs" },
  ];
  const args = await parse([]);
  const text = (mounts: MountInfo[], quiet: boolean) =>
    format(mounts, () => true, args, { ...MANNER, quiet }, true);
  assertEquals(
    text(mounts, false).split("\n"),
    [
      "TARGET             SOURCE   FSTYPE      OPTIONS",
      "/mnt               none     tmpfs       ro,nosuid,relatime,size=1m",
      '"/a\\x1b]0;x\\x07b"  ""       tmpfs       ro,nosuid,relatime,size=1m',
      '/with space        "\\"q\\""  fuse.sshfs  ro,nosuid,relatime,size=1m',
    ],
  );
  assertEquals(
    text([MOUNT], true),
    "/mnt  none  tmpfs  ro,nosuid,relatime,size=1m",
  );
  assertEquals(text([], false), "");
});

Deno.test("list draws a tree, and nests it in JSON", async () => {
  const at = (id: bigint, parentId: bigint, target: string) => ({
    ...MOUNT,
    id,
    parentId,
    target,
  });
  const mounts = [
    at(1n, 1n, "/"),
    at(2n, 1n, "/a"),
    at(3n, 2n, "/a/\x1b"),
    at(4n, 1n, "/b"),
  ];
  const args = await parse(["--tree", "-o", "ID,TARGET"]);
  const isShown = () => true;
  assertEquals(format(mounts, isShown, args, MANNER).split("\n"), [
    "ID  TARGET",
    "30  /",
    "30  ├─/a",
    '30  │ └─"/a/\\x1b"',
    "30  └─/b",
  ]);
  const json = format(mounts, isShown, args, { ...MANNER, json: true });
  assertEquals(JSON.parse(json), {
    filesystems: [{
      id: 30,
      target: "/",
      children: [
        { id: 30, target: "/a", children: [{ id: 30, target: "/a/\x1b" }] },
        { id: 30, target: "/b" },
      ],
    }],
  });
});

function mountTmpfs(name: string, flags = 0, source = "scratch"): void {
  const path = `${SCRATCH}/${name}`;
  mkdirat(AT_FDCWD, path, 0o755);
  mount(source, path, "tmpfs", flags, "size=64k");
}

programTest("list prints a line for each mount, tabs between", () => {
  mountTmpfs("a", MS_RDONLY | MS_NOSUID);
  mountTmpfs("tab\there\x1b[31m", MS_NOEXEC, "so\\ur\nce");
  mountTmpfs("\udcff", 0, "");
  const ended = run(["list", SCRATCH]);
  assertEquals([ended.code, ended.stderr], [0, ""]);
  assertEquals(ended.stdout.split("\n"), [
    `${SCRATCH}\tscratch\ttmpfs\trw,relatime,mode=755`,
    `${SCRATCH}/a\tscratch\ttmpfs\tro,nosuid,relatime,size=64k`,
    `${SCRATCH}/tab\\011here\\033[31m\tso\\134ur\\012ce\ttmpfs\trw,noexec,relatime,size=64k`,
    `${SCRATCH}/\\377\t\ttmpfs\trw,relatime,size=64k`,
    "",
  ]);
  // Whatever directory it is called in.
  assertEquals(run(["list", "."], { cwd: SCRATCH }).stdout, ended.stdout);
  const { stdout } = run(["list"]);
  assertEquals(stdout.trimEnd().split("\n").length, mountTable().length);
  for (const name of ["a", "tab\there\x1b[31m", "\udcff"]) {
    umount2(`${SCRATCH}/${name}`);
  }
});

programTest("list prints nothing where nothing is mounted", () => {
  mkdirat(AT_FDCWD, `${SCRATCH}/none`, 0o755);
  for (const options of [[], ["--quiet"]]) {
    const ended = run(["list", ...options, `${SCRATCH}/none`]);
    assertEquals(ended, { code: 0, stdout: "", stderr: "" });
  }
  const { stdout } = run(["list", "--json", `${SCRATCH}/none`]);
  assertEquals(JSON.parse(stdout), { filesystems: [] });
});

programTest("list fails for what can't be opened", () => {
  const ended = run(["list", `${SCRATCH}/none`]);
  assertEquals([ended.code, ended.stdout], [1, ""]);
  assert(
    ended.stderr.startsWith(
      `mountat: Cannot list the mounts below "${SCRATCH}/none": openat2: ENOENT`,
    ),
    ended.stderr,
  );
  const permissions: string[] = [];
  assertEquals(run(["list"], { permissions }).code, 1);
});

programTest("list prints an aligned table on a terminal", () => {
  mountTmpfs("esc\x1b[31m");
  const words = shellCommand(commandLine(["list", SCRATCH]));
  const { stdout } = new Deno.Command("script", {
    args: ["-qec", words, "/dev/null"],
    stdin: "null",
  }).outputSync();
  const lines = new TextDecoder().decode(stdout).split("\r\n");
  assert(/^TARGET +SOURCE {3}FSTYPE {2}OPTIONS$/.test(lines[0]!), lines[0]);
  const width = lines[0]!.indexOf("SOURCE");
  assertEquals(lines[1]!.indexOf("scratch", SCRATCH.length), width);
  assertEquals(lines[2]!.indexOf("scratch", SCRATCH.length), width);
  assert(lines[2]!.startsWith(`"${SCRATCH}/esc\\x1b[31m"  scratch`), lines[2]);
  assertEquals(lines.slice(3), [""]);
  umount2(`${SCRATCH}/esc\x1b[31m`);
}, { commands: ["script"] });

const COLUMNS =
  "TARGET,SOURCE,FSTYPE,OPTIONS,VFS-OPTIONS,FS-OPTIONS,FSROOT,MAJ:MIN,PROPAGATION,OPT-FIELDS,ID,PARENT";

/** What findmnt prints, bytes that are no UTF-8 as this project has them. */
function findmnt(...args: string[]): string {
  const { stdout } = new Deno.Command("findmnt", { args }).outputSync();
  return decodeText(stdout);
}

programTest(
  "list --json lists what findmnt does, 10,000 mounts of every kind",
  () => {
    const many = mountManyOfEveryKind(10_000);
    const ours = run(["list", "--json", "-o", COLUMNS]);
    assertEquals([ours.code, ours.stderr], [0, ""]);
    const theirs = findmnt("--json", "--list", "-o", COLUMNS);
    // Their text compares faster, and says as much.
    const text = (json: string) => JSON.stringify(JSON.parse(json));
    assert(JSON.parse(theirs).filesystems.length >= 10_000);
    assert(text(ours.stdout) === text(theirs));
    umount2(many, MNT_DETACH);
  },
  { commands: ["findmnt"] },
);

interface Branch {
  target: string;
  children?: Branch[];
}

/** A tree's targets, in an order that does not depend on who made it. */
function shape(branches: Branch[]): unknown {
  return branches
    .map(({ target, children }) => [target, shape(children ?? [])])
    .sort(([a], [b]) => a! < b! ? -1 : 1);
}

programTest("list --tree --json nests as findmnt does", () => {
  mountTmpfs("a");
  mountTmpfs("a/b");
  mountTmpfs("a/b/c");
  mountTmpfs("d");
  const { stdout } = run(["list", "--tree", "--json"]);
  assertEquals(
    shape(JSON.parse(stdout).filesystems),
    shape(JSON.parse(findmnt("--json", "-o", "TARGET")).filesystems),
  );
  umount2(`${SCRATCH}/a`, MNT_DETACH);
  umount2(`${SCRATCH}/d`);
}, { commands: ["findmnt"] });

programTest(
  "list --tree shows 2,500 mounts that are on each other",
  () => {
    mountTmpfs("all");
    for (let i = 0; i <= 2500; i++) {
      mount("on", `${SCRATCH}/all`, "tmpfs", 0, "size=4k");
    }
    const { code, stdout, stderr } = run(["list", "--tree"]);
    assertEquals([code, stderr], [0, ""]);
    const drawn = stdout.match(/^.*(?=└─\S+\/all +on )/gm)!;
    assertEquals(drawn.length, 2501);
    assertEquals(drawn.at(-1)!.length - drawn[0]!.length, 5000);
    const json = run(["list", "--tree", "--json"]);
    assertEquals([json.code, json.stderr], [0, ""]);
    let depth = 0;
    let level: Branch[] = JSON.parse(json.stdout).filesystems;
    for (; level.length > 0; depth++) {
      level = level.flatMap(({ children }) => children ?? []);
    }
    assertGreater(depth, 2501);
    for (let i = 0; i <= 2501; i++) umount2(`${SCRATCH}/all`);
  },
);

programTest("list filters as findmnt does", () => {
  mountTmpfs("a", MS_RDONLY | MS_NOSUID);
  mountTmpfs("b", MS_NOEXEC);
  mkdirat(AT_FDCWD, `${SCRATCH}/p`, 0o755);
  mount("p", `${SCRATCH}/p`, "proc", 0, null);
  // What this machine has mounted on a name with a tab, say, each escapes its way.
  const lines = (text: string) =>
    text.split("\n").filter((line) => line !== "" && !line.includes("\\"));
  for (
    const args of [
      ["-t", "tmpfs"],
      ["-t", "tmpfs,proc"],
      ["-t", "notmpfs,proc"],
      ["-t", "nothing"],
      ["-O", "ro"],
      ["-O", "rw,+noexec"],
      ["-O", "norw"],
      ["-O", "size"],
      ["-O", "size=64k,nosuid"],
      ["-O", "size=64k,+nosuid"],
      ["-O", "nosize=64k"],
      ["-O", ""],
      ["-O", "ro,"],
      ["-O", ",,ro"],
      ["-O", "size="],
      ["-O", "nosize="],
      ["-O", "no"],
      ["-O", "="],
      ["-t", "TmpFS"],
      ["-t", "noTMPFS,Proc"],
      ["-t", "NOtmpfs"],
      ["-t", "tmpfs,notmpfs"],
      ["-t", "tmpfs", "-O", "noexec"],
      ["-T", `${SCRATCH}/a`],
      ["-T", `${SCRATCH}/p/self/status`],
    ]
  ) {
    const ended = run(["list", "-o", "TARGET", ...args]);
    assertEquals([ended.code, ended.stderr], [0, ""]);
    assertEquals(
      lines(ended.stdout),
      lines(findmnt("-l", "-n", "-u", "-o", "TARGET", ...args)),
      args.join(" "),
    );
  }
  const both = ["-T", `${SCRATCH}/a`, "-T", `${SCRATCH}/p`];
  assertEquals(
    lines(run(["list", "-o", "TARGET", ...both, SCRATCH]).stdout),
    [`${SCRATCH}/a`, `${SCRATCH}/p`],
  );
  const none = run(["list", "-T", `${SCRATCH}/none`]);
  assertEquals([none.code, none.stdout], [1, ""]);
  assert(none.stderr.includes('/none": statx: ENOENT'), none.stderr);
  for (const name of ["a", "b", "p"]) umount2(`${SCRATCH}/${name}`);
}, { commands: ["findmnt"] });

/** Holds a process in a mount namespace of its own, which takes commands. */
function holdNamespace() {
  const command = ["unshare", "-m", "--propagation", "private", "sh", "-ec"];
  const script = 'echo; while read line; do eval "$line"; echo; done';
  return hold([...command, script], { stdin: "piped" });
}

programTest(
  "list --namespace lists what a process sees, as findmnt does",
  async () => {
    mountTmpfs("a");
    await using held = await holdNamespace();
    mkdirat(AT_FDCWD, `${SCRATCH}/a/b`, 0o755);
    await held.tell(
      `mount -t tmpfs covered ${SCRATCH}/a/b; mount -t tmpfs there ${SCRATCH}/a\n`,
    );
    await held.written();
    const pid = String(held.pid);
    const ours = run(["list", "--json", "-N", pid, "-o", COLUMNS]);
    assertEquals(
      JSON.parse(ours.stdout),
      JSON.parse(findmnt("--json", "--list", "-N", pid, "-o", COLUMNS)),
    );
    const args = ["list", "-o", "SOURCE", "-N", pid];
    const all = "scratch\ncovered\nthere\n";
    assertEquals(run([...args, `${SCRATCH}/a`]).stdout, all);
    assertEquals(run([...args, "-T", `${SCRATCH}/a/b/y`]).stdout, "there\n");
    assertEquals(run([...args, "-T", `${SCRATCH}/x`]).stdout, "scratch\n");
    const dotted = `${SCRATCH}//x/../a/.`;
    assertEquals(run([...args, "-T", dotted]).stdout, "there\n");
    assertEquals(run([...args, dotted]).stdout, all);
    umount2(`${SCRATCH}/a`);
    await held[Symbol.asyncDispose]();
    const gone = run(["list", "-N", pid]);
    assertEquals(gone.code, 1);
    assert(
      gone.stderr.includes(`of process ${pid}: openat2: ENOENT`),
      gone.stderr,
    );
  },
  { commands: ["findmnt", "unshare", "mount"] },
);

/** `list --watch` as it runs. */
interface Watching extends AsyncDisposable {
  readonly process: Deno.ChildProcess;
  /** The next lines that it prints, paths shortened. */
  lines(count: number): Promise<string[]>;
  /** Reads no more. */
  ignore(): Promise<void>;
}

/** Starts `list --watch`, and waits until it watches. */
async function startWatching(
  args: string[],
  options: RunOptions = {},
): Promise<Watching> {
  const words = ["list", "--watch", "--trace", ...args];
  const [command, ...rest] = commandLine(words, options);
  const process = new Deno.Command(command!, {
    args: rest,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  }).spawn();
  const printed = readLines(process.stdout);
  const traced = readLines(process.stderr);
  // The last thing that is done before it waits.
  let line: string | null;
  do {
    line = await traced.next();
    assert(line !== null, "It does not watch");
  } while (!line.startsWith("pipe2("));
  const rested = (async () => {
    while (await traced.next() !== null);
  })();
  return {
    process,
    async lines(count) {
      const found: string[] = [];
      while (found.length < count) {
        const line = await printed.next();
        if (line === null) break;
        found.push(line.replaceAll(SCRATCH, ""));
      }
      return found;
    },
    ignore: printed.cancel,
    async [Symbol.asyncDispose]() {
      try {
        process.kill("SIGKILL");
      } catch (error) {
        // It has ended by itself.
        if (!(error instanceof TypeError)) throw error;
      }
      while (await printed.next() !== null);
      await rested;
      await process.status;
    },
  };
}

/** Reads a stream line by line; the next one is null at its end. */
function readLines(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  return {
    async next(): Promise<string | null> {
      while (!text.includes("\n")) {
        const { value, done } = await reader.read();
        if (done) return null;
        text += value;
      }
      const [line = ""] = text.split("\n", 1);
      text = text.slice(line.length + 1);
      return line;
    },
    cancel: () => reader.cancel(),
  };
}

const FAULTS = {
  "mount events": [],
  // As for one without capabilities, or on an older kernel.
  "the mount table": ["-e", "inject=fanotify_init:error=EPERM"],
  "waits that signals end": ["-e", "inject=ppoll:error=EINTR:when=1"],
};

for (const [by, faults] of Object.entries(FAULTS)) {
  programTest(`list --watch prints what happens, by ${by}`, async () => {
    const wrapper = faults.length === 0
      ? []
      : ["strace", "-D", "-f", "-qq", "-o", "/dev/null", ...faults];
    for (const name of ["a", "b", "tab\there"]) {
      mkdirat(AT_FDCWD, `${SCRATCH}/${name}`, 0o755);
    }
    await using watching = await startWatching([], { wrapper });
    const step = async (act: () => void, expected: string) => {
      act();
      assertEquals(await watching.lines(1), [expected]);
    };
    const path = (name: string) => `${SCRATCH}/${name}`;
    await step(
      () => mount("so\nurce", path("a"), "tmpfs", MS_RDONLY, "size=64k"),
      "mount\t/a\tso\\012urce\ttmpfs\tro,relatime,size=64k\t",
    );
    await step(
      () => mount(path("a"), path("tab\there"), null, MS_MOVE, null),
      "move\t/tab\\011here\tso\\012urce\ttmpfs\tro,relatime,size=64k\t/a",
    );
    await step(
      () => umount2(path("tab\there")),
      "unmount\t/tab\\011here\tso\\012urce\ttmpfs\tro,relatime,size=64k\t",
    );
    watching.process.kill("SIGINT");
    assertEquals(await watching.lines(1), []);
    // strace ends as what it runs did.
    const { code, signal } = await watching.process.status;
    assertEquals([code, signal], [130, null]);
  }, { commands: ["strace"] });
}

programTest(
  "list --watch filters, and prints an object a line with --json",
  async () => {
    for (const name of ["a", "d", "d/in"]) {
      mkdirat(AT_FDCWD, `${SCRATCH}/${name}`, 0o755);
    }
    const filters = {
      below: [`${SCRATCH}/d`],
      types: ["-t", "ramfs"],
      options: ["-O", "+noexec"],
    };
    for (const args of Object.values(filters)) {
      const columns = ["-o", "ACTION,SOURCE,OLD-TARGET"];
      await using watching = await startWatching([
        "--json",
        ...columns,
        ...args,
      ]);
      // It stays: of what is gone at once nobody knows what it was.
      mount("other", `${SCRATCH}/a`, "tmpfs", 0, null);
      const expected = (action: string, source: string) => [
        `{"action":"${action}","source":"${source}","old-target":null}`,
      ];
      mount("it", `${SCRATCH}/d/in`, "ramfs", MS_NOEXEC, null);
      assertEquals(await watching.lines(1), expected("mount", "it"));
      umount2(`${SCRATCH}/d/in`);
      assertEquals(await watching.lines(1), expected("unmount", "it"));
      umount2(`${SCRATCH}/a`);
    }
  },
);

programTest("list --watch ends when nobody reads", async () => {
  await using watching = await startWatching([]);
  await watching.ignore();
  assertEquals((await watching.process.status).code, 0);
});

/** Waits until a thread of a process is in a system call. */
function waitUntilIn(pid: number, call: string): void {
  while (true) {
    for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
      const now = readFile(`/proc/${pid}/task/${name}/syscall`);
      if (now.startsWith(`${call} `)) return;
    }
    assert(!/\) Z /.test(readFile(`/proc/${pid}/stat`)), "It has ended");
  }
}

const ENDS = { SIGINT: 130, SIGTERM: 143, "its reader's end": 0 };

for (const [what, code] of Object.entries(ENDS)) {
  programTest(
    `list --watch without room to write ends by ${what}`,
    async () => {
      using pipe = new Pipe();
      pipe.fill();
      await using watching = await startWatching([], { wrapper: pipe.wrapper });
      mountTmpfs("a");
      const { pid } = watching.process;
      waitUntilIn(pid, `${NR.write} 0x1`);
      if (code === 0) pipe.reading.close();
      else watching.process.kill(what as Deno.Signal);
      assertEquals((await watching.process.status).code, code);
      umount2(`${SCRATCH}/a`);
    },
    { commands: ["bash"] },
  );
}

programTest("list waits for room on a stdout that does not block", async () => {
  for (let i = 0; i < 40; i++) mountTmpfs(`${i}`, 0, "x".repeat(3000));
  const expected = run(["list", SCRATCH]).stdout;
  assertGreater(expected.length, 100_000);
  using pipe = new Pipe();
  setNonblocking(pipe.writing.fd);
  const [command, ...args] = commandLine(["list", SCRATCH], {
    wrapper: pipe.wrapper,
  });
  const process = new Deno.Command(command!, { args, stdin: "null" }).spawn();
  waitUntilIn(process.pid, `${NR.ppoll}`);
  pipe.writing.close();
  // It is long.
  const text = readAll(pipe.reading.fd);
  assert(text === expected);
  assertEquals((await process.status).code, 0);
  for (let i = 0; i < 40; i++) umount2(`${SCRATCH}/${i}`);
}, { commands: ["bash"] });

programTest("list --watch --namespace ends with the process", async () => {
  await using held = await holdNamespace();
  mountTmpfs("a");
  umount2(`${SCRATCH}/a`);
  const args = ["-o", "ACTION,SOURCE", "-N", String(held.pid), SCRATCH];
  await using watching = await startWatching(args);
  mount("here", `${SCRATCH}/a`, "tmpfs", 0, null);
  umount2(`${SCRATCH}/a`);
  await held.tell(`mount -t tmpfs there ${SCRATCH}/a\n`);
  assertEquals(await watching.lines(1), ["mount\tthere"]);
  await held.tell(`umount ${SCRATCH}/a\n`);
  assertEquals(await watching.lines(1), ["unmount\tthere"]);
  await held[Symbol.asyncDispose]();
  assertEquals((await watching.process.status).code, 0);
}, { commands: ["unshare", "mount", "umount"] });

programTest(
  "list --watch tells nothing of what its root does not show",
  async () => {
    const jail = makeJail();
    mkdirat(AT_FDCWD, `${SCRATCH}/outside`, 0o755);
    {
      await using watching = await startWatching(["-o", "ACTION,TARGET"], {
        wrapper: ["chroot", jail],
        cwd: "/",
      });
      mount("m", `${SCRATCH}/outside`, "tmpfs", 0, null);
      // With what it holds it comes into sight, and leaves it.
      mkdirat(AT_FDCWD, `${SCRATCH}/outside/in`, 0o755);
      mount("in", `${SCRATCH}/outside/in`, "tmpfs", 0, null);
      mount(`${SCRATCH}/outside`, `${jail}/tmp`, null, MS_MOVE, null);
      assertEquals(await watching.lines(2), ["mount\t/tmp", "mount\t/tmp/in"]);
      mount(`${jail}/tmp`, `${SCRATCH}/outside`, null, MS_MOVE, null);
      assertEquals(await watching.lines(2), [
        "unmount\t/tmp/in",
        "unmount\t/tmp",
      ]);
      umount2(`${SCRATCH}/outside`, MNT_DETACH);
      mount("m", `${jail}/tmp`, "tmpfs", 0, null);
      assertEquals(await watching.lines(1), ["mount\t/tmp"]);
    }
    umount2(`${SCRATCH}/fs`, MNT_DETACH);
  },
  { commands: ["chroot"] },
);

/** A root that is no mount point: a directory with all that the program needs. */
function makeJail(): string {
  mountTmpfs("fs");
  const jail = `${SCRATCH}/fs/jail`;
  mkdirat(AT_FDCWD, jail, 0o755);
  for (const { name, isDirectory, isSymlink } of Deno.readDirSync("/")) {
    const path = `${jail}/${name}`;
    if (isSymlink) Deno.symlinkSync(Deno.readLinkSync(`/${name}`), path);
    if (!isDirectory) continue;
    mkdirat(AT_FDCWD, path, 0o755);
    if (name === "tmp") continue;
    mount(`/${name}`, path, null, MS_BIND | MS_REC, null);
  }
  if (ROOT.startsWith("/tmp/")) {
    Deno.mkdirSync(jail + ROOT, { recursive: true });
    mount(ROOT, jail + ROOT, null, MS_BIND, null);
  }
  return jail;
}

for (
  const [who, wrapper] of [
    ["root", []],
    ["one without capabilities", ["setpriv", "--bounding-set=-all"]],
  ] as const
) {
  programTest(`list shows ${who} what is in a root of its own`, () => {
    const jail = makeJail();
    const inJail = ["chroot", jail, ...wrapper];
    const table = new TextDecoder().decode(
      new Deno.Command(inJail[0]!, {
        args: [...inJail.slice(1), "cat", "/proc/self/mountinfo"],
      }).outputSync().stdout,
    );
    const targets = parseMountinfo(table).map(({ mountPoint }) => mountPoint);
    assert(targets.length > 5 && !targets.includes("/"));
    for (const args of [["list"], ["list", "/"]]) {
      const ended = run(args, { wrapper: inJail, cwd: "/" });
      assertEquals([ended.code, ended.stderr], [0, ""]);
      assertEquals(
        ended.stdout.trimEnd().split("\n").map((line) => line.split("\t")[0]),
        targets,
      );
    }
    const proc = targets.filter((path) => /^\/proc(\/|$)/.test(path));
    const ended = run(["list", "/proc"], { wrapper: inJail, cwd: "/" });
    assertEquals(ended.stdout.trimEnd().split("\n").length, proc.length);
    umount2(`${SCRATCH}/fs`, MNT_DETACH);
  }, { commands: ["chroot", "setpriv", "cat"] });
}
