/** Rows 1 to 3: mounts that are made and unmounted again. */
import {
  applyMounts,
  bindat,
  Directory,
  mountat,
  type MountSpec,
  MountTree,
  unmountat,
} from "../../mod.ts";
import { SCRATCH } from "../../tests/support/testing.ts";
import { Rival } from "../programs.ts";
import { type Absent, stopwatch } from "../measure.ts";
import { compare, type Match, type Row } from "./row.ts";
import type { Figure } from "../results.ts";

/** What is mounted. */
export type Spec = MountSpec & { source: string };

/** What a build action's root has. */
export const ROOT_SPECS: readonly Spec[] = [
  { target: "proc", type: "proc", source: "proc" },
  { target: "sys", type: "sysfs", source: "sysfs" },
  { target: "tmp", type: "tmpfs", source: "tmpfs" },
  { target: "shm", type: "tmpfs", source: "tmpfs" },
  { target: "usr", type: "bind", source: "/usr" },
  { target: "etc", type: "bind", source: "/etc" },
  ...["full", "null", "random", "urandom", "zero"].map((name): Spec => (
    { target: `dev/${name}`, type: "bind", source: `/dev/${name}` }
  )),
];

/** One of each kind. */
export const KINDS: readonly Spec[] = [
  ROOT_SPECS[0]!,
  ROOT_SPECS[2]!,
  { target: "usr", type: "bind", source: "/usr" },
];

/** Makes the mount points of a root, and opens it. */
export function openRoot(): Directory {
  const path = `${SCRATCH}/root`;
  Deno.mkdirSync(`${path}/dev`, { recursive: true });
  for (const { target } of ROOT_SPECS) {
    if (target.startsWith("dev/")) {
      Deno.writeTextFileSync(`${path}/${target}`, "");
    } else Deno.mkdirSync(`${path}/${target}`, { recursive: true });
  }
  return Directory.open(path);
}

/** How a C program makes and unmounts mounts, and what tables call it. */
const IN_C = {
  plain: "C loop",
  exact: "C loop, call for call",
  handles: "C loop, call for call",
  tree: "C tree, call for call",
  path: "C loop of mount(2) by path",
};

function inC(
  stack: AsyncDisposableStack,
  how: keyof typeof IN_C,
  specs: readonly Spec[],
  times: number,
): Promise<Rival | Absent> {
  const words = specs.flatMap(({ target, type, source }) => [
    target,
    type,
    source,
  ]);
  const args = ["mounts", how, `${SCRATCH}/root`, ...words];
  // A tree begins with a copy of its directory, a mount itself.
  const mounts = specs.length + (how === "tree" ? 1 : 0);
  return Rival.start(stack, { name: IN_C[how], times, mounts }, args);
}

/** Row 1. */
export const oneMount: Row = {
  row: 1,
  work: "One mount, up and down",
  note:
    "The C loop opens the target beneath the directory, makes the mount with fsopen(2) or open_tree(2), attaches it, and unmounts through /proc/self/fd. Call for call it also makes those that we make besides: statx(2) for the mount's id, and of a bind mount_setattr(2), which makes it the original's slave; then both make the same eleven calls, eight of a bind (trace(), strace -c). More than half of the time is umount2(2), which waits for an RCU grace period (--cpu-prof): the kernel hands that to a thread of its own, and whether this runs on the same processor or another one, which two interrupts have to wake (perf stat), decides between some 20 and 50 µs, in C as well. What we take longer than C call for call is 4 to 7 µs where both are quickest. It is not the way from Deno to the kernel: calls that the kernel refuses at once take 5 to 70 ns more from Deno than from C, which is 0.3 µs a cycle, and the same calls from Deno with nothing around them, their memory ready, take as long as C's at their quickest (34.7 and 34.8 µs for proc, and ours 39.9, in turns) and 1.05 to 1.12 of it in the median: idle threads beside the C loop, as Deno has them, don't bring that about, and what does was not found. It is the library's own work: checking arguments, strings for the kernel, handles that are closed when they are dropped. With functions in place of the calls, which answer at once, a cycle takes 2.4 µs of that; between real calls it takes 3 to 5, presumably for the kernel leaves little of it in the processor's caches. To be within 1.05 of the C loop, all of it would have to fit into 1 to 2 µs, statx(2) and mount_setattr(2) too.",
  async measure(seconds) {
    using root = openRoot();
    const figures: Figure[] = [];
    for (const spec of KINDS) {
      await using stack = new AsyncDisposableStack();
      const times = 100;
      const match: Match = {
        what: spec.type,
        ours: {
          name: "mountat, unmountat",
          times,
          mounts: 1,
          time: stopwatch(() => upAndDown(root, spec)),
        },
        others: [
          { by: await inC(stack, "plain", [spec], times), limit: 1.05 },
          { by: await inC(stack, "exact", [spec], times) },
          { by: await inC(stack, "path", [spec], times) },
        ],
      };
      figures.push(...await compare([match], 4 * seconds));
    }
    return figures;
  },
};

