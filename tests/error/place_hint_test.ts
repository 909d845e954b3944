import { kernelTest, type Needs, SCRATCH } from "../support/testing.ts";
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { attempt, MountError } from "../../src/error/error.ts";
import { Directory } from "../../src/directory.ts";
import { mountat } from "../../src/mount/mountat.ts";
import { bindat } from "../../src/mount/bindat.ts";
import { mountSetattr, moveMount } from "../../src/sys/mount.ts";
import {
  AT_FDCWD,
  MS_PRIVATE,
  MS_SHARED,
  MS_UNBINDABLE,
  O_PATH,
} from "../../src/sys/constants.ts";
import { hold } from "../support/held.ts";
import { moveat } from "../../src/mount/moveat.ts";
import { mountTmpfs, open } from "../support/scratch.ts";
import { unmountat } from "../../src/unmount/unmountat.ts";
import { failing } from "../support/failing.ts";

const CHILDREN: Needs = {
  permissions: ["run", "read", "write", "env"],
  commands: ["unshare"],
};

const LOCKED =
  "The mount came from a more privileged mount namespace, and is locked to its parent mount";

const ELSEWHERE =
  " is in another mount namespace than this thread's: it was opened before an unshare or setns; open it again";

const LAZILY =
  " is in a mount that was lazily unmounted, or in another mount namespace: open it again";

function assertHint(call: () => void, codes: string[], hint: string): void {
  const error = assertThrows(call, MountError);
  assert(codes.includes(error.code), error.message);
  assert(error.hint?.startsWith(hint), `${error.message}: ${error.hint}`);
}

/**
 * The directory that SCRATCH covers in the mount namespace of the process's
 * first thread, which the test's thread has left.
 */
function left(): Directory {
  return Directory.open(`/proc/self/root${SCRATCH}`);
}

// A foreign mount point: EINVAL, ENOENT since Linux 6.15 where it's detached.
const MOVE_CODES = ["EINVAL", "ENOENT"];

kernelTest("mounting says that the directory is in another namespace", () => {
  using directory = left();
  assertHint(
    () => mountat(directory, ".", { type: "tmpfs" }),
    MOVE_CODES,
    `The mount point${ELSEWHERE}`,
  );
});

kernelTest("mounting says that the directory was lazily unmounted", () => {
  using root = Directory.open(SCRATCH);
  using mount = root.mount("m", { type: "tmpfs", mkdir: true });
  using inside = root.openDirectory("m");
  mount.unmount({ lazy: true });
  assertHint(
    () => mountat(inside, ".", { type: "tmpfs" }),
    MOVE_CODES,
    `The mount point${LAZILY}`,
  );
});

kernelTest("mounting says that the directory was deleted", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  using gone = root.openDirectory("m");
  Deno.removeSync(`${SCRATCH}/m`);
  assertHint(
    () => mountat(gone, ".", { type: "tmpfs" }),
    MOVE_CODES,
    "The mount point was deleted",
  );
}, { permissions: ["write"] });

kernelTest("binding says that a directory and a file don't go together", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("directory");
  Deno.writeTextFileSync(`${SCRATCH}/file`, "");
  const codes = ["EINVAL", "ENOTDIR"];
  assertHint(
    () => bindat(root, "file", `${SCRATCH}/directory`),
    codes,
    '"file" is a file, and a directory is needed',
  );
  assertHint(
    () => bindat(root, "directory", `${SCRATCH}/file`),
    codes,
    "A file can't be mounted on a directory",
  );
}, { permissions: ["write"] });

kernelTest("binding says that the source is unbindable, or elsewhere", () => {
  using root = Directory.open(SCRATCH);
  using mount = root.mount("m", { type: "tmpfs", mkdir: true });
  root.mkdir("bind");
  mountSetattr(root.fd, "m", 0, { propagation: MS_UNBINDABLE });
  assertHint(
    () => bindat(root, "bind", `${SCRATCH}/m`),
    ["EINVAL"],
    "The mount is unbindable: make it private first",
  );
  using directory = left();
  assertHint(
    () => bindat(root, "bind", directory),
    ["EINVAL"],
    `What is to be bound${ELSEWHERE}`,
  );
  using inside = root.openDirectory("m");
  mount.unmount({ lazy: true });
  assertHint(
    () => bindat(root, "bind", inside),
    ["EINVAL"],
    `What is to be bound${LAZILY}`,
  );
});

kernelTest("binding says that the source is the kernel's own", async () => {
  await using child = await hold(["sh", "-c", "echo; exec sleep 60"]);
  using root = Directory.open(SCRATCH);
  const error = assertThrows(
    () => root.bind(`/proc/${child.pid}/fd/1`, "p", { mkdir: true }),
    MountError,
  );
  assertEquals([error.syscall, error.code], ["open_tree", "EINVAL"]);
  assertMatch(
    error.hint!,
    /^It is "(pipe|socket):\[\d+\]", a pipe, a socket or the like, on a file system internal to the kernel/,
  );
}, { permissions: ["run", "read", "env"] });

