/** The options of `run`, and their check. */
import type { MountSpec } from "../options/spec.ts";
import type { InputOption, OutputOption } from "./streams.ts";
import type { Usage } from "../sys/process.ts";
import { listed, type PassedOver, planNamed } from "../mount/apply.ts";
import {
  inheritedOpenFiles,
  type Limit,
  type LimitName,
  type LimitOption,
  parseLimits,
  RESOURCES,
} from "./limits.ts";
import {
  CAPABILITIES,
  type Capability,
  type CapabilityChange,
  changeCapabilities,
  parseCapabilities,
} from "./capabilities.ts";
import { makeFilter } from "./seccomp.ts";
import { type Profile, STRICT_CAPABILITIES } from "./profile.ts";
import { inInitialUserNamespace } from "../kernel/process.ts";
import { type SignalName, SIGNALS } from "../sys/layout.ts";
import type { MountPlan } from "../mount/attach.ts";
import type { OptionsInput } from "../options/mount_options.ts";
import {
  checkOptions,
  checkRecord,
  type OptionNames,
  received,
  refuseRevoked,
} from "../base/check.ts";
import { encodeText, quote } from "../base/text.ts";
import type { Attempt } from "../error/attempt.ts";
import { attempt } from "../error/error.ts";
import { MS_PRIVATE } from "../sys/constants.ts";
import { inheritedEnvironment } from "./program.ts";
import { descriptorOf } from "../fd/owned_fd.ts";

