import { int32 } from "./argument.ts";
import { LITTLE_ENDIAN, RUSAGE, SIGINFO } from "./layout.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/** Wait for a process by its number: include/uapi/linux/wait.h. */
export const P_PID = 1;
/** Wait for one that has ended. */
export const WEXITED = 0x4;
/** Wait for a child that sends no signal at its end, too. */
export const __WALL = 0x4000_0000;
/** The process exited: include/uapi/asm-generic/siginfo.h. */
export const CLD_EXITED = 1;

/** How a process ended, and what it used. */
export interface Ended {
  /** Its exit status, null when a signal ended it. */
  readonly status: number | null;
  /** The number of that signal. */
  readonly signal: number | null;
  /** `struct rusage`. */
  readonly usage: Usage;
}

/** What a process and its children used: getrusage(2). */
export interface Usage {
  /** Milliseconds of processor time outside the kernel. */
  readonly userTime: number;
  /** Milliseconds of processor time in the kernel. */
  readonly systemTime: number;
  /** The most memory that one of them had, in bytes. */
  readonly maxRss: number;
  /** Page faults that needed nothing to be read. */
  readonly minorFaults: number;
  /** Page faults that did. */
  readonly majorFaults: number;
  /** How often something was read from a disk. */
  readonly blockReads: number;
  /** How often something was written to a disk. */
  readonly blockWrites: number;
  /** How often they waited for something. */
  readonly voluntarySwitches: number;
  /** How often the processor was taken from them. */
  readonly involuntarySwitches: number;
}

/**
 * Waits for a child process to end, and reaps it.
 *
 * `int waitid(idtype_t idtype, id_t id, siginfo_t *infop, int options, struct rusage *rusage);`
 *
 * See waitid(2).
 *
 * @param pid The child.
 * @returns How it ended.
 * @throws {SyscallError} ECHILD when it is no child, EINTR when a signal came
 * first.
 */
export function waitid(pid: number): Ended {
  pid = int32("pid", pid);
  const info = new DataView(new ArrayBuffer(SIGINFO.SIZE));
  const usage = new DataView(new ArrayBuffer(RUSAGE.SIZE));
  const result = libc.waitid(
    NR.waitid,
    P_PID,
    pid,
    new Uint8Array(info.buffer),
    WEXITED | __WALL,
    new Uint8Array(usage.buffer),
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "waitid", [
      "P_PID",
      String(pid),
      "…",
      "WEXITED|__WALL",
      "…",
    ]);
  }
  const code = info.getInt32(SIGINFO.si_code, LITTLE_ENDIAN);
  const status = info.getInt32(SIGINFO.si_status, LITTLE_ENDIAN);
  return {
    status: code === CLD_EXITED ? status : null,
    signal: code === CLD_EXITED ? null : status,
    usage: decodeUsage(usage),
  };
}

function decodeUsage(view: DataView): Usage {
  const field = (at: number) => Number(view.getBigInt64(at, LITTLE_ENDIAN));
  const time = (at: number) => field(at) * 1000 + field(at + 8) / 1000;
  return {
    userTime: time(RUSAGE.ru_utime),
    systemTime: time(RUSAGE.ru_stime),
    maxRss: field(RUSAGE.ru_maxrss) * 1024,
    minorFaults: field(RUSAGE.ru_minflt),
    majorFaults: field(RUSAGE.ru_majflt),
    blockReads: field(RUSAGE.ru_inblock),
    blockWrites: field(RUSAGE.ru_oublock),
    voluntarySwitches: field(RUSAGE.ru_nvcsw),
    involuntarySwitches: field(RUSAGE.ru_nivcsw),
  };
}
