import { assert, assertEquals, assertRejects } from "@std/assert";
import { parseWords } from "../../src/cli/command.ts";
import {
  type Arguments,
  formatForTerminal,
  list,
  toFileSystem,
} from "../../src/cli/list.ts";
import { UsageError } from "../../src/cli/usage_error.ts";
import type { MountInfo } from "../../src/mount_info.ts";
import {
  AT_FDCWD,
  MNT_DETACH,
  MS_BIND,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  MS_REC,
} from "../../src/sys/constants.ts";
import { mkdirat } from "../../src/sys/mkdirat.ts";
import { mount } from "../../src/sys/mount.ts";
import { umount2 } from "../../src/sys/umount2.ts";
import { mountTable, SCRATCH } from "../support.ts";
import { commandLine, programTest, run } from "./program.ts";

async function parse(args: string[]): Promise<Arguments> {
  return list.parse(await parseWords(list.description, args));
}

Deno.test("list takes a directory or none", async () => {
  assertEquals(await parse([]), { directory: null });
  assertEquals(await parse(["d"]), { directory: "d" });
  assertEquals(await parse(["--", "-d"]), { directory: "-d" });
});

Deno.test("list throws when its arguments make no sense", async () => {
  for (const args of [["a", "b"], [""], ["--nope"], ["-x", "a"]]) {
    await assertRejects(() => parse(args), UsageError);
  }
});

const MOUNT: MountInfo = {
  id: 2148384949n,
  parentId: 2148384948n,
  target: "/mnt",
  root: "/sub",
  type: "tmpfs",
  source: "none",
  options: ["rw", "nosuid", "relatime"],
  superOptions: ["ro", "size=1m"],
  propagation: "shared",
  peerGroup: 7,
  deviceNumber: "0:40",
};

Deno.test("toFileSystem() has findmnt's names and merged options", () => {
  assertEquals(toFileSystem(MOUNT), {
    target: "/mnt",
    source: "none",
    fstype: "tmpfs",
    options: "ro,nosuid,relatime,size=1m",
    "vfs-options": "rw,nosuid,relatime",
    "fs-options": "ro,size=1m",
    fsroot: "/sub",
    "maj:min": "0:40",
    propagation: "shared",
    id: 2148384949,
    parent: 2148384948,
  });
});

Deno.test("formatForTerminal() aligns, and quotes what would mislead", () => {
  const mounts = [
    MOUNT,
    { ...MOUNT, target: "/a\x1b]0;x\x07b", source: "" },
    { ...MOUNT, target: "/with space", source: '"q"', type: "fuse.sshfs" },
  ];
  assertEquals(
    formatForTerminal(mounts, { quiet: false }).split("\n"),
    [
      "TARGET             SOURCE   FSTYPE      OPTIONS",
      "/mnt               none     tmpfs       ro,nosuid,relatime,size=1m",
      '"/a\\x1b]0;x\\x07b"  ""       tmpfs       ro,nosuid,relatime,size=1m',
      '/with space        "\\"q\\""  fuse.sshfs  ro,nosuid,relatime,size=1m',
    ],
  );
  assertEquals(
    formatForTerminal([MOUNT], { quiet: true }),
    "/mnt  none  tmpfs  ro,nosuid,relatime,size=1m",
  );
  assertEquals(formatForTerminal([], { quiet: false }), "");
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
  const [command, ...args] = commandLine(["list", SCRATCH]);
  const words = [command!, ...args].map((word) => `'${word}'`).join(" ");
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

interface Found {
  target: string;
  source: string;
  fstype: string;
  options: string;
}

programTest("list --json lists what findmnt does", () => {
  mountTmpfs("many");
  mountTmpfs("ro", MS_RDONLY | MS_NOSUID);
  mkdirat(AT_FDCWD, `${SCRATCH}/source`, 0o755);
  for (let i = 0; i < 200; i++) {
    const path = `${SCRATCH}/many/${i}`;
    mkdirat(AT_FDCWD, path, 0o755);
    mount(`${SCRATCH}/source`, path, null, MS_BIND, null);
  }
  const ended = run(["list", "--json"]);
  const { stdout } = new Deno.Command("findmnt", {
    args: ["--json", "--list", "--nofsroot", "-o", COLUMNS.join(",")],
  }).outputSync();
  const theirs = JSON.parse(new TextDecoder().decode(stdout)).filesystems;
  const ours: Found[] = JSON.parse(ended.stdout).filesystems;
  assertEquals(
    ours.map((mount) => COLUMNS.map((name) => mount[name])),
    theirs.map((mount: Found) => COLUMNS.map((name) => mount[name] ?? "")),
  );
  umount2(`${SCRATCH}/many`, MNT_DETACH);
  umount2(`${SCRATCH}/ro`);
}, { commands: ["findmnt"] });

const COLUMNS = ["target", "source", "fstype", "options"] as const;

/** A root that is no mount point: a directory with all that the program needs. */
function makeJail(): string {
  mkdirat(AT_FDCWD, `${SCRATCH}/holder`, 0o755);
  mount("holder", `${SCRATCH}/holder`, "tmpfs", 0, "mode=0755");
  const jail = `${SCRATCH}/holder/jail`;
  mkdirat(AT_FDCWD, jail, 0o755);
  for (const { name, isDirectory, isSymlink } of Deno.readDirSync("/")) {
    const path = `${jail}/${name}`;
    if (isSymlink) Deno.symlinkSync(Deno.readLinkSync(`/${name}`), path);
    if (!isDirectory) continue;
    mkdirat(AT_FDCWD, path, 0o755);
    if (name === "tmp") continue;
    mount(`/${name}`, path, null, MS_BIND | MS_REC, null);
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
    const targets = table.trimEnd().split("\n")
      .map((line) => line.split(" ")[4]!);
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
    umount2(`${SCRATCH}/holder`, MNT_DETACH);
  }, { commands: ["chroot", "setpriv", "cat"] });
}