/** Options of {@linkcode run}. */
export interface RunOptions {
  /**
   * More mounts, in order, anywhere except on the root itself. A target is a
   * path in the root, whose symlinks are followed there; missing mount points
   * are made. A procfs shows the command's processes, like the one on `proc`. A
   * bind is private by default: later mounts at its source are not seen.
   *
   * @default {[]}
   */
  mounts?: readonly MountSpec[];
  /**
   * How missing mount points are provided. `"make"` makes them in the root;
   * once the command has ended, it removes those that are empty and that no
   * other command uses. `"stand-in"` writes nothing into the root: a read-only
   * tmpfs with the same content takes the place of the directory. A directory
   * that can't be written to always gets a stand-in.
   *
   * @default {"make"}
   */
  mountPoints?: "make" | "stand-in";
  /**
   * Mounts a procfs on `proc` that shows only the command's processes.
   *
   * @default {true}
   */
  proc?: boolean;
  /**
   * Mounts a read-only sysfs on `sys`.
   *
   * @default {true}
   */
  sys?: boolean;
  /**
   * Mounts a `dev` with `null`, `zero`, `full`, `random`, `urandom`, `tty`,
   * `pts`, `shm`, `fd`, `stdin`, `stdout` and `stderr`.
   *
   * @default {true}
   */
  dev?: boolean;
  /**
   * The working directory, an absolute path in the root.
   *
   * @default {"/"}
   */
  cwd?: string;
  /**
   * Variables of the environment, in addition to those of this process. By
   * default there are none.
   */
  env?: Readonly<Record<string, string>>;
  /**
   * Leaves out the variables of this process. Otherwise PWD, if it is set,
   * becomes `cwd`.
   *
   * @default {false}
   */
  clearEnv?: boolean;
  /**
   * The user id to run as. The supplementary groups are dropped, and the
   * ambient capabilities, too, unless the id is 0. While the command runs, its
   * streams (pipes, terminals, files that it writes to) belong to that user, so
   * that it can open `/dev/stdout`.
   */
  uid?: number;
  /**
   * The user to run as, by a name in the root's own /etc/passwd, in place of
   * `uid`. The group, the supplementary groups, HOME, SHELL, USER and LOGNAME
   * come from there and from the root's /etc/group, unless they are given.
   */
  user?: string;
  /**
   * The group id to run as.
   *
   * @default {uid}
   */
  gid?: number;
  /**
   * The ids of the supplementary groups. By default: those of this process;
   * none if `uid` or `gid` is given.
   */
  groups?: readonly number[];
  /**
   * The capabilities that the command may have at most, `[]` for none; by
   * default all that this process, or the command's user, has. The others are
   * removed from the bounding set, too, so that no program it executes can get
   * them. Needs CAP_SETPCAP.
   */
  capabilities?: readonly Capability[];
  /**
   * No program that the command executes gains more rights than the command
   * has: set-user-ID bits and file capabilities have no effect,
   * PR_SET_NO_NEW_PRIVS(2const).
   *
   * @default {false}
   */
  noNewPrivs?: boolean;
  /**
   * The command's resource limits, setrlimit(2), by the names of prlimit(1).
   * Other limits are those of this process, except `nofile`, which is as it was
   * before Deno raised it.
   */
  limits?: Readonly<Partial<Record<LimitName, LimitOption>>>;
  /**
   * Open descriptors above 2 that the command inherits under the same numbers,
   * for a make(1) jobserver for example.
   *
   * @default {[]}
   */
  fds?: readonly number[];
  /**
   * Leaves the command in this process's PID namespace. Then processes that
   * leave the command's process group outlive it.
   *
   * @default {false}
   */
  hostPid?: boolean;
  /**
   * Leaves the command in this process's IPC namespace: System V's shared memory,
   * semaphores and message queues, and POSIX message queues.
   *
   * @default {false}
   */
  hostIpc?: boolean;
  /**
   * Leaves the command in this process's UTS namespace: if it changes the host
   * name, everybody sees that.
   *
   * @default {false}
   */
  hostUts?: boolean;
  /**
   * The command's network: this process's, or a network namespace with only a
   * loopback device.
   *
   * @default {"host"}
   */
  network?: "host" | "none";
  /**
   * How the command is confined. With `"strict"` it is confined as in a
   * container, even if it is root:
   *
   * - No program gives it more rights: see `noNewPrivs`.
   * - It has at most the 14 `capabilities` of a container.
   * - The files of /proc that are not about processes are read-only or covered.
   * - No mount leads to a device, except `dev` and devices that are mounted
   *   themselves.
   * - It has a session keyring of its own.
   * - It can't change mounts. (A command that is not root, or is in a user
   *   namespace, never can.)
   *
   * @default {"default"}
   */
  profile?: Profile;
  /**
   * A file that says which system calls the command may make, as the profiles of
   * docker and podman do. Conditions on capabilities refer to the capabilities that
   * the command may have. Needs libseccomp; sets `noNewPrivs`.
   */
  seccomp?: string;
  /**
   * Lets an init, the first process of the PID namespace, start the command,
   * reap orphans, and end with the command. `false` means `asPid1`.
   *
   * @default {true}
   */
  init?: boolean;
  /**
   * Makes the command itself the first process of its PID namespace. Then
   * signals from inside that it has no handler for, even SIGKILL, do nothing;
   * abort(3) shows as SIGSEGV; and it must reap the orphans of its children.
   * Not together with `hostPid`.
   *
   * @default {false}
   */
  asPid1?: boolean;
  /**
   * Starts the command in a session of its own even if its `stdin` is this
   * process's terminal. By default it shares the terminal's session, for the
   * shell's job control, and can type into the terminal what the shell then
   * runs (TIOCSTI, ioctl_tty(2)). In a session of its own, the terminal's
   * Ctrl-C and Ctrl-Z reach only this process. Not together with `hostPid`.
   *
   * @default {false}
   */
  newSession?: boolean;
  /**
   * The milliseconds that the command may run; by default there is no limit. Then
   * all its processes get SIGTERM, and `killAfter` milliseconds later SIGKILL. From
   * then on, `run` waits for no more output. With `hostPid`, the processes are those
   * of the command's process group.
   */
  timeout?: number;
  /**
   * The milliseconds that the processes have to end after the `timeout`.
   *
   * @default {5000}
   */
  killAfter?: number;
  /**
   * Kills the command when the signal is aborted; `run` then rejects with its
   * reason, and does not wait for a stream that has yet to take what was written.
   */
  signal?: AbortSignal;
  /**
   * Signals to this process that are forwarded to the command while it runs. If
   * the command has a session of its own, SIGHUP, SIGINT and SIGQUIT go to its
   * process group. At a terminal, Ctrl-Z stops both, unless the command ignores
   * or handles SIGTSTP.
   *
   * @default {[]}
   */
  forwardSignals?: readonly Deno.Signal[];
  /**
   * The command's standard input:
   *
   * - `"inherit"`: this process's own.
   * - `"null"`: nothing; the command reads the end of a file.
   * - a number: that descriptor of this process, which stays open.
   * - bytes.
   * - a stream, which is cancelled when the command ends.
   *
   * @default {"inherit"}
   */
  stdin?: InputOption;
  /**
   * The command's standard output:
   *
   * - `"inherit"`: this process's own.
   * - `"null"`: nowhere.
   * - `"piped"`: into the result, as bytes.
   * - a number: that descriptor of this process, which stays open.
   * - a stream, which is closed in the end.
   *
   * @default {"inherit"}
   */
  stdout?: OutputOption;
  /**
   * The command's standard error, with the same values as `stdout`.
   *
   * @default {"inherit"}
   */
  stderr?: OutputOption;
}

