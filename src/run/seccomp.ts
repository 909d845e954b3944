/**
 * Filters of a command's system calls, by profiles as docker and podman have them:
 * Debian's golang-github-containers-common installs podman's as
 * /usr/share/containers/seccomp.json.
 */
import {
  ACTIONS,
  type Comparison,
  COMPARISONS,
  exportFilter,
  type Filter,
  type FilterRule,
  PROCESSORS,
} from "../sys/seccomp.ts";
import { memfdCreate, MFD_CLOEXEC, read } from "../sys/file.ts";
import { O_RDONLY } from "../sys/constants.ts";
import { uname } from "../sys/process.ts";
import { open, readFile } from "../fd/open.ts";
import { OwnedFd, procPath } from "../fd/owned_fd.ts";
import { attempt } from "../error/error.ts";
import { quote } from "../base/text.ts";

/** The processor, capabilities and kernel that a filter is made for. */
export interface Target {
  /** `Deno.build.arch`. */
  readonly processor: string;
  /** The capabilities that the command may have, null for all. */
  readonly capabilities: readonly string[] | null;
  /** The kernel's release. */
  readonly release: string;
}

/** Other words for processors, as profiles have them: Go's. */
const GO_PROCESSORS: Readonly<Record<string, readonly string[]>> = {
  x86_64: ["amd64", "x86", "x32"],
  aarch64: ["arm64", "arm"],
};

const ERRNO_DEFAULT = 1; // EPERM

/** More instructions the kernel takes not: BPF_MAXINSNS. */
const MOST_BYTES = 4096 * 8;

/**
 * Reads a profile and makes its filter.
 *
 * @param path The profile.
 * @param capabilities The names of those that the command may have, null for all.
 * @returns The kernel's program: `struct sock_filter[]`.
 * @throws {RangeError} For a file that is no profile.
 * @throws {MountError} For one that can't be read.
 * @throws {UnsupportedError} If libseccomp is not installed.
 */
export function makeFilter(
  path: string,
  capabilities: Target["capabilities"],
): Uint8Array<ArrayBuffer> {
  const attempted = { action: `filter calls by ${quote(path)}`, target: path };
  return attempt(attempted, () => {
    const { release } = uname();
    const processor = Deno.build.arch;
    const filter = parseProfile(readFile(path), {
      processor,
      capabilities,
      release,
    });
    using file = new OwnedFd(memfdCreate("mountat filter", MFD_CLOEXEC));
    exportFilter(filter, file.fd);
    // It was written to the end.
    using again = open(procPath(file.fd), O_RDONLY);
    const bytes = new Uint8Array(MOST_BYTES);
    return bytes.slice(0, read(again.fd, bytes));
  });
}

/**
 * Parses a profile.
 *
 * @throws {RangeError} For what is none, or says what is not known here.
 */
export function parseProfile(text: string, target: Target): Filter {
  const profile = object("The profile", parseJson(text));
  const action = actionOf(profile["defaultAction"], profile["defaultErrnoRet"]);
  const own = target.processor.toUpperCase();
  const processors = array("archMap", profile["archMap"]).flatMap((entry) => {
    const { architecture, subArchitectures } = object("archMap", entry);
    return architecture === `SCMP_ARCH_${own}`
      ? array("subArchitectures", subArchitectures).map((name) =>
        known("processor", PROCESSORS, name)
      )
      : [];
  });
  const rules = array("syscalls", profile["syscalls"]).flatMap((entry) => {
    const rule = object("syscalls", entry);
    return applies(rule, target) ? rulesOf(rule) : [];
  });
  return { action, processors, rules };
}

function applies(rule: Record<string, unknown>, target: Target): boolean {
  const includes = object("includes", rule["includes"] ?? {});
  const excludes = object("excludes", rule["excludes"] ?? {});
  const { capabilities } = target;
  const has = (name: unknown) =>
    capabilities === null || capabilities.includes(String(name));
  const is = (name: unknown) =>
    (GO_PROCESSORS[target.processor] ?? []).includes(String(name));
  const processors = array("arches", includes["arches"]);
  return array("caps", includes["caps"]).every(has) &&
    !array("caps", excludes["caps"]).some(has) &&
    (processors.length === 0 || processors.some(is)) &&
    !array("arches", excludes["arches"]).some(is) &&
    (includes["minKernel"] === undefined ||
      !isOlder(target.release, includes["minKernel"])) &&
    (excludes["minKernel"] === undefined ||
      isOlder(target.release, excludes["minKernel"]));
}

/** True if a release of the kernel comes before a version. */
function isOlder(release: string, version: unknown): boolean {
  const numbers = (text: string) =>
    (/^(\d+)\.(\d+)/.exec(text) ?? []).slice(1).map(Number);
  const [major = 0, minor = 0] = numbers(release);
  const [least = 0, second = 0] = numbers(String(version));
  return major < least || major === least && minor < second;
}

function rulesOf(rule: Record<string, unknown>): FilterRule[] {
  const { name, names } = rule;
  const all = name === undefined ? array("names", names) : [name];
  const action = actionOf(rule["action"], rule["errnoRet"]);
  const comparisons = array("args", rule["args"]).map(comparisonOf);
  const common = { names: all.map(String), action };
  const indices = new Set(comparisons.map(({ index }) => index));
  // Of one argument each is enough, as for runc.
  return indices.size < comparisons.length
    ? comparisons.map((one) => ({ ...common, comparisons: [one] }))
    : [{ ...common, comparisons }];
}

function comparisonOf(entry: unknown): Comparison {
  const { index, value, valueTwo, op } = object("args", entry);
  return {
    index: number("index", index, 5),
    op: known("comparison", COMPARISONS, op),
    value: BigInt(number("value", value, Number.MAX_SAFE_INTEGER)),
    valueTwo: BigInt(
      number("valueTwo", valueTwo ?? 0, Number.MAX_SAFE_INTEGER),
    ),
  };
}

function actionOf(name: unknown, errno: unknown): number {
  const action = known("action", ACTIONS, name);
  return name === "SCMP_ACT_ERRNO"
    ? action + number("errnoRet", errno ?? ERRNO_DEFAULT, 4095)
    : action;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RangeError("The profile of system calls is no JSON", { cause });
  }
}

function object(name: string, value: unknown): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new RangeError(`${name} must be an object in a profile of calls`);
}

/** A list; what is missing or null is an empty one. */
function array(name: string, value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  if (value === undefined || value === null) return [];
  throw new RangeError(`${name} must be a list in a profile of calls`);
}

function number(name: string, value: unknown, most: number): number {
  if (
    typeof value === "number" && Number.isInteger(value) && value >= 0 &&
    value <= most
  ) return value;
  throw new RangeError(`${name} must be a whole number in a profile of calls`);
}

function known(
  what: string,
  values: Readonly<Record<string, number>>,
  name: unknown,
): number {
  if (typeof name === "string" && Object.hasOwn(values, name)) {
    return values[name]!;
  }
  throw new RangeError(`Unknown ${what} ${quote(String(name))} in a profile`);
}
