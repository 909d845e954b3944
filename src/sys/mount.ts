import { cString, uint64 } from "./argument.ts";
import {
  MS_BIND,
  MS_DIRSYNC,
  MS_LAZYTIME,
  MS_MOVE,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_NOSYMFOLLOW,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_RELATIME,
  MS_REMOUNT,
  MS_SHARED,
  MS_SILENT,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
  MS_UNBINDABLE,
} from "./constants.ts";
import { flagNames, quote } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Mounts a file system by paths: the old call.
 *
 * `int mount(const char *source, const char *target, const char *fstype, unsigned long flags, const void *data);`
 *
 * See mount(2). It follows symlinks in `target`, and its data holds one page.
 *
 * @param source The device, directory or name, or null.
 * @param target The mount point.
 * @param fstype The file system's name, or null.
 * @param flags `MS_*`.
 * @param data The file system's options, or null.
 * @throws {SyscallError} As mount(2) lists them.
 */
export function mount(
  source: string | null,
  target: string,
  fstype: string | null,
  flags: number | bigint,
  data: string | null,
): void {
  const sourceBytes = source === null ? null : cString("source", source);
  const targetBytes = cString("target", target);
  const fstypeBytes = fstype === null ? null : cString("fstype", fstype);
  const bits = uint64("flags", flags);
  const dataBytes = data === null ? null : cString("data", data);
  const result = libc.mount(
    NR.mount,
    sourceBytes,
    targetBytes,
    fstypeBytes,
    bits,
    dataBytes,
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "mount", [
      quote(source),
      quote(target),
      quote(fstype),
      flagNames(bits, FLAGS),
      quote(data),
    ]);
  }
}

const FLAGS = {
  MS_RDONLY,
  MS_NOSUID,
  MS_NODEV,
  MS_NOEXEC,
  MS_SYNCHRONOUS,
  MS_REMOUNT,
  MS_DIRSYNC,
  MS_NOSYMFOLLOW,
  MS_NOATIME,
  MS_NODIRATIME,
  MS_BIND,
  MS_MOVE,
  MS_REC,
  MS_SILENT,
  MS_UNBINDABLE,
  MS_PRIVATE,
  MS_SLAVE,
  MS_SHARED,
  MS_RELATIME,
  MS_STRICTATIME,
  MS_LAZYTIME,
};
