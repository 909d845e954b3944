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
  if (tracer) {
    const copied = errno[0]!;
    try {
      tracer({ syscall, args, result, errno: number });
    } catch (error) {
      // Thrown from here it would lose what the call made.
      queueMicrotask(() => {
        throw error;
      });
    }
    // The tracer may have made calls of its own.
    errno[0] = copied;
  }
  if (result === -1) throw new SyscallError(syscall, number, args);
}
