/** Mounts as the tree that they are. */
import type { MountInfo } from "../mount_info.ts";

/** A mount that is shown, with those in it. */
export interface Node {
  readonly mount: MountInfo;
  readonly children: Node[];
}

/**
 * Makes a tree of mounts, in their order. One whose parent is not shown stands
 * below the nearest one above it that is.
 *
 * @param mounts All that are known.
 * @param isShown Whether one is shown.
 */
export function toTree(
  mounts: readonly MountInfo[],
  isShown: (mount: MountInfo) => boolean,
): Node[] {
  const byId = new Map(mounts.map((mount) => [mount.id, mount]));
  const nodes = new Map(
    mounts.filter(isShown).map((mount): [bigint, Node] => [
      mount.id,
      { mount, children: [] },
    ]),
  );
  const roots: Node[] = [];
  for (const node of nodes.values()) {
    // A root is on itself; and what moves while it is listed may go in circles.
    const seen = new Set([node.mount.id]);
    let above = byId.get(node.mount.parentId);
    while (above !== undefined && !nodes.has(above.id) && !seen.has(above.id)) {
      seen.add(above.id);
      above = byId.get(above.parentId);
    }
    const parent = above === node.mount
      ? undefined
      : nodes.get(above?.id ?? 0n);
    (parent?.children ?? roots).push(node);
  }
  return roots;
}

/** A line of a tree that is drawn. */
export interface Line {
  readonly mount: MountInfo;
  /** What stands before it. */
  readonly prefix: string;
}

/**
 * Draws a tree as findmnt(8) does, a line for each mount. That they are thousands
 * on each other is no matter.
 */
export function drawTree(roots: readonly Node[]): Line[] {
  const lines: Line[] = [];
  const waiting = roots.map((node) => ({ node, prefix: "", below: "" }));
  waiting.reverse();
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { node: { mount, children }, prefix, below } = next;
    lines.push({ mount, prefix });
    for (const [i, node] of children.toReversed().entries()) {
      const isLast = i === 0;
      waiting.push({
        node,
        prefix: below + (isLast ? "└─" : "├─"),
        below: below + (isLast ? "  " : "│ "),
      });
    }
  }
  return lines;
}
