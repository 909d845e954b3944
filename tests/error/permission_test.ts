import { kernelTest, type Needs, SCRATCH } from "../support/testing.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { MS_BIND, MS_RDONLY, MS_REMOUNT } from "../../src/sys/constants.ts";
import { failing, type FailingOptions } from "../support/failing.ts";
import { assert, assertEquals } from "@std/assert";
import { missingSince } from "../support/since.ts";
import { compiled } from "../support/compiled.ts";

/** Each cause of EPERM: the call that fails, and what is said about it. */
interface Cause {
  /** What is done in the directory, as fixtures/failing.ts has it. */
  does: string[];
  /** How, and by whom. */
  as: string[];
  /** What a shell does before. */
  script?: string;
  /** The failing call. */
  syscall: string;
  /** What the hint says. */
  says: string;
}

const NEEDS: Needs = {
  permissions: ["run", "read", "write", "env"],
  commands: ["unshare", "setpriv"],
};

const CAUSES: Record<string, Cause> = {
  "root without the capability": {
    does: ["mount", "m", "tmpfs"],
    as: ["setpriv", "--bounding-set=-sys_admin"],
    syscall: "fsopen",
    says:
      "CAP_SYS_ADMIN is missing (uid 0): start the process with it, or start under unshare -Urm",
  },
  "a procfs of root without the capability": {
    does: ["mount", "m", "proc"],
    as: ["setpriv", "--bounding-set=-sys_admin"],
    syscall: "fsopen",
    says: "under unshare -Urmpf",
  },
  "another user": {
    does: ["mount", "m", "tmpfs"],
    as: ["unshare", "-U", "--map-user=1000"],
    syscall: "fsopen",
    says: " is missing in its user namespace (uid 1000): be root",
  },
  "a user namespace in the old mount namespace": {
    does: ["mount", "m", "tmpfs"],
    as: ["unshare", "-Ur"],
    syscall: "fsopen",
    says:
      "The mount namespace belongs to another user namespace: make a new mount namespace, too (unshare -Urm)",
  },
  "a procfs of another PID namespace": {
    does: ["mount", "m", "proc"],
    as: ["unshare", "-Urm"],
    syscall: "fsconfig",
    says:
      "The PID namespace that proc would show belongs to another user namespace: unshare that, too (-pf)",
  },
  "a sysfs of another network namespace": {
    does: ["mount", "m", "sysfs"],
    as: ["unshare", "-Urm"],
    syscall: "fsopen",
    says: "unshare that, too (-n)",
  },
  "a message queue of another IPC namespace": {
    does: ["mount", "m", "mqueue"],
    as: ["unshare", "-Urm"],
    syscall: "fsconfig",
    says: "unshare that, too (-i)",
  },
  "a file system that takes the first user namespace": {
    does: ["mount", "m", "ext4"],
    as: ["unshare", "-Urm"],
    syscall: "fsconfig",
    says: "ext4 can't be mounted in a user namespace",
  },
  "force in a user namespace": {
    does: ["force", "m"],
    as: ["unshare", "-Urm"],
    script: `mount --bind ${SCRATCH}/m ${SCRATCH}/m; "$@"`,
    syscall: "umount2",
    says: "Force needs CAP_SYS_ADMIN in the user namespace of the file",
  },
  "a locked attribute": {
    does: ["writable", "ro"],
    as: ["unshare", "-Urm"],
    syscall: "mount_setattr",
    says: "The mount came from a more privileged mount namespace",
  },
  "a file system from outside": {
    does: ["reconfigure", "ro", "size=1m"],
    as: ["unshare", "-Urm"],
    syscall: "fsconfig",
    says: "The file system belongs to a more privileged user namespace",
  },
  "an id map of a file system from outside": {
    does: ["mapped", "m", "0"],
    as: ["unshare", "-Urm"],
    syscall: "open_tree_attr",
    says: "The file system belongs to a more privileged user namespace",
  },
  "an id map of ids from outside": {
    does: ["idmap", "m", "1"],
    as: ["unshare", "-Urm"],
    syscall: "write",
    says:
      "A map can contain only outside ids that this user namespace has itself: see",
  },
};

for (
  const [name, { does, as, script, syscall, says }] of Object.entries(CAUSES)
) {
  kernelTest(`EPERM of ${name} says so`, () => {
    Deno.mkdirSync(`${SCRATCH}/m`);
    Deno.mkdirSync(`${SCRATCH}/ro`);
    mount("none", `${SCRATCH}/ro`, "tmpfs", MS_RDONLY, null);
    const [action, ...rest] = does;
    const options: FailingOptions = { wrapper: as };
    if (script !== undefined) options.script = script;
    const failure = failing([action!, SCRATCH, ...rest], options);
    assertEquals([failure.syscall, failure.code], [syscall, "EPERM"]);
    assert(failure.hint!.includes(says), failure.hint);
    umount2(`${SCRATCH}/ro`);
  }, {
    ...NEEDS,
    missing: syscall === "open_tree_attr" ? missingSince("6.15", {}) : null,
  });
}

kernelTest("EPERM of a procfs that would reveal says what is hidden", () => {
  Deno.mkdirSync(`${SCRATCH}/m`);
  // Over the existing one, which hides nothing, as unshare --mount-proc has it.
  mount("proc", "/proc", "proc", 0, null);
  mount("none", "/proc/sys/kernel", "tmpfs", 0, null);
  try {
    const failure = failing(["mount", SCRATCH, "m", "proc"], {
      wrapper: ["unshare", "-Urmpf"],
    });
    assertEquals([failure.syscall, failure.code], ["fsmount", "EPERM"]);
    assertEquals(
      failure.hint,
      'In a user namespace the kernel refuses a new proc if the existing one has mounts over parts of it: "/proc/sys/kernel" ("mount too revealing"): bind an existing one, or change that outside',
    );
  } finally {
    umount2("/proc/sys/kernel");
    umount2("/proc");
  }
}, NEEDS);

kernelTest("EPERM of a sysfs that would reveal says that there is less", () => {
  Deno.mkdirSync(`${SCRATCH}/m`);
  mount(null, "/sys", null, MS_REMOUNT | MS_BIND | MS_RDONLY, null);
  try {
    const failure = failing(["mount", SCRATCH, "m", "sysfs"], {
      wrapper: ["unshare", "-Urmn"],
    });
    assertEquals([failure.syscall, failure.code], ["fsmount", "EPERM"]);
    assert(failure.hint!.includes("read-only"), failure.hint);
  } finally {
    mount(null, "/sys", null, MS_REMOUNT | MS_BIND, null);
  }
}, NEEDS);

for (const as of [[], ["unshare", "-Urm"]]) {
  const where = as.length === 0 ? "" : " in a user namespace";
  kernelTest(`EPERM of a seccomp filter${where} says so`, () => {
    Deno.mkdirSync(`${SCRATCH}/m`);
    const failure = failing(["mount", SCRATCH, "m", "tmpfs"], {
      wrapper: [...as, compiled("filter")],
    });
    assertEquals([failure.syscall, failure.code], ["fsopen", "EPERM"]);
    assert(
      failure.hint!.includes("This process has a seccomp filter"),
      failure.hint,
    );
  }, { ...NEEDS, commands: ["cc", "unshare"] });
}

kernelTest("EPERM of a directory that can't be says so", () => {
  const failure = failing(["mkdir", "/sys", "new"]);
  assertEquals([failure.syscall, failure.code], ["mkdirat", "EPERM"]);
  assertEquals(failure.hint, "This file system lets nobody make directories");
}, NEEDS);
