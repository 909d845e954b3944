/** Reads files that the caller names, as long as they have an end in sight. */
import { readFile } from "../fd/open.ts";
import { quote } from "../base/text.ts";
import { UsageError } from "./print.ts";

/** No configuration and no table of mounts is larger: 16 MiB. */
const MOST_BYTES = 16 << 20;

/**
 * Reads a file.
 *
 * @throws {SyscallError} What openat2(2) and read(2) answer.
 * @throws {UsageError} For more than 16 MiB.
 */
export function readInputFile(file: string): string {
  try {
    return readFile(file, MOST_BYTES);
  } catch (error) {
    throw error instanceof RangeError ? tooMuch(quote(file)) : error;
  }
}

/**
 * Reads standard input to its end.
 *
 * @throws {UsageError} For more than 16 MiB.
 */
export async function readStandardInput(): Promise<string> {
  let length = 0;
  const limit = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      length += chunk.length;
      if (length > MOST_BYTES) throw tooMuch("standard input");
      controller.enqueue(chunk);
    },
  });
  return await new Response(Deno.stdin.readable.pipeThrough(limit)).text();
}

function tooMuch(what: string): UsageError {
  return new UsageError(`Cannot read ${what}: it has more than 16 MiB`);
}
