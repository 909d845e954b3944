import { EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR } from "../sys/errno.ts";
import { isErrno, SyscallError } from "../sys/error.ts";
import { quote } from "../base/text.ts";
import { statx } from "../sys/file.ts";
import { AT_EMPTY_PATH, STATX_MODE, STATX_TYPE } from "../sys/constants.ts";
import { environ } from "../sys/process.ts";
import { openInRoot, readFile, S_IFMT, S_IFREG } from "../fd/open.ts";

/** The path that execvp(3) uses if there is no PATH. */
const DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin";

/**
 * Finds the paths at which a program may be, in the order that execvp(3) has, in a
 * directory that will be the root. Only the kernel knows which of them it executes
 * for a user, from a mount. As execvp(3) does, the command tries one after another.
 * If the kernel refuses a file because it is no executable, no shell is tried.
 *
 * @param root The root.
 * @param name The program; without a slash it is looked for on the path.
 * @param cwd The working directory.
 * @param path PATH, undefined if there is none.
 * @returns Its paths in that root, absolute or relative to `cwd`; one at least.
 * @throws {SyscallError} Of execve(2): ENOENT, EACCES if what was found is
 * nothing to execute, ENAMETOOLONG.
 */
export function findPrograms(
  root: number,
  name: string,
  cwd: string,
  path: string = DEFAULT_PATH,
): string[] {
  if (name.includes("/")) return [name];
  const seen = new Set<string | null>();
  const found = path.split(":").map((directory) =>
    `${directory || "."}/${name}`
  )
    .filter((candidate) => {
      const what = lookForProgram(root, `${cwd}/`, candidate);
      seen.add(what);
      return what === "executable";
    });
  if (found.length > 0) return found;
  const number = seen.has("denied")
    ? EACCES
    : seen.has("too long")
    ? ENAMETOOLONG
    : ENOENT;
  throw new SyscallError("execve", number, [quote(name), "…", "…"]);
}

function lookForProgram(
  root: number,
  cwd: string,
  path: string,
): "executable" | "denied" | "too long" | null {
  const from = path.startsWith("/") ? path : cwd + path;
  try {
    using file = openInRoot(root, from);
    const { mode } = statx(
      file.fd,
      "",
      AT_EMPTY_PATH,
      STATX_TYPE | STATX_MODE,
    );
    // A regular file that somebody may execute.
    const executable = (mode! & S_IFMT) === S_IFREG && (mode! & 0o111) !== 0;
    return executable ? "executable" : "denied";
  } catch (error) {
    if (isErrno(error, ENOENT, ENOTDIR, ELOOP)) return null;
    if (isErrno(error, EACCES)) return "denied";
    if (isErrno(error, ENAMETOOLONG)) return "too long";
    throw error;
  }
}

/**
 * The environment of this process as it was started, and changed since, but for
 * what Deno adds where PATH leads to no node: a variable, and a directory of its
 * own as the first of PATH.
 *
 * @returns `NAME=value` each.
 * @throws {SyscallError} If Deno did, and /proc can't be read.
 */
export function inheritedEnvironment(): string[] {
  const entries = environ();
  if (!entries.some(isDenos)) return entries;
  const given = readFile("/proc/self/environ").split("\0");
  if (given.some(isDenos)) return entries;
  return entries.filter((entry) => !isDenos(entry))
    .map((entry) => entry.replace(/^PATH=[^:]*\/node_compat_bin(:|$)/, "PATH="))
    .filter((entry) => entry !== "PATH=" || given.includes(entry));
}

function isDenos(entry: string): boolean {
  return entry.startsWith("DENO_NODE_SHIM_ACTIVE=");
}
