/** Processes and threads, as /proc tells of them. */
import { readlinkat } from "../sys/names.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { readFile } from "../fd/open.ts";
import { THIS_THREAD } from "./mountinfo.ts";
import { type SignalName, SIGNALS } from "../sys/layout.ts";
import { isErrno, lacks } from "../sys/error.ts";
import { ENOENT, ESRCH } from "../sys/errno.ts";

/** The rights of a thread. */
export interface Privileges {
  /** The effective user id, as its user namespace has it. */
  readonly uid: number;
  /** True if it has CAP_SYS_ADMIN in its user namespace. */
  readonly sysAdmin: boolean;
  /** Its effective capabilities there, a bit each. */
  readonly capabilities: bigint;
  /** True if a seccomp filter is set on it. */
  readonly filtered: boolean;
  /** True if its user namespace is the first one. */
  readonly initialUserNamespace: boolean;
}

/** The inode number of the first user namespace: include/linux/proc_ns.h. */
const PROC_USER_INIT_INO = 0xEFFFFFFD;

/**
 * Reads the rights of this thread.
 *
 * @throws {SyscallError} ENOENT if /proc is missing.
 */
export function privileges(): Privileges {
  const namespace = readlinkat(AT_FDCWD, `${THIS_THREAD}/ns/user`);
  return {
    ...parseStatus(readFile(`${THIS_THREAD}/status`)),
    initialUserNamespace: namespace === `user:[${PROC_USER_INIT_INO}]`,
  };
}

let initial: boolean | undefined;

/**
 * True if this process is in the first user namespace. The answer is kept: a
 * process with several threads can't leave its user namespace (setns(2)).
 *
 * @throws {SyscallError} ENOENT if /proc is missing.
 */
export function inInitialUserNamespace(): boolean {
  return initial ??= privileges().initialUserNamespace;
}

/** Parses /proc/PID/status, proc_pid_status(5). */
export function parseStatus(
  text: string,
): Omit<Privileges, "initialUserNamespace"> {
  const field = fieldsOf(text);
  const capabilities = BigInt(`0x${field("CapEff") || "0"}`);
  return {
    uid: Number(field("Uid").split(/\s+/)[1]),
    sysAdmin: (capabilities & CAP_SYS_ADMIN) !== 0n,
    capabilities,
    filtered: field("Seccomp") === "2",
  };
}

/** The bit of the capability: include/uapi/linux/capability.h. */
const CAP_SYS_ADMIN = 1n << 21n;

/** Returns the value of a field; an empty string if there is no such field. */
export type Fields = (name: string) => string;

/**
 * Reads a file of lines `Name: value`, as proc_pid_status(5) and
 * proc_pid_fdinfo(5) have them.
 *
 * @throws {SyscallError} ENOENT when there is no such process.
 */
export function readFields(path: string): Fields {
  return fieldsOf(readFile(path));
}

function fieldsOf(text: string): Fields {
  return (name) =>
    new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(text)?.[1]?.trimEnd() ?? "";
}

/** The identity and state of a process or thread: proc_pid_stat(5). */
export interface Stat {
  readonly pid: number;
  /** Its name, as ps(1) shows it. */
  readonly command: string;
  /** Its state, a letter: "Z" is a zombie. */
  readonly state: string;
  /** The time of its start, in clock ticks since boot. */
  readonly startTime: number;
}

/**
 * Reads the identity and state of a process or thread.
 *
 * @param process The directory that /proc has of it.
 * @throws {SyscallError} ENOENT or ESRCH when there is none.
 */
export function readStat(process: string): Stat {
  const text = readFile(`${process}/stat`);
  // The command may hold anything, parentheses too.
  const end = text.lastIndexOf(")");
  const fields = text.slice(end + 2).split(" ");
  return {
    pid: parseInt(text),
    command: text.slice(text.indexOf("(") + 1, end),
    state: fields[0]!,
    // The 22nd field; the state is the third.
    startTime: Number(fields[19]),
  };
}

/** The signals that a process ignores and catches: proc_pid_status(5). */
export interface Dispositions {
  ignores(name: SignalName): boolean;
  catches(name: SignalName): boolean;
}

/**
 * Reads the signals that a process ignores and catches.
 *
 * @param pidfd The process, by default this one.
 * @throws {SyscallError} ENOENT when there is no such process.
 */
export function dispositions(pidfd?: number): Dispositions {
  return dispositionsOf(pidfd === undefined ? "self" : numberInProc(pidfd));
}

/**
 * Reads which signals the first child of a process ignores and catches.
 *
 * @param pidfd The process, which was not reaped yet.
 * @returns Null if it has no child. A kernel without CONFIG_PROC_CHILDREN does
 * not tell children: then no signal is ignored or caught.
 * @throws {SyscallError}
 */
export function dispositionsOfChild(pidfd: number): Dispositions | null {
  const name = numberInProc(pidfd);
  let children: string;
  try {
    children = readFile(`/proc/${name}/task/${name}/children`);
  } catch (error) {
    const what = "/proc, for the children of a process";
    if (!lacks(what, error, ENOENT)) throw error;
    return { ignores: () => false, catches: () => false };
  }
  const [child] = children.split(" ");
  try {
    return child ? dispositionsOf(child) : null;
  } catch (error) {
    if (!isErrno(error, ENOENT, ESRCH)) throw error;
    return null;
  }
}

function dispositionsOf(process: string): Dispositions {
  const field = readFields(`/proc/${process}/status`);
  const has = (mask: string) => {
    const signals = BigInt(`0x${field(mask)}`);
    return (name: SignalName) =>
      (signals >> BigInt(SIGNALS[name] - 1) & 1n) !== 0n;
  };
  return { ignores: has("SigIgn"), catches: has("SigCgt") };
}

/** A process's number in the PID namespace that /proc shows: proc_pid_fdinfo(5). */
function numberInProc(pidfd: number): string {
  return readFields(`/proc/self/fdinfo/${pidfd}`)("Pid");
}
