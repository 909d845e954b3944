/**
 * Asks the C compiler what the kernel's headers say. The headers may be older
 * than the tables: what they lack is an ignored step of its own, and must be in
 * {@linkcode NEWER}, copied from the text of newer headers.
 */
import {
  type Architecture,
  ARCHITECTURES,
  CALLS,
} from "../../src/sys/calls.ts";
import { assert, assertEquals } from "@std/assert";
import * as constants from "../../src/sys/constants.ts";
import * as errno from "../../src/sys/errno.ts";
import * as layout from "../../src/sys/layout.ts";
import * as event from "../../src/sys/event.ts";

/** A value of ours, and how C gets the same from the headers. */
interface Question {
  name: string;
  ours: number | bigint;
  /** The C expression. */
  c: string;
  /** The preprocessor's condition on which the headers have it. */
  when: string;
}

/** What the tables hold that Linux 5.10 did not have yet. */
const NEWER: Readonly<Record<string, number | bigint>> = {
  // Linux 7.3, include/uapi/linux/mount.h.
  FSMOUNT_NAMESPACE: 0x00000002,
  FSCONFIG_CMD_CREATE_EXCL: 8,
  OPEN_TREE_NAMESPACE: 1 << 1,
  MOVE_MOUNT_SET_GROUP: 0x00000100,
  MOVE_MOUNT_BENEATH: 0x00000200,
  MOVE_MOUNT__MASK: 0x00000377,
  MOUNT_ATTR_IDMAP: 0x00100000,
  MOUNT_ATTR_NOSYMFOLLOW: 0x00200000,
  MOUNT_ATTR_SIZE_VER0: 32,
  STATMOUNT_SB_BASIC: 0x00000001,
  STATMOUNT_MNT_BASIC: 0x00000002,
  STATMOUNT_PROPAGATE_FROM: 0x00000004,
  STATMOUNT_MNT_ROOT: 0x00000008,
  STATMOUNT_MNT_POINT: 0x00000010,
  STATMOUNT_FS_TYPE: 0x00000020,
  STATMOUNT_MNT_NS_ID: 0x00000040,
  STATMOUNT_MNT_OPTS: 0x00000080,
  STATMOUNT_FS_SUBTYPE: 0x00000100,
  STATMOUNT_SB_SOURCE: 0x00000200,
  STATMOUNT_OPT_ARRAY: 0x00000400,
  STATMOUNT_OPT_SEC_ARRAY: 0x00000800,
  STATMOUNT_SUPPORTED_MASK: 0x00001000,
  STATMOUNT_MNT_UIDMAP: 0x00002000,
  STATMOUNT_MNT_GIDMAP: 0x00004000,
  STATMOUNT_BY_FD: 0x00000001,
  LSMT_ROOT: 0xffffffffffffffffn,
  LISTMOUNT_REVERSE: 1 << 0,
  MNT_ID_REQ_SIZE_VER0: 24,
  MNT_ID_REQ_SIZE_VER1: 32,
  // Linux 7.3, include/uapi/linux/stat.h.
  STATX_DIOALIGN: 0x00002000,
  STATX_MNT_ID_UNIQUE: 0x00004000,
  STATX_SUBVOL: 0x00008000,
  STATX_WRITE_ATOMIC: 0x00010000,
  STATX_DIO_READ_ALIGN: 0x00020000,
  STATX_ATTR_WRITE_ATOMIC: 0x00400000,
  // Linux 7.3, include/uapi/linux/stat.h: the comments in struct statx give the
  // offset of every other field (0x90, 0xa0, 0xb0, 0xc0).
  "statx.stx_dio_mem_align": 0x90 + 8,
  "statx.stx_dio_offset_align": 0x90 + 12,
  "statx.stx_subvol": 0xa0,
  "statx.stx_atomic_write_unit_min": 0xa0 + 8,
  "statx.stx_atomic_write_unit_max": 0xa0 + 12,
  "statx.stx_atomic_write_segments_max": 0xb0,
  "statx.stx_dio_read_offset_align": 0xb0 + 4,
  "statx.stx_atomic_write_unit_max_opt": 0xb0 + 8,
  // Linux 7.3, include/uapi/linux/mount.h: the fields in their order.
  ...offsets(
    "mount_attr",
    ["u64", "attr_set", "attr_clr", "propagation", "userns_fd"],
  ),
  ...offsets(
    "mnt_id_req",
    ["u32", "size", "mnt_ns_fd"],
    ["u64", "mnt_id", "param", "mnt_ns_id"],
  ),
  ...offsets(
    "statmount",
    ["u32", "size", "mnt_opts"],
    ["u64", "mask"],
    ["u32", "sb_dev_major", "sb_dev_minor"],
    ["u64", "sb_magic"],
    ["u32", "sb_flags", "fs_type"],
    ["u64", "mnt_id", "mnt_parent_id"],
    ["u32", "mnt_id_old", "mnt_parent_id_old"],
    ["u64", "mnt_attr", "mnt_propagation", "mnt_peer_group", "mnt_master"],
    ["u64", "propagate_from"],
    ["u32", "mnt_root", "mnt_point"],
    ["u64", "mnt_ns_id"],
    ["u32", "fs_subtype", "sb_source", "opt_num", "opt_array"],
    ["u32", "opt_sec_num", "opt_sec_array"],
    ["u64", "supported_mask"],
    ["u32", "mnt_uidmap_num", "mnt_uidmap", "mnt_gidmap_num", "mnt_gidmap"],
  ),
  "statmount.str": 168 + 43 * 8,
  "statmount.SIZE": 168 + 43 * 8,
  // Linux 7.3, include/uapi/linux/fcntl.h, openat2.h, asm-generic/fcntl.h.
  AT_RENAME_NOREPLACE: 0x0001,
  AT_RENAME_EXCHANGE: 0x0002,
  AT_RENAME_WHITEOUT: 0x0004,
  AT_HANDLE_FID: 0x200,
  AT_HANDLE_MNT_ID_UNIQUE: 0x001,
  AT_HANDLE_CONNECTABLE: 0x002,
  AT_EXECVE_CHECK: 0x10000,
  RESOLVE_CACHED: 0x20,
  O_EMPTYPATH: 1 << 26,
  // Linux 7.3, include/uapi/linux/fanotify.h.
  FAN_REPORT_MNT: 0x00004000,
  FAN_MARK_MNTNS: 0x00000100 | 0x00000010,
  FAN_MNT_ATTACH: 0x01000000,
  FAN_MNT_DETACH: 0x02000000,
  FAN_EVENT_INFO_TYPE_MNT: 7,
  "fanotify_event_info_mnt.mnt_id": 8,
  "fanotify_event_info_mnt.SIZE": 16,
  // Linux 7.3, include/uapi/linux/sched.h.
  CLONE_EMPTY_MNTNS: 1n << 37n,
  UNSHARE_EMPTY_MNTNS: 0x00100000,
  // Linux 7.3, include/uapi/asm-generic/unistd.h.
  __NR_mount_setattr: 442,
  __NR_statmount: 457,
  __NR_listmount: 458,
  __NR_open_tree_attr: 467,
};

