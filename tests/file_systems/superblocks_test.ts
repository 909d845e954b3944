/**
 * A file system that is there already keeps its options: when it is remounted,
 * and when it is mounted once more. Every type of /proc/filesystems is tried
 * that can be mounted here, beside what mount(8) does.
 */
import {
  gatedTest,
  kernelTest,
  missingCommand,
  missingFor,
  type Needs,
  SCRATCH,
  withoutProc,
} from "../support/testing.ts";
import { Directory } from "../../src/directory.ts";
import { MountError } from "../../src/error/error.ts";
import { remountat } from "../../src/mount/remountat.ts";
import { applyMounts } from "../../src/mount/apply.ts";
import { parseFstab, parseOciMounts } from "../../src/spec/mod.ts";
import { readFile } from "../../src/fd/open.ts";
import { mount } from "../../src/sys/mount.ts";
import {
  CLONE_NEWCGROUP,
  FSCONFIG_CMD_CREATE_EXCL,
  MS_REMOUNT,
  O_RDONLY,
} from "../../src/sys/constants.ts";
import { libc } from "../../src/sys/libc.ts";
import { setns, unshare } from "../../src/sys/process.ts";
import { mountOn, run, sparseFile } from "./support.ts";
import { missingSince, type Version } from "../support/since.ts";
import { open, withoutCall } from "../support/scratch.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";

const needs: Needs = {
  permissions: ["run", "read", "write", "env"],
  commands: ["mount", "umount"],
};

const TARGET = `${SCRATCH}/m`;

const IMAGE = `${SCRATCH}/image`;

/** How a file system is mounted with options that are not its defaults. */
interface Row {
  readonly type: string;
  readonly options: string;
  /** The command that makes an image of it. */
  readonly make?: string[];
  /** What mount(8) loses by a remount. */
  readonly lostByMount8?: string[];
  /** What sets the options that there are again: there is one of it. */
  readonly reset?: string;
  /** A Linux that has the options. */
  readonly since?: Version;
}

const ROWS: readonly Row[] = [
  {
    type: "tmpfs",
    options:
      "size=1m,nr_inodes=100,mode=700,uid=3,gid=4,huge=always,mpol=bind:0,0",
  },
  { type: "ramfs", options: "mode=700" },
  { type: "hugetlbfs", options: "mode=700,uid=3,gid=4,size=4m,nr_inodes=100" },
  { type: "proc", options: "hidepid=2,gid=4,subset=pid" },
  {
    type: "devpts",
    options: "newinstance,uid=3,gid=5,mode=620,ptmxmode=666,max=5",
  },
  { type: "bpf", options: "uid=3,mode=700,delegate_cmds=any" },
  { type: "mqueue", options: "" },
  { type: "sysfs", options: "" },
  { type: "securityfs", options: "" },
  { type: "fusectl", options: "" },
  { type: "binfmt_misc", options: "" },
  { type: "devtmpfs", options: "" },
  {
    type: "cgroup",
    options: "none,xattr,name=mountat-test,release_agent=/a b",
  },
  {
    type: "overlay",
    options:
      `lowerdir=${SCRATCH}/l1:${SCRATCH}/l2,upperdir=${SCRATCH}/u,workdir=${SCRATCH}/w,metacopy=on,xino=off`,
  },
  {
    type: "cgroup2",
    options:
      "nsdelegate,memory_recursiveprot,memory_localevents,memory_hugetlb_accounting",
    reset: "",
  },
  { type: "debugfs", options: "uid=3,gid=4,mode=711", reset: "mode=700" },
  { type: "tracefs", options: "uid=3,gid=4,mode=711", reset: "mode=700" },
  { type: "pstore", options: "kmsg_bytes=4096", reset: "kmsg_bytes=10240" },
  {
    type: "ext4",
    make: ["mkfs.ext4", "-q", "-F", IMAGE],
    options:
      "commit=7,errors=remount-ro,nobarrier,resuid=3,data=writeback,noauto_da_alloc,stripe=4,max_dir_size_kb=5,init_itable=3",
  },
  {
    type: "ext2",
    make: ["mkfs.ext2", "-q", "-F", IMAGE],
    options: "errors=remount-ro,resuid=3,nouid32,grpid",
  },
  {
    type: "xfs",
    make: ["mkfs.xfs", "-q", "-f", IMAGE],
    options:
      "inode32,logbufs=4,logbsize=64k,wsync,allocsize=1m,nouuid,filestreams,largeio,swalloc,discard,ikeep,grpid",
  },
  {
    type: "xfs",
    make: ["mkfs.xfs", "-q", "-f", IMAGE],
    options: "max_atomic_write=4k",
    since: "6.18",
  },
  {
    type: "btrfs",
    make: ["mkfs.btrfs", "-q", "-f", IMAGE],
    options:
      "compress=zstd:5,commit=7,nodatasum,flushoncommit,thread_pool=3,noacl,nobarrier,ssd_spread,nodiscard,notreelog,autodefrag,max_inline=100,metadata_ratio=3,fatal_errors=panic,user_subvol_rm_allowed",
    lostByMount8: ["nodatasum"],
  },
  {
    type: "squashfs",
    make: [
      "mksquashfs",
      `${SCRATCH}/l1`,
      IMAGE,
      "-quiet",
      "-noappend",
      "-no-progress",
    ],
    options: "errors=panic",
  },
  {
    type: "erofs",
    make: ["mkfs.erofs", "--quiet", IMAGE, `${SCRATCH}/l1`],
    options: "nouser_xattr,noacl,cache_strategy=disabled",
  },
];

