/** The options of `serve`, and their check. */
import type { MountSpec } from "../options/spec.ts";
import { checkOptions, type OptionNames, received } from "../base/check.ts";
import { pathArgument } from "../options/target.ts";
import { quote } from "../base/text.ts";
import { parseRun, type RunOptions } from "../run/options.ts";
import type { Capability } from "../run/capabilities.ts";
import { STRICT_CAPABILITIES } from "../run/profile.ts";
import type { Usage } from "../sys/process.ts";

/**
 * How the files of the input root, which are the worker's cache, are protected
 * from changes by a command.
 *
 * - `idmap`: the input root is bound with an id map in which the command owns
 *   the directories and its own files. Input files have no owner there: nobody,
 *   not even root, can write to, rename or remove them.
 * - `overlay`: the command sees the input root through an overlay, and may change
 *   and remove everything. Its changes are merged into the input root when it has
 *   ended. Files that it has changed or removed stay as they are in the cache.
 * - `mode`: only the files' permissions protect them. Commands must not be root, and
 *   the worker's umask must be 0.
 * - `none`: nothing protects them.
 */
export type InputProtection = "idmap" | "overlay" | "mode" | "none";

/** Options of {@linkcode serve}. */
export interface ServeOptions {
  /**
   * The worker's build directory. It is opened for each request: the worker may
   * mount it later.
   */
  buildDirectory: string | URL;
  /**
   * The Unix socket to listen on, or several. Its directory, and those above it,
   * must not be writable by others.
   */
  socket: string | readonly string[];
  /**
   * The user that commands run as.
   *
   * @default {this process's}
   */
  uid?: number;
  /**
   * The group that commands run as.
   *
   * @default {uid}
   */
  gid?: number;
  /**
   * The supplementary groups of commands.
   *
   * @default {[], or this process's if neither `uid` nor `gid` is given}
   */
  groups?: readonly number[];
  /** The limits of commands' resources, as `run` takes them. */
  limits?: RunOptions["limits"];
  /**
   * The network of commands: this process's, or only a loopback device.
   *
   * @default {"host"}
   */
  network?: RunOptions["network"];
  /**
   * How commands are confined: see the option of `run`.
   *
   * @default {"strict"}
   */
  profile?: RunOptions["profile"];
  /**
   * Sets TMPDIR to /tmp, which is the action's own temporary directory, for
   * actions that have no TMPDIR.
   *
   * @default {true}
   */
  setTmpdir?: boolean;
  /**
   * How input files are protected. By default by an id map, with two
   * exceptions: on FUSE the worker's own file system protects them, and for
   * commands that are not root the files' permissions do.
   */
  protectInputs?: InputProtection;
  /**
   * More mounts for each command, in addition to /proc, /sys, /dev and /tmp.
   *
   * @default {[]}
   */
  mounts?: readonly MountSpec[];
  /**
   * Paths that must exist for commands to run, on a network file system for
   * example.
   *
   * @default {[]}
   */
  readinessPaths?: readonly string[];
  /**
   * One more service name that health checks report as healthy, besides the
   * runner's and the server's.
   */
  healthService?: string;
  /**
   * The most bytes that a request may have.
   *
   * @default {4194304}
   */
  maxMessageSize?: number;
  /**
   * The milliseconds that running actions get when the server is disposed of;
   * then they are killed.
   *
   * @default {0}
   */
  grace?: number;
  /** Is called after each action that has ended. */
  onAction?: (action: ActionReport) => void;
}

/** A server that runs commands. Disposing of it stops it. */
export interface Runner extends AsyncDisposable {
  /** The number of running actions. */
  readonly running: number;
  /** Kills all running actions; their calls are answered with UNAVAILABLE. */
  killActions(): void;
  /**
   * Stops the server: it takes no more calls, gives running actions the time of
   * `grace`, kills the rest, and removes the sockets.
   */
  [Symbol.asyncDispose](): Promise<void>;
}

/** How an action ended. */
export interface ActionReport {
  /** The action's directory in the build directory. */
  readonly id: string;
  /** The command. */
  readonly command: readonly string[];
  /** The milliseconds from the request to the answer. */
  readonly milliseconds: number;
  /** The status of the answer: `"OK"`, or the name of another gRPC status. */
  readonly status: string;
  /** The reason why it is not OK. */
  readonly message?: string;
  /** The exit status, -1 for a signal. */
  readonly exitCode?: number;
  /** The signal that ended the command. */
  readonly signal?: string;
  /** The resources that the command used. */
  readonly usage?: Usage;
}

/** The options of a server, checked. */
export interface ServePlan {
  readonly buildDirectory: string;
  readonly sockets: readonly string[];
  /** The options of `run` that are the same for each command. */
  readonly run: RunOptions;
  /** The user of the commands. */
  readonly uid: number;
  readonly gid: number;
  readonly setTmpdir: boolean;
  readonly protectInputs: InputProtection | null;
  readonly readinessPaths: readonly string[];
  readonly healthServices: readonly string[];
  readonly maxMessageSize: number;
  readonly grace: number;
  readonly onAction: (action: ActionReport) => void;
}

