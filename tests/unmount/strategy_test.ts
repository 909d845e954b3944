import { Directory } from "../../src/directory.ts";
import { unmountat, type UnmountOptions } from "../../src/unmount/unmountat.ts";
import {
  kernelTest,
  mountsBelow,
  mountTable,
  SCRATCH,
  withoutProc,
} from "../support/testing.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { kernelTestSince, missingSince } from "../support/since.ts";
import { close, dup, openat2 } from "../../src/sys/file.ts";
import { readlinkat } from "../../src/sys/names.ts";
import {
  AT_FDCWD,
  MNT_DETACH,
  O_CREAT,
  O_RDWR,
} from "../../src/sys/constants.ts";
import { setTracer, type TracedCall } from "../../src/sys/call.ts";
import { umountByStrategy } from "../../src/unmount/strategy.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { endThread, findMounts } from "../../src/unmount/other_ways.ts";
import { umount2 } from "../../src/sys/mount.ts";
import { namesAt, withReusedIds } from "../support/scratch.ts";
import { MountError } from "../../src/error/error.ts";

const STRATEGIES = ["procfd", "worker", "subprocess", "mtab"] as const;

/** Mounts a tmpfs that only the test's unmounting takes away. */
function mountKept(root: Directory, target: string): void {
  using mount = root.mount(target, { type: "tmpfs", mkdir: true });
  mount.keep();
}