/** What other kernels and this one have, and the table above has not. */
function otherTypes(): Row[] {
  if (missingFor(needs) !== null) return [];
  return readFile("/proc/filesystems").split("\n")
    .filter((line) => line.startsWith("nodev\t"))
    .map((line) => line.slice("nodev\t".length))
    .filter((type) => !ROWS.some((row) => row.type === type))
    .map((type) => ({ type, options: "" }));
}

function isKnown(type: string): boolean {
  return new RegExp(`\t${type}$`, "m").test(readFile("/proc/filesystems"));
}

/** Registers a test of what is mounted with the options of a row. */
function rowTest(
  name: string,
  row: Row,
  test: (mounted: { source: string; words: () => readonly string[] }) => void,
): void {
  const missing = missingFor(needs) ??
    missingCommand(row.make?.slice(0, 1) ?? []) ??
    (row.since === undefined ? null : missingSince(row.since, needs)) ??
    (isKnown(row.type) ? null : `needs ${row.type} in the kernel`);
  if (missing !== null) return gatedTest(name, missing, () => {});
  kernelTest(name, () => {
    for (const layer of ["l1", "l2", "u", "w"]) {
      Deno.mkdirSync(`${SCRATCH}/${layer}`);
    }
    for (const at of ["m", "n"]) Deno.mkdirSync(`${SCRATCH}/${at}`);
    const source = sourceOf(row);
    if (source === null) return;
    try {
      test({ source, words: () => mountOn(TARGET).superOptions });
    } finally {
      if (row.reset !== undefined) {
        run("mount", "-t", row.type, "none", `${SCRATCH}/n`);
        mount(null, `${SCRATCH}/n`, null, MS_REMOUNT, row.reset);
        run("umount", `${SCRATCH}/n`);
      }
      run("umount", TARGET);
      if (row.make !== undefined) run("losetup", "-d", source);
    }
  });
}

/** Mounts it, and gives it its options where there is but one. */
function sourceOf({ type, options, make, reset }: Row): string | null {
  let source = "none";
  if (make !== undefined) {
    if (!/^mk(squash|fs.erofs)/.test(make[0]!)) sparseFile(IMAGE, 400 << 20);
    run(make[0]!, ...make.slice(1));
    source = run("losetup", "-f", "--show", IMAGE).trimEnd();
  }
  const words = reset === undefined && options !== "" ? ["-o", options] : [];
  try {
    run("mount", "-t", type, ...words, source, TARGET);
  } catch {
    // sockfs and the like are the kernel's own; the table's can be mounted.
    assert(!ROWS.some((row) => row.type === type), `${type} can't be mounted`);
    return null;
  }
  if (reset !== undefined) mount(null, TARGET, null, MS_REMOUNT, options);
  return source;
}

