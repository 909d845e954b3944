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

/** The file of a path in a root. The caller closes both descriptors. */
export interface PlaceInRoot {
  /** The file or directory. */
  readonly at: OwnedFd;
  /** The directory that it was found in; `at` itself if the name is `.`. */
  readonly holder: OwnedFd;
  /** Its name there; `.` for the root, and if the path ends in `..`. */
  readonly name: string;
}

/**
 * Makes a missing file or directory.
 *
 * @param holder The directory to make it in.
 * @param isLast True for the path's last component.
 * @returns The directory that has taken the place of `holder`, if one has.
 */
export type MakeMissing = (
  holder: OwnedFd,
  name: string,
  isLast: boolean,
) => OwnedFd | null;

/** The number of symlinks that the kernel follows: path_resolution(7). */
const MOST_LINKS = 40;

/**
 * Walks a path as if a directory were the root, and makes missing components.
 *
 * openat2(2) with `RESOLVE_IN_ROOT` makes nothing, and a path that it found
 * missing may lead elsewhere a moment later. So each component is opened by its
 * name in the directory before it, and no symlink is followed. A symlink is
 * read, and the walk goes through its text in the same way. `..` leads back to
 * the directory passed before; at the root it leads to the root. The walk opens
 * and makes nothing outside the root, even if other processes rename or replace
 * components. It makes the missing target of a symlink inside the root, too.
 *
 * @param root The directory.
 * @param path The path, absolute or relative to it.
 * @param make Makes a missing component; null if all must exist.
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
        // The component may be gone again: then this call throws ENOENT.
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
