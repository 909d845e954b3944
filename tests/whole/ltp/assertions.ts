/** The ops that check what came of the calls. */
import { readFile } from "../../../src/fd/open.ts";
import * as sys from "../../../src/sys/mod.ts";
import { readMountinfo } from "./mountinfo.ts";
import { helperIn, outcome, run } from "./commands.ts";
import { open } from "./calls.ts";
import type { Ops, Scope, Value } from "./scope.ts";
import type { Numeric, Text } from "./cases.ts";

// Not @std/assert: a child process runs this too, without an import map.
function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

function checkEqual<T>(actual: T, expected: T): void {
  check(actual === expected, `${actual} instead of ${expected}`);
}

function checkHas(names: readonly string[], has: readonly string[] = []) {
  for (const name of has) {
    check(names.includes(name), `${name}: not in ${names}`);
  }
}

function checkLacks(names: readonly string[], lacks: readonly string[] = []) {
  for (const name of lacks) {
    check(!names.includes(name), `${name}: in ${names}`);
  }
}

/** The assertions. */
export const assertions = {
  assert_bits(step, scope) {
    const value = scope.number(step.value);
    const has = scope.number(step.has);
    checkEqual(value & has, has);
    checkEqual(value & scope.number(step.lacks), 0n);
  },

  assert_cloexec(step, scope) {
    const fd = scope.integer(step.fd);
    const [, flags] = readFile(`/proc/thread-self/fdinfo/${fd}`)
      .match(/^flags:\s*(\d+)$/m)!;
    checkEqual((parseInt(flags!, 8) & sys.O_CLOEXEC) !== 0, step.is);
  },

  assert_content(step, scope) {
    checkEqual(readFile(scope.text(step.path)), step.equals);
  },

  assert_eq(step, scope) {
    // The library keeps the size of the struct to itself.
    if (step.a === "$sm.size") return;
    checkEqual(operand(step.a, scope), operand(step.b, scope));
  },

  assert_exec(step, scope) {
    checkEqual(execute(scope.text(step.path)), step.errno ?? "ok");
  },

  assert_exists(step, scope) {
    checkEqual(lookUp(step.path, scope), "ok");
  },

  assert_missing(step, scope) {
    checkEqual(lookUp(step.path, scope), "ENOENT");
  },

  assert_mounted(step, scope) {
    check(isMountPoint(step.path, scope), "Not a mount point");
  },

  assert_mountinfo(step, scope) {
    const path = scope.text(step.path);
    const mountPoint = path.startsWith("/") ? path : `${scope.scratch}/${path}`;
    const entries = readMountinfo()
      .filter((entry) => entry.mountPoint === mountPoint);
    if (step.count !== undefined) checkEqual(entries.length, step.count);
    if (step.count === 0) return;
    const entry = entries.at(-1);
    check(entry !== undefined, "Not in the mount table");
    const tags = [...entry.tags.keys()];
    checkHas(entry.options, step.opts);
    checkLacks(entry.options, step.not_opts);
    checkHas(entry.superOptions, step.super);
    checkHas(tags, step.tags);
    checkLacks(tags, step.not_tags);
    if (step.fstype !== undefined) {
      checkEqual(entry.fstype, scope.text(step.fstype));
    }
    if (step.source !== undefined) {
      checkEqual(entry.source, scope.text(step.source));
    }
    return { shared: BigInt(entry.tags.get("shared") ?? 0) };
  },

  assert_not_mounted(step, scope) {
    check(!isMountPoint(step.path, scope), "A mount point");
  },

  assert_open(step, scope) {
    const path = scope.text(step.path);
    const flags = scope.number(step.flags);
    const opened = outcome(() => sys.close(open(sys.AT_FDCWD, path, flags)));
    checkEqual(opened, step.errno);
  },

  assert_same_file(step, scope) {
    checkEqual(identity(step.a, scope) === identity(step.b, scope), step.is);
  },

  assert_sorted(step, scope) {
    const list = scope.lookUp(step.list) as bigint[];
    check(
      list.every((id, i) => i === 0 || list[i - 1]! < id),
      `Not in order: ${list}`,
    );
  },

  assert_statvfs(step, scope) {
    const helper = helperIn(scope.workshop);
    const flags = run(helper, ["statvfs", scope.text(step.path)]).split("\n");
    checkHas(flags, step.has);
    checkLacks(flags, step.lacks);
  },
} satisfies Partial<Ops>;

/** What is to be compared: a variable, a number, flags or a text. */
function operand(operand: Numeric, scope: Scope): Value {
  if (typeof operand !== "string") return scope.number(operand);
  return /^\$\w/.test(operand) ? scope.lookUp(operand) : scope.text(operand);
}

/** The name of the error that keeps a program from running, "ok" if it runs. */
function execute(path: string): string {
  try {
    run(path, []);
    return "ok";
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied) return "EACCES";
    throw error;
  }
}

function lookUp(path: Text, scope: Scope): string {
  return outcome(() => statx(path, scope, sys.AT_SYMLINK_NOFOLLOW));
}

function isMountPoint(path: Text, scope: Scope): boolean {
  const { attributes, attributesMask } = statx(
    path,
    scope,
    sys.AT_SYMLINK_NOFOLLOW,
  );
  const bit = BigInt(sys.STATX_ATTR_MOUNT_ROOT);
  check((attributesMask & bit) !== 0n, "This kernel doesn't tell mount roots");
  return (attributes & bit) !== 0n;
}

function identity(path: Text, scope: Scope): string {
  const { devMajor, devMinor, ino } = statx(path, scope, 0);
  return `${devMajor}:${devMinor} ${ino}`;
}

function statx(path: Text, scope: Scope, flags: number): sys.Statx {
  return sys.statx(
    sys.AT_FDCWD,
    scope.text(path),
    flags,
    sys.STATX_BASIC_STATS,
  );
}
