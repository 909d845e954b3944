import {
  checkArguments,
  type Command,
  expectPositionals,
  type Words,
} from "./command.ts";
import { formatJson, printData, printMessage, UsageError } from "./print.ts";
import { merged } from "./merged.ts";
import { parseBind, parseDuration, parseLimit } from "./run.ts";
import { printable, quote } from "../base/text.ts";
import { attempt } from "../error/error.ts";
import { readInputFile } from "./input.ts";
import { UnsupportedError } from "../sys/error.ts";
import { type Config, ConfigError, parseConfig } from "../runner/config.ts";
import {
  type ActionReport,
  type InputProtection,
  parseServe,
  PROTECTIONS,
  type Runner,
  type ServeOptions,
} from "../runner/options.ts";

/** The arguments of `runner`, parsed. */
export interface Arguments {
  /** A configuration of `bb_runner`. */
  readonly config: string | null;
  /** True if the configuration is only to be checked. */
  readonly check: boolean;
  /** The other options, which override the configuration. */
  readonly options: Partial<ServeOptions>;
}

/** `mountat runner --config <file>`. */
export const runner: Command<Arguments> = {
  description: {
    name: "runner",
    synopsis: [
      "runner [options] --config <file>",
      "runner [options] --build-directory <dir> --listen <socket>",
    ],
    summary: `Run the commands of a Buildbarn worker, in place of bb_runner

The input root of an action is the root of its command, with its own /proc, /sys, /dev
and /tmp, in its own namespaces. When a call is answered or cancelled, or the runner
is killed, nothing of the command is left.

The configuration is bb_runner's, in JSON as jsonnet prints it. If a field can't be
honoured, the configuration is refused, and the error names the field. Options
override the configuration.

Input files are hard links into the worker's cache. By default, commands of root see
them through an id map, in which nobody owns them: they can be read and executed, but
not changed, renamed or removed. On disk the command's directories and outputs then
belong to ids from 70000 on, so bb_worker must be root. On FUSE, and for commands of
another user, there is no id map. With --protect-inputs overlay, commands may change and
remove their inputs: they see them through an overlay, and their changes are merged into
the input root when they have ended.

Each action gets a line on stderr, as JSON with --json. With --quiet only actions that
could not be run get one. SIGTERM stops the runner: running actions get the time of
--grace and are then killed. A second SIGTERM kills them at once. SIGHUP does nothing.

The runner needs two packages from npm; no other subcommand does. It can also be
started as a program of its own: deno run -A jsr:@meroton/mountat/runner.`,
    operands: [],
    options: {
      bind: {
        value: "src:dst[:ro]",
        repeat: true,
        help: "show each command a file or directory of the host",
      },
      "build-directory": {
        value: "dir",
        help: "where the worker lays out actions",
      },
      "check-config": {
        help: "only check the options and the configuration",
      },
      config: { value: "file", help: "a configuration of bb_runner" },
      grace: {
        value: "duration",
        help:
          "how long actions may run on after SIGTERM; by default not at all",
      },
      group: {
        value: "number",
        help: "the commands' group; by default --user",
      },
      groups: {
        value: "numbers",
        help: "the commands' other groups, separated by commas",
      },
      limit: {
        value: "name=soft[:hard]",
        repeat: true,
        help: "set a limit by prlimit(1)'s name: nproc=4096, fsize=unlimited",
      },
      listen: {
        value: "socket",
        repeat: true,
        help: "the Unix socket that the worker connects to",
      },
      network: {
        value: "which",
        choices: ["host", "none"],
        help: "the commands' network: host, or none but a loopback device",
      },
      "no-tmpdir": { help: "do not set TMPDIR" },
      profile: {
        value: "name",
        choices: ["default", "strict"],
        help: "how commands are confined: default or strict (if not given)",
      },
      "protect-inputs": {
        value: "way",
        choices: PROTECTIONS,
        help: "how input files are protected: idmap, mode, overlay or none",
      },
      ready: {
        value: "path",
        repeat: true,
        help: "be ready only while this path exists",
      },
      user: { value: "number", help: "the commands' user" },
    },
    examples: [{
      call:
        "mountat runner --build-directory /srv/build --listen /srv/run/socket",
      does: "a worker with that build directory connects to the socket",
    }, {
      call: "mountat runner --check-config --config /srv/bb_runner.json",
      does: "prints Valid, or names a field that can't be honoured",
    }],
  },
  failureStatus: 1,
  parse(words) {
    const { positionals, switches, values } = words;
    expectPositionals(this.description, positionals, 0, 0);
    const config = values["config"]?.[0] ?? null;
    const complete = values["build-directory"] && values["listen"];
    if (config === null && !complete) {
      throw new UsageError(
        "Option --config is missing, or --build-directory and --listen",
      );
    }
    return {
      config,
      check: switches.has("check-config"),
      options: parseOptions(words),
    };
  },
  async run({ config: file, check, options: given }, { json, quiet }) {
    const config = file === null ? null : readConfig(file);
    const options = { ...config?.options, ...given } as ServeOptions;
    const { buildDirectory, protectInputs } = checkArguments(() =>
      parseServe(options)
    );
    if (check) {
      if (protectInputs === "overlay") {
        const { checkOverlays } = await import("../runner/overlay.ts");
        await checkOverlays(buildDirectory);
      }
      printData(json ? formatJson({ valid: true }) : "Valid");
      return 0;
    }
    if (config?.umask !== undefined) Deno.umask(config.umask);
    const serve = await loadServe();
    const onAction = (action: ActionReport) => {
      if (quiet && action.status === "OK") return;
      printMessage(json ? formatJson(action, 0) : formatAction(action));
    };
    using signals = new Signals();
    const running = await serve({ ...options, onAction }).catch((error) => {
      // Its class is where the server is.
      if (error?.name !== "SocketError") throw error;
      printMessage(`mountat: ${error.message}`);
      return null;
    });
    if (running === null) return this.failureStatus;
    if (!quiet && !json) printMessage(startText(options));
    const name = await signals.first;
    signals.second.then(() => running.killActions());
    await running[Symbol.asyncDispose]();
    // A service manager takes any other status for a failure.
    return name === "SIGTERM" ? 0 : INTERRUPTED;
  },
};

