import { int32, passString, setUint64 } from "./argument.ts";
import {
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_DSYNC,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDWR,
  O_SYNC,
  O_TMPFILE,
  O_TRUNC,
  O_WRONLY,
  RESOLVE_BENEATH,
  RESOLVE_CACHED,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from "./constants.ts";
import { flagNames, octal, quote } from "./format.ts";
import { OPEN_HOW } from "./layout.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { checkOptions, type OptionNames } from "./options.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/** How {@linkcode openat2} opens: `struct open_how`. */
export interface OpenHow {
  /** `O_*`. */
  flags: number | bigint;
  /**
   * The mode of a file that is created.
   *
   * @default {0}
   */
  mode?: number | bigint;
  /**
   * `RESOLVE_*`.
   *
   * @default {0}
   */
  resolve?: number | bigint;
}

const HOW_NAMES: OptionNames<OpenHow> = {
  flags: true,
  mode: true,
  resolve: true,
};

/**
 * Opens a file, with limits on how its path is resolved.
 *
 * `int openat2(int dirfd, const char *path, const struct open_how *how, size_t size);`
 *
 * Since Linux 5.6; see openat2(2).
 *
 * @param dirfd Where a relative path starts.
 * @param path The file's path.
 * @param how The flags, mode and limits.
 * @returns The descriptor. It is closed on exec only with `O_CLOEXEC`.
 * @throws {SyscallError} EXDEV when the path leaves what `RESOLVE_BENEATH` or
 * `RESOLVE_NO_XDEV` allow, ELOOP for a symlink under `RESOLVE_NO_SYMLINKS`,
 * EAGAIN when something was renamed or mounted meanwhile (try again).
 */
export function openat2(dirfd: number, path: string, how: OpenHow): number {
  dirfd = int32("dirfd", dirfd);
  checkOptions(how, HOW_NAMES);
  const { flags, mode = 0, resolve = 0 } = how;
  setUint64(view, OPEN_HOW.flags, "flags", flags);
  setUint64(view, OPEN_HOW.mode, "mode", mode);
  setUint64(view, OPEN_HOW.resolve, "resolve", resolve);
  const bytes = passString("path", path);
  const fd = libc.openat2(NR.openat2, dirfd, bytes, buffer, SIZE);
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 || tracer) {
    settle(fd, "openat2", [
      { fd: dirfd },
      quote(path),
      `{flags=${openFlagNames(flags)}, mode=${octal(mode)}, resolve=${
        flagNames(resolve, RESOLVE)
      }}`,
      String(OPEN_HOW.SIZE),
    ]);
  }
  return fd;
}

/** Used again by each call: `how` is read before it is filled. */
const buffer = new Uint8Array(new ArrayBuffer(OPEN_HOW.SIZE));
const SIZE = BigInt(OPEN_HOW.SIZE);
const view = new DataView(buffer.buffer);

const OPEN = {
  O_WRONLY,
  O_RDWR,
  O_TMPFILE,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_SYNC,
  O_DSYNC,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_TRUNC,
};

const RESOLVE = {
  RESOLVE_NO_XDEV,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
  RESOLVE_CACHED,
};

/** Names open flags: to read only is the access mode that has no bit. */
function openFlagNames(value: number | bigint): string {
  const flags = BigInt(value);
  const names = flagNames(flags, OPEN);
  const access = flags & BigInt(O_WRONLY | O_RDWR | O_PATH);
  if (access !== 0n) return names;
  return flags === 0n ? "O_RDONLY" : `O_RDONLY|${names}`;
}
