import {
  type MountWatch,
  watchMounts,
  type WatchMountsOptions,
} from "../../src/list/watch_mounts.ts";
import { withoutCall } from "../support/scratch.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { MountEvent } from "../../src/list/watch_mounts.ts";
import {
  kernelTest,
  type Needs,
  SCRATCH,
  withoutProc,
} from "../support/testing.ts";
import { readlinkat } from "../../src/sys/names.ts";
import {
  AT_FDCWD,
  MNT_DETACH,
  MS_MOVE,
  MS_SHARED,
} from "../../src/sys/constants.ts";
import { kernelTestSince } from "../support/since.ts";
import { bind, makeDirectory, mountTmpfs } from "../support/every_kind.ts";
import { listMounts } from "../../src/list/list_mounts.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { Directory } from "../../src/directory.ts";
import { hold } from "../support/held.ts";
import { readFile } from "../../src/fd/open.ts";
import { UnsupportedError } from "../../src/sys/error.ts";
import { MountError } from "../../src/error/error.ts";
import { commandLine } from "../support/program.ts";

type Via = MountWatch["via"];

/** Begins a watch; one by the table as on a kernel without mount events. */
function watchVia(via: Via, options: WatchMountsOptions = {}): MountWatch {
  let watch: MountWatch;
  const begin = () => {
    watch = watchMounts(options);
  };
  if (via === "fanotify") begin();
  else withoutCall("fanotify_init", begin);
  assertEquals(watch!.via, via);
  return watch!;
}

/** What an event says, its paths shortened. */
function said({ kind, mount, from }: MountEvent): string {
  const [at, was] = [mount, from].map((place) =>
    place?.target.replace(SCRATCH, "")
  );
  return [kind, at, was].filter((word) => word !== undefined).join(" ");
}

/** The next events of a loop that goes on. */
async function next(
  events: AsyncIterator<MountEvent>,
  count: number,
): Promise<string[]> {
  const found: string[] = [];
  while (found.length < count) {
    const { value, done } = await events.next();
    if (done) break;
    found.push(said(value));
  }
  return found;
}

/** All that this process has open. */
function allDescriptors(): string[] {
  return Array.from({ length: 256 }, (_, fd) => {
    try {
      return readlinkat(AT_FDCWD, `/proc/self/fd/${fd}`);
    } catch {
      return "";
    }
  });
}

const NAMESPACE_NEEDS = {
  permissions: ["run", "read", "env"],
  commands: ["unshare", "mount", "umount"],
} satisfies Needs;

