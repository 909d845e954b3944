import { flags32 } from "./argument.ts";
import { O_CLOEXEC, O_NONBLOCK } from "./constants.ts";
import { flagNames } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/**
 * Makes a pipe.
 *
 * `int pipe2(int pipefd[2], int flags);`
 *
 * See pipe(2).
 *
 * @param flags `O_*`.
 * @returns The end to read from, and the one to write to.
 * @throws {SyscallError} EMFILE, ENFILE.
 */
export function pipe2(
  flags: number = O_CLOEXEC,
): [reading: number, writing: number] {
  const bits = flags32("flags", flags);
  const ends = new Int32Array(new ArrayBuffer(8));
  const buffer = new Uint8Array(ends.buffer);
  const result = libc.pipe2(NR.pipe2, buffer, bits);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) {
    settle(result, "pipe2", [
      result === -1 ? "…" : `[${ends.join(", ")}]`,
      flagNames(bits >>> 0, { O_CLOEXEC, O_NONBLOCK }),
    ]);
  }
  return [ends[0]!, ends[1]!];
}
