import { type Call, parseTrace, runTraced } from "../support/strace.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";
import { SCRATCH } from "../support/testing.ts";
import { programTest, run } from "../support/program.ts";

const needs = { commands: ["strace"] };

/** The calls that Deno itself makes none of. */
const OURS = [
  "openat2",
  "mkdirat",
  "fsopen",
  "fsconfig",
  "fsmount",
  "move_mount",
  "umount2",
  "unlinkat",
];

/** Parses what --trace printed among other lines. */
function parseLines(stderr: string): Call[] {
  return parseTrace(stderr.replaceAll(/^/gm, "1 "));
}

/** The calls that strace may be too old to know: it has their arguments raw. */
const NEW: Readonly<Record<string, string>> = {
  statmount: "statmount",
  syscall_0x1c9: "statmount",
};

/** Of two ways to print a call that mean the same, one. */
function normalize({ name, args, result, outcome }: Call): string {
  if (name in NEW) return `${NEW[name]}(…) = ${result}${outcome}`;
  const plain = args
    .replace(", mode=0, ", ", ")
    // What the answer was is left out here.
    .replace(/, (?:…|\{stx_mask=.*\}|\{sa_handler=.*\})(?=$|, 8$)/, "")
    // A default that has no bit, and one that this strace may not know.
    .replace("AT_STATX_SYNC_AS_STAT|", "")
    .replace("|0x4000", "|STATX_MNT_ID_UNIQUE")
    .replaceAll(
      /\b[A-Z_]+(?:\|\w+)+/g,
      (flags) =>
        flags.split("|").filter((flag) => flag !== "O_RDONLY").sort().join("|"),
    );
  return `${name}(${plain}) = ${result}${outcome}`;
}

/**
 * Finds the calls that were told among those of strace, in their order, and
 * returns what strace has between them.
 */
function skipped(told: Call[], seen: Call[]): Call[] {
  const rest: Call[] = [];
  let at = 0;
  for (const call of told.map(normalize)) {
    const found = seen.findIndex((other, i) =>
      i >= at && normalize(other) === call
    );
    assert(
      found !== -1,
      `Not seen: ${call}\n${seen.slice(at).map(normalize).join("\n")}`,
    );
    rest.push(...seen.slice(at, found));
    at = found + 1;
  }
  return [...rest, ...seen.slice(at)];
}

/**
 * Runs the program with --trace under strace, and compares the two.
 *
 * @param hint The names of the calls that look for what a hint says: those are
 * not told.
 */
function compare(
  args: string[],
  hint: string[] = [],
): { told: Call[]; code: number } {
  const { ended, calls } = runTraced(
    [...args, "--trace"],
    ["-y", "-s", "256"],
    {
      // strace escapes what is no ASCII in the name of the working directory.
      cwd: SCRATCH,
    },
  );
  const { pid } = calls.find(({ name }) => name === "openat2")!;
  const seen = calls.filter((call) => call.pid === pid);
  const told = parseLines(ended.stderr);
  const rest = skipped(told, seen).map(normalize);
  // Those that were not told are Deno's, or look for what descriptors lead to.
  const untold = rest.filter((call) =>
    OURS.some((name) => call.startsWith(`${name}(`)) ||
    (call.startsWith("readlinkat(") && !call.includes("/proc/thread-self/")) ||
    ["anon_inode:[fscontext]", SCRATCH].some((link) =>
      call.replace(/^\w+\(\d+</, "").startsWith(link)
    )
  );
  const names = untold.map((call) => call.slice(0, call.indexOf("(")));
  assertEquals(names, hint, untold.join("\n"));
  return { told, code: ended.code };
}

programTest(
  "--trace tells of the main job what strace tells, call by call",
  () => {
    const { told, code } = compare([`${SCRATCH}/new/root`, "0"]);
    assertEquals(code, 0);
    const names = new Set(told.map(({ name }) => name));
    for (const name of OURS) {
      assertEquals(names.has(name), name !== "unlinkat", name);
    }
    assertGreater(told.length, 45);
  },
  needs,
);

programTest(
  "--trace tells of a failure what strace tells, call by call",
  () => {
    const root = `${SCRATCH}/root`;
    Deno.mkdirSync(root);
    Deno.symlinkSync("/", `${root}/sys`);
    // The hint names the symlink, and what it leads to.
    const hint = ["openat2", "statx", "readlinkat", "close"];
    const { told, code } = compare([root, "0"], hint);
    assertEquals(code, 1);
    const failed = told.filter(({ result }) => result === -1).at(-1)!;
    assertEquals(
      [failed.name, failed.outcome],
      ["openat2", " ELOOP (Too many levels of symbolic links)"],
    );
    assert(told.some(({ name }) => name === "umount2"));
    assert(told.some(({ name }) => name === "unlinkat"));
  },
  needs,
);

programTest("--trace prints to stderr alone, and nothing without it", () => {
  const root = `${SCRATCH}/root`;
  run([root, "0"]);
  const plain = run([root, "0"]);
  const traced = run(["--trace", root, "0"]);
  assertEquals([traced.code, traced.stdout], [plain.code, plain.stdout]);
  assertEquals(plain.stderr, "");
  const lines = traced.stderr.trimEnd().split("\n");
  assertEquals(parseLines(traced.stderr).length, lines.length);
  const [signal, ...calls] = lines.filter((line) =>
    !/^rt_sigaction\(SIG(INT|QUIT|TERM), /.test(line)
  );
  assert(signal!.startsWith("rt_sigaction(SIGHUP, "), signal);
  assert(calls[0]!.startsWith("openat2(AT_FDCWD<"), calls[0]);
});

programTest("--trace keeps control characters from the terminal", () => {
  const root = `${SCRATCH}/a\n\x1b[2J\x9b`;
  const { code, stderr } = run([root, "0", "--trace", "--quiet"]);
  assertEquals(code, 0);
  // deno-lint-ignore no-control-regex
  assert(!/[\x00-\x09\x0b-\x1f\x7f-\x9f]/.test(stderr), stderr);
  assert(stderr.includes(`<${SCRATCH}/a\\n\\x1b[2J\\x9b/proc>`), stderr);
});
