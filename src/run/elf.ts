/** The part of elf(5) that names a program's loader. */
import { decodeText } from "../base/text.ts";

/** The kind of program header that names the loader. */
const PT_INTERP = 3;

/** The offsets of the fields, for files of 32 bits and of 64. */
const LAYOUTS = {
  1: {
    phoff: 28,
    phentsize: 42,
    phnum: 44,
    offset: 4,
    filesz: 16,
    wide: false,
  },
  2: { phoff: 32, phentsize: 54, phnum: 56, offset: 8, filesz: 32, wide: true },
} as const;

/**
 * The path of the loader of an ELF file.
 *
 * @param head The file, as far as it is known.
 * @returns The path; null if the file is no ELF file, or needs no loader.
 */
export function parseElfInterpreter(head: Uint8Array): string | null {
  const isElf = [0x7f, 0x45, 0x4c, 0x46].every((byte, i) => head[i] === byte);
  if (!isElf) return null;
  const layout = LAYOUTS[head[4] as 1 | 2];
  const isLittle = head[5] === 1;
  if (layout === undefined) return null;
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const address = (at: number) =>
    layout.wide
      ? Number(view.getBigUint64(at, isLittle))
      : view.getUint32(at, isLittle);
  try {
    const start = address(layout.phoff);
    const size = view.getUint16(layout.phentsize, isLittle);
    const count = view.getUint16(layout.phnum, isLittle);
    for (let i = 0; i < count; i++) {
      const at = start + i * size;
      if (view.getUint32(at, isLittle) !== PT_INTERP) continue;
      const begin = address(at + layout.offset);
      // With a NUL at its end.
      const end = begin + address(at + layout.filesz) - 1;
      if (end > head.length) return null;
      return decodeText(head.subarray(begin, end));
    }
  } catch (error) {
    // The file ends before.
    if (!(error instanceof RangeError)) throw error;
  }
  return null;
}
