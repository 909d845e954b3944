import { int32 } from "./argument.ts";
import { F_DUPFD, F_DUPFD_CLOEXEC } from "./constants.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { checkOptions, type OptionNames } from "./options.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/** Options of {@linkcode dup}. */
export interface DupOptions {
  /**
   * Whether the new descriptor is closed on exec.
   *
   * @default {true}
   */
  cloexec?: boolean;
  /**
   * The least number the new descriptor may have.
   *
   * @default {0}
   */
  min?: number;
}

const DUP_NAMES: OptionNames<DupOptions> = { cloexec: true, min: true };

/**
 * Makes another descriptor of the same open file (`F_DUPFD_CLOEXEC`, or
 * `F_DUPFD`).
 *
 * `int fcntl(int fd, int cmd, int arg);`
 *
 * See fcntl(2).
 *
 * @param fd The descriptor.
 * @param options Whether it is closed on exec, and its least number.
 * @returns The new descriptor.
 * @throws {SyscallError} EBADF when `fd` is not open, EINVAL for a `min` beyond
 * the limit, EMFILE when no number is free.
 */
export function dup(fd: number, options: DupOptions = {}): number {
  fd = int32("fd", fd);
  checkOptions(options, DUP_NAMES);
  const min = int32("min", options.min ?? 0);
  const cloexec = options.cloexec ?? true;
  const command = cloexec ? F_DUPFD_CLOEXEC : F_DUPFD;
  const copy = libc.fcntl(NR.fcntl, fd, command, min);
  if (copy === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (copy === -1 || tracer) {
    settle(copy, "fcntl", [
      { fd },
      cloexec ? "F_DUPFD_CLOEXEC" : "F_DUPFD",
      String(min),
    ]);
  }
  return copy;
}
