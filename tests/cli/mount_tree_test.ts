import type { MountInfo } from "../../src/list/mount_info.ts";
import { drawTree, type Node, toTree } from "../../src/cli/list_format.ts";
import { assertEquals } from "@std/assert";

function mounts(...rows: [id: number, parent: number][]): MountInfo[] {
  return rows.map(([id, parent]) => ({
    id: BigInt(id),
    parentId: BigInt(parent),
    target: String(id),
  } as MountInfo));
}

/** A tree as ids. */
type Ids = (number | Ids)[];

function ids(nodes: Node[]): Ids {
  return nodes.flatMap(({ mount, children }) => [
    Number(mount.id),
    ...(children.length === 0 ? [] : [ids(children)]),
  ]);
}

const ALL = mounts([1, 1], [2, 1], [3, 2], [4, 3], [5, 1], [6, 3]);

Deno.test("toTree() puts mounts into those that they are on", () => {
  assertEquals(ids(toTree(ALL, () => true)), [1, [2, [3, [4, 6]], 5]]);
  // One that is older than what it was moved to.
  assertEquals(ids(toTree(mounts([2, 3], [1, 0], [3, 1]), () => true)), [
    1,
    [3, [2]],
  ]);
});

Deno.test("toTree() has no root where the table has none", () => {
  assertEquals(ids(toTree(mounts([5, 9], [6, 5], [7, 8]), () => true)), [
    5,
    [6],
    7,
  ]);
  assertEquals(toTree([], () => true), []);
});

Deno.test("toTree() puts what is shown below the nearest that is", () => {
  const shown = (...wanted: bigint[]) =>
    ids(toTree(ALL, ({ id }) => wanted.includes(id)));
  assertEquals(shown(1n, 4n, 5n), [1, [4, 5]]);
  assertEquals(shown(2n, 4n, 6n), [2, [4, 6]]);
  assertEquals(shown(4n, 5n), [4, 5]);
  assertEquals(shown(), []);
});

Deno.test("toTree() ends where mounts seem to be in each other", () => {
  const circle = mounts([1, 2], [2, 1], [3, 2]);
  assertEquals(ids(toTree(circle, ({ id }) => id === 3n)), [3]);
});

Deno.test("drawTree() draws it as findmnt does", () => {
  const lines = drawTree(toTree([...ALL, ...mounts([7, 9])], () => true));
  assertEquals(lines.map(({ prefix, mount }) => prefix + mount.target), [
    "1",
    "├─2",
    "│ └─3",
    "│   ├─4",
    "│   └─6",
    "└─5",
    "7",
  ]);
});

Deno.test("drawTree() draws 100,000 mounts that are on each other", () => {
  const deep = mounts(
    ...Array.from({ length: 100_000 }, (_, i): [number, number] => [i + 1, i]),
  );
  const last = drawTree(toTree(deep, () => true)).at(-1)!;
  assertEquals(last.mount.id, 100_000n);
  assertEquals(last.prefix, `${"  ".repeat(99_998)}└─`);
});
