/** Why a program could not be executed, by what is seen of it in its root. */
import { openInRoot, S_IFDIR, S_IFMT, S_IFREG } from "../fd/open.ts";
import { OwnedFd, procPath } from "../fd/owned_fd.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_CLOEXEC,
  O_RDONLY,
  STATX_GID,
  STATX_MODE,
  STATX_TYPE,
  STATX_UID,
} from "../sys/constants.ts";
import { ENOENT } from "../sys/errno.ts";
import { isErrno, SyscallError, type UnsupportedError } from "../sys/error.ts";
import { explain, type MountError } from "../error/error.ts";
import { openat2, read, statx } from "../sys/file.ts";
import { decodeText, quote } from "../base/text.ts";
import { parseElfInterpreter } from "./elf.ts";
import { findPrograms } from "./program.ts";
import type { Plan } from "./options.ts";

/** The part of a plan that says who executes a program, and where. */
type Execution = Pick<
  Plan,
  "command" | "cwd" | "environment" | "ids" | "groups" | "mounts"
>;

/** The most interpreters of interpreters that the kernel follows. */
const MOST_INTERPRETERS = 5;

/** As much of a script as the kernel reads: BINPRM_BUF_SIZE. */
const HEAD_BYTES = 256;

/**
 * Explains the error of execve(2) by looking at the program in its root.
 *
 * @param root The root. The mounts that were made in it are gone by now.
 */
export function explainExecution(
  error: SyscallError,
  root: number,
  plan: Execution,
): MountError | UnsupportedError {
  const hint = whyNotExecuted(error, root, plan);
  const [program] = plan.command;
  return explain(
    { action: `run ${quote(program)}`, target: program },
    error,
    hint === undefined ? {} : { hint },
  );
}

/** @returns The reason, or undefined if none is found. */
function whyNotExecuted(
  error: SyscallError,
  root: number,
  plan: Execution,
): string | undefined {
  const { command, cwd, environment, mounts } = plan;
  const from = (name: string) => name.startsWith("/") ? name : `${cwd}/${name}`;
  try {
    const path = environment.find((entry) => entry.startsWith("PATH="))
      ?.slice(5);
    let [name] = findPrograms(root, command[0], cwd, path) as [string];
    let what = `The program ${quote(name)}`;
    for (let left = MOST_INTERPRETERS; left > 0; left--) {
      if (error.code === "EACCES") {
        const denied = whyDenied(root, from(name), plan);
        if (denied !== undefined) return `${what}: ${denied}`;
      }
      using file = openInRoot(root, from(name));
      const interpreter = interpreterOf(file);
      if (interpreter === null) return undefined;
      what = `The ${interpreter.kind} of ${quote(name)}, ${
        quote(interpreter.path)
      }`;
      name = interpreter.path;
      if (!isMissing(root, from(name))) continue;
      // It may have been in one of the mounts.
      return mounts.length === 0
        ? `${what}, is not in the root`
        : `${what}, must be in the root, too`;
    }
  } catch (failure) {
    // The caller gets the error of execve(2), and not this one.
    if (!(failure instanceof SyscallError)) throw failure;
  }
  return undefined;
}

function isMissing(root: number, path: string): boolean {
  try {
    openInRoot(root, path).close();
    return false;
  } catch (error) {
    if (isErrno(error, ENOENT)) return true;
    throw error;
  }
}

/** The program that the kernel executes in place of a file: execve(2). */
function interpreterOf(
  file: OwnedFd,
): { kind: "interpreter" | "loader"; path: string } | null {
  const { mode } = statx(file.fd, "", AT_EMPTY_PATH, STATX_TYPE);
  if ((mode! & S_IFMT) !== S_IFREG) return null;
  // A descriptor of O_PATH can't be read.
  const flags = O_RDONLY | O_CLOEXEC;
  using readable = new OwnedFd(
    openat2(AT_FDCWD, procPath(file.fd), { flags }),
  );
  const bytes = new Uint8Array(65536);
  const head = bytes.subarray(0, read(readable.fd, bytes));
  const [, script] = /^#![ \t]*([^ \t\n\0]+)/.exec(
    decodeText(head.subarray(0, HEAD_BYTES)),
  ) ?? [];
  if (script !== undefined) return { kind: "interpreter", path: script };
  const path = parseElfInterpreter(head);
  return path === null ? null : { kind: "loader", path };
}

/** Why a user may not execute a file, or go there. */
function whyDenied(
  root: number,
  path: string,
  { ids, groups }: Execution,
): string | undefined {
  // Root is refused nothing that anybody may execute.
  if (ids === null || (ids.uid ?? 0) === 0) return whyNobodyMay(root, path);
  const { uid } = ids;
  const all = [ids.gid, ...groups ?? []];
  const parts = path.split("/").filter((part) => part !== "");
  for (let i = 0; i <= parts.length; i++) {
    const at = `/${parts.slice(0, i).join("/")}`;
    using place = openInRoot(root, at);
    const mask = STATX_TYPE | STATX_MODE | STATX_UID | STATX_GID;
    const found = statx(place.fd, "", AT_EMPTY_PATH, mask);
    const mode = found.mode!;
    const shift = found.uid === uid ? 6 : all.includes(found.gid!) ? 3 : 0;
    if (((mode >> shift) & 1) !== 0) continue;
    const verb = (mode & S_IFMT) === S_IFDIR ? "search" : "execute";
    const octal = (mode & 0o7777).toString(8).padStart(4, "0");
    return `user ${uid} may not ${verb} ${
      i === 0 ? "the root" : quote(at)
    }, which has mode ${octal} and owner ${found.uid}`;
  }
  return whyNobodyMay(root, path);
}

/** Why no user, not even root, may execute a file. */
function whyNobodyMay(root: number, path: string): string | undefined {
  using file = openInRoot(root, path);
  const mask = STATX_TYPE | STATX_MODE;
  const { mode } = statx(file.fd, "", AT_EMPTY_PATH, mask);
  if ((mode! & S_IFMT) === S_IFDIR) return "a directory can't be executed";
  if ((mode! & 0o111) !== 0) return undefined;
  return "nobody may execute it: chmod +x lets everybody";
}
