/** Limits of a command's resources: getrlimit(2). */
import { readFile } from "../fd/open.ts";
import { SyscallError } from "../sys/error.ts";
import { checkRecord, nearest } from "../base/check.ts";
import { quote } from "../base/text.ts";

/** The name of a limit, as prlimit(1) has it. */
export type LimitName =
  | "cpu"
  | "fsize"
  | "data"
  | "stack"
  | "core"
  | "rss"
  | "nproc"
  | "nofile"
  | "memlock"
  | "as"
  | "locks"
  | "sigpending"
  | "msgqueue"
  | "nice"
  | "rtprio"
  | "rttime";

/** The limits by their names: include/uapi/asm-generic/resource.h. */
export const RESOURCES: Readonly<Record<LimitName, number>> = {
  cpu: 0,
  fsize: 1,
  data: 2,
  stack: 3,
  core: 4,
  rss: 5,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  as: 9,
  locks: 10,
  sigpending: 11,
  msgqueue: 12,
  nice: 13,
  rtprio: 14,
  rttime: 15,
};

/** A limit, in bytes, seconds or whatever it counts; `"unlimited"` is none. */
export type LimitValue = number | "unlimited";

/**
 * A command's limit: one value for both the soft and the hard limit, or each of
 * them.
 */
export type LimitOption = LimitValue | {
  readonly soft: LimitValue;
  readonly hard: LimitValue;
};

/** A limit to set. */
export interface Limit {
  readonly resource: number;
  readonly soft: bigint;
  readonly hard: bigint;
}

const UNLIMITED = 0xffff_ffff_ffff_ffffn;

/**
 * Checks limits that a caller asks for.
 *
 * @throws {TypeError | RangeError}
 */
export function parseLimits(
  options: Readonly<Partial<Record<LimitName, LimitOption>>>,
): Limit[] {
  checkRecord('"limits"', options);
  return Object.entries(options).map(([name, option]) => {
    if (!Object.hasOwn(RESOURCES, name)) {
      const known = Object.keys(RESOURCES);
      throw new TypeError(
        `Unknown limit ${quote(name)}${nearest(name, known)}`,
      );
    }
    const both = typeof option === "object" && option !== null
      ? option
      : { soft: option, hard: option };
    const soft = parseValue(name, both.soft);
    const hard = parseValue(name, both.hard);
    if (soft > hard) {
      throw new RangeError(`The limit ${quote(name)} is above its hard limit`);
    }
    return { resource: RESOURCES[name as LimitName], soft, hard };
  });
}

function parseValue(name: string, value: LimitValue): bigint {
  if (value === "unlimited") return UNLIMITED;
  if (typeof value !== "number") {
    throw new TypeError(
      `The limit ${quote(name)} must be a number or "unlimited"`,
    );
  }
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(
      `The limit ${quote(name)} must be a whole number: received ${value}`,
    );
  }
  return BigInt(value);
}

/** The soft limit that the kernel gives the first process. Most systems keep it. */
const USUAL_OPEN_FILES = 1024n;

let openFiles: Limit | null | undefined;

/**
 * The limit of open files that this process was started with. Deno raises the
 * soft limit at once, as far as it may. The parent process still has the old one,
 * unless the limit was set for this process alone. So the parent's limit is taken
 * if both have the same hard limit; otherwise the usual one.
 *
 * @returns Null if /proc does not show this process.
 */
export function inheritedOpenFiles(): Limit | null {
  return openFiles ??= findOpenFiles();
}

function findOpenFiles(): Limit | null {
  const own = readOpenFiles("self");
  if (own === null) return null;
  const { hard } = own;
  const parents = readOpenFiles(String(Deno.ppid));
  if (parents?.hard === hard) return parents;
  const soft = own.soft < USUAL_OPEN_FILES ? own.soft : USUAL_OPEN_FILES;
  return { ...own, soft: hard < soft ? hard : soft };
}

function readOpenFiles(process: string): Limit | null {
  try {
    const text = readFile(`/proc/${process}/limits`);
    const [, soft, hard] = /^Max open files +(\w+) +(\w+)/m.exec(text)!;
    const parse = (word: string) =>
      word === "unlimited" ? UNLIMITED : BigInt(word);
    return {
      resource: RESOURCES.nofile,
      soft: parse(soft!),
      hard: parse(hard!),
    };
  } catch (error) {
    // The process has ended, or is not in the PID namespace that /proc shows.
    if (!(error instanceof SyscallError)) throw error;
    return null;
  }
}
