/** What tests of the real kernel share: gating, and a namespace of their own. */
import "../../src/late.ts";
import { assertEquals } from "@std/assert";
import { readFile } from "../../src/fd/open.ts";
import { unshare } from "../../src/sys/process.ts";
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  CLONE_NEWNS,
  MNT_DETACH,
  MS_PRIVATE,
  MS_REC,
  STATX_TYPE,
} from "../../src/sys/constants.ts";
import { SyscallError } from "../../src/sys/error.ts";
import {
  type MountinfoLine,
  parseMountinfo,
} from "../../src/kernel/mountinfo.ts";
import { statx } from "../../src/sys/file.ts";
import { mkdirat, readlinkat, unlinkat } from "../../src/sys/names.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";

export { ROOT, ROOT_URL } from "./root.ts";

/** What a test needs beside the permission for FFI and CAP_SYS_ADMIN. */
export interface Needs {
  /** Deno's permissions. */
  permissions?: Deno.PermissionName[];
  /** Programs on PATH; needs the permissions to run and read. */
  commands?: string[];
  /** What else stands in the way, as a reason; null when nothing does. */
  missing?: string | null;
}

/**
 * An empty directory (tmpfs) in a private mount namespace of this thread. It is
 * there while a {@linkcode kernelTest} runs.
 */
export const SCRATCH = `/tmp/mountat-test-${crypto.randomUUID().slice(0, 8)}`;

// What is made has the permissions that a test gives it, and the records of root
// are in /run, whoever runs the tests.
if (granted({ name: "sys", kind: "umask" })) Deno.umask(0o022);

if (granted({ name: "env", variable: "XDG_RUNTIME_DIR" })) {
  Deno.env.delete("XDG_RUNTIME_DIR");
}

// For Deno it goes before NO_COLOR, by which tests turn colours off.
if (granted({ name: "env", variable: "FORCE_COLOR" })) {
  Deno.env.delete("FORCE_COLOR");
}

// Programs tell errors in its language, and bash warns where it is not installed.
if (granted({ name: "env", variable: "LC_ALL" })) {
  Deno.env.set("LC_ALL", "C.UTF-8");
}

function granted(permission: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(permission).state === "granted";
}

/** A number in the environment; undefined where there is none, or no permission. */
export function numberOf(variable: string): number | undefined {
  const value = granted({ name: "env", variable })
    ? Deno.env.get(variable)
    : undefined;
  if (value === undefined) return undefined;
  if (!/^\d+$/.test(value)) throw new RangeError(`${variable}=${value}`);
  return Number(value);
}

/**
 * How often something is tried that could be tried for ever.
 *
 * @param variable The variable of the environment that says it.
 * @param often What the tasks for that, which set MOUNTAT_TEST_LONG, do without it.
 * @returns undefined for a sample among all other tests.
 */
export function timesOf(variable: string, often: number): number | undefined {
  const isLong = numberOf("MOUNTAT_TEST_LONG") === 1;
  return numberOf(variable) ?? (isLong ? often : undefined);
}

/** How many mounts there are where many are needed: fewer on a slow machine. */
export const MANY = numberOf("MOUNTAT_TEST_MANY") ?? 10_000;

/** In CI nothing may be ignored: what is missing fails there. */
const STRICT = numberOf("MOUNTAT_TEST_STRICT") === 1;

/**
 * Registers a test that mounts. It runs in a fresh private mount namespace with
 * an empty tmpfs on {@linkcode SCRATCH}, and must leave the mount table and the
 * open descriptors as it found them.
 */
export function kernelTest(
  name: string,
  fn: () => void | Promise<void>,
  needs: Needs = {},
): void {
  gatedTest(name, missingFor(needs), async () => {
    enterPrivateNamespace();
    const descriptors = openDescriptors();
    const table = mountTable();
    try {
      await fn();
      const now = mountTable();
      assertEquals(now, withoutRemoved(table, now), "The mount table changed");
      assertEquals(openDescriptors(), descriptors, "Open descriptors changed");
    } finally {
      leavePrivateNamespace();
    }
  });
}

/** Registers a test that is ignored, with the reason in its name, when there is one. */
export function gatedTest(
  name: string,
  missing: string | null,
  fn: () => void | Promise<void>,
): void {
  Deno.test({
    name: missing === null ? name : `${name} (ignored: ${missing})`,
    ignore: missing !== null && !STRICT,
    // The C library stays open, and each call is bound when it is first used.
    sanitizeResources: false,
    fn() {
      if (missing !== null) throw new Error(`Cannot run here: ${missing}`);
      return fn();
    },
  });
}

/** Registers a test that reads files of this repository. */
export function readTest(name: string, fn: () => void): void {
  gatedTest(name, missingPermission(["read"]), fn);
}

