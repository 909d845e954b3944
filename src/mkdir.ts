import { openDirectoryAt } from "./beneath.ts";
import { CreatedPaths } from "./created_paths.ts";
import type { MkdirOptions } from "./directory.ts";
import { attempt } from "./error.ts";
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

/** The mode to make mount points with, null when they must exist. */
export function parseMkdir(mkdir: boolean | number = false): number | null {
  if (mkdir === false) return null;
  if (mkdir === true) return 0o755;
  return parseMode(mkdir);
}

/** Checks a file mode. */
function parseMode(mode: number): number {
  if (typeof mode !== "number") {
    throw new TypeError(`A mode must be a number, not ${typeof mode}`);
  }
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) {
    throw new RangeError(
      `A mode must be between 0 and 0o7777: received ${mode}`,
    );
  }
  return mode;
}
