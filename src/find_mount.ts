/** What of a mount table's entry is looked at. */
export interface TableEntry {
  /** The mount's id. */
  readonly id: bigint;
  /** The path of the mount point. */
  readonly target: string;
}

/**
 * Finds mounts of a name in a mount table whose path leads through the given
 * directories, in order and next to each other.
 *
 * @param table The mount table.
 * @param name The last component of the mount point's path.
 * @param segments Components of the path before it.
 * @returns The entries, in the table's order.
 */
export function findMounts<T extends TableEntry>(
  table: readonly T[],
  name: string,
  segments: readonly string[],
): T[] {
  return table.filter(({ target }) => {
    const components = target.split("/").slice(1);
    return components.pop() === name && contains(components, segments);
  });
}

function contains(path: readonly string[], part: readonly string[]): boolean {
  for (let at = 0; at + part.length <= path.length; at++) {
    if (part.every((component, i) => path[at + i] === component)) return true;
  }
  return false;
}