for (const via of ["fanotify", "mountinfo"] as const) {
  const watchTest = via === "fanotify"
    ? kernelTestSince.bind(null, "6.15")
    : kernelTest;

  watchTest(`watchMounts() tells of each change, by ${via}`, async () => {
    makeDirectory("a");
    makeDirectory("b");
    const before = allDescriptors();
    using watch = watchVia(via);
    assertEquals(watch.mounts, listMounts());
    const events = watch[Symbol.asyncIterator]();
    const step = async (act: () => void, ...expected: string[]) => {
      act();
      assertEquals(await next(events, expected.length), expected);
    };
    await step(() => mountTmpfs(`${SCRATCH}/a`), "mount /a");
    await step(() => mountTmpfs(makeDirectory("a/in")), "mount /a/in");
    await step(
      () => mount(`${SCRATCH}/a`, `${SCRATCH}/b`, null, MS_MOVE, null),
      "move /b /a",
    );
    await step(() => umount2(`${SCRATCH}/b/in`), "unmount /b/in");
    await step(() => umount2(`${SCRATCH}/b`), "unmount /b");
    // A stack.
    await step(() => mountTmpfs(`${SCRATCH}/a`), "mount /a");
    await step(() => mountTmpfs(`${SCRATCH}/a`), "mount /a");
    await step(() => umount2(`${SCRATCH}/a`), "unmount /a");
    // One call, of which propagation makes several mounts.
    mount(null, `${SCRATCH}/a`, null, MS_SHARED, null);
    makeDirectory("a/in");
    await step(() => bind(`${SCRATCH}/a`, `${SCRATCH}/b`), "mount /b");
    mountTmpfs(`${SCRATCH}/a/in`);
    assertEquals((await next(events, 2)).sort(), [
      "mount /a/in",
      "mount /b/in",
    ]);
    umount2(`${SCRATCH}/a/in`);
    assertEquals((await next(events, 2)).sort(), [
      "unmount /a/in",
      "unmount /b/in",
    ]);
    await step(() => umount2(`${SCRATCH}/b`), "unmount /b");
    await step(() => umount2(`${SCRATCH}/a`), "unmount /a");
    await events.return!();
    assertEquals(allDescriptors(), before);
    assertEquals(await events.next(), { done: true, value: undefined });
  });

  watchTest(`watchMounts() tells what a mount is, by ${via}`, async () => {
    makeDirectory("a");
    using watch = watchVia(via);
    mountTmpfs(`${SCRATCH}/a`, 0, "the source");
    const expected = listMounts().at(-1)!;
    for await (const event of watch) {
      const { id } = expected;
      assertEquals(event, { kind: "mount", id, mount: expected });
      break;
    }
    umount2(`${SCRATCH}/a`);
  });

  watchTest(
    `watchMounts() ends at once when it is closed, by ${via}`,
    async () => {
      const before = allDescriptors();
      {
        await using watch = watchVia(via);
        const waiting = watch[Symbol.asyncIterator]().next();
        watch.close();
        watch.close();
        assertEquals(await waiting, { done: true, value: undefined });
      }
      assertEquals(allDescriptors(), before);
      {
        await using watch = watchVia(via);
        // Still waited for when the block ends.
        watch[Symbol.asyncIterator]().next();
      }
      assertEquals(allDescriptors(), before);
      {
        using watch = watchVia(via);
        mountTmpfs(makeDirectory("a"));
        // Between two events.
        for await (const _ of watch) watch.close();
      }
      assertEquals(allDescriptors(), before);
      {
        await using watch = watchVia(via);
        const waiting = watch[Symbol.asyncIterator]().next();
        const again = () => watch[Symbol.asyncIterator]().next();
        await assertRejects(again, TypeError, "looped over already");
        watch.close();
        assertEquals((await waiting).done, true);
      }
      assertEquals(allDescriptors(), before);
      // Never looped over.
      watchVia(via).close();
      assertEquals(allDescriptors(), before);
      umount2(`${SCRATCH}/a`);
    },
  );

  watchTest(`watchMounts() tells of what is below, by ${via}`, async () => {
    for (const name of ["d", "d/in", "dd", "out"]) makeDirectory(name);
    mountTmpfs(`${SCRATCH}/d/in`);
    using root = Directory.open(`${SCRATCH}/d`);
    for (const below of [root, `${SCRATCH}/d`]) {
      using watch = watchVia(via, { below });
      assertEquals(watch.mounts.map(({ target }) => target), [
        `${SCRATCH}/d/in`,
      ]);
      const events = watch[Symbol.asyncIterator]();
      const move = (from: string, to: string) =>
        mount(`${SCRATCH}/${from}`, `${SCRATCH}/${to}`, null, MS_MOVE, null);
      mountTmpfs(`${SCRATCH}/dd`);
      move("d/in", "out");
      assertEquals(await next(events, 1), ["move /out /d/in"]);
      umount2(`${SCRATCH}/dd`);
      move("out", "d/in");
      assertEquals(await next(events, 1), ["move /d/in /out"]);
      await events.return!();
    }
    umount2(`${SCRATCH}/d/in`);
  });

  const foreignTest = via === "fanotify"
    ? kernelTestSince.bind(null, "6.18")
    : kernelTest;

  foreignTest(
    `watchMounts() watches another process's mounts, by ${via}`,
    async () => {
      const path = makeDirectory("a");
      const before = allDescriptors();
      await using held = await hold([
        ...["unshare", "-m", "--propagation", "private", "sh", "-ec"],
        'echo; read _; mount -t tmpfs there "$0"; echo; read _; umount "$0"; read _',
        path,
      ], { stdin: "piped" });
      using watch = watchVia(via, { namespace: held.pid, below: path });
      assertEquals(watch.mounts, []);
      const events = watch[Symbol.asyncIterator]();
      // Mounts in this namespace are not reported.
      mountTmpfs(path);
      umount2(path);
      await held.tell("\n");
      assertEquals(await next(events, 1), ["mount /a"]);
      await held.tell("\n");
      assertEquals(await next(events, 1), ["unmount /a"]);
      await held.tell("\n");
      assertEquals(await next(events, 1), []);
      assert(!allDescriptors().some((link) => /mountinfo|fanotify/.test(link)));
      assertEquals(
        allDescriptors().filter((link) => link.includes("/proc/")),
        before.filter((link) => link.includes("/proc/")),
      );
    },
    NAMESPACE_NEEDS,
  );
}