/** What stands in the way of a test that mounts, null when nothing does. */
export function missingFor(needs: Needs): string | null {
  return missingPermission(["ffi", ...needs.permissions ?? []]) ??
    missingCapability() ?? missingCommand(needs.commands ?? []) ??
    needs.missing ?? null;
}

/** The first of these permissions that is not granted, as a reason. */
export function missingPermission(names: Deno.PermissionName[]): string | null {
  const missing = names.find((name) =>
    !granted({ name } as Deno.PermissionDescriptor)
  );
  return missing === undefined ? null : `needs --allow-${missing}`;
}

let capable: boolean | undefined;

function missingCapability(): string | null {
  capable ??= tryUnshare();
  if (!capable) return "needs CAP_SYS_ADMIN";
  // In a user namespace procfs, devices and much else can't be mounted.
  const initial = /^\s*0\s+0\s+4294967295$/;
  return initial.test(readFile("/proc/self/uid_map").trimEnd())
    ? null
    : "needs CAP_SYS_ADMIN outside a user namespace";
}

function tryUnshare(): boolean {
  try {
    unshare(CLONE_NEWNS);
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.code === "EPERM") return false;
    throw error;
  }
}

/** The first of these programs that is not on PATH, as a reason. */
export function missingCommand(commands: string[]): string | null {
  if (commands.length === 0) return null;
  const permission = missingPermission(["run", "read", "env"]);
  if (permission !== null) return permission;
  const directories = (Deno.env.get("PATH") ?? "").split(":");
  const missing = commands.find((command) =>
    !directories.some((directory) => exists(`${directory}/${command}`))
  );
  return missing === undefined ? null : `needs ${missing}`;
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/**
 * Gives this thread a private mount namespace, an empty tmpfs on SCRATCH, and
 * one on /run: the records there are those of the machine.
 */
export function enterPrivateNamespace(): void {
  unshare(CLONE_NEWNS);
  mkdirat(AT_FDCWD, SCRATCH, 0o755);
  mount(null, "/", null, MS_REC | MS_PRIVATE, null);
  mount("run", "/run", "tmpfs", 0, "mode=0755");
  mount("scratch", SCRATCH, "tmpfs", 0, "mode=0755");
}

/** Takes both away: the next test's namespace is a copy of this one. */
export function leavePrivateNamespace(): void {
  umount2(SCRATCH, MNT_DETACH);
  umount2("/run", MNT_DETACH);
  unlinkat(AT_FDCWD, SCRATCH, AT_REMOVEDIR);
}

/** Runs something in the test's namespace after /proc was taken from it. */
export function withoutProc(body: () => void): void {
  mount("none", "/proc", "tmpfs", 0, null);
  try {
    body();
  } finally {
    umount2("/proc", MNT_DETACH);
  }
}

/**
 * The lines that must still be in a mount table: not those whose mount point is
 * gone. If somebody removes a directory in another mount namespace, the kernel
 * takes away what is mounted there in all others: rmdir(2) since Linux 3.18.
 */
function withoutRemoved(before: string[], now: string[]): string[] {
  return before.filter((line) => {
    if (now.includes(line)) return true;
    const [{ mountPoint }] = parseMountinfo(line) as [MountinfoLine];
    try {
      statx(AT_FDCWD, mountPoint, AT_SYMLINK_NOFOLLOW, STATX_TYPE);
      return true;
    } catch (error) {
      if (!(error instanceof SyscallError && error.code === "ENOENT")) {
        throw error;
      }
      return false;
    }
  });
}

/**
 * The lines of this thread's mount table, but for the options of file systems
 * that are the machine's, /sys/fs/cgroup for one: another test may change them
 * meanwhile in a namespace of its own.
 */
export function mountTable(): string[] {
  const lines = readFile("/proc/thread-self/mountinfo").trimEnd().split("\n");
  return lines.map((line) =>
    line.split(" ")[4]!.startsWith(SCRATCH)
      ? line
      : line.replace(/( - \S+ \S+) \S+$/, "$1 -")
  );
}

/** The lines of the mount table whose mount point is at or below a path. */
export function mountsBelow(path: string): string[] {
  return mountTable().filter((line) => {
    const mountPoint = line.split(" ")[4]!;
    return mountPoint === path || mountPoint.startsWith(`${path}/`);
  });
}

/**
 * This process's descriptors and what they lead to, but for those that Deno's
 * runtime opens when it likes.
 */
export function openDescriptors(): Record<number, string> {
  const found: Record<number, string> = {};
  for (let fd = 0; fd < 512; fd++) {
    try {
      const path = readlinkat(AT_FDCWD, `/proc/self/fd/${fd}`);
      if (
        !/^\/dev\/null$|^(pipe|socket):|^anon_inode:\[(event|pidfd|io_uring)/
          .test(path)
      ) {
        found[fd] = path;
      }
    } catch (error) {
      if (!(error instanceof SyscallError && error.code === "ENOENT")) {
        throw error;
      }
    }
  }
  return found;
}
