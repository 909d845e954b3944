/** Removing what actions have made. */
import {
  type DirectoryEntry,
  DT_DIR,
  DT_UNKNOWN,
  readDirectory,
  renameat2,
  unlinkat,
} from "../sys/names.ts";
import { AT_REMOVEDIR } from "../sys/constants.ts";
import { isErrno } from "../sys/error.ts";
import { EEXIST, EISDIR, ENOTEMPTY } from "../sys/errno.ts";
import { openIfDirectory, openToRead } from "./descent.ts";

/**
 * Removes a directory, if there is one, with all that is in it. Of files it
 * removes names alone. Three descriptors suffice for any depth: what is not empty
 * moves up first.
 *
 * @param holder The directory that it is in.
 * @param name Its name there.
 * @returns A generator that removes step by step. After a failure, another may begin.
 * @throws {SyscallError} What the calls answer.
 */
export function* removeTree(holder: number, name: string): Generator<void> {
  using top = openIfDirectory(holder, name);
  if (top === null) return;
  let moved = 0;
  for (let found = true; found;) {
    found = false;
    using reading = openToRead(top.fd, ".");
    for (let some; (some = entriesOf(reading.fd)) !== null;) {
      for (const entry of some) {
        found = true;
        if (removeAtOnce(top.fd, entry)) continue;
        using directory = openToRead(top.fd, entry.name);
        for (let some; (some = entriesOf(directory.fd)) !== null;) {
          for (const inside of some) {
            if (removeAtOnce(directory.fd, inside)) continue;
            moved = moveUp(directory.fd, inside.name, top.fd, moved);
          }
          yield;
        }
        unlinkat(top.fd, entry.name, AT_REMOVEDIR);
      }
      yield;
    }
  }
  unlinkat(holder, name, AT_REMOVEDIR);
}

/** Some entries of a directory; null at the end. */
export function entriesOf(fd: number): DirectoryEntry[] | null {
  const some = readDirectory(fd);
  return some.length === 0
    ? null
    : some.filter(({ name }) => name !== "." && name !== "..");
}

/** @returns False for a directory that has something in it. */
function removeAtOnce(dirfd: number, { name, type }: DirectoryEntry): boolean {
  if (type !== DT_DIR) {
    try {
      unlinkat(dirfd, name);
      return true;
    } catch (error) {
      if (!(type === DT_UNKNOWN && isErrno(error, EISDIR))) throw error;
    }
  }
  try {
    unlinkat(dirfd, name, AT_REMOVEDIR);
    return true;
  } catch (error) {
    if (isErrno(error, ENOTEMPTY, EEXIST)) return false;
    throw error;
  }
}

/**
 * Moves a directory to a name that is a number, the next that is free.
 *
 * @returns The number after that.
 */
export function moveUp(
  from: number,
  name: string,
  to: number,
  number: number,
): number {
  for (;; number++) {
    try {
      renameat2(from, name, to, String(number));
      return number + 1;
    } catch (error) {
      // An empty directory would be replaced.
      if (!isErrno(error, ENOTEMPTY, EEXIST)) throw error;
    }
  }
}
