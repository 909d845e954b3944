/**
 * Processes that run no program: all they do is to make the system calls that
 * they are given. One costs what a thread costs, whatever this process's size,
 * and needs nothing of the file system.
 */
import { UnsupportedError } from "./error.ts";
import { flagNames } from "./format.ts";
import { LITTLE_ENDIAN, UCONTEXT } from "./layout.ts";
import { errno, ERRNO_SIZE, libc, libraryPath, NR } from "./libc.ts";
import { CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER } from "./constants.ts";
import { settle } from "./settle.ts";
import { SIGSET_SIZE } from "./signals.ts";
import { SIG_SETMASK } from "./terminal.ts";
import { addressOf, type ThreadCall, wordsOf } from "./thread.ts";
import { tracer } from "./trace.ts";

// include/uapi/linux/sched.h
export const CLONE_VM = 0x100;

const NAMES = { CLONE_VM, CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID };

/** More than one call needs. */
const STACK_BYTES = 4096;
/** Words of a call: its number, and six arguments. */
const CALL_WORDS = 7;

const SYMBOLS = {
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

let symbols: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | undefined;

/** A process that makes calls. */
export interface CallingProcess {
  /** Its number in this PID namespace. */
  readonly pid: number;
  /** What it works with: where it is shared, to be kept for as long as it lives. */
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
  symbols ??= bind();
  const { getcontext, makecontext, setcontext, syscall, clone } = symbols;
  const chain = [...calls, EXIT];
  const contexts = chain.length * UCONTEXT.SIZE;
  const memory = new Uint8Array(
    new ArrayBuffer(contexts + (chain.length + 1) * STACK_BYTES),
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
    const stack = address + BigInt(contexts + i * STACK_BYTES);
    view.setBigUint64(at + UCONTEXT.uc_link, next, LITTLE_ENDIAN);
    view.setBigUint64(at + UCONTEXT.ss_sp, stack, LITTLE_ENDIAN);
    view.setBigUint64(
      at + UCONTEXT.ss_size,
      BigInt(STACK_BYTES),
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

function bind(): Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] {
  const path = libraryPath();
  try {
    return Deno.dlopen(path, SYMBOLS).symbols;
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
