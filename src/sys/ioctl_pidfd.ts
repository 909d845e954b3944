import { int32 } from "./argument.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

// include/uapi/linux/pidfd.h
export const PIDFD_GET_PID_NAMESPACE = 0xff05;
export const PIDFD_GET_PID_FOR_CHILDREN_NAMESPACE = 0xff06;

/**
 * Opens the PID namespace that a process is in.
 *
 * `int ioctl(int pidfd, PIDFD_GET_PID_NAMESPACE, 0);`
 *
 * Since Linux 6.11; see ioctl_pidfd(2).
 *
 * @param pidfd The process.
 * @returns The namespace's descriptor, closed on exec.
 * @throws {SyscallError} ENOTTY or EINVAL where the kernel hasn't that, ESRCH
 * when the process has ended.
 */
export function pidfdGetPidNamespace(pidfd: number): number {
  return open(pidfd, PIDFD_GET_PID_NAMESPACE, "PIDFD_GET_PID_NAMESPACE");
}

/**
 * Opens the PID namespace that the children of a process will be in, even while
 * there is nothing in it.
 *
 * `int ioctl(int pidfd, PIDFD_GET_PID_FOR_CHILDREN_NAMESPACE, 0);`
 *
 * Since Linux 6.11; see ioctl_pidfd(2).
 *
 * @param pidfd The process.
 * @returns The namespace's descriptor, closed on exec.
 * @throws {SyscallError} As {@linkcode pidfdGetPidNamespace}.
 */
export function pidfdGetPidForChildrenNamespace(pidfd: number): number {
  return open(
    pidfd,
    PIDFD_GET_PID_FOR_CHILDREN_NAMESPACE,
    "PIDFD_GET_PID_FOR_CHILDREN_NAMESPACE",
  );
}

function open(pidfd: number, op: number, name: string): number {
  pidfd = int32("pidfd", pidfd);
  const fd = libc.ioctl(NR.ioctl, pidfd, op, null);
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 || tracer) settle(fd, "ioctl", [{ fd: pidfd }, name, "0"]);
  return fd;
}
