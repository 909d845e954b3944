/** posix_spawn(3): a process is started as by vfork(2), whatever this one's size. */
import { addressOf, type ThreadCall, wordsOf } from "./thread.ts";
import { errno, ERRNO_SIZE, libc, libraryPath, NR } from "./libc.ts";
import { UnsupportedError } from "./error.ts";
import { cString, flagNames, int32, settle, tracer, uint32 } from "./call.ts";
import { LITTLE_ENDIAN, SIGSET_SIZE, UCONTEXT } from "./layout.ts";
import { quote } from "../base/text.ts";
import { CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER } from "./constants.ts";
import { SIG_SETMASK, SIGKILL } from "./process.ts";

/** Options of {@linkcode prepareSpawn}. */
export interface SpawnOptions {
  /**
   * The descriptors that become 0, 1 and 2; no other is inherited. Here they are
   * close-on-exec, or have that number already.
   */
  readonly descriptors: readonly [number, number, number];
  /**
   * The process group to join, null for this process's, or that of its session.
   */
  readonly processGroup: number | null;
  /**
   * True if it starts a session, without a terminal, and in it a process group.
   *
   * @default {false}
   */
  readonly newSession?: boolean;
  /**
   * True if its process group comes to the foreground of the terminal on 0.
   *
   * @default {false}
   */
  readonly foreground?: boolean;
}

/** A process that is ready to be started, by any thread. */
export interface PreparedSpawn extends Disposable {
  /** The call that starts it. */
  readonly call: ThreadCall;
  /** The process that was started, as this PID namespace has it. */
  readonly pid: number;
}

/** Room for a `posix_spawn_file_actions_t` and a `posix_spawnattr_t`, 80 and 336 bytes. */
export const ACTIONS_SIZE = 256;

export const ATTRIBUTES_SIZE = 512;

// spawn.h, the same in glibc and musl.
export const POSIX_SPAWN_SETPGROUP = 0x02;

export const POSIX_SPAWN_SETSIGDEF = 0x04;

export const POSIX_SPAWN_SETSID = 0x80;

/** SIGPIPE, which Deno ignores, and glibc's own two, which it would ignore there. */
const NOT_IGNORED = 1n << 12n | 3n << 31n;

/** Bytes of a `sigset_t`. */
const LIBC_SIGSET_SIZE = 128;

