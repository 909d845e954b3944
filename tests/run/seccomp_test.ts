import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Directory } from "../../src/directory.ts";
import { MountError } from "../../src/error/error.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { parseProfile } from "../../src/run/seccomp.ts";
import { ACTIONS, COMPARISONS, exportFilter } from "../../src/sys/seccomp.ts";
import { makeRoot, runTest, shell } from "../support/run_root.ts";
import { SCRATCH } from "../support/testing.ts";

const TARGET = {
  processor: "x86_64",
  capabilities: ["CAP_CHOWN"],
  release: "6.18.3-cloud",
};

/** The calls that rules are for, of those that apply. */
function callsOf(syscalls: object[], target = TARGET): string[] {
  const text = JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls });
  return parseProfile(text, target).rules.flatMap(({ names }) => names);
}

Deno.test("parseProfile() takes the rules that apply", () => {
  const action = "SCMP_ACT_ERRNO";
  const rule = (name: string, more: object) => ({
    names: [name],
    action,
    ...more,
  });
  const syscalls = [
    { name: "old", action },
    rule("has", { includes: { caps: ["CAP_CHOWN"] } }),
    rule("lacks", { includes: { caps: ["CAP_CHOWN", "CAP_BPF"] } }),
    rule("without", { excludes: { caps: ["CAP_BPF"] }, includes: null }),
    rule("not without", { excludes: { caps: ["CAP_CHOWN"] } }),
    rule("here", { includes: { arches: ["s390x", "amd64"] } }),
    rule("elsewhere", { includes: { arches: ["arm64"] } }),
    rule("not here", { excludes: { arches: ["x86"] } }),
    rule("now", { includes: { minKernel: "6.9" } }),
    rule("later", { includes: { minKernel: "7.0" } }),
    rule("before", { excludes: { minKernel: "6.18" } }),
  ];
  assertEquals(callsOf(syscalls), ["old", "has", "without", "here", "now"]);
  assertEquals(
    callsOf(syscalls, {
      processor: "aarch64",
      capabilities: null as unknown as string[],
      release: "5.12",
    }),
    ["old", "has", "lacks", "elsewhere", "not here", "before"],
  );
});

Deno.test("parseProfile() reads actions, arguments and processors", () => {
  const equal = (index: number, value: number) => ({
    index,
    value,
    op: "SCMP_CMP_EQ",
  });
  const filter = parseProfile(
    JSON.stringify({
      defaultAction: "SCMP_ACT_ERRNO",
      defaultErrnoRet: 38,
      archMap: [
        {
          architecture: "SCMP_ARCH_X86_64",
          subArchitectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        },
        { architecture: "SCMP_ARCH_AARCH64", subArchitectures: ["nosuch"] },
      ],
      syscalls: [
        { names: ["a"], action: "SCMP_ACT_ALLOW", args: null },
        {
          names: ["b"],
          action: "SCMP_ACT_ERRNO",
          args: [equal(0, 1), equal(1, 2)],
        },
        {
          names: ["c"],
          action: "SCMP_ACT_LOG",
          args: [equal(0, 1), equal(0, 2)],
        },
      ],
    }),
    TARGET,
  );
  assertEquals(filter.action, 0x5_0026);
  assertEquals(filter.processors, [0x4000_0003, 0x4000_003e]);
  assertEquals(
    filter.rules.map((
      { names, action, comparisons },
    ) => [names[0], action, comparisons.map(({ value }) => value)]),
    [
      ["a", ACTIONS["SCMP_ACT_ALLOW"], []],
      ["b", 0x5_0001, [1n, 2n]],
      ["c", ACTIONS["SCMP_ACT_LOG"], [1n]],
      ["c", ACTIONS["SCMP_ACT_LOG"], [2n]],
    ],
  );
});

Deno.test("parseProfile() refuses what is no profile", () => {
  const of = (more: object) =>
    JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", ...more });
  for (
    const [text, message] of [
      ["{", "is no JSON"],
      ["[]", "must be an object"],
      ["null", "must be an object"],
      ["{}", 'Unknown action "undefined"'],
      [of({ defaultAction: "SCMP_ACT_NOTIFY" }), "Unknown action"],
      [of({ defaultAction: "toString" }), "Unknown action"],
      [of({ syscalls: {} }), "syscalls must be a list"],
      [of({ syscalls: [1] }), "syscalls must be an object"],
      [
        of({ syscalls: [{ action: "SCMP_ACT_ERRNO", errnoRet: 5000 }] }),
        "errnoRet must be a whole number",
      ],
      [
        of({ syscalls: [{ action: "SCMP_ACT_LOG", args: [{ index: 6 }] }] }),
        "index must be a whole number",
      ],
    ] as const
  ) assertThrows(() => parseProfile(text, TARGET), RangeError, message);
});

