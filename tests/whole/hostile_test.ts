/**
 * Nothing is led out of a directory by who may rename and replace all in it. A
 * sample is run with the other tests; `deno task test:hostile` makes
 * HOSTILE_ATTEMPTS, from HOSTILE_SEED on.
 */
import { kernelTestSince } from "../support/since.ts";
import {
  assertInside,
  attemptsOf,
  contest,
  HOSTILE,
  ignoringLoss,
  isInside,
  linesOutside,
  makeHostile,
  stateOutside,
  takeLeft,
  unmountEach,
  type Way,
} from "../support/contest.ts";
import { mountTable, SCRATCH } from "../support/testing.ts";
import { recordText, writeRecord } from "../support/records.ts";
import { makeRoot } from "../support/run_root.ts";
import { assert, assertEquals } from "@std/assert";
import { bbMounter } from "../../src/cli/bb_mounter.ts";
import type { Command } from "../../src/cli/command.ts";
import { bbMounterAt } from "../../src/cli/bb_mounter_at.ts";
import { Directory } from "../../src/directory.ts";
import { MountError } from "../../src/error/error.ts";
import { applyMounts, planNamed } from "../../src/mount/apply.ts";
import type { Mount } from "../../src/mount/mount.ts";
import { MountTree } from "../../src/mount/tree.ts";
import { sweep } from "../../src/record/sweep.ts";
import { MountPoints } from "../../src/run/mount_points.ts";
import { makeDev, RootTree } from "../../src/run/root_tree.ts";
import { run } from "../../src/run/run.ts";
import { endSpawner } from "../../src/run/spawner.ts";
import { endStagingThread } from "../../src/mount/staging.ts";
import { parseFstab } from "../../src/spec/fstab.ts";
import { parseOciMounts } from "../../src/spec/oci.ts";
import { UMOUNT_NOFOLLOW } from "../../src/sys/constants.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";

const EXTENT = { sample: 1_000, share: 0.1 };

/** What the attacker replaces. */
const NAMES = [
  ...["+a", "+a/m", "a/f", "+d", "+d/m"],
  ...["proc", "sys", "dev", "run", "dev/null"],
];

const TMPFS = { type: "tmpfs" } as const;

/** What could not be done as something was mounted, or no longer was. */
const MOUNTED = ["EBUSY", "EINVAL", "EEXIST", "ENOTEMPTY"];

kernelTestSince(
  "6.8",
  `a hostile directory leads nothing outside, in ${
    attemptsOf(EXTENT)
  } attempts`,
  async () => {
    makeHostile();
    makeRoot();
    Deno.writeTextFileSync(`${SCRATCH}/file`, "");
    Deno.mkdirSync(SOURCE);
    using root = Directory.open(HOSTILE);
    try {
      await contest({
        names: NAMES,
        ...EXTENT,
        mounts: true,
        naive: NAIVE,
        ways: waysIn(root),
      });
    } finally {
      endSpawner();
      endStagingThread();
    }
  },
  {
    permissions: ["run", "read", "write", "env"],
    commands: ["busybox", "cc", "mount"],
  },
);

/** Mounts and unmounts by paths, some of which are looked at before. */
const NAIVE = [
  {
    name: "mount(8)",
    once: () =>
      mountsOutside(() => util("mount", "-t", "tmpfs", "naive", PATH)),
  },
  {
    name: "mount(2)",
    once: () =>
      mountsOutside(() => {
        if (seemsInside()) mount("naive", PATH, "tmpfs", 0, null);
      }),
  },
  {
    name: "umount(8)",
    once: () => unmountsOutside(() => util("umount", PATH)),
  },
  {
    name: "umount2(2)",
    once: () =>
      unmountsOutside(() => {
        if (seemsInside()) umount2(PATH, UMOUNT_NOFOLLOW);
      }),
  },
  {
    name: "mkdir(2)",
    once() {
      const before = stateOutside();
      ignoringLoss(() => {
        if (seemsInside()) Deno.mkdirSync(`${PATH}/x`);
      });
      return String(stateOutside()) !== String(before);
    },
  },
];

const PATH = `${HOSTILE}/a/m`;

function seemsInside(): boolean {
  return isInside(Deno.realPathSync(PATH));
}

function util(command: string, ...args: string[]): void {
  new Deno.Command(command, { args, stderr: "null" }).outputSync();
}

function mountsOutside(work: () => void): boolean {
  ignoringLoss(work);
  const misled = linesOutside().length > 0;
  unmountEach(naiveLine);
  return misled;
}

/** A line of the mount table that one of the naive made. */
function naiveLine(): string | undefined {
  return mountTable().find((line) => line.includes(" - tmpfs naive "));
}

function unmountsOutside(work: () => void): boolean {
  using outside = Directory.open(`${SCRATCH}/outside`);
  const victims = ["m", "a/m"].map((path) => outside.mount(path, TMPFS));
  using root = Directory.open(HOSTILE);
  ignoringLoss(() => {
    using _ = root.mount("a/m", TMPFS);
    work();
  });
  const misled = victims.some((victim) => !victim.mounted);
  for (const victim of victims) disposePatiently(victim);
  return misled;
}

/** The attacker, who tidies up, may get into what is bound: it is empty. */
const SOURCE = `${SCRATCH}/source`;

const FSTAB = parseFstab(`none /a/m tmpfs\n${SOURCE} /d/m none bind\n`);

const OCI = parseOciMounts(
  JSON.stringify({
    ociVersion: "1.0.0",
    mounts: [
      { destination: "/a/m/y", type: "tmpfs", source: "none" },
      {
        destination: "/d/m/z",
        type: "none",
        source: SOURCE,
        options: ["bind"],
      },
    ],
  }),
  { bundle: "." },
);

