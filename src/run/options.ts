/** What a caller of `run` asks for, checked. */
import type { RunOptions } from "../run.ts";
import { planNamed } from "../apply_mounts.ts";
import type { MountPlan } from "../attach.ts";
import { descriptorOf } from "../dirfd.ts";
import type { OptionsInput } from "../mount_options.ts";
import type { MountSpec } from "../spec/mount_spec.ts";
import { MS_PRIVATE } from "../sys/constants.ts";
import { quote } from "../sys/format.ts";
import { checkOptions, type OptionNames } from "../sys/options.ts";
import { type SignalName, SIGNALS } from "../sys/signals.ts";
import { encodeText } from "../sys/text.ts";
import { inheritedEnvironment } from "./environment.ts";
import type { Ids } from "./spawner.ts";
import type { InputOption, OutputOption } from "./streams.ts";

/** A command to run, and how. */
export interface Plan {
  readonly command: readonly [string, ...string[]];
  readonly mounts: readonly PlannedMount[];
  readonly proc: boolean;
  readonly sys: boolean;
  readonly dev: boolean;
  readonly cwd: string;
  /** `NAME=value` each. */
  readonly environment: readonly string[];
  readonly ids: Ids | null;
  readonly hostPid: boolean;
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
  /** What was asked for. */
  readonly spec: MountSpec;
  /** The options of a procfs, which shows the command's processes; else null. */
  readonly procOptions: OptionsInput | null;
}

/** A timer can't be set for longer. */
const MOST_MILLISECONDS = 0x7fff_ffff;
/** The last id is none: it means "leave it". */
const MOST_ID = 0xffff_fffe;

const RUN_NAMES: OptionNames<RunOptions> = {
  mounts: true,
  proc: true,
  sys: true,
  dev: true,
  cwd: true,
  env: true,
  clearEnv: true,
  uid: true,
  gid: true,
  hostPid: true,
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
 * @throws {TypeError | RangeError}
 */
export function parseRun(
  command: readonly string[],
  options: RunOptions,
): Plan {
  checkOptions(options, RUN_NAMES);
  const { cwd = "/", uid, mounts = [], forwardSignals = [], signal } = options;
  checkList("The command", command);
  checkList('"mounts"', mounts);
  checkList('"forwardSignals"', forwardSignals);
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new TypeError('"signal" must be an AbortSignal');
  }
  const [program, ...args] = command;
  if (program === undefined || program === "") {
    throw new TypeError("The command must have a program");
  }
  for (const word of [program, ...args]) checkText("The command", word);
  checkText("The working directory", cwd);
  if (!cwd.startsWith("/")) {
    throw new TypeError(
      `The working directory must be absolute: ${quote(cwd)}`,
    );
  }
  const variables = Object.entries(options.env ?? {}).map(([name, value]) => {
    checkText("A variable", name);
    checkText(`The variable ${quote(name)}`, value);
    if (name === "" || name.includes("=")) {
      throw new TypeError(
        `A variable must have a name without "=": ${quote(name)}`,
      );
    }
    return [name, `${name}=${value}`] as const;
  });
  const gid = options.gid ?? uid;
  const plan = {
    command: [program, ...args] as const,
    mounts: mounts.map((spec, i) => {
      const place = spec.place ?? `mounts[${i}]`;
      // As all that is in the root: what is mounted at the source later stays
      // out.
      const plan = planNamed(spec, place, MS_PRIVATE);
      if (plan.target.name === ".") {
        // The command starts beneath what is mounted there.
        throw new TypeError(
          `${place}: Nothing can be mounted on the root itself`,
        );
      }
      const { type, options = "" } = spec;
      return { ...plan, spec, procOptions: type === "proc" ? options : null };
    }),
    proc: checkSwitch("proc", options.proc ?? true),
    sys: checkSwitch("sys", options.sys ?? true),
    dev: checkSwitch("dev", options.dev ?? true),
    cwd,
    ids: gid === undefined ? null : {
      uid: uid === undefined ? null : checkNumber("uid", uid, MOST_ID),
      gid: checkNumber("gid", gid, MOST_ID),
    },
    hostPid: checkSwitch("hostPid", options.hostPid ?? false),
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
  // The first call; what is wrong has been told.
  const inherited = checkSwitch("clearEnv", options.clearEnv ?? false)
    ? []
    : inheritedEnvironment().map((entry) =>
      [entry.split("=", 1)[0]!, entry] as const
    );
  const environment = [...new Map([...inherited, ...variables]).values()];
  return { ...plan, environment };
}

function checkList(what: string, value: unknown): void {
  if (!Array.isArray(value)) {
    throw new TypeError(`${what} must be an array, not ${typeof value}`);
  }
}

function checkSwitch(name: string, value: boolean): boolean {
  if (typeof value === "boolean") return value;
  throw new TypeError(`"${name}" must be true or false, not ${typeof value}`);
}

function checkSignal(name: Deno.Signal): SignalName {
  if (Object.hasOwn(SIGNALS, name)) return name as SignalName;
  throw new TypeError(`Unknown signal ${quote(String(name))}`);
}

function checkText(what: string, text: string): void {
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
  throw new TypeError(`"${name}" can't be ${String(option)}`);
}
