/**
 * The rooms of `src`, and the files beside them, from the ground up. A file may
 * import its own room, and rooms before it in this list; imports of types
 * count. A room's `mod.ts` is an entry point of the package: it stands above
 * the rooms that it exports. CONTRIBUTING.md says what each room is for.
 */
export const ORDER: readonly string[] = [
  "base",
  "sys",
  "program.ts",
  "fd",
  "options",
  "spec",
  "kernel",
  "error",
  "list",
  "unmount",
  "late.ts",
  "mount",
  "record",
  "directory.ts",
  "run",
  "runner",
  "mod.ts",
  "cli",
  // Only mod.ts of the repository imports this file.
  "merged.ts",
];

/**
 * True if one file of `src` may import another.
 *
 * @param from The file that imports: its path below `src`.
 * @param to The file that is imported: its path below `src`.
 */
export function mayImport(from: string, to: string): boolean {
  return position(to) !== -1 && position(from) >= position(to);
}

function position(path: string): number {
  const place = path.endsWith("/mod.ts") ? "mod.ts" : path.split("/", 1)[0]!;
  return ORDER.indexOf(place);
}

/**
 * Finds a circle of imports.
 *
 * @param imports For each file, the files that it imports.
 * @returns The files of a circle, the first again at the end; null if there is
 * none.
 */
export function findCircle(
  imports: ReadonlyMap<string, readonly string[]>,
): string[] | null {
  const done = new Set<string>();
  const path: string[] = [];
  function visit(file: string): string[] | null {
    const at = path.indexOf(file);
    if (at !== -1) return [...path.slice(at), file];
    if (done.has(file)) return null;
    path.push(file);
    for (const imported of imports.get(file) ?? []) {
      const circle = visit(imported);
      if (circle !== null) return circle;
    }
    path.pop();
    done.add(file);
    return null;
  }
  for (const file of imports.keys()) {
    const circle = visit(file);
    if (circle !== null) return circle;
  }
  return null;
}