for (const row of [...ROWS, ...otherTypes()]) {
  const { type, options, lostByMount8 = [] } = row;

  rowTest(`${type} keeps in a remount what is not named`, row, ({ words }) => {
    using root = Directory.open(SCRATCH);
    const before = words();
    const withFlag = [before[0]!, "lazytime", ...before.slice(1)];
    const takesFlags = type !== "sysfs" && type !== "devtmpfs";
    run("mount", "-o", "remount,lazytime", TARGET);
    const byMount8 = words();
    if (takesFlags) {
      const kept = withFlag.filter((word) => !lostByMount8.includes(word));
      assertEquals(byMount8, kept, "mount(8)");
    }
    run("mount", "-o", "remount,nolazytime", TARGET);
    if (lostByMount8.length > 0) {
      mount(null, TARGET, null, MS_REMOUNT, options);
      assertEquals(words(), before);
    }
    remountat(root, "m", { options: "lazytime" });
    assertEquals(words(), withFlag);
    remountat(root, "m", { options: "nolazytime" });
    assertEquals(words(), before);
    // As by the mount table, where statmount(2) tells nothing.
    withoutCall("statmount", () => {
      remountat(root, "m", { options: "lazytime" });
    });
    assertEquals(words(), withFlag);
    remountat(root, "m", { options: "nolazytime" });
    if (before[0] === "ro") return;
    remountat(root, "m", { options: "ro=fs" });
    const readOnly = ["ro", ...before.slice(1)];
    assertEquals(words(), readOnly);
    // It stays so where something else is named.
    remountat(root, "m", { options: "lazytime" });
    remountat(root, "m", { options: "nolazytime" });
    assertEquals(words(), readOnly);
    remountat(root, "m", { options: "rw" });
    assertEquals(words(), before);
  });

  rowTest(`${type} keeps its options when it is mounted again`, row, (
    { source, words },
  ) => {
    // Each is one of its own.
    const isOwn = ["overlay", "devpts"].includes(type);
    if (isOwn) return;
    using root = Directory.open(SCRATCH);
    const before = words();
    const spec = { type, source };
    const isReadOnly = before[0] === "ro";
    const ways: (() => Disposable)[] = [
      // Of a device the kernel would change whether it can be written to.
      () => root.mount("n", { ...spec, options: isReadOnly ? "ro=fs" : "" }),
      () => root.mount("n", { ...spec, options: "nosuid,ro" }),
      () => applyMounts(root, parseFstab(`${source} /n ${type} ro 0 0`)),
      () =>
        applyMounts(
          root,
          parseOciMounts(JSON.stringify({
            mounts: [{
              destination: "/n",
              type,
              source,
              options: ["nosuid", "ro"],
            }],
          })),
        ),
    ];
    // A hierarchy of version 1 is found by its name.
    const named = type === "cgroup" ? "none,name=mountat-test" : "";
    for (const way of named === "" ? ways : []) {
      using _ = way();
      assertEquals(words(), before);
    }
    if (named !== "") {
      using _ = root.mount("n", { ...spec, options: named });
      assertEquals(words(), before);
    }
    if (!Object.hasOwn(DIFFERENT, type)) return;
    {
      // What it has already it may be asked for.
      using _ = root.mount("n", {
        ...spec,
        options: `ro=fs,rw=fs,async,${
          type === "devtmpfs" ? "mode=0755" : options
        }`,
      });
      assertEquals(words(), before);
    }
    for (const more of DIFFERENT[type]!) {
      const error = assertThrows(
        () => root.mount("n", { ...spec, options: more }),
        MountError,
      );
      assertEquals(error.code, "EBUSY");
      assert(error.hint?.includes("remount"), error.hint);
      assertEquals(words(), before);
    }
    if (!["cgroup2", "debugfs", "tracefs"].includes(type)) return;
    // mount(8) gives it to everybody.
    run("mount", "-t", type, source, `${SCRATCH}/n`);
    run("umount", `${SCRATCH}/n`);
    assertEquals(words().length, 1);
  });
}

/** Options that these don't have. */
const DIFFERENT: Readonly<Record<string, string[]>> = {
  cgroup2: ["favordynmods", "nsdelegate,pids_localevents", "ro=fs"],
  debugfs: ["uid=5", "mode=711,gid=0", "ro=fs", "lazytime"],
  tracefs: ["uid=5", "mode=711,gid=0", "ro=fs", "rw=fs,ro=fs"],
  pstore: ["kmsg_bytes=77", "ro=fs"],
  devtmpfs: ["mode=700", "mode=0755,ro=fs", "sync"],
  sysfs: ["ro=fs", "lazytime"],
  securityfs: ["ro=fs"],
  fusectl: ["ro=fs"],
  binfmt_misc: ["ro=fs"],
  mqueue: ["ro=fs"],
};