kernelTestSince(
  "6.15",
  "watchMounts() tells of a mount that is gone already by its id",
  async () => {
    const a = makeDirectory("a");
    for (const below of ["/", SCRATCH, makeDirectory("elsewhere")]) {
      using watch = watchMounts({ below });
      mountTmpfs(a);
      const { id } = listMounts().at(-1)!;
      umount2(a);
      const found: MountEvent[] = [];
      for await (const event of watch) {
        if (found.push(event) === 2) break;
      }
      assertEquals(found, [
        { kind: "mount", id, mount: null },
        { kind: "unmount", id, mount: null },
      ]);
    }
    // By the mount table alone, such a mount is not seen.
    const b = makeDirectory("b");
    using table = watchVia("mountinfo");
    mountTmpfs(a);
    umount2(a);
    mountTmpfs(b);
    const events = table[Symbol.asyncIterator]();
    assertEquals(await next(events, 1), ["mount /b"]);
    await events.return!();
    umount2(b);
  },
);

kernelTestSince(
  "6.15",
  "watchMounts() tells an unmount to who waits for it, whatever came before",
  async () => {
    using root = Directory.open(SCRATCH);
    using watch = watchMounts({ below: root });
    root.mkdir("to");
    const quick = root.mount("a", { type: "tmpfs", mkdir: true });
    quick.keep();
    using moved = root.move("a", root, "to");
    moved.unmount();
    using seen = root.mount("b", { type: "tmpfs", mkdir: true });
    const kinds: string[] = [];
    for await (const { kind, id, mount } of watch) {
      if (id === quick.id) {
        assertEquals(mount, null);
        kinds.push(kind);
      } else if (kind === "mount") {
        assertEquals([id, mount?.target], [seen.id, `${SCRATCH}/b`]);
        seen.unmount();
      } else {
        // As it was last seen.
        assertEquals([id, mount?.target], [seen.id, `${SCRATCH}/b`]);
        break;
      }
    }
    assertEquals(kinds, ["mount", "unmount"]);
  },
);

kernelTestSince(
  "6.18",
  "watchMounts() tells of another process's mount that is gone already",
  async () => {
    const path = makeDirectory("a");
    await using held = await hold([
      ...["unshare", "-m", "--propagation", "private", "sh", "-ec"],
      'echo; read _; mount -t tmpfs there "$0"; umount "$0"; echo; read _',
      path,
    ], { stdin: "piped" });
    using watch = watchMounts({ namespace: held.pid, below: path });
    await held.tell("\n");
    await held.written();
    const events = watch[Symbol.asyncIterator]();
    const [mount, unmount] = [await events.next(), await events.next()];
    const { id } = mount.value as MountEvent;
    assertEquals([mount.value, unmount.value], [
      { kind: "mount", id, mount: null },
      { kind: "unmount", id, mount: null },
    ]);
    await events.return!();
  },
  NAMESPACE_NEEDS,
);

