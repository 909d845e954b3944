/** What this thread may do, for who asks why it may not. */
import { readlinkat } from "../sys/file.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { readFile } from "../fd/open.ts";
import { type SignalName, SIGNALS } from "../sys/layout.ts";

/** What a thread may do. */
export interface Privileges {
  /** The effective user id, as its user namespace has it. */
  readonly uid: number;
  /** Whether it has CAP_SYS_ADMIN in its user namespace. */
  readonly sysAdmin: boolean;
  /** Whether a seccomp filter is set on it. */
  readonly filtered: boolean;
  /** Whether its user namespace is the first one. */
  readonly initialUserNamespace: boolean;
}

/** The inode number of the first user namespace: include/linux/proc_ns.h. */
const PROC_USER_INIT_INO = 0xEFFFFFFD;

/**
 * Asks /proc what this thread may do.
 *
 * @throws {SyscallError} ENOENT where /proc is missing.
 */
export function privileges(): Privileges {
  const namespace = readlinkat(AT_FDCWD, "/proc/thread-self/ns/user");
  return {
    ...parseStatus(readFile("/proc/thread-self/status")),
    initialUserNamespace: namespace === `user:[${PROC_USER_INIT_INO}]`,
  };
}

/** Parses /proc/PID/status, proc_pid_status(5). */
export function parseStatus(
  text: string,
): Omit<Privileges, "initialUserNamespace"> {
  const field = (name: string) =>
    new RegExp(`^${name}:\\s*(.*)$`, "m").exec(text)?.[1] ?? "";
  const capabilities = BigInt(`0x${field("CapEff") || "0"}`);
  return {
    uid: Number(field("Uid").split(/\s+/)[1]),
    sysAdmin: (capabilities & CAP_SYS_ADMIN) !== 0n,
    filtered: field("Seccomp") === "2",
  };
}

/** The bit of the capability: include/uapi/linux/capability.h. */
const CAP_SYS_ADMIN = 1n << 21n;

/** Parses what proc_pid_stat(5) tells: the command may hold anything. */
export function parseStat(
  text: string,
): { pid: number; state: string; startTime: number } {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return {
    pid: parseInt(text),
    state: fields[0]!,
    // The 22nd field; the state is the third.
    startTime: Number(fields[19]),
  };
}

/** What a process does about signals: proc_pid_status(5). */
export interface Dispositions {
  ignores(name: SignalName): boolean;
  catches(name: SignalName): boolean;
}

/**
 * Asks /proc what a process does about signals.
 *
 * @param pidfd The process, by default this one.
 * @throws {SyscallError} ENOENT when there is no such process.
 */
export function dispositions(pidfd?: number): Dispositions {
  const name = pidfd === undefined ? "self" : numberInProc(pidfd);
  const status = readFile(`/proc/${name}/status`);
  const has = (field: string) => {
    const mask = new RegExp(`^${field}:\\s*(\\w+)$`, "m").exec(status)![1]!;
    return (name: SignalName) =>
      (BigInt(`0x${mask}`) >> BigInt(SIGNALS[name] - 1) & 1n) !== 0n;
  };
  return { ignores: has("SigIgn"), catches: has("SigCgt") };
}

/** A process's number in the PID namespace that /proc shows: proc_pid_fdinfo(5). */
function numberInProc(pidfd: number): string {
  return /^Pid:\t(\d+)$/m.exec(readFile(`/proc/self/fdinfo/${pidfd}`))![1]!;
}
