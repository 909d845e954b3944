import { openDirectoryAt } from "./beneath.ts";
import { CreatedPaths } from "./created_paths.ts";
import type { MkdirOptions } from "./directory.ts";
import { attempt } from "./error.ts";
import { parseMode } from "./mountat.ts";
import { quote } from "./sys/format.ts";
import { parseTarget } from "./target.ts";

/**
 * Makes a directory beneath another, through no symlink, or nothing.
 *
 * @returns What was made, neither kept nor removed yet.
 * @throws {TypeError | RangeError | MountError}
 */
export function makeDirectory(
  dirfd: number,
  path: string,
  { mode = 0o777, recursive = false }: MkdirOptions,
): CreatedPaths {
  const target = parseTarget(path);
  parseMode(mode);
  const attempted = {
    action: `create directory ${quote(path)}`,
    target: path,
  };
  return attempt(attempted, () => {
    const created = new CreatedPaths();
    try {
      if (recursive) {
        created.makeDirectory(dirfd, target.path, mode).close();
      } else {
        using parent = openDirectoryAt(dirfd, target.parent);
        created.makeNewDirectory(parent.fd, target.name, mode);
      }
      return created;
    } catch (error) {
      created[Symbol.dispose]();
      throw error;
    }
  });
}