/** How a command ended: {@linkcode run}. */
export interface RunResult {
  /** True if the command exited with 0. */
  readonly success: boolean;
  /** The exit status; 128 plus the signal's number if a signal ended the command. */
  readonly code: number;
  /**
   * The signal that ended the command, or null if it exited. After a timeout it is
   * SIGTERM, or SIGKILL if that was needed. A real-time signal has its name from
   * `kill -l` of bash(1), like "SIGRTMIN+1"; the two without one there are "SIG32"
   * and "SIG33".
   */
  readonly signal: Deno.Signal | `SIGRTM${string}` | `SIG${32 | 33}` | null;
  /** True if the command was still running at its `timeout`, however it ended then. */
  readonly timedOut: boolean;
  /** The resources used by the command and by children that it waited for. */
  readonly usage: Usage;
  /** The optional mounts that could not be made. */
  readonly passedOver: readonly PassedOver[];
  /** The command's output, if `stdout` was `"piped"`. */
  readonly stdout?: Uint8Array<ArrayBuffer>;
  /** The command's error output, if `stderr` was `"piped"`. */
  readonly stderr?: Uint8Array<ArrayBuffer>;
}

/** The user and group that a command runs as. */
export interface Ids {
  /** The user; null for this process's. */
  readonly uid: number | null;
  /** The group. */
  readonly gid: number;
}

/** A command to run, and how. */
export interface Plan {
  readonly command: readonly [string, ...string[]];
  readonly mounts: readonly PlannedMount[];
  readonly mountPoints: "make" | "stand-in";
  readonly proc: boolean;
  readonly sys: boolean;
  readonly dev: boolean;
  readonly cwd: string;
  /** `NAME=value` each. */
  readonly environment: readonly string[];
  readonly ids: Ids | null;
  /** The supplementary groups, null for those of this process. */
  readonly groups: readonly number[] | null;
  readonly capabilities: CapabilityChange | null;
  readonly noNewPrivs: boolean;
  readonly limits: readonly Limit[];
  readonly fds: readonly number[];
  readonly hostPid: boolean;
  readonly hostIpc: boolean;
  readonly hostUts: boolean;
  readonly network: "host" | "none";
  readonly profile: Profile;
  /** True if, in the profile `"strict"`, the command may make device nodes. */
  readonly mayMakeNodes: boolean;
  /** The kernel's program that filters system calls, null for none. */
  readonly filter: Uint8Array | null;
  readonly asPid1: boolean;
  readonly newSession: boolean;
  readonly timeout: number | null;
  readonly killAfter: number;
  readonly abort: AbortSignal | undefined;
  readonly forwardSignals: readonly SignalName[];
  readonly stdin: InputOption;
  readonly stdout: OutputOption;
  readonly stderr: OutputOption;
}

/** Something to mount. */
export interface PlannedMount extends MountPlan {
  /** The entry that the caller gave. */
  readonly spec: MountSpec;
  /**
   * The file system, if it shows a namespace of the command's; null if it can be
   * made in any namespace.
   */
  readonly shows: Shows | null;
}

