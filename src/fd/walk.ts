import {
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
} from "../sys/constants.ts";
import { ELOOP, ENOENT, ENOTDIR } from "../sys/errno.ts";
import { isErrno, SyscallError } from "../sys/error.ts";
import { openat2, statx } from "../sys/file.ts";
import { readlinkat } from "../sys/names.ts";
import { AT_EMPTY_PATH, STATX_TYPE } from "../sys/constants.ts";
import {
  BENEATH,
  openDirectoryAt,
  openIfThere,
  S_IFLNK,
  S_IFMT,
} from "./open.ts";
import { OwnedFd } from "./owned_fd.ts";
import { quote } from "../base/text.ts";

/** The file that a path leads to in a root; the caller closes both descriptors. */
export interface PlaceInRoot {
  /** The file or directory. */
  readonly at: OwnedFd;
  /** The directory that it was found in; `at` itself where it has no name. */
  readonly holder: OwnedFd;
  /** Its name there; `.` for the root, and where the path ends in `..`. */
  readonly name: string;
}

/**
 * Makes what is missing by a name in a directory.
 *
 * @param isLast True if it is what the path leads to, and not on the way there.
 * @returns The directory that has taken the place of `holder`, if one has.
 */
export type MakeMissing = (
  holder: OwnedFd,
  name: string,
  isLast: boolean,
) => OwnedFd | null;

/** As many symlinks as the kernel follows: path_resolution(7). */
const MOST_LINKS = 40;

/**
 * Goes to what a path leads to as if a directory were the root, and makes what
 * is missing.
 *
 * openat2(2) with `RESOLVE_IN_ROOT` makes nothing, and a path that it has found
 * nothing at leads elsewhere a moment later. So each component is opened by its
 * name in the directory before it, through no symlink; a symlink is read, and
 * what it says is gone through in the same way. `..` leads back to the directory
 * that was passed before, at the root to the root. Whatever is renamed or
 * replaced meanwhile, nothing outside is opened or made. A symlink that leads
 * nowhere is gone through, too: what it names is made inside the root.
 *
 * @param root The directory.
 * @param path The path, absolute or relative to it.
 * @param make Makes what is missing; null where all must be there.
 * @throws {SyscallError} What openat2(2) answers, and ELOOP for more than 40
 * symlinks.
 */
export function walkInRoot(
  root: number,
  path: string,
  make: MakeMissing | null,
): PlaceInRoot {
  const passed = [openDirectoryAt(root, ".")];
  try {
    const rest = partsOf(path).toReversed();
    let links = 0;
    for (let name; (name = rest.pop()) !== undefined;) {
      if (name === "..") {
        if (passed.length > 1) passed.pop()!.close();
        continue;
      }
      let found = lookUp(passed.at(-1)!.fd, name);
      if (found === null) {
        const replaced = make?.(passed.at(-1)!, name, rest.length === 0);
        if (replaced) {
          passed.pop()!.close();
          passed.push(replaced);
        }
        // It may be gone again: the kernel says so.
        found = lookUp(passed.at(-1)!.fd, name) ??
          openDirectoryAt(passed.at(-1)!.fd, name);
      }
      if (found instanceof OwnedFd) {
        passed.push(found);
        if (rest.length > 0) continue;
        const [holder, at] = passed.splice(-2) as [OwnedFd, OwnedFd];
        return { at, holder, name };
      }
      if (++links > MOST_LINKS) {
        throw new SyscallError("openat2", ELOOP, [{ fd: root }, quote(path)]);
      }
      if (found.startsWith("/")) {
        for (const above of passed.splice(1)) above.close();
      }
      rest.push(...partsOf(found).toReversed());
    }
    const at = passed.pop()!;
    return { at, holder: at, name: "." };
  } finally {
    for (const directory of passed) directory.close();
  }
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/**
 * Looks a name up in a directory.
 *
 * @returns The file or directory, the text of a symlink, or null for nothing.
 */
function lookUp(holder: number, name: string): OwnedFd | string | null {
  try {
    return openIfThere(holder, name, O_DIRECTORY);
  } catch (error) {
    if (!isErrno(error, ENOTDIR, ELOOP)) throw error;
  }
  const flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  let file: OwnedFd;
  try {
    const fd = openat2(holder, name, { flags, resolve: BENEATH });
    file = new OwnedFd(fd, "file", true);
  } catch (error) {
    if (isErrno(error, ENOENT)) return null;
    throw error;
  }
  try {
    const { mode } = statx(file.fd, "", AT_EMPTY_PATH, STATX_TYPE);
    if ((mode! & S_IFMT) !== S_IFLNK) return file;
    const target = readlinkat(file.fd, "");
    file.close();
    return target;
  } catch (error) {
    file.close();
    throw error;
  }
}
