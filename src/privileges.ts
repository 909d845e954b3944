/** What this thread may do, for who asks why it may not. */
import { readFile } from "./read_file.ts";
import { AT_FDCWD } from "./sys/constants.ts";
import { readlinkat } from "./sys/readlinkat.ts";

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
