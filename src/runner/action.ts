/** One action: from a request to how its command ended. */
import { parseRun, type RunOptions, type RunResult } from "../run/options.ts";
import { execute } from "../run/execute.ts";
import { DetachedRoot } from "../run/root_tree.ts";
import { MountError } from "../error/error.ts";
import { printable } from "../base/text.ts";
import { write } from "../sys/file.ts";
import type { HasFd, OwnedFd } from "../fd/owned_fd.ts";
import type { MountSpec } from "../options/spec.ts";
import type { RunRequest } from "./generated/buildbarn/runner/runner_pb.ts";
import { createLog, openBuildDirectory, openNamed } from "./build_directory.ts";
import type { Inputs } from "./inputs.ts";
import { CAPABILITIES_IF_MAPPED, type ServePlan } from "./options.ts";
import { StatusError, statusOf } from "./status.ts";

/** How a command ended. */
export type Ended = Pick<RunResult, "code" | "signal" | "usage">;

/** The exit statuses of a command that can't be executed: as of a shell. */
const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

/** A command of which none was executed has used nothing. */
const NO_USAGE: RunResult["usage"] = {
  userTime: 0,
  systemTime: 0,
  maxRss: 0,
  minorFaults: 0,
  majorFaults: 0,
  blockReads: 0,
  blockWrites: 0,
  voluntarySwitches: 0,
  involuntarySwitches: 0,
};

/** The file in the server logs directory that says why an action failed. */
const LOG_NAME = "mountat-runner";

/**
 * Runs an action's command.
 *
 * @param signal When it is aborted, the command is killed, with all that it
 * started; its reason is thrown once nothing of that is left.
 * @returns How the command ended.
 * @throws {StatusError} When it was not run, or not to its end.
 */
export async function runAction(
  plan: ServePlan,
  inputs: Inputs,
  request: RunRequest,
  signal: AbortSignal,
): Promise<Ended> {
  using build = openBuildDirectory(plan.buildDirectory);
  // The worker uploads them, whatever happens.
  using stdout = createLog(build, "stdout_path", request.stdoutPath);
  using stderr = createLog(build, "stderr_path", request.stderrPath);
  try {
    return await runLogged(plan, inputs, request, build, {
      stdout: stdout.fd,
      stderr: stderr.fd,
      signal,
    });
  } catch (error) {
    const failure = statusOf(error);
    if (!signal.aborted) explainInLog(build, request, failure);
    throw failure;
  }
}

/** The options of `run` that differ between actions. */
type OwnOptions = Required<Pick<RunOptions, "stdout" | "stderr" | "signal">>;

async function runLogged(
  plan: ServePlan,
  inputs: Inputs,
  request: RunRequest,
  build: HasFd,
  own: OwnOptions & { stderr: number },
): Promise<Ended> {
  const { arguments: command, inputRootDirectory: rootName } = request;
  if (command.length === 0) {
    throw new StatusError("INVALID_ARGUMENT", "The command has no arguments");
  }
  using root = openNamed(build, "input_root_directory", rootName);
  // The build directory itself, which other actions are in, has none there.
  using holder = openNamed(
    build,
    "input_root_directory",
    `${rootName || "."}/..`,
  );
  using temporary = request.temporaryDirectory === ""
    ? null
    : openNamed(build, "temporary_directory", request.temporaryDirectory);
  const protection = inputs.protectionOf(root);
  const isMapped = protection === "idmap";
  const options: RunOptions = {
    ...plan.run,
    ...isMapped ? { capabilities: CAPABILITIES_IF_MAPPED } : {},
    ...own,
    mounts: [
      ...temporary === null ? [] : [bindOfTemporary(
        temporary,
        isMapped ? inputs.idmap : null,
      )],
      ...plan.run.mounts!,
    ],
    env: environment(plan, request),
    cwd: workingDirectory(request),
  };
  const runIn = async (tree: HasFd | DetachedRoot): Promise<Ended> => {
    try {
      return await execute(tree, command, options);
    } catch (error) {
      checkRequest(error, () => parseRun(command, options));
      return endedInstead(error, options.cwd!, own.stderr);
    }
  };
  if (protection === null) return await runIn(root);
  if (temporary !== null) inputs.giveTemporary(temporary);
  if (protection === "idmap") {
    using mapped = inputs.mapped(root);
    return await runIn(new DetachedRoot(mapped));
  }
  return await inputs.overlaid(
    root,
    holder,
    (overlay) => runIn(new DetachedRoot(overlay)),
    own.signal,
  );
}

/** Wherever /tmp is in the root: the action's own, which the worker removes. */
function bindOfTemporary(source: OwnedFd, idmap: number | null): MountSpec {
  return {
    type: "bind",
    source,
    target: "tmp",
    options: "nosuid,nodev",
    place: "temporary_directory",
    ...idmap === null ? {} : { idmap },
  };
}

function environment(
  { setTmpdir }: ServePlan,
  { environmentVariables, temporaryDirectory }: RunRequest,
): Record<string, string> {
  const tmpdir = setTmpdir && temporaryDirectory !== ""
    ? { TMPDIR: "/tmp" }
    : {};
  return { ...tmpdir, ...environmentVariables };
}

/** A path that would lead above the input root stops at it, as at any root. */
function workingDirectory({ workingDirectory: path }: RunRequest): string {
  if (!path.startsWith("/")) return `/${path}`;
  throw new StatusError(
    "INVALID_ARGUMENT",
    "working_directory must be relative to the input root",
  );
}

/** Reports a failure as INVALID_ARGUMENT, if the request's arguments are refused. */
function checkRequest(error: unknown, check: () => void): void {
  if (!(error instanceof TypeError)) return;
  try {
    check();
  } catch {
    throw new StatusError("INVALID_ARGUMENT", error.message, { cause: error });
  }
}

/** How a command ended that could not be executed, as a shell has it. */
function endedInstead(error: unknown, cwd: string, stderr: number): Ended {
  if (!(error instanceof MountError)) throw error;
  const { code, syscall, target } = error;
  if (target === cwd && ["ENOENT", "ENOTDIR", "ELOOP"].includes(code)) {
    throw new StatusError("INVALID_ARGUMENT", error.message, { cause: error });
  }
  // Those are of the process that was to execute it.
  if (syscall !== "execve" || ["EAGAIN", "ENOMEM"].includes(code)) throw error;
  const missing = ["ENOENT", "ENAMETOOLONG"].includes(code);
  write(stderr, new TextEncoder().encode(`mountat: ${error.message}\n`));
  return {
    code: missing ? NOT_FOUND : NOT_EXECUTABLE,
    signal: null,
    usage: NO_USAGE,
  };
}

/** Writes the reason why an action was not run into the log that the worker uploads. */
function explainInLog(
  build: HasFd,
  { serverLogsDirectory: name }: RunRequest,
  { status, message, cause }: StatusError,
): void {
  if (name === "") return;
  const hint = cause instanceof MountError ? cause.hint : undefined;
  const lines = [
    `${status}: ${printable(message)}`,
    ...hint === undefined ? [] : [`hint: ${hint}`],
  ];
  try {
    using directory = openNamed(build, "server_logs_directory", name);
    using file = createLog(directory, "server_logs_directory", LOG_NAME);
    write(file.fd, new TextEncoder().encode(`${lines.join("\n")}\n`));
  } catch {
    // The status says it, too.
  }
}
