/**
 * Opens the files and directories that a request names in the build directory. The
 * worker chose the names, but actions wrote what lies there. So everything is opened
 * beneath the build directory's descriptor, through no symlink.
 */
import { Directory } from "../directory.ts";
import { openAt, openBeneath, openDirectoryAt } from "../fd/open.ts";
import type { HasFd, OwnedFd } from "../fd/owned_fd.ts";
import { quote } from "../base/text.ts";
import { isErrno, type SyscallError } from "../sys/error.ts";
import { ELOOP, ENOENT, ENOTDIR, EXDEV } from "../sys/errno.ts";
import { O_APPEND, O_CREAT, O_EXCL, O_WRONLY } from "../sys/constants.ts";
import { StatusError } from "./status.ts";

/**
 * Opens the build directory, whatever is mounted there by now.
 *
 * @throws {StatusError} INTERNAL.
 */
export function openBuildDirectory(path: string): Directory {
  try {
    return Directory.open(path);
  } catch (error) {
    throw new StatusError("INTERNAL", (error as Error).message, {
      cause: error,
    });
  }
}

/**
 * Checks that there is something of a name in the build directory.
 *
 * @throws {StatusError} INTERNAL if there is not.
 */
export function checkPath(build: HasFd, path: string): void {
  try {
    checkText(path);
    openAt(build.fd, path || ".").close();
  } catch (error) {
    throw wrong("INTERNAL", "path", path, error);
  }
}

/**
 * Creates a file that a command writes to.
 *
 * @param field The request's field that names it.
 * @throws {StatusError} INVALID_ARGUMENT for a path that leads out of the build
 * directory or can be no file's, UNKNOWN for what else the system says.
 */
export function createLog(
  build: HasFd,
  field: string,
  path: string,
): OwnedFd {
  if (["", ".", ".."].includes(path.slice(path.lastIndexOf("/") + 1))) {
    throw new StatusError(
      "INVALID_ARGUMENT",
      `${field} ${quote(path)} can only be a directory`,
    );
  }
  try {
    checkText(path);
    // Two commands never write to one file, and what the worker uploads is ours.
    const flags = O_WRONLY | O_APPEND | O_CREAT | O_EXCL;
    return openBeneath(build.fd, path, flags, 0o666);
  } catch (error) {
    const outside = isErrno(error, EXDEV, ELOOP) ||
      error instanceof TypeError;
    const status = outside ? "INVALID_ARGUMENT" : "UNKNOWN";
    throw wrong(status, field, path, error);
  }
}

/**
 * Opens a directory.
 *
 * @param field The request's field that names it.
 * @throws {StatusError} INVALID_ARGUMENT if there is none of that name in the
 * build directory.
 */
export function openNamed(
  build: HasFd,
  field: string,
  path: string,
): OwnedFd {
  try {
    checkText(path);
    return openDirectoryAt(build.fd, path || ".");
  } catch (error) {
    const named = isErrno(error, EXDEV, ELOOP, ENOENT, ENOTDIR) ||
      error instanceof TypeError;
    throw wrong(named ? "INVALID_ARGUMENT" : "INTERNAL", field, path, error);
  }
}

function checkText(path: string): void {
  if (path.includes("\0")) throw new TypeError("It has a NUL character");
}

function wrong(
  status: "INTERNAL" | "INVALID_ARGUMENT" | "UNKNOWN",
  field: string,
  path: string,
  error: unknown,
): StatusError {
  const { message } = error as SyscallError | TypeError;
  const leaves = isErrno(error, EXDEV) ? " leaves the build directory" : "";
  return new StatusError(
    status,
    `${field} ${quote(path)}${leaves}: ${message}`,
    { cause: error },
  );
}