function parseOptions({ switches, values }: Words): Partial<ServeOptions> {
  const id = (name: string, text = values[name]?.[0]) => {
    if (text === undefined) return undefined;
    const value = /^\d{1,10}$/.test(text) ? Number(text) : NaN;
    if (value < 0xffff_ffff) return value;
    throw new UsageError(`Option --${name} must be an id: ${quote(text)}`);
  };
  const protection = values["protect-inputs"]?.[0];
  if (protection !== undefined && !PROTECTIONS.includes(protection)) {
    throw new UsageError(
      `Option --protect-inputs must be one of ${PROTECTIONS.join(", ")}: ${
        quote(protection)
      }`,
    );
  }
  const grace = values["grace"]?.[0];
  const options: {
    [Name in keyof ServeOptions]: ServeOptions[Name] | undefined;
  } = {
    buildDirectory: values["build-directory"]?.[0],
    socket: values["listen"],
    uid: id("user"),
    gid: id("group"),
    groups: values["groups"]?.[0]?.split(",").map((text) =>
      id("groups", text)!
    ),
    limits: values["limit"] &&
      Object.fromEntries(values["limit"].map(parseLimit)),
    network: values["network"]?.[0] as ServeOptions["network"],
    profile: values["profile"]?.[0] as ServeOptions["profile"],
    setTmpdir: switches.has("no-tmpdir") ? false : undefined,
    protectInputs: protection as InputProtection | undefined,
    mounts: values["bind"]?.map((text) => parseBind("bind", text)),
    readinessPaths: values["ready"],
    grace: grace === undefined ? undefined : parseDuration(grace),
  };
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  );
}

function readConfig(file: string): Config {
  const text = attempt(
    { action: `read ${quote(file)}`, target: file, follows: true },
    () => readInputFile(file),
  );
  try {
    return parseConfig(text);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new UsageError(`${printable(file)}: ${printable(error.message)}`);
  }
}

type Serve = (options: ServeOptions) => Promise<Runner>;

/**
 * Loads the server. Nothing but this may name it: its packages are neither loaded
 * nor fetched by who does not call for it.
 *
 * @throws {UnsupportedError} Where it is not part of the program.
 */
async function loadServe(): Promise<Serve> {
  const hint =
    "The runner is not part of this program: deno run -A jsr:@meroton/mountat/runner, or the program mountat-runner";
  if (merged) throw new UnsupportedError(hint);
  const { href } = new URL("../runner/serve.ts", import.meta.url);
  try {
    return (await import(href)).serve;
  } catch (error) {
    const missing = error instanceof TypeError &&
      "code" in error && error.code === "ERR_MODULE_NOT_FOUND";
    throw missing ? new UnsupportedError(hint, { cause: error }) : error;
  }
}

function startText(
  { buildDirectory, socket, protectInputs }: ServeOptions,
): string {
  const sockets = typeof socket === "string" ? [socket] : socket;
  const protection = protectInputs === "none"
    ? "; input files are not protected: what one action writes into them, others read"
    : "";
  return `Runs commands in ${
    quote(String(buildDirectory))
  } for who connects to ${sockets.map(quote).join(" and ")}${protection}`;
}

/** A line for people: `3f2a/1: exit 0 in 12 ms, processor 3 ms, 1.2 MB: cc -c a.c`. */
export function formatAction(action: ActionReport): string {
  const {
    id,
    command,
    milliseconds,
    status,
    message,
    exitCode,
    signal,
    usage,
  } = action;
  const end = status !== "OK"
    ? `${status} (${message})`
    : signal === undefined
    ? `exit ${exitCode}`
    : signal;
  const words = [`${id}: ${end} in ${Math.round(milliseconds)} ms`];
  if (usage !== undefined) {
    words.push(
      `processor ${Math.round(usage.userTime + usage.systemTime)} ms`,
      `${(usage.maxRss / 1e6).toFixed(1)} MB`,
    );
  }
  return `${words.join(", ")}: ${shorten(command.map(word).join(" "))}`;
}

function word(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : quote(text);
}

/** So much of a command tells which it is. */
const MOST_COMMAND = 200;

function shorten(text: string): string {
  return text.length > MOST_COMMAND ? `${text.slice(0, MOST_COMMAND)}…` : text;
}

/** The signals that stop the server. */
class Signals implements Disposable {
  readonly #first = Promise.withResolvers<StoppingSignal>();
  readonly #second = Promise.withResolvers<void>();
  /** The first that comes. */
  readonly first = this.#first.promise;
  /** Another comes. */
  readonly second = this.#second.promise;
  readonly #owned = new DisposableStack();

  constructor() {
    this.#listen("SIGHUP", () => {});
    let came = false;
    for (const name of STOPPING) {
      this.#listen(name, () => {
        if (came) this.#second.resolve();
        else this.#first.resolve(name);
        came = true;
      });
    }
  }

  #listen(name: Deno.Signal, listener: () => void): void {
    Deno.addSignalListener(name, listener);
    this.#owned.defer(() => Deno.removeSignalListener(name, listener));
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

const STOPPING = ["SIGTERM", "SIGINT"] as const;

type StoppingSignal = typeof STOPPING[number];

/** The exit status after SIGINT, as of whatever is interrupted. */
const INTERRUPTED = 130;