/** A file system that shows a namespace of the process that opened its context. */
export interface Shows {
  readonly type: "proc" | "mqueue" | "sysfs";
  readonly options: OptionsInput;
}

/** A timer can't be set for longer. */
const MOST_MILLISECONDS = 0x7fff_ffff;

const CAP_MKNOD = CAPABILITIES.indexOf("CAP_MKNOD");

/** The last id is none: it means "leave it". */
const MOST_ID = 0xffff_fffe;

const RUN_NAMES: OptionNames<RunOptions> = {
  mounts: true,
  mountPoints: true,
  proc: true,
  sys: true,
  dev: true,
  cwd: true,
  env: true,
  clearEnv: true,
  uid: true,
  user: true,
  gid: true,
  groups: true,
  capabilities: true,
  noNewPrivs: true,
  limits: true,
  fds: true,
  hostPid: true,
  hostIpc: true,
  hostUts: true,
  network: true,
  profile: true,
  seccomp: true,
  init: true,
  asPid1: true,
  newSession: true,
  timeout: true,
  killAfter: true,
  signal: true,
  forwardSignals: true,
  stdin: true,
  stdout: true,
  stderr: true,
};

/**
 * Checks what a caller asks for.
 *
 * @throws {TypeError | RangeError} Before any call.
 * @throws {MountError} ENOENT if /proc is missing.
 */
