/**
 * File systems that can't be looked into: nothing but what was asked for may
 * touch them, and nothing may wait for them. Each server counts what it is asked.
 */
import { kernelTest, type Needs, SCRATCH } from "../support/testing.ts";
import { compiled } from "../support/compiled.ts";
import { open, withoutCall } from "../support/scratch.ts";
import { makeRoot, runTest } from "../support/run_root.ts";
import { run as runIn } from "../../src/run/run.ts";
import { mountUnreachable, type Unreachable } from "./support.ts";
import { Directory } from "../../src/directory.ts";
import { MountTree } from "../../src/mount/tree.ts";
import { MountError } from "../../src/error/error.ts";
import { listMounts } from "../../src/list/list_mounts.ts";
import { watchMounts } from "../../src/list/watch_mounts.ts";
import { O_PATH, O_RDWR } from "../../src/sys/constants.ts";
import { programTest, run } from "../support/program.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";

const needs: Needs = {
  permissions: ["run", "read", "write", "env"],
  commands: ["cc"],
};

/** Registers a test for each kind; in the end nobody must have been asked. */
function unreachableTest(
  name: string,
  fn: (root: Directory, path: string) => void | Promise<void>,
): void {
  for (const kind of ["silent", "dead", "closed"] satisfies Unreachable[]) {
    kernelTest(`${name}, ${kind}`, async () => {
      using root = Directory.open(SCRATCH);
      const { path, asked } = mountUnreachable(kind, "m");
      await fn(root, path);
      root.unmountAll();
      assertEquals(await asked(), 0);
    }, needs);
  }
}

unreachableTest(
  "mounts are listed where one can't be looked into",
  (root, path) => {
    const targets = (below: string | Directory) =>
      listMounts({ below }).map(({ target }) => target);
    assertEquals(targets(root), [SCRATCH, path]);
    assertEquals(targets(path), [path]);
    using inside = Directory.open(path);
    assertEquals(targets(inside), [path]);
    using copy = Directory.fromFd(inside.fd);
    assertEquals(targets(copy), [path]);
    using watch = watchMounts({ below: inside });
    assertEquals(watch.mounts.map(({ target }) => target), [path]);
  },
);

unreachableTest(
  "what can't be looked into is bound, and taken into a tree",
  (root, path) => {
    using bound = root.bind(path, "b", { mkdir: true });
    assert(bound.mounted);
    bound.unmount();
    using whole = root.bind(root, "r", { mkdir: true, recursive: true });
    assert(root.mounts().some(({ target }) => target === `${SCRATCH}/r/m`));
    whole.unmount();
    using inside = Directory.open(path);
    using tree = MountTree.from(inside);
    using attached = tree.attach(root, "b");
    assertEquals(
      root.mounts().filter(({ type }) => type === "fuse").map(({ target }) =>
        target
      ),
      [path, `${SCRATCH}/b`],
    );
    attached.unmount();
  },
);

unreachableTest(
  "what can't be looked into is covered and uncovered",
  (root, path) => {
    using above = root.mount("m", { type: "tmpfs" });
    above.unmount();
    {
      using inside = Directory.open(path);
      using over = inside.mount(".", { type: "tmpfs" });
      assert(over.mounted);
      const error = assertThrows(() => root.unmountAll(), MountError);
      // This descriptor of the mount below.
      assertEquals(error.code, "EBUSY");
      assert(!over.mounted);
      using tree = MountTree.create({ type: "tmpfs" });
      using attached = tree.attach(inside);
      inside.remount(".", { options: "ro" });
      assert(root.mounts().at(-1)!.options.includes("ro"));
      inside.unmount(".");
      assert(!attached.mounted);
    }
    root.unmount("m");
    assertEquals(root.mounts().length, 1);
  },
);

unreachableTest(
  "what can't be looked into is moved and remounted",
  (root, path) => {
    root.mkdir("to");
    using _moved = root.move("m", root, "to");
    root.remount("to", { options: "nosuid" });
    {
      using inside = Directory.open(`${SCRATCH}/to`);
      inside.remount(".", { options: "nodev" });
    }
    const [, { target, options }] = root.mounts() as [
      unknown,
      { target: string; options: string[] },
    ];
    assertEquals(target, `${SCRATCH}/to`);
    assert(options.includes("nosuid") && options.includes("nodev"));
    using back = root.move("to", root, "m");
    assertEquals(root.mounts()[1]!.target, path);
    back.unmount();
  },
);