/** The mounts that there are after events. */
function replay(watch: MountWatch, events: MountEvent[]): Set<bigint> {
  const ids = new Set(watch.mounts.map(({ id }) => id));
  for (const { kind, id } of events) {
    if (kind === "unmount") assert(ids.delete(id), `${id} was not there`);
    if (kind !== "mount") continue;
    assert(!ids.has(id), `${id} was there`);
    ids.add(id);
  }
  return ids;
}

kernelTestSince(
  "6.15",
  "watchMounts() makes good for events that were lost",
  async () => {
    const limit = Number(readFile("/proc/sys/fs/fanotify/max_queued_events"));
    const stays = mountTmpfs(makeDirectory("stays"));
    const busy = makeDirectory("busy");
    const goes = mountTmpfs(makeDirectory("goes"));
    const comes = makeDirectory("comes");
    const last = makeDirectory("last");
    const moved = makeDirectory("moved");
    using watch = watchMounts();
    for (let i = 0; i <= limit / 2; i++) {
      mountTmpfs(busy);
      umount2(busy);
    }
    // These events are lost.
    umount2(goes);
    mountTmpfs(comes);
    mount(stays, moved, null, MS_MOVE, null);
    const found: MountEvent[] = [];
    for await (const event of watch) {
      found.push(event);
      if (said(event) === "mount /last") break;
      if (said(event) === "move /moved /stays") mountTmpfs(last);
    }
    assert(found.length > limit);
    assertEquals(found.slice(-4).map(said), [
      "unmount /goes",
      "move /moved /stays",
      "mount /comes",
      "mount /last",
    ]);
    assertEquals(
      replay(watch, found),
      new Set(listMounts().map(({ id }) => id)),
    );
    for (const path of [moved, comes, last]) umount2(path);
  },
);

kernelTestSince(
  "6.15",
  "watchMounts() keeps up with mounts that come and go all the time",
  async () => {
    const many = mountTmpfs(makeDirectory("many"));
    using watch = watchMounts();
    const script =
      'for i in 1 2 3 4 5 6 7 8 9; do for d in a b c; do mkdir -p "$0/$d"; mount -t tmpfs t "$0/$d"; done; umount "$0/a" "$0/c"; done';
    const { success } = await new Deno.Command("sh", {
      args: ["-ec", script, many],
    }).output();
    assert(success);
    const last = mountTmpfs(makeDirectory("last"));
    const found: MountEvent[] = [];
    for await (const event of watch) {
      found.push(event);
      if (event.mount?.target === last) break;
    }
    const now = listMounts();
    assertEquals(replay(watch, found), new Set(now.map(({ id }) => id)));
    assertEquals(found.length, 9 * 5 + 1);
    umount2(many, MNT_DETACH);
    umount2(last);
  },
  NAMESPACE_NEEDS,
);

kernelTest(
  "watchMounts() goes by the table where ids are not unique",
  async () => {
    const a = makeDirectory("a");
    let watch: MountWatch | undefined;
    withoutCall("statmount", () => {
      watch = watchMounts();
    });
    using _watch = watch!;
    assertEquals(watch!.via, "mountinfo");
    const [first] = watch!.mounts;
    assertEquals(Number(first!.id), first!.tableId);
    await Promise.resolve();
    mountTmpfs(a);
    umount2(a);
  },
);

kernelTest("watchMounts() leaves nothing when it can't begin", () => {
  const before = allDescriptors();
  const begin = () => watchMounts();
  withoutCall("pipe2", () => {
    assertThrows(begin, UnsupportedError, "Cannot watch the mounts: pipe2");
  });
  assertEquals(allDescriptors(), before);
  withoutCall("statmount", () =>
    withoutCall("read", () => {
      assertThrows(begin, UnsupportedError, "read");
    }));
  assertEquals(allDescriptors(), before);
  mount("cover", "/proc", "tmpfs", 0, null);
  try {
    const error = assertThrows(begin, MountError, "openat2: ENOENT");
    assertEquals(error.hint, "This needs /proc, which is not mounted here");
  } finally {
    umount2("/proc");
  }
  assertEquals(allDescriptors(), before);
});

