/**
 * The sessions that the prototype's README shows, side by side with ours. Each
 * begins with what the author typed and saw there.
 */
import { commandLine, programTest, shellCommand } from "../support/program.ts";
import { mountsBelow, SCRATCH } from "../support/testing.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";

/** What a shell script printed, and how it ended. */
interface Session {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a script in the scratch directory, in which `mountat` is the program. */
function session(script: string): Session {
  const words = shellCommand(commandLine([], { permissions: ["-A"] }));
  const { code, stdout, stderr } = new Deno.Command("sh", {
    args: [
      "-c",
      // In the background it must take the place of the subshell, to be killed.
      `mountat() { ${words} "$@"; }\nin_place() { exec ${words} "$@"; }\n${script}`,
    ],
    cwd: SCRATCH,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).outputSync();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** The mount points below the scratch directory, relative to it. */
function places(): string[] {
  return mountsBelow(SCRATCH).slice(1).map((line) =>
    line.split(" ")[4]!.slice(SCRATCH.length + 1)
  );
}

// $ bazel run --run_under sudo //cmd/bb_mounter_at -- /tmp/tmp.jz4HILGKEA/bazel-run 1
// Mounting /proc into 7 (file descriptor for) /tmp/tmp.jz4HILGKEA/bazel-run.
// Mounting /sys into 7 (file descriptor for) /tmp/tmp.jz4HILGKEA/bazel-run.
// Sleeping 1 second.
// Unmounting proc from 7 (directory file descriptor).
// Unmounting sys from 7 (directory file descriptor).
programTest("transcript: bb_mounter_at", () => {
  const { code, stdout, stderr } = session("mountat bazel-run 1");
  assertEquals([code, stderr], [0, ""]);
  assertEquals(
    stdout.replaceAll(/\b\d+ \(/g, "7 ("),
    `Mounting /proc into 7 (file descriptor for) bazel-run.
Mounting /sys into 7 (file descriptor for) bazel-run.
Sleeping 1 second.
Unmounting proc from 7 (directory file descriptor).
Unmounting sys from 7 (directory file descriptor).
`,
  );
});

// $ mkdir -p mnt/{sys,proc}
// $ sudo "$prog" mnt
// $ tree -L 3 | tail -1
// 740 directories, 48 files
programTest("transcript: mountat_dfd.c", () => {
  const { stdout } = session(`
    mkdir -p mnt/sys mnt/proc
    in_place --quiet mnt 3600 & program=$!
    until [ -e mnt/proc/self ] && [ -e mnt/sys/kernel ]; do :; done
    ls mnt/proc/self/ns mnt/sys
    kill $program; wait $program; echo $?
    ls mnt/proc mnt/sys
  `);
  assertMatch(stdout, /\bmnt\b.*\n(.*\n)*kernel\n/);
  assert(stdout.endsWith("143\nmnt/proc:\n\nmnt/sys:\n"), stdout);
});

// relative_mount.c: "takes a directory name and creates "proc" inside it";
// relative_unmount.c: opens, fchdir, umount ./proc
programTest("transcript: relative mount and unmount", () => {
  const { stdout, stderr } = session(`
    mkdir mnt
    mountat relative-mount mnt proc; echo $?
    mountat list mnt
    mountat relative-unmount 3 proc 3< mnt; echo $?
    mountat list mnt
  `);
  assertEquals(stderr, "");
  assertMatch(
    stdout,
    /^0\n(.*\n)?.*mnt\/proc.*\bproc\b.*nosuid,nodev,relatime.*\n0\n/,
  );
  assertEquals(places(), []);
});

// $ mount -t proc /proc mnt/proc
// $ sudo strace -s1000 --failed-only "$prog"
// $ mount -v | grep $PWD
// /proc on /tmp/tmp.fcGMUvdIMq/mnt/proc type proc (rw,relatime)
// /proc on /tmp/tmp.fcGMUvdIMq/destination/proc type proc (rw,relatime)
// "This is where I fall short … we want the original to be unmounted."
programTest("transcript: move mount", () => {
  for (const propagation of ["private", "shared"]) {
    const { code, stdout } = session(`
      mkdir -p mnt/proc destination/proc
      mount --make-${propagation} .
      mount -t proc /proc mnt/proc
      mountat move mnt destination
      mount --make-private .
    `);
    assertEquals(code, 0);
    const verb = propagation === "private" ? "Moved" : "Cloned and unmounted";
    assertEquals(stdout, `${verb} "proc" from "mnt" to "destination".\n`);
    assertEquals(places(), ["destination/proc"]);
    assertEquals(session("umount destination/proc").code, 0);
  }
}, { commands: ["mount", "umount"] });

// Unmount everything below the current directory:
// $ mount -v | choose 2 | xargs -n1 sudo umount
// "This unmounts once, so if you have stacked mounts it must be called repeatedly."
programTest("transcript: the toolbox", () => {
  const { code, stdout } = session(`
    mkdir -p a/b c
    for i in 1 2 3; do mount -t tmpfs stacked a; mkdir -p a/b; done
    mount -t tmpfs inner a/b
    mount -t tmpfs other c
    mountat list .
    mountat umount --quiet --recursive .
  `);
  assertEquals(code, 0);
  assertEquals(stdout.match(/stacked/g)?.length, 3, stdout);
  assertEquals(places(), []);
}, { commands: ["mount"] });

// /tmp/tmp.jz4HILGKEA $ ./unmount
// umount: /tmp/tmp.jz4HILGKEA/bazel-run/proc: target is busy.
programTest("transcript: a busy mount names its holder", () => {
  const { stdout, stderr } = session(`
    mkdir mnt
    mountat relative-mount mnt proc
    exec 9< mnt/proc/version
    mountat umount mnt proc; echo $?
    exec 9<&-
    mountat umount mnt proc; echo $?
  `);
  assertEquals(stdout.match(/^\d+$/gm), ["32", "0"]);
  assert(stderr.includes("EBUSY (Device or resource busy)"), stderr);
  assertMatch(stderr, /\bsh\b.*descriptor 9|descriptor 9.*\bsh\b/);
});

// [pid 992352] write(2, "Failed to parse file descriptor: '\3'\n", 37) = 37
// [pid 994405] write(2, "Failed to change directory to file descriptor: '3'\n", 51) = 51
programTest("transcript: the relative unmount's errors", () => {
  const { stdout, stderr } = session(`
    mountat relative-unmount "$(printf '\\003')" proc; echo $?
    mountat relative-unmount 77 proc; echo $?
  `);
  assertEquals(stdout, "2\n1\n");
  const [parse, change] = stderr.split("\n");
  assertEquals(parse, "Failed to parse file descriptor: '\\x03'");
  assertEquals(change, "Failed to change directory to file descriptor: '77'");
  assert(stderr.includes("fchdir(77): EBADF (Bad file descriptor)"), stderr);
});

// ❌ Implement `umountat`
programTest("transcript: umountat, in one process and without a path", () => {
  const { code, stderr } = session(`
    mkdir mnt
    mountat relative-mount mnt proc
    mountat umount --trace mnt proc 2> trace
    mountat relative-mount mnt proc
    mountat umount --trace mnt proc 2> trace
    grep -q 'umount2("/proc/self/fd/[0-9]*/proc", UMOUNT_NOFOLLOW) *= 0' trace
  `);
  assertEquals([code, stderr], [0, ""]);
  assertEquals(places(), []);
});
