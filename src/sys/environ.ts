import { libraryPath } from "./libc.ts";
import { decodeText } from "./text.ts";

const SYMBOLS = {
  // extern char **environ;
  environ: { type: "usize" },
  // size_t strlen(const char *s);
  strlen: { parameters: ["usize"], result: "usize" },
  // void *memcpy(void *dest, const void *src, size_t n);
  memcpy: { parameters: ["buffer", "usize", "usize"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

// Addresses go as numbers: what makes pointers of them takes the permission for
// all libraries.

/**
 * This process's environment byte for byte, as its C library has it.
 *
 * See environ(7).
 *
 * @returns `NAME=value` each.
 */
export function environ(): string[] {
  const { symbols } = Deno.dlopen(libraryPath(), SYMBOLS);
  const entries: string[] = [];
  const word = new BigUint64Array(new ArrayBuffer(8));
  const pointer = new Uint8Array(word.buffer);
  for (let at = BigInt(symbols.environ); at !== 0n; at += 8n) {
    symbols.memcpy(pointer, at, 8n);
    const [address] = word;
    if (!address) break;
    const bytes = new Uint8Array(Number(symbols.strlen(address)));
    symbols.memcpy(bytes, address, BigInt(bytes.length));
    entries.push(decodeText(bytes));
  }
  return entries;
}