const QUIET = { json: false, quiet: true, progressAfter: Infinity };

/** All that mounts, unmounts, makes or lists something beneath a directory. */
function waysIn(root: Directory): Way[] {
  /** Mounts on a name, and does something meanwhile. */
  function whileMounted(work: (mount: Mount) => void, target = "a/m"): void {
    const mount = root.mount(target, TMPFS);
    try {
      work(mount);
    } finally {
      disposePatiently(mount);
    }
  }
  return [
    {
      name: "mount",
      loses: MOUNTED,
      once: () => whileMounted(() => {}),
    },
    {
      name: "mount, made",
      loses: MOUNTED,
      once: () =>
        disposePatiently(root.mount("a/m/x", { ...TMPFS, mkdir: true })),
    },
    {
      name: "mount in the root",
      loses: MOUNTED,
      once() {
        const options = { mkdir: true, symlinks: "inRoot" } as const;
        disposePatiently(root.mount("a/m/x", { ...TMPFS, ...options }));
      },
    },
    {
      name: "bind",
      loses: MOUNTED,
      once: () =>
        disposePatiently(
          root.bind(`${SCRATCH}/file`, "a/f", { mkdir: true }),
        ),
    },
    {
      name: "move",
      loses: MOUNTED,
      once: () =>
        whileMounted(() => disposePatiently(root.move("a/m", root, "d/m"))),
    },
    {
      name: "remount",
      loses: MOUNTED,
      once: () =>
        whileMounted(() => root.remount("a/m", { options: "ro,noexec" })),
    },
    {
      name: "unmount",
      loses: MOUNTED,
      once: () => whileMounted(() => root.unmount("a/m")),
    },
    {
      name: "unmount --recursive",
      loses: MOUNTED,
      once: () =>
        whileMounted(() => {
          using directory = root.openDirectory("a");
          directory.unmountAll({ lazy: true });
        }),
    },
    {
      name: "list",
      once() {
        using directory = root.openDirectory("a");
        const mounts = [...root.mounts(), ...directory.mounts()];
        const outside = mounts.filter(({ target }) =>
          // The scratch directory's own is that of the whole.
          !isInside(target) && target !== SCRATCH
        );
        assertEquals(outside, []);
      },
    },
    {
      name: "openDirectory",
      once() {
        using directory = root.openDirectory("a/m");
        assertInside(directory.fd);
      },
    },
    {
      name: "mkdir",
      loses: MOUNTED,
      once: () => root.mkdir("a/m/y/z", { recursive: true }),
    },
    {
      name: "MountTree.attach",
      loses: MOUNTED,
      once() {
        using tree = MountTree.create(TMPFS);
        disposePatiently(tree.attach(root, "a/m"));
      },
    },
    {
      name: "MountTree.mount",
      loses: MOUNTED,
      once() {
        using tree = MountTree.from(root);
        tree.mount("a/m", { ...TMPFS, mkdir: true });
        tree.bind(`${SCRATCH}/file`, "d/m/f", {
          ...{ mkdir: true, symlinks: "inRoot" },
        });
      },
    },
    {
      name: "apply --fstab",
      loses: MOUNTED,
      once: () => applied(root, FSTAB),
    },
    {
      name: "apply --oci",
      loses: MOUNTED,
      once: () => applied(root, OCI),
    },
    {
      name: "record and sweep",
      rare: 4,
      loses: MOUNTED,
      once: () =>
        whileMounted(({ id }) => {
          writeRecord(recordText([id]));
          const { left, ignored } = sweep();
          assertEquals(ignored, []);
          if (left[0]?.error) throw left[0].error;
        }),
    },
    {
      name: "mount points of run",
      loses: MOUNTED,
      once() {
        using points = new MountPoints();
        using tree = new RootTree(root, points, true);
        tree.makeRoom(["proc", "dev"]);
        tree.put("dev", makeDev(tree.staging));
        for (const target of ["a/m/z", "a/w"]) {
          tree.add(planNamed({ type: "tmpfs", target }, target));
        }
        tree.seal();
      },
    },
    {
      name: "run",
      rare: 16,
      loses: MOUNTED,
      async once() {
        const command = ["/bin/true"];
        const { code } = await run(root, command, { stdin: "null" });
        assertEquals(code, 0);
      },
    },
    {
      name: "the main job",
      rare: 16,
      loses: MOUNTED,
      async once() {
        return await jobOf(bbMounterAt, { directory: HOSTILE, delay: 0 });
      },
    },
    {
      name: "bb_mounter",
      rare: 16,
      loses: MOUNTED,
      async once() {
        const job = { directory: HOSTILE, delay: 0, legacy: false };
        return await jobOf(bbMounter, job);
      },
    },
  ];
}

function applied(root: Directory, specs: typeof OCI): void {
  applyMounts(root, specs, { symlinks: "inRoot" }).unmount({ lazy: true });
}

/** Runs a job of the program; what it says of failures is not heard. */
async function jobOf<Arguments>(
  { run }: Command<Arguments>,
  job: Arguments,
): Promise<string> {
  const { error } = console;
  console.error = () => {};
  try {
    const status = await run(job, QUIET);
    assert([0, 1, 32, 64].includes(status), `${status}`);
    if (status === 0) return "done";
    await takeLeft();
    return `status ${status}`;
  } finally {
    console.error = error;
  }
}

/** The other process, when it looks at the mount, keeps it busy for a moment. */
function disposePatiently(mount: Mount): void {
  for (let attempt = 1;; attempt++) {
    try {
      return mount[Symbol.dispose]();
    } catch (error) {
      const busy = error instanceof MountError && error.code === "EBUSY";
      if (busy && attempt < 10_000) continue;
      // After a failure the handle can be used again: close it.
      mount.keep();
      throw error;
    }
  }
}
