/** The options of mount(8) that put a file behind a loop device. */
import type { Parameter } from "./mount_options.ts";

/** How a file is to be shown by a loop device. */
export interface LoopOptions {
  /** The device; one that is free where it is not given. */
  readonly device?: string;
  /** Where in the file the device begins, in bytes. */
  readonly offset: bigint;
  /** The greatest size of the device, in bytes; 0 is all of the file. */
  readonly sizelimit: bigint;
}

/**
 * Takes the words for a loop device out of the others: `loop`, and where that
 * is given `offset` and `sizelimit`, which are a file system's own otherwise.
 *
 * @throws {TypeError} For a value that is none of theirs.
 */
export function takeLoopOptions(
  parameters: readonly Parameter[],
): { loop?: LoopOptions; parameters: readonly Parameter[] } {
  const valueOf = (name: string) =>
    parameters.findLast(({ key }) => key === name)?.value;
  const device = valueOf("loop");
  if (device === undefined) return { parameters };
  if (device !== true && (typeof device !== "string" || device === "")) {
    throw new TypeError(
      'The option "loop" takes the path of a device, or none',
    );
  }
  return {
    loop: {
      ...(device === true ? {} : { device }),
      offset: bytes("offset", valueOf("offset")),
      sizelimit: bytes("sizelimit", valueOf("sizelimit")),
    },
    parameters: parameters.filter(({ key }) =>
      !["loop", "offset", "sizelimit"].includes(key)
    ),
  };
}

const UNITS = ["", "K", "M", "G", "T"];

/** The kernel takes no more: an offset in a file is signed. */
const MOST = 2n ** 63n;

function bytes(key: string, value: Parameter["value"] = "0"): bigint {
  const [, number, unit] = typeof value === "string"
    ? /^(\d+)(?:([KMGT])(?:iB)?)?$/.exec(value) ?? []
    : [];
  const size = number === undefined
    ? MOST
    : BigInt(number) << BigInt(10 * UNITS.indexOf(unit ?? ""));
  if (size >= MOST) {
    throw new TypeError(
      `The option "${key}" must be a number of bytes, or one of KiB as in 64K, of MiB (M), GiB (G) or TiB (T)`,
    );
  }
  return size;
}
