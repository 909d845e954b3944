/** Rows 1 to 3: mounting and unmounting. */
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

/** A mount to make. */
export type Spec = MountSpec & { source: string };

/** The mounts of a build action's root. */
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

/** One mount of each kind. */
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

/**
 * The ways in which a C program mounts and unmounts, and their names in tables.
 */
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
  // A tree begins with a copy of its directory, which is a mount, too.
  const mounts = specs.length + (how === "tree" ? 1 : 0);
  return Rival.start(stack, { name: IN_C[how], times, mounts }, args);
}

/** Row 1. */
export const oneMount: Row = {
  row: 1,
  work: "One mount, up and down",
  note:
    'Each program makes one mount and unmounts it. The C loop opens the target beneath the directory, uses fsopen(2) or open_tree(2), attaches the mount, and unmounts it through /proc/self/fd. "Call for call" also makes the calls that mountat makes for safety: statx(2) for the mount\'s id, and for a bind mount_setattr(2). "C loop of mount(2)" uses the old call, by path.',
  missed:
    "Both make the same eleven calls (eight for a bind). Of ours, 4 to 7 µs are the library's own work: checking arguments, making strings for the kernel, handles that close themselves. The rest is umount2(2), which waits for an RCU grace period and takes 20 to 50 µs, in C as well. A call from Deno costs 5 to 70 ns more than from C. To be within 1.05, all our work would have to fit into 1 to 2 µs.",
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
    "A procfs, a sysfs, two tmpfs, two directories and five devices. The tree is never attached; closing it removes all of it.",
  missed:
    "Closing a tree waits for one RCU grace period; the C loops, which unmount one by one, wait for eleven. The ratio is 0.5 if such a wait is long and near 1 if it is short. The same 102 calls in C take 0.7 of the C loop, so 0.50 is out of reach if the wait is short. Our own work is about 40 µs.",
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
    'Each mount is unmounted by its handle, which first makes sure that it is this mount and no other. "Call for call", the C loop does so, too.',
  missed:
    "Checking the identity costs 1.25 times the plain loop, in C as well. The library's own work for eleven mounts is about 75 µs where both are quickest: plans, handles, strings, and some garbage collection.",
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