/** The error's code, or what the unmounting left. */
function outcome(
  root: Directory,
  target: string,
  options: UnmountOptions,
): string {
  try {
    unmountat(root, target, options);
    return "unmounted";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

/** Each case sets the stage; what it returns must be the same for each strategy. */
const CASES: Record<
  string,
  (root: Directory, options: UnmountOptions) => string[]
> = {
  "a plain mount": (root, options) => {
    mountKept(root, "m");
    return [outcome(root, "m", options)];
  },
  "a target of several components": (root, options) => {
    mountKept(root, "a/b/m");
    return [outcome(root, "a/b/m", options)];
  },
  "a stack, one by one and all": (root, options) => {
    for (let i = 0; i < 4; i++) mountKept(root, "m");
    return [
      outcome(root, "m", options),
      String(mountsBelow(SCRATCH).length),
      outcome(root, "m", { ...options, all: true }),
      outcome(root, "m", options),
    ];
  },
  "a busy mount, then lazily": (root, options) => {
    mountKept(root, "m");
    using _inside = root.openDirectory("m");
    return [
      outcome(root, "m", options),
      outcome(root, "m", { ...options, lazy: true }),
    ];
  },
  "expiry, and force with it": (root, options) => {
    mountKept(root, "m");
    return [
      outcome(root, "m", { ...options, expire: true, force: true }),
      outcome(root, "m", { ...options, expire: true }),
      outcome(root, "m", { ...options, force: true }),
    ];
  },
  "what is no mount, or is not there": (root, options) => {
    root.mkdir("m");
    return [
      outcome(root, "m", options),
      outcome(root, "missing", options),
      outcome(root, "missing/m", options),
      outcome(root, "x".repeat(256), options),
    ];
  },
  "symlinks to a mount": (root, options) => {
    mountKept(root, "outside/m");
    Deno.symlinkSync("outside/m", `${SCRATCH}/link`);
    Deno.symlinkSync("outside", `${SCRATCH}/leading`);
    return [
      outcome(root, "link", options),
      outcome(root, "leading/m", options),
      outcome(root, "outside/m", options),
    ];
  },
  "a directory that was renamed since": (root, options) => {
    root.mkdir("before");
    using inner = root.openDirectory("before");
    mountKept(inner, "m");
    Deno.renameSync(`${SCRATCH}/before`, `${SCRATCH}/after`);
    return [outcome(inner, "m", options)];
  },
  "a directory that was deleted": (root, options) => {
    root.mkdir("gone");
    using gone = root.openDirectory("gone");
    Deno.removeSync(`${SCRATCH}/gone`);
    return [outcome(gone, "m", options)];
  },
  "the directory itself": (root, options) => {
    root.mkdir("m");
    using before = root.openDirectory("m");
    mountKept(before, ".");
    return [outcome(before, ".", options)];
  },
};

const EXPECTED: Record<keyof typeof CASES, string[]> = {
  "a plain mount": ["unmounted"],
  "a target of several components": ["unmounted"],
  "a stack, one by one and all": ["unmounted", "4", "unmounted", "EINVAL"],
  "a busy mount, then lazily": ["EBUSY", "unmounted"],
  "expiry, and force with it": ["EINVAL", "EAGAIN", "unmounted"],
  "what is no mount, or is not there": [
    "EINVAL",
    "ENOENT",
    "ENOENT",
    "ENAMETOOLONG",
  ],
  "symlinks to a mount": ["EINVAL", "ELOOP", "unmounted"],
  "a directory that was renamed since": ["unmounted"],
  "a directory that was deleted": ["ENOENT"],
  "the directory itself": ["unmounted"],
};

for (const strategy of STRATEGIES) {
  for (const [name, scene] of Object.entries(CASES)) {
    kernelTest(`unmountat() by ${strategy} unmounts ${name}`, () => {
      using root = Directory.open(SCRATCH);
      assertEquals(scene(root, { strategy }), EXPECTED[name]!);
    }, { permissions: ["read", "write", "run"] });
  }
}

for (const strategy of [undefined, "worker", "mtab"] as const) {
  const way = strategy ?? "default";
  kernelTest(`unmountat() by ${way} needs no /proc`, () => {
    using root = Directory.open(SCRATCH);
    mountKept(root, "a/m");
    const options = strategy === undefined ? {} : { strategy };
    withoutProc(() => {
      unmountat(root, "a/m", options);
      assertEquals(outcome(root, "a/m", options), "EINVAL");
      assertEquals(outcome(root, "a/missing", options), "ENOENT");
    });
    assertEquals(mountsBelow(SCRATCH).length, 1);
  }, { missing: strategy === "mtab" ? missingSince("6.13", {}) : null });
}

kernelTest(
  "unmountat() by subprocess says that Deno starts none without /proc",
  () => {
    using root = Directory.open(SCRATCH);
    mountKept(root, "m");
    withoutProc(() => {
      const said = outcome(root, "m", { strategy: "subprocess" });
      assert(said.includes("UnsupportedError"), said);
    });
    unmountat(root, "m");
  },
  { permissions: ["run", "read"] },
);

kernelTest("unmountat() by procfd says that /proc is missing", () => {
  using root = Directory.open(SCRATCH);
  mountKept(root, "m");
  withoutProc(() => {
    assertEquals(outcome(root, "m", { strategy: "procfd" }), "ENOENT");
  });
  unmountat(root, "m");
});

kernelTestSince(
  "6.8",
  "Mount.unmount() needs no /proc, on a directory or a file",
  () => {
    using root = Directory.open(SCRATCH);
    const fd = openat2(AT_FDCWD, `${SCRATCH}/source`, {
      flags: O_CREAT | O_RDWR,
      mode: 0o600,
    });
    close(fd);
    const directory = root.mount("d", { type: "tmpfs", mkdir: true });
    const file = root.bind(`${SCRATCH}/source`, "f", { mkdir: true });
    withoutProc(() => {
      assert(directory.mounted && file.mounted);
      directory.unmount();
      file.unmount();
      assert(!directory.mounted && !file.mounted);
    });
  },
);

for (const strategy of STRATEGIES) {
  kernelTest(
    `Mount.unmount() by ${strategy} unmounts a directory and a file`,
    () => {
      using root = Directory.open(SCRATCH);
      close(openat2(AT_FDCWD, `${SCRATCH}/source`, {
        flags: O_CREAT | O_RDWR,
        mode: 0o600,
      }));
      root.mount("d", { type: "tmpfs", mkdir: true }).unmount({ strategy });
      root.bind(`${SCRATCH}/source`, "f", { mkdir: true }).unmount({
        strategy,
      });
      assertEquals(mountsBelow(SCRATCH).length, 1);
    },
    { permissions: ["run", "read"] },
  );
}

kernelTest(
  "unmountat() by worker leaves every working directory alone",
  async () => {
    using root = Directory.open(SCRATCH);
    const before = Deno.cwd();
    const link = readlinkat(AT_FDCWD, "/proc/thread-self/cwd");
    for (let i = 0; i < 50; i++) {
      mountKept(root, "m");
      // Runs on another thread, meanwhile.
      const seen = Deno.realPath(".");
      unmountat(root, "m", { strategy: "worker" });
      assertEquals(await seen, before);
    }
    assertEquals(readlinkat(AT_FDCWD, "/proc/thread-self/cwd"), link);
  },
  { permissions: ["read"] },
);

kernelTest(
  "unmountat() by worker uses one thread again, and does not stay there",
  () => {
    using root = Directory.open(SCRATCH);
    mountKept(root, "m");
    unmountat(root, "m", { strategy: "worker" });
    const threads = namesAt("/proc/self/task").length;
    for (let i = 0; i < 20; i++) {
      mountKept(root, "a/m");
      unmountat(root, "a/m", { strategy: "worker" });
    }
    assertEquals(namesAt("/proc/self/task").length, threads);
    // Its working directory would keep this one busy.
    mountKept(root, "outer");
    mountKept(root, "outer/inner");
    unmountat(root, "outer/inner", { strategy: "worker" });
    unmountat(root, "outer", { strategy: "worker" });
  },
);

kernelTest("unmountat() by worker outlasts a pause before its call", () => {
  using root = Directory.open(SCRATCH);
  mountKept(root, "m");
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  let paused = 0;
  const previous = setTracer(({ syscall }) => {
    if (syscall !== "unshare") return;
    // The thread ends by itself after half of this time without work.
    Atomics.wait(nothing, 0, 0, 400);
    paused++;
  });
  try {
    endThread();
    unmountat(root, "m", { strategy: "worker" });
  } finally {
    setTracer(previous);
  }
  assertEquals([paused, mountsBelow(`${SCRATCH}/m`)], [1, []]);
});

kernelTest(
  "unmountat() by worker is traced, and names the call that failed",
  () => {
    using root = Directory.open(SCRATCH);
    mountKept(root, "m");
    const calls: TracedCall[] = [];
    const previous = setTracer((call) => calls.push(call));
    try {
      umountByStrategy("worker", root.fd, "m", MNT_DETACH);
    } finally {
      setTracer(previous);
    }
    assertEquals(calls.slice(-2), [
      { syscall: "fchdir", args: [{ fd: root.fd }], result: 0, errno: 0 },
      {
        syscall: "umount2",
        args: ['"m"', "MNT_DETACH|UMOUNT_NOFOLLOW"],
        result: 0,
        errno: 0,
      },
    ]);
    using file = new OwnedFd(dup(0));
    const error = assertThrows(
      () => umountByStrategy("worker", file.fd, "m", 0),
      SyscallError,
    );
    assertEquals(error.syscall, "fchdir");
  },
);

kernelTest(
  "unmountat() by subprocess inherits the descriptor, closed here at once",
  () => {
    using root = Directory.open(SCRATCH);
    mountKept(root, "m");
    const error = assertThrows(
      () => unmountat(root, "\udcff", { strategy: "subprocess" }),
      TypeError,
    );
    assert(error.message.includes("UTF-8"));
    unmountat(root, "m", { strategy: "subprocess" });
  },
  { permissions: ["run", "read"] },
);

Deno.test("findMounts() goes by the name and the directories before it", () => {
  const table = ["/", "/a/proc", "/x/a/proc", "/a/b/proc", "/a/proc", "/a proc"]
    .map((target, i) => ({ target, id: BigInt(i) }));
  const find = (name: string, ...segments: string[]) =>
    findMounts(table, name, segments).map(({ id }) => Number(id));
  assertEquals(find("proc", "a"), [1, 2, 3, 4]);
  assertEquals(find("proc", "x", "a"), [2]);
  assertEquals(find("proc", "a", "b"), [3]);
  assertEquals(find("proc", "b", "a"), []);
  assertEquals(find("nope"), []);
  assertEquals(find("a proc"), [5]);
});

kernelTestSince(
  "6.13",
  "unmountat() by mtab names the candidates of an ambiguous look-up",
  () => {
    using root = Directory.open(SCRATCH);
    // Without /proc the directory has no path, and the name alone must do. A
    // mount of which the table knows two is told apart by its id.
    mountKept(root, "one/m");
    mountKept(root, "two/m");
    withoutProc(() => unmountat(root, "one/m", { strategy: "mtab" }));
    assertEquals(mountsBelow(`${SCRATCH}/two`).length, 1);
    umount2(`${SCRATCH}/two/m`, 0);
  },
);

kernelTest(
  "unmountat() by mtab spares a namesake of the directory itself",
  () => {
    using root = Directory.open(SCRATCH);
    const namesake = `elsewhere${SCRATCH}/m`;
    mountKept(root, namesake);
    root.mkdir("m");
    using itself = root.openDirectory("m");
    const options = { strategy: "mtab" } as const;
    assertEquals(outcome(itself, ".", options), "EINVAL");
    mountKept(itself, ".");
    assertEquals(outcome(itself, ".", options), "unmounted");
    assertEquals(mountsBelow(`${SCRATCH}/elsewhere`).length, 1);
    using mount = root.mount("m", { type: "tmpfs" });
    mount.unmount(options);
    unmountat(root, namesake, options);
  },
);

kernelTest("unmountat() refuses the root of this process", () => {
  using root = Directory.open("/");
  const before = mountsBelow("/")[0];
  for (const strategy of STRATEGIES) {
    for (const lazy of [false, true]) {
      for (const all of [false, true]) {
        const options = { strategy, lazy, all };
        assertEquals(outcome(root, ".", options), "EBUSY");
        const { hint } = assertThrows(
          () => root.unmount(".", options),
          MountError,
        );
        assertEquals(hint?.includes("lazy"), false, hint);
      }
    }
  }
  assertEquals(mountsBelow("/")[0], before);
}, { permissions: ["run", "read"] });

kernelTest("unmountat() says that a plain directory is no mount", () => {
  using scratch = Directory.open(SCRATCH);
  scratch.mkdir("plain");
  // One in the mount of the root, too.
  using ofRoot = Directory.open("/etc");
  using plain = scratch.openDirectory("plain");
  const before = mountTable()[0];
  for (const directory of [plain, ofRoot]) {
    for (const lazy of [false, true]) {
      const error = assertThrows(
        () => unmountat(directory, ".", { lazy }),
        MountError,
      );
      assertEquals(
        [error.code, error.hint],
        ["EINVAL", "Nothing is mounted there"],
      );
    }
    for (const strategy of STRATEGIES) {
      assertEquals(outcome(directory, ".", { strategy }), "EINVAL");
    }
  }
  assertEquals(mountTable()[0], before);
}, { permissions: ["run", "read"] });

kernelTest(
  "Mount.unmount() says that it needs /proc where ids are used again",
  () => {
    using root = Directory.open(SCRATCH);
    withReusedIds(() => {
      const directory = root.mount("d", { type: "tmpfs", mkdir: true });
      const file = root.bind("/dev/null", "f", { mkdir: true });
      withoutProc(() => {
        const error = assertThrows(() => directory.unmount(), MountError);
        assertEquals([error.syscall, error.code], ["openat2", "ENOENT"]);
        file.unmount();
      });
      directory.unmount();
    });
  },
);
