/** Pipes, read and written on other threads: a call may wait. */
import { bindNonblocking } from "./libc.ts";
import { read } from "./read.ts";
import { write } from "./write.ts";

let readNonblocking: ReturnType<typeof bindNonblocking<"read">> | undefined;
let writeNonblocking: ReturnType<typeof bindNonblocking<"write">> | undefined;

/**
 * Reads from a pipe as soon as there is something.
 *
 * @param fd The pipe; it must stay open until this has an answer.
 * @param buffer Where to read to.
 * @returns How many bytes were read, 0 at the end.
 * @throws {SyscallError} As read(2) lists them.
 */
export async function readPipe(
  fd: number,
  buffer: Uint8Array<ArrayBuffer>,
): Promise<number> {
  readNonblocking ??= bindNonblocking("read");
  const count = await readNonblocking(fd, buffer, buffer.length);
  // What it failed with, only a call of this thread tells.
  return count === -1 ? read(fd, buffer) : count;
}

/**
 * Writes to a pipe as soon as there is room.
 *
 * @param fd The pipe; it must stay open until this has an answer.
 * @param bytes What to write.
 * @returns How many bytes were written.
 * @throws {SyscallError} EPIPE when nobody can read them any more.
 */
export async function writePipe(
  fd: number,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<number> {
  writeNonblocking ??= bindNonblocking("write");
  const count = await writeNonblocking(fd, bytes, bytes.length);
  return count === -1 ? write(fd, bytes) : count;
}