const SERVE_NAMES: OptionNames<ServeOptions> = {
  buildDirectory: true,
  socket: true,
  uid: true,
  gid: true,
  groups: true,
  limits: true,
  network: true,
  profile: true,
  setTmpdir: true,
  protectInputs: true,
  mounts: true,
  readinessPaths: true,
  healthService: true,
  maxMessageSize: true,
  grace: true,
  onAction: true,
};

/**
 * The capabilities that Docker leaves to root in a container, except that to make
 * device nodes. With a node for the disk, a command would get past every protection
 * of the disk's files.
 */
const CAPABILITIES: readonly Capability[] = STRICT_CAPABILITIES
  .filter((name) => name !== "CAP_MKNOD");

/**
 * The capabilities if files are protected by having no owner. With CAP_CHOWN, a
 * command could give them one (chown_ok() in fs/attr.c), and then write to them.
 */
export const CAPABILITIES_IF_MAPPED: readonly Capability[] = CAPABILITIES
  .filter((name) => name !== "CAP_CHOWN");

/** The names of the ways to protect input files. */
export const PROTECTIONS: readonly string[] = [
  "idmap",
  "overlay",
  "mode",
  "none",
];

/** As gRPC's libraries have it. */
const MESSAGE_SIZE = 4 << 20;

/** A timer can't be set for longer. */
const MOST_MILLISECONDS = 0x7fff_ffff;

/** Room for the path in a `struct sockaddr_un`, less its NUL: unix(7). */
const SOCKET_PATH_SIZE = 107;

/**
 * Checks what a caller asks for.
 *
 * @throws {TypeError | RangeError}
 */
export function parseServe(options: ServeOptions): ServePlan {
  checkOptions(options, SERVE_NAMES);
  const {
    protectInputs = null,
    setTmpdir = true,
    mounts = [],
    readinessPaths = [],
    healthService,
    onAction = () => {},
  } = options;
  const { socket } = options;
  const sockets = typeof socket === "string" ? [socket] : socket;
  if (!Array.isArray(sockets) || sockets.length === 0) {
    throw new TypeError('"socket" must be a path, or several');
  }
  for (const path of sockets) checkSocket(path);
  if (!Array.isArray(readinessPaths)) {
    throw new TypeError('"readinessPaths" must be an array');
  }
  for (const path of readinessPaths) pathArgument("A readiness path", path);
  if (typeof setTmpdir !== "boolean") {
    throw new TypeError('"setTmpdir" must be true or false');
  }
  const uid = options.uid ?? Deno.uid() ?? 0;
  const gid = options.gid ?? options.uid ?? Deno.gid() ?? 0;
  if (protectInputs !== null && !PROTECTIONS.includes(protectInputs)) {
    throw new TypeError(
      `"protectInputs" can't be ${received(protectInputs)}`,
    );
  }
  if (protectInputs === "mode" && uid === 0) {
    throw new TypeError(
      '"protectInputs" can\'t be "mode" for commands of root, who may write to any file: give them another uid, or "idmap"',
    );
  }
  const ids = options.uid === undefined && options.gid === undefined
    ? {}
    : { uid, gid };
  const { groups, limits = {}, network = "host", profile = "strict" } = options;
  const run: RunOptions = {
    ...ids,
    ...groups === undefined ? {} : { groups },
    limits,
    network,
    profile,
    capabilities: CAPABILITIES,
    mounts,
    clearEnv: true,
    stdin: "null",
  };
  // A wrong option fails here, and not with each action.
  parseRun(["true"], run);
  return {
    buildDirectory: pathArgument("The build directory", options.buildDirectory),
    sockets,
    run,
    uid,
    gid,
    setTmpdir,
    protectInputs,
    readinessPaths,
    healthServices: ["", RUNNER_SERVICE]
      .concat(healthService === undefined ? [] : [healthService]),
    maxMessageSize: checkNumber(
      "maxMessageSize",
      options.maxMessageSize ?? MESSAGE_SIZE,
    ),
    grace: checkNumber("grace", options.grace ?? 0),
    onAction,
  };
}

/** The name of the service. */
const RUNNER_SERVICE = "buildbarn.runner.Runner";

function checkSocket(path: unknown): void {
  const name = pathArgument("A socket", path as string);
  // It listens by another name in the directory first: a dot and a number.
  const other = `${name.slice(0, name.lastIndexOf("/") + 1)}.4194304-0`;
  const length = Math.max(
    ...[name, other].map((path) => new TextEncoder().encode(path).length),
  );
  if (length > SOCKET_PATH_SIZE) {
    throw new RangeError(
      `A socket's path has ${SOCKET_PATH_SIZE} bytes at the most, this one ${length}: ${
        quote(name)
      }`,
    );
  }
}

function checkNumber(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= MOST_MILLISECONDS) {
    return value;
  }
  throw new RangeError(
    `"${name}" must be a whole number up to ${MOST_MILLISECONDS}: received ${
      received(value)
    }`,
  );
}
