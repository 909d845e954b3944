import { int32 } from "./argument.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/** Wait for a process by its number: include/uapi/linux/wait.h. */
const P_PID = 1;
/** Wait for one that has ended. */
const WEXITED = 0x4;
/** Wait for a child that sends no signal at its end, too. */
const __WALL = 0x40000000;

/**
 * Waits until a child has ended, and lets it go.
 *
 * `int waitid(idtype_t idtype, id_t id, siginfo_t *infop, int options, struct rusage *rusage);`
 *
 * See waitid(2).
 *
 * @param pid The child.
 * @throws {SyscallError} ECHILD when there is no such child, EINTR when a signal
 * came first.
 */
export function reap(pid: number): void {
  pid = int32("pid", pid);
  const options = WEXITED | __WALL;
  const result = libc.waitid(NR.waitid, P_PID, pid, null, options, null);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "waitid", [
      "P_PID",
      String(pid),
      "NULL",
      "WEXITED|__WALL",
      "NULL",
    ]);
  }
}
