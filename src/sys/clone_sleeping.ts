import { int32, uint32 } from "./argument.ts";
import { CLONE_NEWUSER } from "./constants.ts";
import { cloneCalls } from "./clone_calls.ts";
import { UnsupportedError } from "./error.ts";
import { flagNames } from "./format.ts";
import { SIGKILL } from "./kill.ts";
import { errno, ERRNO_SIZE, libc, libraryPath } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/** More than sleep(3) needs. */
const STACK_BYTES = 16_384;

const SYMBOLS = {
  // int clone(int (*fn)(void *), void *stack, int flags, void *arg);
  clone: { parameters: ["pointer", "buffer", "i32", "usize"], result: "i32" },
  // unsigned int sleep(unsigned int seconds);
  sleep: { type: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

let symbols: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | undefined;

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
 * @param seconds How long it sleeps when nobody ends it before.
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
  symbols ??= Deno.dlopen(libraryPath(), SYMBOLS).symbols;
  // It grows downwards, in the child's copy of it.
  const top = new Uint8Array(STACK_BYTES).subarray(-16);
  const child = symbols.clone(symbols.sleep, top, flags, BigInt(seconds));
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
