import { OwnedFd } from "./owned_fd.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDONLY } from "./sys/constants.ts";
import { openat2 } from "./sys/openat2.ts";
import { read } from "./sys/read.ts";
import { decodeText } from "./sys/text.ts";

/**
 * Reads a file by system calls: without a permission to read, and in the mount
 * namespace of the calling thread.
 *
 * @throws {SyscallError} What openat2(2) and read(2) answer.
 */
export function readFile(path: string): string {
  using file = new OwnedFd(
    openat2(AT_FDCWD, path, { flags: O_RDONLY | O_CLOEXEC }),
  );
  return readAll(file.fd);
}

/**
 * Reads to the end of an open file.
 *
 * @throws {SyscallError} What read(2) answers.
 */
export function readAll(fd: number): string {
  let buffer = new Uint8Array(16384);
  let length = 0;
  while (true) {
    const count = read(fd, buffer.subarray(length));
    if (count === 0) return decodeText(buffer.subarray(0, length));
    length += count;
    if (length === buffer.length) {
      const larger = new Uint8Array(buffer.length * 2);
      larger.set(buffer);
      buffer = larger;
    }
  }
}
