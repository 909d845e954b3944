/** Terminals and their foreground process groups: tcsetpgrp(3). */
import { int32 } from "./argument.ts";
import { LITTLE_ENDIAN } from "./layout.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { SIGNALS, SIGSET_SIZE } from "./signals.ts";
import { tracer } from "./trace.ts";

// include/uapi/asm-generic/ioctls.h
export const TIOCGPGRP = 0x540f;
export const TIOCSPGRP = 0x5410;
// include/uapi/asm-generic/signal.h
export const SIG_BLOCK = 0;
export const SIG_SETMASK = 2;

/**
 * The foreground process group of this process's terminal.
 *
 * @param fd The terminal.
 * @returns The group, 0 for one of another PID namespace; null where `fd` is not
 * this process's terminal.
 */
export function foregroundGroup(fd: number): number | null {
  const group = new Int32Array(new ArrayBuffer(4));
  const bytes = new Uint8Array(group.buffer);
  const result = libc.ioctl(NR.ioctl, int32("fd", fd), TIOCGPGRP, bytes);
  return result === -1 ? null : group[0]!;
}

/** This process's process group. */
export function processGroup(): number {
  return libc.getpgid(NR.getpgid, 0);
}

/**
 * Brings a process group to the foreground of this process's terminal, even from
 * the background, which would stop this process otherwise.
 *
 * `int ioctl(int fd, TIOCSPGRP, const pid_t *argp);`
 *
 * @param fd The terminal.
 * @param group The group.
 * @throws {SyscallError} EPERM, ESRCH, ENOTTY.
 */
export function setForegroundGroup(fd: number, group: number): void {
  const mask = new DataView(new ArrayBuffer(SIGSET_SIZE));
  mask.setBigUint64(0, 1n << BigInt(SIGNALS.SIGTTOU - 1), LITTLE_ENDIAN);
  const blocked = new Uint8Array(mask.buffer);
  const before = new Uint8Array(new ArrayBuffer(SIGSET_SIZE));
  const argument = new Int32Array([int32("group", group)]);
  const bytes = new Uint8Array(argument.buffer);
  const { rt_sigprocmask } = libc;
  const size = BigInt(SIGSET_SIZE);
  rt_sigprocmask(NR.rt_sigprocmask, SIG_BLOCK, blocked, before, size);
  const result = libc.ioctl(NR.ioctl, int32("fd", fd), TIOCSPGRP, bytes);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  rt_sigprocmask(NR.rt_sigprocmask, SIG_SETMASK, before, null, size);
  if (result === -1 || tracer) {
    settle(result, "ioctl", [{ fd }, "TIOCSPGRP", `[${group}]`]);
  }
}