/** The offsets of a struct's fields, each list of one type; none is padded. */
function offsets(
  struct: string,
  ...lists: [type: "u32" | "u64", ...fields: string[]][]
): Record<string, number> {
  const found: Record<string, number> = {};
  let at = 0;
  for (const [type, ...fields] of lists) {
    for (const field of fields) {
      found[`${struct}.${field}`] = at;
      at += type === "u32" ? 4 : 8;
    }
  }
  return { ...found, [`${struct}.SIZE`]: at };
}

/** The first version whose headers may have names that nobody looked through. */
const UNSEEN = version(7, 4);

/** Conditions and expressions where `#ifdef NAME` and `NAME` won't do. */
const SPECIAL: Readonly<Record<string, Partial<Question>>> = {
  // Not in the headers for programs, include/linux/fcntl.h has it.
  OPEN_HOW_SIZE_VER0: {
    c: "__builtin_offsetof(struct open_how, resolve) + 8",
    when: "1",
  },
  // Earlier headers have a smaller mask.
  MOVE_MOUNT__MASK: { when: "defined MOVE_MOUNT_BENEATH" },
  FSCONFIG_CMD_CREATE_EXCL: {
    when: `LINUX_VERSION_CODE >= ${version(6, 6)}`,
  },
  "statx.stx_mnt_id": { when: "defined STATX_MNT_ID" },
  "statx.stx_dio_mem_align": { when: "defined STATX_DIOALIGN" },
  "statx.stx_dio_offset_align": { when: "defined STATX_DIOALIGN" },
  "statx.stx_subvol": { when: "defined STATX_SUBVOL" },
  "statx.stx_atomic_write_unit_min": { when: "defined STATX_WRITE_ATOMIC" },
  "statx.stx_atomic_write_unit_max": { when: "defined STATX_WRITE_ATOMIC" },
  "statx.stx_atomic_write_segments_max": {
    when: "defined STATX_WRITE_ATOMIC",
  },
  "statx.stx_dio_read_offset_align": { when: "defined STATX_DIO_READ_ALIGN" },
  "statx.stx_atomic_write_unit_max_opt": {
    when: `LINUX_VERSION_CODE >= ${version(6, 16)}`,
  },
  // One word of two names since Linux 7.0, spare for long.
  "mnt_id_req.mnt_ns_fd": { when: "defined STATMOUNT_BY_FD" },
  "mnt_id_req.mnt_ns_id": { when: "defined MNT_ID_REQ_SIZE_VER1" },
  "mnt_id_req.SIZE": { when: "defined MNT_ID_REQ_SIZE_VER1" },
  "statmount.mnt_opts": { when: "defined STATMOUNT_MNT_OPTS" },
  "statmount.mnt_ns_id": { when: "defined STATMOUNT_MNT_NS_ID" },
  "statmount.fs_subtype": { when: "defined STATMOUNT_FS_SUBTYPE" },
  "statmount.sb_source": { when: "defined STATMOUNT_SB_SOURCE" },
  "statmount.opt_num": { when: "defined STATMOUNT_OPT_ARRAY" },
  "statmount.opt_array": { when: "defined STATMOUNT_OPT_ARRAY" },
  "statmount.opt_sec_num": { when: "defined STATMOUNT_OPT_SEC_ARRAY" },
  "statmount.opt_sec_array": { when: "defined STATMOUNT_OPT_SEC_ARRAY" },
  "statmount.supported_mask": { when: "defined STATMOUNT_SUPPORTED_MASK" },
  "statmount.mnt_uidmap_num": { when: "defined STATMOUNT_MNT_UIDMAP" },
  "statmount.mnt_uidmap": { when: "defined STATMOUNT_MNT_UIDMAP" },
  "statmount.mnt_gidmap_num": { when: "defined STATMOUNT_MNT_GIDMAP" },
  "statmount.mnt_gidmap": { when: "defined STATMOUNT_MNT_GIDMAP" },
};