kernelTest("what is said again is what was escaped in the table", () => {
  using root = Directory.open(SCRATCH);
  const agent = "/a,b \\c\td=e";
  using _ = root.mount("m", {
    type: "cgroup",
    options: { none: true, name: "mountat-test", release_agent: agent },
    mkdir: true,
  });
  const before = mountOn(TARGET).superOptions;
  assert(before.includes(`release_agent=${agent}`), before.join());
  for (const options of ["lazytime", "nolazytime"]) {
    remountat(root, "m", { options });
  }
  assertEquals(mountOn(TARGET).superOptions, before);
}, needs);

kernelTest(
  "an option that the file system refuses is an error all the same",
  () => {
    using root = Directory.open(SCRATCH);
    using _ = root.mount("m", {
      type: "devpts",
      options: "newinstance,mode=620",
      mkdir: true,
    });
    const before = mountOn(TARGET).superOptions;
    const error = assertThrows(
      () => remountat(root, "m", { options: "nosuch=1,ro" }),
      MountError,
      "Unknown parameter 'nosuch'",
    );
    assertEquals([error.code, error.log.length], ["EINVAL", 1]);
    assertEquals(mountOn(TARGET).superOptions, before);
    // What is named holds over what was there.
    remountat(root, "m", { options: "mode=600,gid=5" });
    assertEquals(mountOn(TARGET).superOptions, [
      "rw",
      "gid=5",
      "mode=600",
      "ptmxmode=000",
    ]);
  },
  needs,
);

kernelTest(
  "a cgroup2 in a cgroup namespace of its own takes any option",
  () => {
    using first = open("/proc/thread-self/ns/cgroup", O_RDONLY);
    using root = Directory.open(SCRATCH);
    unshare(CLONE_NEWCGROUP);
    try {
      using _ = root.mount("m", {
        type: "cgroup2",
        options: "nsdelegate,favordynmods",
        mkdir: true,
      });
      assert(!mountOn(TARGET).superOptions.includes("favordynmods"));
    } finally {
      setns(first.fd, CLONE_NEWCGROUP);
    }
  },
  needs,
);

kernelTest("a cgroup2 that no table shows is not changed either", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  root.mkdir("n");
  const { reset, options } = ROWS.find(({ type }) => type === "cgroup2")!;
  run("mount", "-t", "cgroup2", "none", TARGET);
  mount(null, TARGET, null, MS_REMOUNT, options);
  const before = mountOn(TARGET).superOptions;
  const refused = () => {
    const error = assertThrows(
      () => root.mount("n", { type: "cgroup2" }),
      MountError,
    );
    assertEquals([error.code, error.syscall], ["EBUSY", "fsconfig"]);
    assert(error.hint?.includes("bind one"), error.hint);
  };
  try {
    withoutProc(refused);
    assertEquals(mountOn(TARGET).superOptions, before);
    // Before Linux 6.6 that is as far as can be told.
    withoutExclusiveCreation(() => {
      const error = assertThrows(
        () => root.mount("n", { type: "cgroup2", options: "favordynmods" }),
        MountError,
      );
      assertEquals(error.code, "EOPNOTSUPP");
      assertEquals(mountOn(TARGET).superOptions, before);
      withoutProc(() => root.mount("n", { type: "cgroup2" }).unmount());
    });
  } finally {
    mount(null, TARGET, null, MS_REMOUNT, reset!);
    run("umount", TARGET);
  }
}, needs);

/** Runs something as on a kernel without FSCONFIG_CMD_CREATE_EXCL. */
function withoutExclusiveCreation(body: () => void): void {
  const real = libc.fsconfig;
  const unknown = 99;
  Object.defineProperty(libc, "fsconfig", {
    value: ((number, fd, command, ...rest) =>
      real(
        number,
        fd,
        command === FSCONFIG_CMD_CREATE_EXCL ? unknown : command,
        ...rest,
      )) satisfies typeof real,
  });
  try {
    body();
  } finally {
    Object.defineProperty(libc, "fsconfig", { value: real });
  }
}
