/**
 * Calls on processes: their ids, signals, namespaces, environment, terminals and
 * end. thread.ts has threads, spawn.ts starts processes.
 */
import {
  cString,
  flagNames,
  flags32,
  int32,
  settle,
  tracer,
  uint32,
  uint64,
} from "./call.ts";
import { errno, ERRNO_SIZE, libc, libraryPath, NR } from "./libc.ts";
import {
  LITTLE_ENDIAN,
  RUSAGE,
  SIGINFO,
  type SignalName,
  SIGNALS,
  SIGSET_SIZE,
} from "./layout.ts";
import { decodeText } from "../base/text.ts";
import {
  CLONE_EMPTY_MNTNS,
  CLONE_FS,
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  UNSHARE_EMPTY_MNTNS,
} from "./constants.ts";

/** Kills a process, which can't catch it: include/uapi/asm-generic/signal.h. */
export const SIGKILL = 9;

/**
 * Sends a signal to a process.
 *
 * `int kill(pid_t pid, int sig);`
 *
 * See kill(2).
 *
 * @param pid The process.
 * @param signal The signal's number.
 * @throws {SyscallError} ESRCH when there is no such process, EPERM.
 */
export function kill(pid: number, signal: number): void {
  pid = int32("pid", pid);
  signal = int32("signal", signal);
  const result = libc.kill(NR.kill, pid, signal);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "kill", [String(pid), String(signal)]);
  }
}

/** Wait for a process by its number: include/uapi/linux/wait.h. */
export const P_PID = 1;

/** Wait for a process to end. */
export const WEXITED = 0x4;

/** Wait also for a child that sends no signal when it ends. */
export const __WALL = 0x4000_0000;

/** The process exited: include/uapi/asm-generic/siginfo.h. */
export const CLD_EXITED = 1;

/** The end of a process, and the resources that it used. */
export interface Ended {
  /** Its exit status, null when a signal ended it. */
  readonly status: number | null;
  /** The number of that signal. */
  readonly signal: number | null;
  /** `struct rusage`. */
  readonly usage: Usage;
}