for (const strategy of ["procfd", "worker", "subprocess", "mtab"] as const) {
  unreachableTest(
    `what can't be looked into is unmounted by ${strategy}`,
    (root) => {
      root.unmount("m", { strategy });
      assertEquals(root.mounts().length, 1);
    },
  );
}

unreachableTest(
  "what can't be looked into is unmounted by its own descriptor",
  (root, path) => {
    using below = root.bind(path, "m");
    below.keep();
    using inside = Directory.open(path);
    const busy = assertThrows(() => inside.unmount("."), MountError);
    assertEquals(busy.code, "EBUSY");
    assert(
      busy.hint!.includes(`descriptor ${inside.fd} of this process`),
      busy.hint,
    );
    assertEquals(inside.unmountAll(), 0);
    inside.unmount(".", { lazy: true });
    root.unmount("m", { all: true });
    assertEquals(root.mounts().length, 1);
  },
);

unreachableTest(
  "holders of what can't be looked into are found, and others' left alone",
  (root, path) => {
    using held = open(path, O_PATH);
    const error = assertThrows(() => root.unmount("m"), MountError);
    assertEquals(error.holders?.map(({ by, fd, path }) => [by, fd, path]), [
      ["mount descriptor", held.fd, path],
    ]);
    root.mount("other", { type: "tmpfs", mkdir: true }).keep();
    using other = open(`${SCRATCH}/other`, O_PATH);
    const busy = assertThrows(() => root.unmount("other"), MountError);
    assertEquals(busy.holders?.map(({ fd }) => fd), [other.fd]);
  },
);

kernelTest(
  "a FUSE file system of another user is mounted and unmounted",
  () => {
    using root = Directory.open(SCRATCH);
    using device = open("/dev/fuse", O_RDWR);
    const options = `fd=${device.fd},rootmode=40000,user_id=1000,group_id=1000`;
    using fuse = root.mount("m", { type: "fuse", options, mkdir: true });
    assert(fuse.mounted);
    fuse.unmount();
    assertEquals(root.mounts().length, 1);
  },
  needs,
);

unreachableTest(
  "a closed one is told by its table's id before Linux 6.12",
  (root, path) => {
    withoutCall("name_to_handle_at", () => {
      using inside = Directory.open(path);
      assertEquals(inside.mounts().map(({ target }) => target), [path]);
      root.unmount("m", { lazy: true });
    });
  },
);

runTest(
  "a root that has what can't be looked into runs commands",
  async () => {
    for (const kind of ["silent", "dead", "closed"] satisfies Unreachable[]) {
      using root = Directory.open(makeRoot(kind));
      const { asked } = mountUnreachable(kind, `${kind}/m`);
      const { code } = await runIn(root, ["/bin/true"]);
      assertEquals(code, 0);
      root.unmount("m");
      assertEquals(await asked(), 0);
    }
  },
  needs,
);

for (const kind of ["silent", "dead", "closed"] satisfies Unreachable[]) {
  programTest(
    `the program works beside what can't be looked into, ${kind}`,
    async () => {
      compiled("fuse_server");
      const { path, asked } = mountUnreachable(kind, "m");
      Deno.mkdirSync(`${SCRATCH}/b`);
      const options = { permissions: ["--allow-ffi", "--allow-run"] };
      const works = (...args: string[]) => {
        const { code, stdout, stderr } = run(args, options);
        assertEquals([code, stderr], [0, ""], args.join(" "));
        return stdout;
      };
      assertEquals(works("list", "--output", "TARGET", path), `${path}\n`);
      assertEquals(
        works("list", "--output", "TARGET", "--target", path),
        `${path}\n`,
      );
      works("doctor", path);
      works("bind", path, SCRATCH, "b");
      works("run", "/", "true");
      works("umount", "--strategy", "subprocess", SCRATCH, "b");
      works("umount", "--recursive", path);
      works("umount", "--recursive", SCRATCH);
      assertEquals(await asked(), 0);
    },
    needs,
  );
}