/** Makes a mount and unmounts it. */
export function upAndDown(root: Directory, spec: Spec): void {
  const { target, type, source } = spec;
  const mount = type === "bind"
    ? bindat(root, target, source)
    : mountat(root, target, spec);
  mount.keep();
  unmountat(root, target);
}

/** Makes a root of mounts as a tree that is never attached, and closes it. */
export function treeUpAndDown(root: Directory): void {
  using tree = MountTree.from(root);
  applyMounts(tree, ROOT_SPECS);
}

/** Makes the mounts of a root, and unmounts them. */
export function rootUpAndDown(root: Directory): void {
  using _applied = applyMounts(root, ROOT_SPECS);
}

/** Row 2. */
export const tree: Row = {
  row: 2,
  work: "An action's root of 11 mounts, up and down",
  note:
    "A procfs, a sysfs, two tmpfs, two directories and five devices. The tree is never attached: closing it takes all of it, and waits for one RCU grace period where the C loops, which mount and unmount one by one, wait for eleven. So the ratio is 0.5 where such a wait is long, and near 1 where it is short (row 1). The same 102 calls in C are what the kernel takes, and alone 0.7 of the C loop: 0.50 is out of reach where the wait is short. The rest is our own work, 18 µs with functions in place of the calls, and about twice that between real ones, as in row 1.",
  measure: (seconds) =>
    againstLoops("MountTree", "tree", 0.5, seconds, {
      mounts: ROOT_SPECS.length + 1,
      work: treeUpAndDown,
    }),
};

/** Row 3. */
export const applied: Row = {
  row: 3,
  work: "The same 11 mounts on a plain Directory",
  note:
    "Each is unmounted by its handle, which first makes sure that it is this mount and no other: statx(2), readlink(2) and statx(2), of a file one statx(2) alone. Call for call the C loop does that, too, in the same 133 calls (trace(), strace -c), and takes 1.25 times as long as the plain one for it. The rest is our own work, as in row 1: with functions in place of the calls applyMounts takes 37 µs, of which 6 are garbage collection and the others the plans, handles and strings of eleven mounts (--cpu-prof: no function has more than 5); between real calls it takes some 75, the difference to C where both are quickest. In the median it is 140, of which some are what the same calls take longer from Deno in the median, as in row 1.",
  measure: (seconds) =>
    againstLoops("applyMounts", "handles", 1.1, seconds, {
      mounts: ROOT_SPECS.length,
      work: rootUpAndDown,
    }),
};

async function againstLoops(
  name: string,
  exact: keyof typeof IN_C,
  limit: number,
  seconds: number,
  { mounts, work }: { mounts: number; work: (root: Directory) => void },
): Promise<Figure[]> {
  using root = openRoot();
  await using stack = new AsyncDisposableStack();
  const times = 20;
  return await compare([{
    what: `${ROOT_SPECS.length} mounts`,
    ours: { name, times, mounts, time: stopwatch(() => work(root)) },
    others: [
      { by: await inC(stack, "plain", ROOT_SPECS, times), limit },
      { by: await inC(stack, exact, ROOT_SPECS, times) },
      { by: await inC(stack, "path", ROOT_SPECS, times) },
    ],
  }], 5 * seconds);
}
