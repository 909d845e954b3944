/**
 * Processes that run no code of their own: they only make given system calls.
 * Such a process costs as much as a thread, even if this process is large, and
 * needs no file of the file system.
 */
import { addressOf, type ThreadCall, wordsOf } from "./thread.ts";
import { errno, ERRNO_SIZE, libc, libraryPath, NR } from "./libc.ts";
import { fallBack, UnsupportedError } from "./error.ts";
import { cString, flagNames, int32, settle, tracer, uint32 } from "./call.ts";
import { LITTLE_ENDIAN, SIGSET_SIZE, UCONTEXT } from "./layout.ts";
import {
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from "./constants.ts";
import { SIG_SETMASK, SIGKILL } from "./process.ts";

/**
 * Makes a null-terminated array of strings; the strings follow in its memory.
 */
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

// include/uapi/linux/sched.h
export const CLONE_VM = 0x100;

/** The starting thread waits until the process executes a program, or ends. */
export const CLONE_VFORK = 0x4000;

const NAMES = {
  CLONE_VM,
  CLONE_VFORK,
  CLONE_NEWNS,
  CLONE_NEWUTS,
  CLONE_NEWIPC,
  CLONE_NEWUSER,
  CLONE_NEWPID,
  CLONE_NEWNET,
};

/** More stack than a call needs. */
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
  // void *memcpy(void *dest, const void *src, size_t n);
  memcpy: { parameters: ["pointer", "buffer", "usize"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

let cloneSymbols:
  | Deno.DynamicLibrary<typeof CLONE_SYMBOLS>["symbols"]
  | undefined;

/** A process that makes calls. */
export interface CallingProcess {
  /** Its number in this PID namespace. */
  readonly pid: number;
  /**
   * With `CLONE_VM`, the error number of the last of its calls that failed
   * before it ended or executed a program; 0 for none.
   */
  readonly errno: number;
}

/**
 * Starts a process that makes system calls one after another, even if some
 * fail, and ends. With `CLONE_VM` it shares this process's memory, as a child
 * of vfork(2) does, on a stack of its own; it has copies of descriptors and the
 * rest. `CLONE_VM` needs `CLONE_VFORK`, because this function owns the memory.
 * All signals are blocked in the process, because their handlers are Deno's.
 * Its end sends no signal: wait for it with `__WALL`.
 *
 * The calls are a chain of contexts. makecontext(3) turns each into a call of
 * syscall(2), and each context continues with the next.
 *
 * `int clone(int (*fn)(void *), void *stack, int flags, void *arg);`
 *
 * See clone(2).
 *
 * @param flags `CLONE_NEW*`, `CLONE_VM` and `CLONE_VFORK`.
 * @param calls The calls.
 * @param status Its exit status after them.
 * @returns The process.
 * @throws {SyscallError} EPERM without CAP_SYS_ADMIN, ENOSPC if the limit of
 * namespaces is reached, EAGAIN.
 * @throws {UnsupportedError} If the C library has no contexts, as musl.
 */
export function cloneCalls(
  flags: number,
  calls: readonly ThreadCall[],
  status = 0,
): CallingProcess {
  cloneSymbols ??= bindClone();
  const { getcontext, makecontext, setcontext, syscall, clone, memcpy } =
    cloneSymbols;
  // Without this last call, the C library would run exit(3), with the exit
  // handlers of this process.
  const exit = { name: "exit_group", args: [status], text: [] } as const;
  const chain = [...calls, exit];
  const contexts = chain.length * UCONTEXT.SIZE;
  const memory = new Uint8Array(
    new ArrayBuffer(contexts + (chain.length + 1) * STEP_STACK_BYTES),
  );
  const view = new DataView(memory.buffer);
  const address = addressOf(memory);
  const signals = new Uint8Array(SIGSET_SIZE);
  if (!setSignalMask(new Uint8Array(SIGSET_SIZE).fill(0xff), signals)) {
    settle(-1, "rt_sigprocmask", ["SIG_SETMASK", "~[]", "…", "8"]);
  }
  chain.forEach((call, i) => {
    const at = i * UCONTEXT.SIZE;
    const context = memory.subarray(at, at + UCONTEXT.SIZE);
    // getcontext(3) also saves the mask of blocked signals.
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
  // A process with this memory writes its errors to this thread's errno.
  memcpy(libc.errnoLocation, new Uint8Array(4), ERRNO_SIZE);
  const pid = clone(setcontext, top, flags, memory);
  libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  const number = errno[0]!;
  // The same call has just succeeded. If it fails now, a tracer such as strace
  // made it fail: try again.
  if (!setSignalMask(signals, null)) setSignalMask(signals, null);
  errno[0] = number;
  if (pid === -1 || tracer) {
    settle(pid, "clone", [flagNames(flags >>> 0, NAMES)]);
  }
  return { pid, errno: (flags & CLONE_VM) === 0 ? 0 : number };
}

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
): boolean {
  const result = libc.rt_sigprocmask(
    NR.rt_sigprocmask,
    SIG_SETMASK,
    mask,
    before,
    BigInt(SIGSET_SIZE),
  );
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  return result !== -1;
}

/** More stack than sleep(3) needs. */
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
 * namespaces, that runs nothing. It keeps copies of this process's descriptors
 * until it ends, because it calls no exec(2). It also ends with the thread that
 * made it, except with musl, where it runs sleep(3).
 *
 * `int clone(int (*fn)(void *), void *stack, int flags, void *arg);`
 *
 * See clone(2). Its end sends no signal: wait for it with `__WALL`.
 *
 * @param flags `CLONE_NEW*`.
 * @param seconds The time that it sleeps, unless a signal kills it before.
 * @returns The child.
 * @throws {SyscallError} EPERM without CAP_SYS_ADMIN, ENOSPC if the limit of
 * namespaces is reached.
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
    fallBack("makecontext");
  }
  sleepSymbols ??= Deno.dlopen(libraryPath(), SLEEP_SYMBOLS).symbols;
  // The stack grows downwards, in the child's copy of the memory.
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
