import { SyscallError } from "./error.ts";
import type { Argument } from "./format.ts";
import { errno } from "./libc.ts";
import { tracer } from "./trace.ts";

/**
 * Ends a call that failed or is traced: tells the tracer, then throws if it
 * failed. `copyErrno` must have been called before.
 *
 * @throws {SyscallError} When `result` is -1.
 */
export function settle(
  result: number,
  syscall: string,
  args: readonly Argument[],
): void {
  const number = result === -1 ? errno[0]! : 0;
  tracer?.({ syscall, args, result, errno: number });
  if (result === -1) throw new SyscallError(syscall, number, args);
}