const SPAWN_SYMBOLS = {
  // int posix_spawn_file_actions_init(posix_spawn_file_actions_t *);
  posix_spawn_file_actions_init: { parameters: ["buffer"], result: "i32" },
  posix_spawn_file_actions_destroy: { parameters: ["buffer"], result: "i32" },
  // int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *, int fd, int newfd);
  posix_spawn_file_actions_adddup2: {
    parameters: ["buffer", "i32", "i32"],
    result: "i32",
  },
  // int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int from);
  posix_spawn_file_actions_addclosefrom_np: {
    parameters: ["buffer", "i32"],
    result: "i32",
  },
  // int posix_spawnattr_init(posix_spawnattr_t *);
  posix_spawnattr_init: { parameters: ["buffer"], result: "i32" },
  posix_spawnattr_destroy: { parameters: ["buffer"], result: "i32" },
  // int posix_spawnattr_setflags(posix_spawnattr_t *, short flags);
  posix_spawnattr_setflags: { parameters: ["buffer", "i16"], result: "i32" },
  // int posix_spawnattr_setpgroup(posix_spawnattr_t *, pid_t pgroup);
  posix_spawnattr_setpgroup: { parameters: ["buffer", "i32"], result: "i32" },
  // int posix_spawnattr_setsigdefault(posix_spawnattr_t *, const sigset_t *);
  posix_spawnattr_setsigdefault: {
    parameters: ["buffer", "buffer"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const FOREGROUND_SYMBOLS = {
  // int posix_spawn_file_actions_addtcsetpgrp_np(posix_spawn_file_actions_t *, int tcfd);
  posix_spawn_file_actions_addtcsetpgrp_np: {
    parameters: ["buffer", "i32"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

let spawnSymbols:
  | Deno.DynamicLibrary<typeof SPAWN_SYMBOLS>["symbols"]
  | undefined;

let foregroundSymbols:
  | Deno.DynamicLibrary<typeof FOREGROUND_SYMBOLS>["symbols"]
  | undefined;

function bindSpawn<S extends Deno.ForeignLibraryInterface>(
  symbols: S,
): Deno.DynamicLibrary<S>["symbols"] {
  const path = libraryPath();
  try {
    return Deno.dlopen(path, symbols).symbols;
  } catch (error) {
    throw new UnsupportedError(
      "The C library can't start a process as it must be: glibc 2.35 can",
      { cause: error },
    );
  }
}

/**
 * Makes a process ready to be started.
 *
 * `int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *file_actions, const posix_spawnattr_t *attrp, char *const argv[], char *const envp[]);`
 *
 * See posix_spawn(3). Signals that Deno ignores are not ignored in it.
 *
 * @param file The program; without a slash it is looked for on this process's
 * PATH.
 * @param args Its arguments, its own name first.
 * @param environment Its environment, `NAME=value`.
 * @param options Its descriptors, process group and session.
 * @returns The call. It is disposed of when it was made.
 * @throws {UnsupportedError} Where the C library can't do it.
 */
export function prepareSpawn(
  file: string,
  args: readonly string[],
  environment: readonly string[],
  { descriptors, processGroup, newSession = false, foreground = false }:
    SpawnOptions,
): PreparedSpawn {
  const libc = spawnSymbols ??= bindSpawn(SPAWN_SYMBOLS);
  const path = cString("file", file);
  const argv = stringArray("args", args);
  const envp = stringArray("env", environment);
  const pid = new Int32Array(new ArrayBuffer(4));
  const actions = new Uint8Array(ACTIONS_SIZE);
  const attributes = new Uint8Array(ATTRIBUTES_SIZE);
  libc.posix_spawn_file_actions_init(actions);
  libc.posix_spawnattr_init(attributes);
  if (processGroup !== null) {
    libc.posix_spawnattr_setpgroup(attributes, int32("group", processGroup));
  }
  libc.posix_spawnattr_setflags(
    attributes,
    POSIX_SPAWN_SETSIGDEF |
      (processGroup === null ? 0 : POSIX_SPAWN_SETPGROUP) |
      (newSession ? POSIX_SPAWN_SETSID : 0),
  );
  const defaults = new Uint8Array(LIBC_SIGSET_SIZE);
  new DataView(defaults.buffer).setBigUint64(0, NOT_IGNORED, LITTLE_ENDIAN);
  libc.posix_spawnattr_setsigdefault(attributes, defaults);
  descriptors.forEach((fd, to) =>
    libc.posix_spawn_file_actions_adddup2(actions, int32("fd", fd), to)
  );
  if (foreground) {
    foregroundSymbols ??= bindSpawn(FOREGROUND_SYMBOLS);
    foregroundSymbols.posix_spawn_file_actions_addtcsetpgrp_np(actions, 0);
  }
  libc.posix_spawn_file_actions_addclosefrom_np(actions, 3);
  return {
    call: {
      name: "posix_spawnp",
      args: [
        new Uint8Array(pid.buffer),
        path,
        actions,
        attributes,
        argv,
        envp,
      ],
      text: [quote(file), `[${args.map(quote).join(", ")}]`, "…"],
    },
    get pid() {
      return pid[0]!;
    },
    [Symbol.dispose]() {
      libc.posix_spawn_file_actions_destroy(actions);
      libc.posix_spawnattr_destroy(attributes);
    },
  };
}

/** A null-terminated array of strings, which follow it in the same memory. */
export function stringArray(
  name: string,
  texts: readonly string[],
): Uint8Array<ArrayBuffer> {
  const strings = texts.map((text) => cString(name, text));
  const start = (strings.length + 1) * 8;
  const size = strings.reduce((sum, { length }) => sum + length, start);
  const memory = new Uint8Array(new ArrayBuffer(size));
  const table = new DataView(memory.buffer);
  const address = addressOf(memory);
  let at = start;
  strings.forEach((string, i) => {
    table.setBigUint64(i * 8, address + BigInt(at), LITTLE_ENDIAN);
    memory.set(string, at);
    at += string.length;
  });
  return memory;
}

// Processes that run no program: all they do is to make the system calls that
// they are given. One costs what a thread costs, whatever this process's size,
// and needs nothing of the file system.

// include/uapi/linux/sched.h
export const CLONE_VM = 0x100;

const NAMES = { CLONE_VM, CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID };

/** More than one call needs. */
const STEP_STACK_BYTES = 4096;

/** Words of a call: its number, and six arguments. */
const CALL_WORDS = 7;

const CLONE_SYMBOLS = {
  // int clone(int (*fn)(void *), void *stack, int flags, void *arg);
  clone: {
    parameters: ["pointer", "usize", "i32", "buffer"],
    result: "i32",
  },
  // int getcontext(ucontext_t *ucp);
  getcontext: { parameters: ["buffer"], result: "i32" },
  // void makecontext(ucontext_t *ucp, void (*func)(void), int argc, ...);
  makecontext: {
    parameters: [
      "buffer",
      "pointer",
      "i32",
      "i64",
      "i64",
      "i64",
      "i64",
      "i64",
      "i64",
      "i64",
    ],
    result: "void",
  },
  // int setcontext(const ucontext_t *ucp);
  setcontext: { type: "pointer" },
  // long syscall(long number, ...);
  syscall: { type: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

let cloneSymbols:
  | Deno.DynamicLibrary<typeof CLONE_SYMBOLS>["symbols"]
  | undefined;

/** A process that makes calls. */
export interface CallingProcess {
  /** Its number in this PID namespace. */
  readonly pid: number;
  /** The memory that it works with: if shared, to be kept as long as it lives. */
  readonly memory: unknown;
}

/**
 * Starts a process that makes system calls, one after another, whether or not
 * they succeed, and ends. With `CLONE_VM` it shares this process's memory, as the
 * child of vfork(2) does, on a stack of its own; descriptors and the rest are
 * copies.
 * Every signal is blocked in it, for the handlers are Deno's. Its end sends no
 * signal: wait for it with `__WALL`.
 *
 * The calls are a chain of contexts: makecontext(3) makes of each a call of
 * syscall(2), and the end of one leads to the next.
 *
 * `int clone(int (*fn)(void *), void *stack, int flags, void *arg);`
 *
 * See clone(2).
 *
 * @param flags `CLONE_NEW*`, and `CLONE_VM` where the memory is kept.
 * @param calls The calls.
 * @returns The process.
 * @throws {SyscallError} EPERM without CAP_SYS_ADMIN, ENOSPC where there are as
 * many namespaces as there may be, EAGAIN.
 * @throws {UnsupportedError} Where the C library has no contexts, as musl.
 */
export function cloneCalls(
  flags: number,
  calls: readonly ThreadCall[],
): CallingProcess {
  cloneSymbols ??= bindClone();
  const { getcontext, makecontext, setcontext, syscall, clone } = cloneSymbols;
  const chain = [...calls, EXIT];
  const contexts = chain.length * UCONTEXT.SIZE;
  const memory = new Uint8Array(
    new ArrayBuffer(contexts + (chain.length + 1) * STEP_STACK_BYTES),
  );
  const view = new DataView(memory.buffer);
  const address = addressOf(memory);
  const signals = new Uint8Array(SIGSET_SIZE);
  setSignalMask(new Uint8Array(SIGSET_SIZE).fill(0xff), signals);
  chain.forEach((call, i) => {
    const at = i * UCONTEXT.SIZE;
    const context = memory.subarray(at, at + UCONTEXT.SIZE);
    // This takes over the blocked signals.
    getcontext(context);
    const next = i + 1 < chain.length
      ? address + BigInt(at + UCONTEXT.SIZE)
      : 0n;
    const stack = address + BigInt(contexts + i * STEP_STACK_BYTES);
    view.setBigUint64(at + UCONTEXT.uc_link, next, LITTLE_ENDIAN);
    view.setBigUint64(at + UCONTEXT.ss_sp, stack, LITTLE_ENDIAN);
    view.setBigUint64(
      at + UCONTEXT.ss_size,
      BigInt(STEP_STACK_BYTES),
      LITTLE_ENDIAN,
    );
    const words = wordsOf(call, CALL_WORDS) as [
      bigint,
      bigint,
      bigint,
      bigint,
      bigint,
      bigint,
      bigint,
    ];
    makecontext(context, syscall, CALL_WORDS, ...words);
  });
  const top = address + BigInt(memory.length) & ~15n;
  const pid = clone(setcontext, top, flags, memory);
  if (pid === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  setSignalMask(signals, null);
  if (pid === -1 || tracer) {
    settle(pid, "clone", [flagNames(flags >>> 0, NAMES)]);
  }
  return { pid, memory: [memory, calls] };
}

/** Without it the C library would end this process's affairs. */
const EXIT: ThreadCall = { name: "exit_group", args: [0], text: ["0"] };

function bindClone(): Deno.DynamicLibrary<typeof CLONE_SYMBOLS>["symbols"] {
  const path = libraryPath();
  try {
    return Deno.dlopen(path, CLONE_SYMBOLS).symbols;
  } catch (error) {
    throw new UnsupportedError(
      "The C library has no makecontext(3): glibc has",
      { cause: error },
    );
  }
}

function setSignalMask(
  mask: Uint8Array<ArrayBuffer>,
  before: Uint8Array<ArrayBuffer> | null,
): void {
  libc.rt_sigprocmask(
    NR.rt_sigprocmask,
    SIG_SETMASK,
    mask,
    before,
    BigInt(SIGSET_SIZE),
  );
}

/** More than sleep(3) needs. */
const SLEEP_STACK_BYTES = 16_384;

const SLEEP_SYMBOLS = {
  // int clone(int (*fn)(void *), void *stack, int flags, void *arg);
  clone: { parameters: ["pointer", "buffer", "i32", "usize"], result: "i32" },
  // unsigned int sleep(unsigned int seconds);
  sleep: { type: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

let sleepSymbols:
  | Deno.DynamicLibrary<typeof SLEEP_SYMBOLS>["symbols"]
  | undefined;

// include/uapi/linux/prctl.h
export const PR_SET_PDEATHSIG = 1;

/**
 * Makes a child that sleeps and ends: a copy of this process, in new
 * namespaces, that runs nothing. It has the descriptors of this process until it
 * ends, for there is no exec(2). It ends with the thread that made it, too, but
 * with musl, where it runs sleep(3), which does not see to that.
 *
 * `int clone(int (*fn)(void *), void *stack, int flags, void *arg);`
 *
 * See clone(2). Its end sends no signal: wait for it with `__WALL`.
 *
 * @param flags `CLONE_NEW*`.
 * @param seconds The time that it sleeps when nobody ends it before.
 * @returns The child.
 * @throws {SyscallError} EPERM without CAP_SYS_ADMIN, ENOSPC where there are as
 * many namespaces as there may be.
 */
export function cloneSleeping(flags: number, seconds: number): number {
  flags = int32("flags", flags);
  seconds = uint32("seconds", seconds);
  const time = new BigUint64Array([BigInt(seconds), 0n]);
  const timeout = new Uint8Array(time.buffer);
  try {
    return cloneCalls(flags, [
      { name: "prctl", args: [PR_SET_PDEATHSIG, SIGKILL], text: [] },
      { name: "ppoll", args: [null, 0, timeout, null, 0], text: [] },
    ]).pid;
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
  }
  sleepSymbols ??= Deno.dlopen(libraryPath(), SLEEP_SYMBOLS).symbols;
  // It grows downwards, in the child's copy of it.
  const top = new Uint8Array(SLEEP_STACK_BYTES).subarray(-16);
  const child = sleepSymbols.clone(
    sleepSymbols.sleep,
    top,
    flags,
    BigInt(seconds),
  );
  if (child === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (child === -1 || tracer) {
    settle(child, "clone", [
      "sleep",
      "…",
      flagNames(flags >>> 0, { CLONE_NEWUSER }),
      String(seconds),
    ]);
  }
  return child;
}
