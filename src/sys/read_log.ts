import { EMSGSIZE, ENODATA } from "./errno.ts";
import { SyscallError } from "./error.ts";
import { read } from "./read.ts";
import { decodeText } from "./text.ts";

/** A message that the kernel left on a file system context. */
export interface LogMessage {
  /** How serious it is. */
  level: "error" | "warning" | "info";
  /** The kernel's words: `tmpfs: Unknown parameter 'nosuch'`. */
  message: string;
}

/**
 * Reads, and so removes, the messages on a file system context. The kernel
 * keeps eight.
 *
 * Since Linux 5.2; see fsopen(2).
 *
 * @param fd The descriptor from `fsopen` or `fspick`.
 * @returns The messages, oldest first; none when there are none.
 * @throws {SyscallError} EBADF when it is not open, and what read(2) answers for
 * other files.
 */
export function readLog(fd: number): LogMessage[] {
  const messages: LogMessage[] = [];
  let buffer = new Uint8Array(1024);
  while (true) {
    try {
      const count = read(fd, buffer);
      // Never so for a context; a file that has an end is none.
      if (count === 0) return messages;
      messages.push(parseMessage(decodeText(buffer.subarray(0, count))));
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      if (error.errno === ENODATA) return messages;
      if (error.errno !== EMSGSIZE || buffer.length >= MOST_BYTES) throw error;
      buffer = new Uint8Array(buffer.length * 4);
    }
  }
}

const MOST_BYTES = 1 << 20;

const LEVELS: Readonly<Record<string, LogMessage["level"]>> = {
  e: "error",
  w: "warning",
};

/** Parses one message: its level's letter, a space, the words, a newline. */
export function parseMessage(line: string): LogMessage {
  return {
    level: LEVELS[line[0] ?? ""] ?? "info",
    message: line.slice(2).replace(/\n$/, ""),
  };
}
