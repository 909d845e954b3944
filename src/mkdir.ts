import { openDirectoryAt } from "./beneath.ts";
import { CreatedPaths } from "./created_paths.ts";
import type { MkdirOptions } from "./directory.ts";
import { attempt } from "./error.ts";
import { parseMode } from "./mountat.ts";
import { quote } from "./sys/format.ts";
import { checkOptions, type OptionNames } from "./sys/options.ts";
import { parseTarget } from "./target.ts";

const MKDIR_NAMES: OptionNames<MkdirOptions> = { mode: true, recursive: true };

/**
 * Makes a directory beneath another, through no symlink, or nothing.
 *
 * @returns What was made, neither kept nor removed yet.
 * @throws {TypeError | RangeError | MountError}
 */
export function makeDirectory(
  dirfd: number,
  path: string,
  options: MkdirOptions,
): CreatedPaths {
  const target = parseTarget(path);
  checkOptions(options, MKDIR_NAMES);
  const { mode = 0o777, recursive = false } = options;
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