export function parseRun(
  command: readonly string[],
  options: RunOptions,
): Plan {
  checkOptions(options, RUN_NAMES);
  const { cwd = "/", uid, mounts = [], signal } = options;
  const [program, ...args] = checkList("The command", command);
  const forwardSignals = checkList(
    '"forwardSignals"',
    options.forwardSignals ?? [],
  );
  const groups = options.groups === undefined
    ? undefined
    : checkList('"groups"', options.groups);
  const fds = checkList('"fds"', options.fds ?? []);
  const profile = checkWord("profile", options.profile ?? "default", [
    "default",
    "strict",
  ]);
  const strict = profile === "strict";
  const kept = parseKept(options.capabilities, strict);
  if (strict && options.noNewPrivs === false) {
    throw new TypeError('"noNewPrivs" is part of the profile "strict"');
  }
  const { seccomp } = options;
  if (seccomp !== undefined) {
    checkArgument('"seccomp"', seccomp);
    if (options.noNewPrivs === false) {
      throw new TypeError('"seccomp" takes "noNewPrivs"');
    }
  }
  const network = checkWord("network", options.network ?? "host", [
    "host",
    "none",
  ]);
  const hostIpc = checkSwitch("hostIpc", options.hostIpc ?? false);
  const limits = parseLimits(options.limits ?? {});
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new TypeError('"signal" must be an AbortSignal');
  }
  if (program === undefined || program === "") {
    throw new TypeError("The command must have a program");
  }
  for (const word of [program, ...args]) checkArgument("The command", word);
  checkArgument("The working directory", cwd);
  if (!cwd.startsWith("/")) {
    throw new TypeError(
      `The working directory must be absolute: ${quote(cwd)}`,
    );
  }
  const { env = {} } = options;
  checkRecord('"env"', env);
  const variables = Object.entries(env).map(([name, value]) => {
    checkArgument("A variable", name);
    checkArgument(`The variable ${quote(name)}`, value);
    if (name === "" || name.includes("=")) {
      throw new TypeError(
        `A variable must have a name without "=": ${quote(name)}`,
      );
    }
    return [name, `${name}=${value}`] as const;
  });
  if (options.user !== undefined) {
    checkArgument("The user", options.user);
    if (uid !== undefined) {
      throw new TypeError('"user" and "uid" contradict each other');
    }
  }
  const gid = options.gid ?? uid;
  const plan = {
    command: [program, ...args] as const,
    mounts: listed("mounts", mounts).map((spec, i) => {
      const place = spec.place ?? `mounts[${i}]`;
      // As everything in the root: what is mounted at the source later stays
      // out.
      const plan = planNamed(spec, place, MS_PRIVATE);
      if (plan.target.name === ".") {
        // The command starts beneath what is mounted there.
        throw new TypeError(
          `${place}: Nothing can be mounted on the root itself`,
        );
      }
      if (strict && (spec.type === "proc" || spec.type === "sysfs")) {
        throw new TypeError(
          `${place}: In the profile "strict" there is one ${spec.type}, which is mounted anyway`,
        );
      }
      const shows = showsNamespace(spec, { hostIpc, network });
      return { ...plan, spec, shows };
    }),
    mountPoints: checkWord("mountPoints", options.mountPoints ?? "make", [
      "make",
      "stand-in",
    ]),
    proc: checkSwitch("proc", options.proc ?? true),
    sys: checkSwitch("sys", options.sys ?? true),
    dev: checkSwitch("dev", options.dev ?? true),
    cwd,
    ids: gid === undefined ? null : {
      uid: uid === undefined ? null : checkNumber("uid", uid, MOST_ID),
      gid: checkNumber("gid", gid, MOST_ID),
    },
    groups: groups?.map((group) => checkNumber("groups", group, MOST_ID)) ??
      (gid === undefined ? null : []),
    noNewPrivs: checkSwitch(
      "noNewPrivs",
      options.noNewPrivs ?? (strict || seccomp !== undefined),
    ),
    fds: fds.map(checkPassed),
    hostPid: checkSwitch("hostPid", options.hostPid ?? false),
    hostIpc,
    hostUts: checkSwitch("hostUts", options.hostUts ?? false),
    network,
    profile,
    mayMakeNodes: (uid === undefined || uid === 0) &&
      (kept?.includes(CAP_MKNOD) ?? true),
    asPid1: checkFirst(options),
    newSession: checkSwitch("newSession", options.newSession ?? false),
    timeout: options.timeout === undefined
      ? null
      : checkNumber("timeout", options.timeout, MOST_MILLISECONDS),
    killAfter: checkNumber(
      "killAfter",
      options.killAfter ?? 5000,
      MOST_MILLISECONDS,
    ),
    abort: signal,
    forwardSignals: forwardSignals.map(checkSignal),
    stdin: checkStream("stdin", options.stdin, ReadableStream, Uint8Array),
    stdout: checkStream("stdout", options.stdout, WritableStream),
    stderr: checkStream("stderr", options.stderr, WritableStream),
  };
  if (plan.hostPid && plan.newSession) {
    throw new TypeError(
      '"newSession" can\'t go with "hostPid": the command would leave the process group that ends with it',
    );
  }
  if (plan.hostPid && plan.asPid1) {
    throw new TypeError(
      '"asPid1" can\'t go with "hostPid": there is no PID namespace of its own',
    );
  }
  const clearEnv = checkSwitch("clearEnv", options.clearEnv ?? false);
  // The first calls; what is wrong has been told.
  const { inherited, capabilities } = attempt(running(program), () => {
    // In that user namespace the kernel gives it all: user_namespaces(7).
    const anew = !inInitialUserNamespace();
    const stays = uid === undefined || uid === 0;
    return {
      inherited: clearEnv ? [] : inheritedEnvironment(),
      capabilities: kept === null && !anew
        ? null
        : changeCapabilities(kept, stays, anew),
    };
  });
  const all = new Map([
    ...inherited.map((entry) => [entry.split("=", 1)[0]!, entry] as const),
    ...variables,
  ]);
  // The caller's says nothing of the command's.
  if (all.has("PWD") && !Object.hasOwn(env, "PWD")) {
    all.set("PWD", `PWD=${cwd}`);
  }
  const environment = [...all.values()];
  const openFiles = limits.some(({ resource }) => resource === RESOURCES.nofile)
    ? null
    : inheritedOpenFiles();
  return {
    ...plan,
    environment,
    limits: openFiles === null ? limits : [openFiles, ...limits],
    filter: seccomp === undefined ? null : makeFilter(
      seccomp,
      kept?.map((number) => CAPABILITIES[number]!) ?? null,
    ),
    capabilities,
  };
}

/** The attempt to run a program. */
export function running(program: string): Attempt {
  return { action: `run ${quote(program)}`, target: program };
}