kernelTestSince(
  "6.15",
  "watchMounts() ends when it can't wait or look",
  async () => {
    const before = allDescriptors();
    const numbers: Record<string, number> = await sysNumbers();
    const a = makeDirectory("a");
    for (const call of ["ppoll", "read"]) {
      const real = numbers[call]!;
      const watch = watchMounts();
      mountTmpfs(a);
      numbers[call] = 9999;
      try {
        const events = watch[Symbol.asyncIterator]();
        await assertRejects(
          () => events.next(),
          UnsupportedError,
          `Cannot watch the mounts: ${call}`,
        );
        assertEquals(await events.next(), { done: true, value: undefined });
      } finally {
        numbers[call] = real;
      }
      assertEquals(allDescriptors(), before);
      umount2(a);
    }
  },
);

async function sysNumbers(): Promise<Record<string, number>> {
  const { NR } = await import("../../src/sys/libc.ts");
  return NR;
}

kernelTest("watchMounts() takes a zombie for gone", async () => {
  const script = "exec 3<&0; read _ <&3 & echo; exec sleep 1000";
  await using held = await hold(["sh", "-c", script], { stdin: "piped" });
  const { pid } = held;
  // Before, the shell would wait for it.
  while (readFile(`/proc/${pid}/comm`) !== "sleep\n");
  const zombie = Number(readFile(`/proc/${pid}/task/${pid}/children`));
  await held.tell("\n");
  while (!/\) Z /.test(readFile(`/proc/${zombie}/stat`)));
  assertThrows(
    () => watchMounts({ namespace: zombie }),
    MountError,
    `Cannot watch the mounts of process ${zombie}: openat2: EINVAL (Invalid argument): it is not there`,
  );
}, { permissions: ["run"] });

kernelTest("watchMounts() refuses what it can't watch", async () => {
  const held = await hold(["sh", "-c", "echo; exec sleep 1000"]);
  const { pid } = held;
  await held[Symbol.asyncDispose]();
  const error = assertThrows(
    () => watchMounts({ namespace: pid }),
    MountError,
    `Cannot watch the mounts of process ${pid}: pidfd_open: ESRCH (No such process): it is not there`,
  );
  assertEquals(error.target, "/");
  for (const namespace of [0, -1, 1.5, 2 ** 31]) {
    assertThrows(() => watchMounts({ namespace }), RangeError);
  }
  const bigint = 1n as unknown as number;
  assertThrows(() => watchMounts({ namespace: bigint }), TypeError);
  for (const below of ["relative", ""]) {
    const options = { namespace: Deno.pid, below };
    assertThrows(() => watchMounts(options), TypeError, "absolute");
  }
  assertThrows(() => watchMounts({ below: "" }), TypeError);
  const none = `${SCRATCH}/none`;
  assertThrows(
    () => watchMounts({ below: none }),
    MountError,
    `Cannot list the mounts below "${none}": openat2: ENOENT`,
  );
}, NAMESPACE_NEEDS);

for (
  const [how, code] of [["exit", 3], ["throw", 1], ["close", 0], ["worker", 0]]
) {
  kernelTest(`watchMounts() keeps nobody from ending: ${how}`, () => {
    const { code: status } = new Deno.Command("timeout", {
      args: [
        "20",
        ...commandLine([String(how)], {
          permissions: ["--allow-ffi", "--allow-read"],
          entry: "tests/fixtures/watching.ts",
        }),
      ],
      stderr: "null",
    }).outputSync();
    assertEquals(status, code);
  }, { ...NAMESPACE_NEEDS, commands: ["timeout"] });
}

kernelTest("watchMounts() of a process says that it needs /proc", () => {
  withoutProc(() => {
    const { message, hint } = assertThrows(
      () => watchMounts({ namespace: Deno.pid }),
      MountError,
      `Cannot watch the mounts of process ${Deno.pid}: openat2: ENOENT`,
    );
    assertEquals(hint, "This needs /proc, which is not mounted here");
    assert(!message.includes("it is not there"), message);
  });
});