/** The macro that came with a struct. */
const STRUCT_SINCE: Readonly<Record<string, string>> = {
  fanotify_event_info_mnt: "FAN_REPORT_MNT",
  mount_attr: "MOUNT_ATTR_SIZE_VER0",
  mnt_id_req: "MNT_ID_REQ_SIZE_VER0",
  statmount: "STATMOUNT_SB_BASIC",
};

/** The flags of umount2(2) are in no kernel header for programs. */
const FROM_LIBC = ["MNT_FORCE", "MNT_DETACH", "MNT_EXPIRE", "UMOUNT_NOFOLLOW"];

/** What is exported whole. FSCONFIG_* are enumerators, the others macros. */
const FAMILIES = [
  "FSOPEN_",
  "FSMOUNT_",
  "FSPICK_",
  "FSCONFIG_",
  "OPEN_TREE_",
  "MOVE_MOUNT_",
  "MOUNT_ATTR_",
  "MS_",
  "O_",
  "RESOLVE_",
  "STATMOUNT_",
  "LSMT_",
  "LISTMOUNT_",
  "MNT_ID_REQ_",
  "STATX_",
  "AT_",
  "CLONE_NEW",
  "CLONE_EMPTY_",
  "UNSHARE_",
];

const KERNEL_HEADERS = [
  "asm/fcntl.h",
  "asm/poll.h",
  "asm/siginfo.h",
  "asm/unistd.h",
  "linux/errno.h",
  "linux/fanotify.h",
  "linux/fcntl.h",
  "linux/loop.h",
  "linux/mount.h",
  "linux/openat2.h",
  "linux/resource.h",
  "linux/sched.h",
  "linux/stat.h",
  "linux/version.h",
];