function checkFirst({ init, asPid1 }: RunOptions): boolean {
  checkSwitch("init", init ?? true);
  checkSwitch("asPid1", asPid1 ?? false);
  if (init !== undefined && init === asPid1) {
    throw new TypeError('"init" and "asPid1" contradict each other');
  }
  return asPid1 ?? init === false;
}

/** Standard streams have options of their own; no process has so many. */
function checkPassed(
  fd: number,
  index: number,
  all: readonly number[],
): number {
  checkNumber("fds", fd, MOST_DESCRIPTOR);
  if (fd < 3 || all.indexOf(fd) !== index) {
    throw new RangeError(
      `"fds" must be different descriptors above 2: received ${fd}`,
    );
  }
  return fd;
}

const MOST_DESCRIPTOR = 0xf_ffff;

/** Checks a list, and gives one without gaps. */
function checkList<T>(what: string, value: readonly T[]): T[] {
  refuseRevoked(what, value);
  if (Array.isArray(value)) return Array.from(value);
  throw new TypeError(`${what} must be an array, not ${typeof value}`);
}

function checkSwitch(name: string, value: boolean): boolean {
  if (typeof value === "boolean") return value;
  throw new TypeError(`"${name}" must be true or false, not ${typeof value}`);
}

function checkWord<T extends string>(
  name: string,
  word: T,
  words: readonly T[],
): T {
  if (words.includes(word)) return word;
  const known = words.map((one) => `"${one}"`).join(" or ");
  throw new TypeError(`"${name}" must be ${known}: received ${received(word)}`);
}

/** The file system, if it shows a namespace that the command has for itself. */
function showsNamespace(
  { type, options = "" }: MountSpec,
  { hostIpc, network }: Pick<Plan, "hostIpc" | "network">,
): Shows | null {
  if (
    type === "proc" || type === "mqueue" && !hostIpc ||
    type === "sysfs" && network === "none"
  ) return { type, options };
  return null;
}

/** The numbers of the capabilities that may stay, null for all. */
function parseKept(
  capabilities: RunOptions["capabilities"],
  strict: boolean,
): number[] | null {
  const named = capabilities === undefined
    ? null
    : parseCapabilities(checkList('"capabilities"', capabilities));
  if (!strict) return named;
  const most = parseCapabilities(STRICT_CAPABILITIES);
  const other = named?.findIndex((number) => !most.includes(number)) ?? -1;
  if (other === -1) return named ?? most;
  throw new TypeError(
    `The profile "strict" leaves no command ${capabilities![other]}`,
  );
}

function checkSignal(name: Deno.Signal): SignalName {
  const known = typeof name === "string" && Object.hasOwn(SIGNALS, name);
  if (known) return name as SignalName;
  throw new TypeError(`Unknown signal ${received(name)}`);
}

function checkArgument(what: string, text: string): void {
  if (typeof text !== "string") {
    throw new TypeError(`${what} must be text, not ${typeof text}`);
  }
  if (text.includes("\0")) {
    throw new TypeError(`${what} must not contain a NUL character`);
  }
  // A lone surrogate that stands for no byte is refused here, too.
  encodeText(text);
}

function checkNumber(name: string, value: number, most: number): number {
  if (typeof value !== "number") {
    throw new TypeError(`"${name}" must be a number, not ${typeof value}`);
  }
  if (!Number.isInteger(value) || value < 0 || value > most) {
    throw new RangeError(
      `"${name}" must be a whole number up to ${most}: received ${value}`,
    );
  }
  return value;
}

function checkStream<T extends InputOption | OutputOption>(
  name: string,
  option: T | undefined,
  // deno-lint-ignore no-explicit-any
  ...classes: (abstract new (...args: any[]) => unknown)[]
): T | "inherit" {
  if (option === undefined) return "inherit";
  if (typeof option === "number") {
    descriptorOf(option);
    return option;
  }
  const word = option === "inherit" || option === "null" ||
    (option === "piped" && name !== "stdin");
  if (word || classes.some((kind) => option instanceof kind)) return option;
  throw new TypeError(`"${name}" can't be ${received(option)}`);
}
