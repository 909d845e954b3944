import { libraryPath } from "./libc.ts";
import { decodeText } from "./text.ts";

const ENVIRON = {
  // extern char **environ;
  environ: { type: "usize" },
} as const satisfies Deno.ForeignLibraryInterface;

const FUNCTIONS = {
  // size_t strlen(const char *s);
  strlen: { parameters: ["usize"], result: "usize" },
  // void *memcpy(void *dest, const void *src, size_t n);
  memcpy: { parameters: ["buffer", "usize", "usize"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

let functions: Deno.DynamicLibrary<typeof FUNCTIONS>["symbols"] | undefined;

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
  // `environ` is read as it is now, when it is bound.
  const { symbols: { environ } } = Deno.dlopen(libraryPath(), ENVIRON);
  functions ??= Deno.dlopen(libraryPath(), FUNCTIONS).symbols;
  const { memcpy, strlen } = functions;
  const entries: string[] = [];
  const word = new BigUint64Array(new ArrayBuffer(8));
  const pointer = new Uint8Array(word.buffer);
  for (let at = BigInt(environ); at !== 0n; at += 8n) {
    memcpy(pointer, at, 8n);
    const [address] = word;
    if (!address) break;
    const bytes = new Uint8Array(Number(strlen(address)));
    memcpy(bytes, address, BigInt(bytes.length));
    entries.push(decodeText(bytes));
  }
  return entries;
}