const { compiler, obstacle } = findCompiler();

for (const architecture of ARCHITECTURES) {
  const headers = findHeaders(architecture);
  const why = headers === null
    ? `no ${architecture} kernel headers are installed`
    : undefined;

  headerTest(
    `CALLS equals the kernel's headers on ${architecture}`,
    why,
    async (t) => {
      const numbers = numbersOn(architecture);
      await compare(t, headers!, numberQuestions(numbers));
    },
  );

  headerTest(
    `constants equal the kernel's headers on ${architecture}`,
    why,
    async (t) => {
      const ours = await constantsOn(architecture);
      await compare(t, headers!, constantQuestions(ours));
    },
  );

  headerTest(
    `struct layouts equal the kernel's on ${architecture}`,
    why,
    async (t) => await compare(t, headers!, layoutQuestions()),
  );

  headerTest(
    `errnoCode() names errors as the kernel's headers do on ${architecture}`,
    why,
    async (t) => await compare(t, headers!, errnoQuestions()),
  );
}

headerTest(
  "constants lack no name of their families",
  undefined,
  async (t) => {
    const headers = findHeaders(hostArchitecture())!;
    const names = [
      ...preprocess(headers).matchAll(
        /^(?:#define (\w+) | *(FSCONFIG_\w+) =)/gm,
      ),
    ].map(([, macro, enumerator]) => macro ?? enumerator!)
      .filter((name) => FAMILIES.some((family) => name.startsWith(family)));
    assert(names.includes("AT_FDCWD") && names.includes("FSCONFIG_SET_FD"));
    const lacking = names.filter((name) => !Object.hasOwn(constants, name));
    const { code } = answers(headers, []);
    if (code < UNSEEN) assertEquals(lacking, []);
    for (const name of lacking) {
      await ignoredStep(t, `${name} came later (${versionName(code)})`);
    }
  },
);

headerTest(
  "errnoCode() lacks no number of the kernel's headers",
  undefined,
  () => {
    const text = preprocess(findHeaders(hostArchitecture())!);
    const numbers = [...text.matchAll(/^#define\s+E[A-Z0-9]+\s+(\d+)\b/gm)]
      .map((match) => Number(match[1])).filter((number) => number <= 133);
    assertEquals(new Set(numbers).size, 131);
    assertEquals(
      numbers.filter((number) => errno.errnoCode(number) === `E${number}`),
      [],
    );
  },
);

headerTest(
  "MNT_* and UMOUNT_NOFOLLOW equal the C library's header",
  undefined,
  () => {
    const program = [
      "#include <stdio.h>",
      "#include <sys/mount.h>",
      "int main(void) {",
      ...FROM_LIBC.map((name) => `printf("${name} %u\\n", (unsigned)${name});`),
      "}",
    ];
    const ours = FROM_LIBC.map((name) => `${name} ${allConstants()[name]}`);
    assertEquals(run(program, []), ours);
  },
);

// The kernel's are in no header for programs.
for (
  const [struct, header, offsets] of [
    ["dirent64", "dirent.h", layout.DIRENT64],
    ["file_handle", "fcntl.h", layout.FILE_HANDLE],
  ] as const
) {
  headerTest(`struct ${struct} equals the C library's`, undefined, () => {
    const ours = Object.entries(offsets).map(([name, at]) => `${name} ${at}`);
    const program = [
      "#define _GNU_SOURCE",
      `#include <${header}>`,
      "#include <stdio.h>",
      "int main(void) {",
      ...Object.keys(offsets).map((name) => {
        const value = name === "SIZE"
          ? `sizeof(struct ${struct})`
          : `__builtin_offsetof(struct ${struct}, ${name})`;
        return `printf("${name} %zu\\n", ${value});`;
      }),
      "}",
    ];
    assertEquals(run(program, []), ours);
  });
}

headerTest("errnoText() equals strerror(3)", undefined, async (t) => {
  const [libc, ...theirs] = run([
    "#include <stdio.h>",
    "#include <string.h>",
    "#ifdef __GLIBC__",
    '#define LIBC "glibc"',
    "#else",
    '#define LIBC "another"',
    "#endif",
    "int main(void) {",
    "puts(LIBC);",
    "for (int i = 1; i <= 133; i++) puts(strerror(i));",
    "puts(strerror(524));",
    "}",
  ], []);
  if (libc !== "glibc") {
    return await ignoredStep(t, "this C library is not glibc");
  }
  const numbers = [...Array.from({ length: 133 }, (_, i) => i + 1), 524];
  assertEquals(numbers.map(errno.errnoText), theirs);
});

Deno.test("constants, CALLS and struct layouts equal the text of Linux 7.3's headers", async () => {
  for (const architecture of ARCHITECTURES) {
    const ours = new Map(
      [
        ...constantQuestions(await constantsOn(architecture)),
        ...numberQuestions(numbersOn(architecture)),
        ...layoutQuestions(),
      ].map(({ name, ours }) => [name, ours]),
    );
    const found = Object.keys(NEWER).map((name) => [name, ours.get(name)]);
    assertEquals(Object.fromEntries(found), NEWER);
  }
});

Deno.test("errnoCode() and errnoText() stand in for a number without a name", () => {
  for (const number of [0, 41, 58, 524, 4095]) {
    assertEquals(errno.errnoCode(number), `E${number}`);
    assertEquals(errno.errnoText(number), `Unknown error ${number}`);
  }
});

Deno.test("E* constants equal the numbers that errnoCode() names", () => {
  const named = Object.entries(errno).filter(([, value]) =>
    typeof value === "number"
  );
  assertEquals(
    named.map(([, value]) => errno.errnoCode(value as number)),
    named.map(([name]) => name),
  );
});

Deno.test("constants can be imported where there is no Deno", async () => {
  const { O_DIRECTORY } = await evaluateConstants("nowhere", undefined);
  assertEquals(O_DIRECTORY, 0x10000);
});

function headerTest(
  name: string,
  why: string | undefined,
  fn: (t: Deno.TestContext) => void | Promise<void>,
): void {
  if (obstacle !== undefined && isStrict()) {
    Deno.test(name, () => {
      throw new Error(`Cannot ask the kernel's headers: ${obstacle}`);
    });
    return;
  }
  const reason = obstacle ?? why;
  Deno.test({
    name: reason === undefined ? name : `${name} (ignored: ${reason})`,
    ignore: reason !== undefined,
    fn,
  });
}

function isStrict(): boolean {
  const name = "MOUNTAT_TEST_STRICT";
  return isGranted({ name: "env", variable: name }) &&
    Deno.env.get(name) === "1";
}

function isGranted(permission: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(permission).state === "granted";
}

function findCompiler(): { compiler: string; obstacle?: string } {
  if (Deno.build.os !== "linux") {
    return { compiler: "", obstacle: "this is not Linux" };
  }
  for (const name of ["run", "read", "write"] as const) {
    if (!isGranted({ name })) {
      return { compiler: "", obstacle: `no ${name} permission` };
    }
  }
  for (const compiler of ["cc", "gcc"]) {
    try {
      const { success } = new Deno.Command(compiler, {
        args: ["--version"],
        stdout: "null",
        stderr: "null",
      }).outputSync();
      if (success) return { compiler };
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return { compiler: "", obstacle: "no C compiler" };
}

function hostArchitecture(): Architecture {
  return Deno.build.arch;
}

/**
 * Finds the compiler's arguments for an architecture's headers, null when they
 * aren't installed. The host's compiler does for another architecture too:
 * constants and the layout of these structs depend on the headers alone.
 */
function findHeaders(architecture: Architecture): string[] | null {
  if (architecture === hostArchitecture()) return [];
  if (obstacle !== undefined) return null;
  const places = [
    [`/usr/${architecture}-linux-gnu/include`],
    [`/usr/include/${architecture}-linux-gnu`, "/usr/include"],
  ];
  const place = places.find(([first]) => isFile(`${first}/asm/unistd.h`));
  return place === undefined
    ? null
    : ["-nostdinc", ...place.flatMap((folder) => ["-isystem", folder])];
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function constantsOn(
  architecture: Architecture,
): Promise<typeof constants> {
  return await evaluateConstants(architecture, {
    build: { arch: architecture },
  });
}

// Written out, an import needs no permission.
const EVALUATIONS = {
  x86_64: () => import("../../src/sys/constants.ts?x86_64"),
  aarch64: () => import("../../src/sys/constants.ts?aarch64"),
  nowhere: () => import("../../src/sys/constants.ts?nowhere"),
};

/** Evaluates constants.ts anew, with another `Deno` in sight. */
async function evaluateConstants(
  where: keyof typeof EVALUATIONS,
  deno: unknown,
): Promise<typeof constants> {
  const real = Object.getOwnPropertyDescriptor(globalThis, "Deno")!;
  Object.defineProperty(globalThis, "Deno", { ...real, value: deno });
  try {
    return await EVALUATIONS[where]();
  } finally {
    Object.defineProperty(globalThis, "Deno", real);
  }
}

function allConstants(
  from: typeof constants = constants,
): Record<string, number | bigint> {
  const local = [event]
    .flatMap((module) => Object.entries(module))
    .filter(([, value]) => typeof value !== "function");
  return { ...from, ...Object.fromEntries(local) };
}

function question(name: string, ours: number | bigint): Question {
  // The preprocessor sees no enumerators.
  const when = /^(FSCONFIG|LO_FLAGS)_/.test(name) ? "1" : `defined ${name}`;
  return { name, ours, c: name, when, ...SPECIAL[name] };
}

function constantQuestions(from: typeof constants): Question[] {
  return Object.entries(allConstants(from))
    .filter(([name]) => !FROM_LIBC.includes(name))
    .map(([name, ours]) => question(name, ours));
}

/** The system call numbers of a processor. */
function numbersOn(architecture: Architecture): Record<string, number> {
  return Object.fromEntries(
    Object.entries(CALLS).map(([name, call]) => [name, call[architecture]]),
  );
}

function numberQuestions(numbers: Record<string, number>): Question[] {
  return Object.entries(numbers).map(([name, ours]) =>
    question(`__NR_${name}`, ours)
  );
}

function errnoQuestions(): Question[] {
  return Array.from({ length: 133 }, (_, i) => i + 1)
    .filter((number) => errno.errnoCode(number) !== `E${number}`)
    .map((number) => question(errno.errnoCode(number), number));
}

/** What layout.ts exports that is no struct. */
const NO_STRUCTS = ["SIGNALS"];

/** Structs of the C library, which other tests compare with its headers. */
const STRUCTS_OF_LIBC = [
  "CMSGHDR",
  "DIRENT64",
  "FILE_HANDLE",
  "IFREQ",
  "IOVEC",
  "MSGHDR",
  "UCONTEXT",
];

/** The types of structs that are not called `struct` and their name. */
const C_TYPES: Readonly<Record<string, string>> = { SIGINFO: "siginfo_t" };

/** The offsets of every struct that layout.ts exports. */
function layoutQuestions(): Question[] {
  const structs = Object.entries(layout).filter(([name, value]) =>
    typeof value === "object" &&
    ![...NO_STRUCTS, ...STRUCTS_OF_LIBC].includes(name)
  ) as [string, Record<string, number>][];
  return structs.flatMap(([constant, offsets]) =>
    Object.entries(offsets).map(([field, ours]) => {
      const struct = constant.toLowerCase();
      const type = C_TYPES[constant] ?? `struct ${struct}`;
      const name = `${struct}.${field}`;
      const c = field === "SIZE"
        ? `sizeof(${type})`
        : `__builtin_offsetof(${type}, ${field})`;
      const since = STRUCT_SINCE[struct];
      const when = since === undefined ? "1" : `defined ${since}`;
      return { name, ours, c, when, ...SPECIAL[name] };
    })
  );
}

/** Compares what the headers have, and lists the rest as ignored steps. */
async function compare(
  t: Deno.TestContext,
  headers: string[],
  questions: Question[],
): Promise<void> {
  const { code, values } = answers(headers, questions);
  const known = questions.filter(({ name }) => values.has(name));
  assertEquals(
    known.map(({ name, ours }) => `${name} ${hexadecimal(ours)}`),
    known.map(({ name }) => `${name} ${hexadecimal(values.get(name)!)}`),
  );
  const absent = questions.filter(({ name }) => !values.has(name));
  assertEquals(
    absent.filter(({ name }) => !Object.hasOwn(NEWER, name)),
    [],
    "Nothing but a row of NEWER can check what these headers lack",
  );
  const headersAre = `these headers (${versionName(code)})`;
  for (const { name } of absent) {
    await ignoredStep(t, `${name} is newer than ${headersAre}`);
  }
}

async function ignoredStep(t: Deno.TestContext, name: string): Promise<void> {
  await t.step({ name, ignore: true, fn() {} });
}

function answers(
  headers: string[],
  questions: Question[],
): { code: number; values: Map<string, bigint> } {
  const lines = run([
    ...KERNEL_HEADERS.map((header) => `#include <${header}>`),
    // The C library's headers redefine some of the kernel's.
    "int printf(const char *, ...);",
    '#define SHOW(name, value) printf(name " %llu\\n", sizeof(value) == 4 \\',
    "  ? (unsigned)(value) : (unsigned long long)(value))",
    "int main(void) {",
    'SHOW("", LINUX_VERSION_CODE);',
    ...questions.flatMap(({ name, c, when }) => [
      `#if ${when}`,
      `SHOW("${name}", ${c});`,
      "#endif",
    ]),
    "}",
  ], headers);
  const rows = lines.map((line) => line.split(" ") as [string, string]);
  const values = new Map(rows.map(([name, value]) => [name, BigInt(value)]));
  const code = Number(values.get(""));
  return { code, values };
}

/** The headers' macros and declarations. */
function preprocess(headers: string[]): string {
  const source = KERNEL_HEADERS.map((header) => `#include <${header}>`);
  return compile(source, ["-E", "-P", "-dD", ...headers]);
}

/** The lines that a C program prints. */
function run(program: string[], headers: string[]): string[] {
  return compile(program, headers).trimEnd().split("\n");
}

/** The preprocessed text with `-E`, else what the program prints. */
function compile(program: string[], options: string[]): string {
  const folder = Deno.makeTempDirSync({ prefix: "mountat_headers_" });
  try {
    const source = `${folder}/program.c`;
    const output = `${folder}/program`;
    Deno.writeTextFileSync(source, program.join("\n") + "\n");
    execute(compiler, [...options, "-o", output, source]);
    return options.includes("-E")
      ? Deno.readTextFileSync(output)
      : execute(output, []);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function execute(command: string, args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command(command, {
    args,
  }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** Prints a value as the C program's `SHOW` takes it: an `int` as unsigned. */
function hexadecimal(value: number | bigint): string {
  const unsigned = BigInt.asUintN(value < 0 ? 32 : 64, BigInt(value));
  return `0x${unsigned.toString(16)}`;
}

function version(major: number, minor: number): number {
  return (major << 16) + (minor << 8);
}

function versionName(code: number): string {
  return `Linux ${code >> 16}.${(code >> 8) & 0xff}`;
}