kernelTest("binding says that a mount namespace could hold itself", () => {
  using root = Directory.open(SCRATCH);
  assertHint(
    () => bindat(root, "p", "/proc/thread-self/ns/mnt", { mkdir: true }),
    ["ELOOP"],
    "The source is a mount namespace, or one is bound inside it",
  );
});

kernelTest("moving says that there is no mount", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("from");
  root.mkdir("to");
  assertHint(
    () => moveat(root, "from", root, "to"),
    ["EINVAL"],
    "The source is not a mount, and only mounts can be moved: bind it",
  );
});

kernelTest("moving says that it would go into itself", () => {
  using root = Directory.open(SCRATCH);
  using _mount = root.mount("m", { type: "tmpfs", mkdir: true });
  root.mkdir("m/x");
  assertHint(
    () => moveat(root, "m", root, "m/x"),
    ["ELOOP"],
    "A mount can't be moved into itself",
  );
});

kernelTest("moving says that what holds the mount is shared", () => {
  using root = Directory.open(SCRATCH);
  using mount = mountTmpfs("m");
  root.mkdir("to");
  mountSetattr(AT_FDCWD, SCRATCH, 0, { propagation: MS_SHARED });
  using from = open(mount.path, O_PATH);
  using onto = root.openDirectory("to");
  const attempted = {
    action: "move",
    target: "m",
    from: { dirfd: from.fd, path: "" },
    onto: { dirfd: onto.fd, path: "" },
  };
  assertHint(
    () =>
      attempt(attempted, () => moveMount(AT_FDCWD, mount.path, onto.fd, ".")),
    ["EINVAL"],
    `The mount that holds it is shared, and the kernel moves none out of such: make "${SCRATCH}" private first (the option makePrivate)`,
  );
  mountSetattr(AT_FDCWD, SCRATCH, 0, { propagation: MS_PRIVATE });
});

kernelTest("moving says that an unbindable mount can't be shared", () => {
  using root = Directory.open(SCRATCH);
  using _mount = root.mount("m", { type: "tmpfs", mkdir: true });
  using _shared = root.mount("shared", { type: "tmpfs", mkdir: true });
  root.mkdir("shared/to");
  mountSetattr(root.fd, "m", 0, { propagation: MS_UNBINDABLE });
  mountSetattr(root.fd, "shared", 0, { propagation: MS_SHARED });
  assertHint(
    () => moveat(root, "m", root, "shared/to"),
    ["EINVAL"],
    `An unbindable mount can't be moved to a shared one: make "${SCRATCH}/m" private first`,
  );
});

kernelTest("unmounting says what is there instead of a mount", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("directory");
  using directory = root.openDirectory("directory");
  Deno.symlinkSync("directory", `${SCRATCH}/link`);
  for (
    const unmount of [
      () => unmountat(root, "directory"),
      () => unmountat(directory, "."),
    ]
  ) assertHint(unmount, ["EINVAL"], "Nothing is mounted there");
  assertHint(
    () => unmountat(root, "link"),
    ["EINVAL"],
    "The name is a symlink, and unmounting follows no symlinks: name what it leads to",
  );
}, { permissions: ["read", "write"] });

kernelTest(
  "unmounting says that the mount is in another namespace",
  async () => {
    const script = `mount -t tmpfs none ${SCRATCH}/m; echo; exec sleep 60`;
    using root = Directory.open(SCRATCH);
    root.mkdir("m");
    await using child = await hold(["unshare", "-m", "sh", "-c", script]);
    using theirs = Directory.open(`/proc/${child.pid}/root${SCRATCH}`);
    assertHint(() => unmountat(theirs, "m"), ["EINVAL"], `The mount${LAZILY}`);
  },
  CHILDREN,
);

kernelTest("unmounting says that expiry goes with nothing else", () => {
  using root = Directory.open(SCRATCH);
  using _mount = root.mount("m", { type: "tmpfs", mkdir: true });
  assertHint(
    () => unmountat(root, "m", { expire: true, lazy: true }),
    ["EINVAL"],
    "The option to expire can't be combined with lazy or force",
  );
});

kernelTest("a user namespace is told what is locked in it", () => {
  using root = Directory.open(SCRATCH);
  root.mount("m", { type: "tmpfs", mkdir: true }).keep();
  root.mount("m/sub", { type: "tmpfs", mkdir: true }).keep();
  root.mkdir("to");
  const options = { wrapper: ["unshare", "-Urm"] };
  const unmounting = failing(["unmount", SCRATCH, "m/sub"], options);
  assertEquals([unmounting.syscall, unmounting.code], ["umount2", "EINVAL"]);
  assert(unmounting.hint!.startsWith(LOCKED), unmounting.hint);
  const moving = failing(["move", SCRATCH, "m", "to"], options);
  assertEquals([moving.syscall, moving.code], ["move_mount", "EINVAL"]);
  assert(moving.hint!.startsWith(LOCKED), moving.hint);
  const binding = failing(["bind", SCRATCH, "to", "m"], options);
  assertEquals([binding.syscall, binding.code], ["open_tree", "EINVAL"]);
  assertEquals(
    binding.hint,
    "A mount inside it came from a more privileged mount namespace, and would show what it covers: bind them together (the option recursive)",
  );
  root.unmount("m/sub");
  root.unmount("m");
}, CHILDREN);