/** The resources that a process and its children used: getrusage(2). */
export interface Usage {
  /** Milliseconds of processor time outside the kernel. */
  readonly userTime: number;
  /** Milliseconds of processor time in the kernel. */
  readonly systemTime: number;
  /** The most memory that one of the processes had, in bytes. */
  readonly maxRss: number;
  /** The number of page faults without a read. */
  readonly minorFaults: number;
  /**
   * The number of page faults that needed a read, from a disk for example.
   */
  readonly majorFaults: number;
  /** The number of reads from a disk. */
  readonly blockReads: number;
  /** The number of writes to a disk. */
  readonly blockWrites: number;
  /** The number of times that the processes waited for something. */
  readonly voluntarySwitches: number;
  /**
   * The number of times that the kernel took the processor from the processes.
   */
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
 * @returns Its end.
 * @throws {SyscallError} ECHILD if it is no child, EINTR if a signal came
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

/** Reads a `struct rusage`. */
export function decodeUsage(view: DataView): Usage {
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

// include/uapi/linux/capability.h
export const _LINUX_CAPABILITY_VERSION_3 = 0x2008_0522;

/** A `struct __user_cap_header_struct` of the calling thread. */
export const CAPABILITY_HEADER: Uint8Array<ArrayBuffer> = new Uint8Array(
  new Uint32Array([_LINUX_CAPABILITY_VERSION_3, 0]).buffer,
);

/** Sets of capabilities, a bit each. */
export interface CapabilitySets {
  readonly effective: bigint;
  readonly permitted: bigint;
  readonly inheritable: bigint;
}

/**
 * Gets the capabilities of the calling thread.
 *
 * `int capget(cap_user_header_t hdrp, cap_user_data_t datap);`
 *
 * See capget(2).
 */
export function capget(): CapabilitySets {
  const result = libc.capget(NR.capget, CAPABILITY_HEADER, capabilityData);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  // The first struct has the low halves of the sets.
  const set = (i: number) =>
    BigInt(capabilityWords[i]!) | BigInt(capabilityWords[3 + i]!) << 32n;
  const sets = { effective: set(0), permitted: set(1), inheritable: set(2) };
  if (result === -1 || tracer) settle(result, "capget", ["…", "…"]);
  return sets;
}

/** Two `struct __user_cap_data_struct`, reused by each call. */
const capabilityWords = new Uint32Array(new ArrayBuffer(24));

const capabilityData = new Uint8Array(capabilityWords.buffer);

/**
 * Opens a descriptor of a process. poll(2) finds it readable when the process
 * has ended.
 *
 * `int pidfd_open(pid_t pid, unsigned int flags);`
 *
 * Since Linux 5.3; see pidfd_open(2).
 *
 * @param pid The process.
 * @param flags `PIDFD_*`.
 * @returns The descriptor, closed on exec.
 * @throws {SyscallError} ESRCH if there is no such process.
 */
export function pidfdOpen(pid: number, flags: number = 0): number {
  pid = int32("pid", pid);
  flags = uint32("flags", flags);
  const fd = libc.pidfd_open(NR.pidfd_open, pid, flags);
  if (fd === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (fd === -1 || tracer) {
    settle(fd, "pidfd_open", [String(pid), flagNames(flags, {})]);
  }
  return fd;
}

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
 * @throws {SyscallError} ENOTTY or EINVAL if the kernel lacks the operation,
 * ESRCH if the process has ended.
 */
export function pidfdGetPidNamespace(pidfd: number): number {
  return open(pidfd, PIDFD_GET_PID_NAMESPACE, "PIDFD_GET_PID_NAMESPACE");
}

/**
 * Opens the PID namespace that the children of a process will be in, even if it
 * has no process yet.
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

// include/uapi/asm-generic/signal-defs.h
export const SIG_DFL = 0n;

export const SIG_IGN = 1n;

/** Bytes of the kernel's `struct sigaction`, the handler first. */
const SIGACTION_SIZE = 32;

/**
 * Makes a `struct sigaction`.
 *
 * @param handler {@linkcode SIG_DFL} or {@linkcode SIG_IGN}.
 */
export function sigaction(handler: bigint): Uint8Array<ArrayBuffer> {
  const action = new DataView(new ArrayBuffer(SIGACTION_SIZE));
  action.setBigUint64(0, handler, LITTLE_ENDIAN);
  return new Uint8Array(action.buffer);
}

/**
 * Gives a signal its default action again if this process ignores it. A process
 * inherits ignored signals from its parent.
 *
 * `int rt_sigaction(int signum, const struct sigaction *act, struct sigaction *oldact, size_t sigsetsize);`
 *
 * See sigaction(2).
 */
export function stopIgnoring(name: SignalName): void {
  if (ignores(name)) rtSigaction(name, sigaction(SIG_DFL), null);
}

/**
 * True if this process ignores a signal.
 *
 * `int rt_sigaction(int signum, const struct sigaction *act, struct sigaction *oldact, size_t sigsetsize);`
 *
 * See sigaction(2).
 */
export function ignores(name: SignalName): boolean {
  return handlerOf(name) === SIG_IGN;
}

/**
 * True if this process neither ignores nor catches a signal.
 *
 * `int rt_sigaction(int signum, const struct sigaction *act, struct sigaction *oldact, size_t sigsetsize);`
 *
 * See sigaction(2).
 */
export function hasDefaultAction(name: SignalName): boolean {
  return handlerOf(name) === SIG_DFL;
}

function handlerOf(name: SignalName): bigint {
  const now = sigaction(SIG_DFL);
  rtSigaction(name, null, now);
  return new DataView(now.buffer).getBigUint64(0, LITTLE_ENDIAN);
}

/** Makes this process, and its later children, ignore a signal. */
export function startIgnoring(name: SignalName): void {
  rtSigaction(name, sigaction(SIG_IGN), null);
}

function rtSigaction(
  name: SignalName,
  action: Uint8Array<ArrayBuffer> | null,
  before: Uint8Array<ArrayBuffer> | null,
): void {
  const result = libc.rt_sigaction(
    NR.rt_sigaction,
    SIGNALS[name],
    action,
    before,
    BigInt(SIGSET_SIZE),
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "rt_sigaction", [
      name,
      action === null ? "NULL" : action[0] === 1 ? "SIG_IGN" : "SIG_DFL",
      before === null ? "NULL" : "…",
      String(SIGSET_SIZE),
    ]);
  }
}

// include/uapi/asm-generic/ioctls.h
export const TCGETS = 0x5401;

export const TIOCGPGRP = 0x540f;

export const TIOCSPGRP = 0x5410;

// include/uapi/asm-generic/signal.h
export const SIG_BLOCK = 0;

export const SIG_SETMASK = 2;

/**
 * The foreground process group of this process's terminal.
 *
 * @param fd The terminal.
 * @returns The group; 0 if it is in another PID namespace; null if `fd` is not
 * this process's terminal.
 */
export function foregroundGroup(fd: number): number | null {
  const group = new Int32Array(new ArrayBuffer(4));
  const bytes = new Uint8Array(group.buffer);
  const result = libc.ioctl(NR.ioctl, int32("fd", fd), TIOCGPGRP, bytes);
  return result === -1 ? null : group[0]!;
}

/** True if a descriptor refers to a terminal: isatty(3). */
export function isTerminal(fd: number): boolean {
  // Larger than a `struct termios`.
  const settings = new Uint8Array(new ArrayBuffer(64));
  return libc.ioctl(NR.ioctl, int32("fd", fd), TCGETS, settings) !== -1;
}

/**
 * The effective user id of this thread, as its user namespace has it.
 *
 * `uid_t geteuid(void);`
 *
 * See geteuid(2).
 */
export function geteuid(): number {
  const result = libc.geteuid(NR.geteuid);
  if (tracer) settle(result, "geteuid", []);
  return result >>> 0;
}

/** This process's process group. */
export function processGroup(): number {
  return libc.getpgid(NR.getpgid, 0);
}

/**
 * Brings a process group to the foreground of this process's terminal. It also
 * works from the background, where the call would usually stop this process.
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

/** Bytes of a field of `struct new_utsname`, include/uapi/linux/utsname.h. */
const FIELD_SIZE = 65;

/** The fields, in their order. */
const FIELDS = [
  "sysname",
  "nodename",
  "release",
  "version",
  "machine",
  "domainname",
] as const;

/** The kernel's names for itself and the machine. */
export type Utsname = Record<(typeof FIELDS)[number], string>;

/**
 * Gets the names of the kernel, its release, and the machine.
 *
 * `int uname(struct new_utsname *buf);`
 *
 * See uname(2).
 */
export function uname(): Utsname {
  const buffer = new Uint8Array(FIELD_SIZE * FIELDS.length);
  const result = libc.uname(NR.uname, buffer);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) settle(result, "uname", ["…"]);
  return Object.fromEntries(FIELDS.map((name, i) => {
    const field = buffer.subarray(i * FIELD_SIZE, (i + 1) * FIELD_SIZE);
    return [name, decodeText(field.subarray(0, field.indexOf(0)))];
  })) as Utsname;
}

const ENVIRON = {
  // extern char **environ;
  environ: { type: "usize" },
} as const satisfies Deno.ForeignLibraryInterface;

const DLSYM = {
  // void *dlsym(void *handle, const char *symbol);
  dlsym: { parameters: ["usize", "buffer"], result: "usize" },
} as const satisfies Deno.ForeignLibraryInterface;

const FUNCTIONS = {
  // size_t strlen(const char *s);
  strlen: { parameters: ["usize"], result: "usize" },
  // void *memcpy(void *dest, const void *src, size_t n);
  memcpy: { parameters: ["buffer", "usize", "usize"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

let functions: Deno.DynamicLibrary<typeof FUNCTIONS>["symbols"] | undefined;

// Addresses are passed as numbers: making pointers of them needs the permission
// for all libraries.

let environAddress: bigint | null | undefined;

/**
 * The address of `environ`; null without dlsym(3) in libc: before glibc 2.34.
 */
function findEnviron(): bigint | null {
  try {
    const { symbols } = Deno.dlopen(libraryPath(), DLSYM);
    const address = BigInt(symbols.dlsym(0n, cString("symbol", "environ")));
    return address === 0n ? null : address;
  } catch {
    return null;
  }
}

/**
 * This process's environment byte for byte, from the C library's `environ`.
 *
 * See environ(7).
 *
 * @returns `NAME=value` each.
 */
export function environ(): string[] {
  functions ??= Deno.dlopen(libraryPath(), FUNCTIONS).symbols;
  const { memcpy, strlen } = functions;
  const entries: string[] = [];
  const word = new BigUint64Array(new ArrayBuffer(8));
  const pointer = new Uint8Array(word.buffer);
  environAddress ??= findEnviron();
  if (environAddress !== null) memcpy(pointer, environAddress, 8n);
  else {
    // Binding reads the variable's current value.
    const { symbols } = Deno.dlopen(libraryPath(), ENVIRON);
    word[0] = BigInt(symbols.environ);
  }
  for (let at = word[0]!; at !== 0n; at += 8n) {
    memcpy(pointer, at, 8n);
    const [address] = word;
    if (!address) break;
    const bytes = new Uint8Array(Number(strlen(address)));
    memcpy(bytes, address, BigInt(bytes.length));
    entries.push(decodeText(bytes));
  }
  return entries;
}

/**
 * Gives the calling thread, and no other, namespaces or a working directory of
 * its own.
 *
 * `int unshare(unsigned long flags);`
 *
 * See unshare(2). After `CLONE_NEWNS`, Deno's synchronous file functions see
 * the new mount namespace. Its asynchronous ones don't: they run on other
 * threads.
 *
 * @param flags `CLONE_NEW*`, `CLONE_FS`, and since Linux 7.1 `UNSHARE_EMPTY_MNTNS`.
 * @throws {SyscallError} EPERM without CAP_SYS_ADMIN, EINVAL for
 * `CLONE_NEWUSER` in a process with several threads and for an unknown flag.
 */
export function unshare(flags: number | bigint): void {
  const bits = uint64("flags", flags);
  const result = libc.unshare(NR.unshare, bits);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "unshare", [flagNames(bits, UNSHARE_FLAGS)]);
  }
}

const SETNS_FLAGS = {
  CLONE_NEWTIME,
  CLONE_NEWNS,
  CLONE_NEWCGROUP,
  CLONE_NEWUTS,
  CLONE_NEWIPC,
  CLONE_NEWUSER,
  CLONE_NEWPID,
  CLONE_NEWNET,
};

const UNSHARE_FLAGS = { CLONE_FS, UNSHARE_EMPTY_MNTNS, ...SETNS_FLAGS };

// include/uapi/linux/sched.h
const CLONE_VM = 0x100n;
const CLONE_PIDFD = 0x1000n;

/** An address that the kernel can't write to. */
const NOWHERE = (1n << 64n) - 1n;

/**
 * Calls clone3(2) so that it fails and makes no child: its last step, to write
 * the pidfd, gets a bad address. An earlier error shows that the kernel refuses
 * the flags.
 *
 * `long clone3(struct clone_args *cl_args, size_t size);`
 *
 * Since Linux 5.3; see clone3(2).
 *
 * @param flags `CLONE_*`.
 * @throws {SyscallError} Always: EFAULT if the kernel knows and allows all
 * flags, EINVAL for an unknown flag, EPERM for a namespace without
 * CAP_SYS_ADMIN.
 */
export function refusedClone3(flags: bigint): void {
  // With CLONE_VM the kernel copies no page tables.
  const bits = uint64("flags", flags) | CLONE_VM | CLONE_PIDFD;
  const args = new BigUint64Array(new ArrayBuffer(CLONE_ARGS_SIZE_VER0));
  args.set([bits, NOWHERE]);
  const result = libc.clone3(
    NR.clone3,
    new Uint8Array(args.buffer),
    BigInt(CLONE_ARGS_SIZE_VER0),
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "clone3", [
      `{flags=${flagNames(bits, CLONE3_FLAGS)}, pidfd=0x${
        NOWHERE.toString(16)
      }}`,
      String(CLONE_ARGS_SIZE_VER0),
    ]);
  }
}

// include/uapi/linux/sched.h
const CLONE_ARGS_SIZE_VER0 = 64;

const CLONE3_FLAGS = {
  CLONE_VM,
  CLONE_PIDFD,
  ...SETNS_FLAGS,
  CLONE_EMPTY_MNTNS,
};

/**
 * Moves the calling thread, and no other, into a namespace.
 *
 * `int setns(int fd, int nstype);`
 *
 * See setns(2).
 *
 * @param fd A descriptor of the namespace, from /proc/PID/ns, or a pidfd.
 * @param nstype The `CLONE_NEW*` it must be, or 0 for any.
 * @throws {SyscallError} EINVAL for a mount namespace while the thread shares
 * its working directory with another (call `unshare` with `CLONE_FS` before),
 * EPERM without CAP_SYS_ADMIN.
 */
export function setns(fd: number, nstype: number): void {
  fd = int32("fd", fd);
  const bits = flags32("nstype", nstype);
  const result = libc.setns(NR.setns, fd, bits);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "setns", [{ fd }, flagNames(bits >>> 0, SETNS_FLAGS)]);
  }
}