/** Writes a profile that refuses some calls alone. */
function writeProfile(syscalls: object[]): string {
  const path = `${SCRATCH}/profile.json`;
  Deno.writeTextFileSync(
    path,
    JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls }),
  );
  return path;
}

function whyNoLibrary(): string | null {
  const filter = {
    action: ACTIONS["SCMP_ACT_ALLOW"]!,
    processors: [],
    rules: [],
  };
  try {
    exportFilter(filter, -1);
  } catch (error) {
    if (error instanceof SyscallError) return null;
  }
  return "needs libseccomp2 and --allow-ffi";
}

/** What Debian's golang-github-containers-common installs. */
const PODMANS = "/usr/share/containers/seccomp.json";

function whyNotPodmans(): string | null {
  try {
    Deno.statSync(PODMANS);
    return null;
  } catch {
    return `needs ${PODMANS}`;
  }
}

const missing = whyNoLibrary();

runTest("run() filters system calls by a profile", async () => {
  using root = Directory.open(makeRoot());
  const refusing = { names: ["mkdir", "mkdirat", "no such call"] };
  const errno = { action: "SCMP_ACT_ERRNO", errnoRet: 38 };
  const script = "mkdir /new; grep -e NoNew -e Seccomp: /proc/self/status";
  for (const kind of [{}, { asPid1: true }, { hostPid: true }, { uid: 7 }]) {
    const { out, err } = await shell(root, script, {
      ...kind,
      seccomp: writeProfile([{ ...refusing, ...errno }]),
    });
    assertEquals(out, "NoNewPrivs:\t1\nSeccomp:\t2\n");
    assertEquals(
      err,
      "mkdir: can't create directory '/new': Function not implemented\n",
    );
  }
  const killed = await shell(root, "mkdir /new; echo $?", {
    seccomp: writeProfile([{ ...refusing, action: "SCMP_ACT_KILL_PROCESS" }]),
  });
  assertEquals(killed.out, "159\n");
  // What it may have decides, not what it has.
  const seccomp = writeProfile([
    { ...refusing, ...errno, excludes: { caps: ["CAP_SYS_ADMIN"] } },
  ]);
  const made = "mkdir /new && rmdir /new; echo $?";
  assertEquals((await shell(root, made, { seccomp })).out, "0\n");
  const strict = { seccomp, profile: "strict" } as const;
  assertEquals((await shell(root, made, strict)).out, "1\n");
}, { missing });

runTest("run() filters by what the arguments of a call are", async () => {
  using root = Directory.open(makeRoot());
  // The first process minds no signal from inside.
  const script =
    "for n in 9 10 11; do kill -$n 1 2>/dev/null; echo -n $?; done";
  const expected = {
    SCMP_CMP_NE: "101",
    SCMP_CMP_LT: "100",
    SCMP_CMP_LE: "110",
    SCMP_CMP_EQ: "010",
    SCMP_CMP_GE: "011",
    SCMP_CMP_GT: "001",
    // Of 9, 10 and 11 the last two have the bit.
    SCMP_CMP_MASKED_EQ: "011",
  };
  assertEquals(Object.keys(expected), Object.keys(COMPARISONS));
  for (const [op, refused] of Object.entries(expected)) {
    const masked = op === "SCMP_CMP_MASKED_EQ";
    const compared = { index: 1, op, value: masked ? 2 : 10, valueTwo: 2 };
    const seccomp = writeProfile([
      { names: ["kill"], action: "SCMP_ACT_ERRNO", args: [compared] },
    ]);
    assertEquals((await shell(root, script, { seccomp })).out, refused, op);
  }
}, { missing });

runTest("run() says what is wrong with a profile of system calls", async () => {
  using root = Directory.open(makeRoot());
  const error = await assertRejects(
    () => shell(root, "", { seccomp: `${SCRATCH}/nosuch` }),
    MountError,
  );
  assertEquals(error.code, "ENOENT");
  await assertRejects(
    () => shell(root, "", { seccomp: "/bin/busybox" }),
    RangeError,
    "is no JSON",
  );
  await assertRejects(
    () => shell(root, "", { seccomp: "/", noNewPrivs: false }),
    TypeError,
    '"seccomp" takes "noNewPrivs"',
  );
});

runTest("run() takes the profile of podman's that Debian has", async () => {
  using root = Directory.open(makeRoot());
  for (const profile of ["default", "strict"] as const) {
    const { code, out, err } = await shell(
      root,
      `seq 30 | sort -r | head -n 2 | tail -n 1 >/dev/shm/x; cat /dev/shm/x
       grep Seccomp: /proc/self/status; (exit 3) & wait $!; exit $?`,
      { profile, seccomp: PODMANS },
    );
    assertEquals([code, out, err], [3, "8\nSeccomp:\t2\n", ""]);
  }
}, { missing: missing ?? whyNotPodmans() });
