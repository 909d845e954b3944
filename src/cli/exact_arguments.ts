import { readFile } from "../read_file.ts";
import { SyscallError } from "../sys/error.ts";
import { encodeText } from "../sys/text.ts";

/**
 * This process's arguments as the kernel has them. Deno replaces bytes that are
 * no UTF-8 by U+FFFD, which would name another file.
 *
 * @param args The arguments as Deno has them.
 * @returns The arguments, such bytes as lone surrogates; `args` itself where
 * they are not those that this process was started with.
 */
export function exactArguments(args: string[]): string[] {
  let line: string;
  try {
    line = readFile("/proc/self/cmdline");
  } catch (error) {
    if (error instanceof SyscallError) return args;
    throw error;
  }
  const words = line.split("\0").slice(0, -1).slice(-args.length);
  const lossy = new TextDecoder();
  const same = words.length === args.length &&
    words.every((word, i) => lossy.decode(encodeText(word)) === args[i]);
  return same ? words : args;
}
