import { lookupOfCaller } from "../error/attempt.ts";
import { parseRun, type RunOptions } from "../run/options.ts";
import {
  checkArguments,
  type Command,
  expectPositionals,
  parseTargetArgument,
  type Words,
} from "./command.ts";
import { printMessage, report, reportAsJson, UsageError } from "./print.ts";
import { withUser } from "../run/user.ts";
import { Directory } from "../directory.ts";
import { execute } from "../run/execute.ts";
import { endSpawner } from "../run/spawner.ts";
import { printable, quote } from "../base/text.ts";
import type { MountSpec } from "../options/spec.ts";
import { attempt, MountError } from "../error/error.ts";
import { readInputFile } from "./input.ts";
import { dirname } from "@std/path/posix/dirname";
import { SpecSyntaxError } from "../spec/malformed.ts";
import type { SignalName } from "../sys/layout.ts";
import type { LimitOption } from "../run/limits.ts";
import type { Capability } from "../run/capabilities.ts";
import { privileges } from "../kernel/process.ts";
import { isErrno, SyscallError } from "../sys/error.ts";
import { EBADF } from "../sys/errno.ts";
import { closesOnExec } from "../sys/file.ts";

/** The parsed arguments of `run`. */
export interface Arguments {
  /** The command's root. */
  readonly root: string;
  /** The command. */
  readonly command: readonly string[];
  /** Options of the run. */
  readonly options: RunOptions;
  /** An OCI runtime configuration whose mounts are made, too. */
  readonly oci: string | null;
  /** The arguments to run this again with in a user namespace, null for not. */
  readonly rootless: readonly string[] | null;
  /** The process that did so, with which this one ends; null for any. */
  readonly parent: number | null;
}

/**
 * The signals that go to the command: all but those that stop a process, that
 * nobody can catch, and that tell a process what it did itself.
 */
const FORWARDED: readonly SignalName[] = [
  "SIGALRM",
  "SIGHUP",
  "SIGINT",
  "SIGIO",
  "SIGPROF",
  "SIGPWR",
  "SIGQUIT",
  "SIGTERM",
  "SIGURG",
  "SIGUSR1",
  "SIGUSR2",
  "SIGVTALRM",
  "SIGWINCH",
];

/** The exit statuses of what runs a command: env(1), sh(1), timeout(1). */
const STATUS = {
  timedOut: 124,
  failed: 125,
  notExecutable: 126,
  notFound: 127,
  killed: 137,
} as const;

/** `mountat run [options] <root> [--] <command> [argument...]`. */
export const run: Command<Arguments> = {
  description: {
    name: "run",
    synopsis: ["run [options] <root> [--] <command> [argument...]"],
    summary: `Run a command in a root of its own, with /proc, /sys and /dev

The command sees the root and its own processes. It sees no mount and no process of
the host. When the command ends, or mountat is killed, all its processes and mounts
are gone. It uses the host's network unless --no-network is given.

Missing mount points are made in the root, and removed in the end if they are empty
and no other command uses them. In a directory that can't be written to, and
everywhere with --keep-root, nothing is made: a read-only tmpfs with the same content
takes the directory's place.

The mounts of --oci are made first, then each --tmpfs, --bind and --ro-bind, outer
ones before those inside them. A dst is a path in the root; its symlinks are followed
there. In a src or dst, \\: is a colon and \\\\ a backslash. No mount point can be made
in /proc and /sys.

The first process of the PID namespace is an init that mountat supplies. The init
starts the command, reaps orphans, and ends with the command. With --as-pid-1 the
command itself is the first process. Then signals from inside that the command does
not handle have no effect, not even SIGKILL; abort(3) shows as SIGSEGV; and the
command must reap orphans.

mountat forwards these signals to the command: SIGALRM, SIGHUP, SIGINT, SIGIO,
SIGPROF, SIGPWR, SIGQUIT, SIGTERM, SIGURG, SIGUSR1, SIGUSR2, SIGVTALRM and SIGWINCH.
After --timeout all its processes get SIGTERM, and after --kill-after SIGKILL.

The command has its own System V IPC, message queues and host name.

Without --strict, a command of root outside a user namespace has all capabilities: it
can change its mounts, read-only binds among them. With --strict a command of root is
confined like a container. It has no_new_privs, the 14 capabilities of a container and
a session keyring of its own. It can't change mounts. Device nodes work only in /dev, or bound by themselves.
/proc/sys and the like are read-only; /proc/keys and the like are covered. A command
that is not root, or that --rootless started, can't change these mounts either.

With --rootless the caller need not be root: the caller's user is root in a user
namespace. If newuidmap and newgidmap allow it, the namespace has the ids of
/etc/subuid and /etc/subgid, too.

At a terminal, Ctrl-Z stops the command, and then mountat. If the command ignores or
handles SIGTSTP, the command alone decides if both stop. The command is in mountat's
process group, as under unshare(1): kill 0 in it reaches mountat, too. With --host-pid
the command has its own process group, and mountat does not notice that Ctrl-Z stops
the command.

A command whose input is the terminal can type commands that the shell runs
afterwards (TIOCSTI), unless the sysctl dev.tty.legacy_tiocsti is 0. With
--new-session, or if its input is not the terminal, the command has a session of its
own. Then there is no /dev/tty, mountat passes Ctrl-C on, and Ctrl-Z stops mountat
alone. With --host-pid the command always stays in mountat's session.

Exit status: the command's; 128 plus the signal's number if a signal ended it; 124
after a --timeout, or 137 if that took SIGKILL; 125 if mountat failed; 126 if the
command could not be executed, 127 if it was not found. With --json a line on stderr
describes the end: code, signal, timedOut and usage.`,
    beforeCommand: 1,
    options: {
      "as-pid-1": {
        help: "make the command itself the first process of its PID namespace",
      },
      bind: {
        value: "src:dst[:ro|:rw]",
        repeat: true,
        help: "show a file or directory, with all mounts in it",
      },
      capabilities: {
        value: "names",
        help:
          "leave the command at most these capabilities, such as chown,kill; or none",
      },
      chdir: { value: "dir", help: "start in this directory of the root" },
      "child-of": {
        value: "pid",
        hidden: true,
        help: "end at once if this is not the parent any more",
      },
      "clear-env": { help: "start with an empty environment" },
      env: {
        value: "name=value",
        repeat: true,
        help: "set a variable of the environment",
      },
      gid: { value: "number", help: "run as this group; by default --uid" },
      groups: {
        value: "numbers",
        help: "run with these supplementary groups: 4,24; by default mountat's",
      },
      "host-ipc": {
        help: "share System V IPC and message queues with the host",
      },
      "host-pid": {
        help: "stay in the host's PID namespace, and see its processes",
      },
      "host-uts": {
        help: "share the host name: the command can change the host's",
      },
      "keep-root": {
        help: "make no mount points in the root; cover directories instead",
      },
      "kill-after": {
        value: "duration",
        help: "send SIGKILL this long after the --timeout; by default 5s",
      },
      limit: {
        value: "name=soft[:hard]",
        repeat: true,
        help:
          "set a limit by prlimit(1)'s name: nofile=1024:4096, core=unlimited",
      },
      "new-session": {
        help: "start in a new session even if the input is a terminal",
      },
      "no-dev": { help: "mount no /dev" },
      "no-network": {
        help: "give the command no network but its own loopback device",
      },
      "no-new-privs": {
        help: "let no program gain more rights than the command has",
      },
      "no-proc": { help: "mount no /proc" },
      "no-sys": { help: "mount no /sys" },
      oci: {
        value: "file",
        help: "make the mounts of an OCI runtime configuration, too",
      },
      "pass-fd": {
        value: "number",
        repeat: true,
        help: "let the command inherit this open descriptor",
      },
      "ro-bind": {
        value: "src:dst",
        repeat: true,
        help: "show a file or directory, with all mounts in it, read-only",
      },
      rootless: {
        help: "run in a user namespace, without being root outside",
      },
      seccomp: {
        value: "file",
        help: "filter system calls by a profile of docker's or podman's",
      },
      strict: {
        help: "confine the command like a container, even as root",
      },
      timeout: {
        value: "duration",
        help:
          "send SIGTERM to all its processes after this time: 10 (seconds), 1.5s, 2m, 1h or 1d; 0 is never",
      },
      tmpfs: { value: "dst", repeat: true, help: "mount an empty tmpfs" },
      uid: { value: "number", help: "run as this user; --user takes a name" },
      user: {
        value: "name",
        help:
          "run as this user of the root's /etc/passwd, with its groups and HOME",
      },
    },
    examples: [{
      call: "mountat run /srv/root -- make test",
      does: "make runs in /srv/root, and sees no other directory",
    }, {
      call: "mountat run --tmpfs /tmp --bind /srv:/mnt:ro / sh -c 'ls /mnt'",
      does: "the host's own root, with an empty /tmp, and /srv as /mnt",
    }],
  },
  failureStatus: STATUS.failed,
  usageStatus: STATUS.failed,
  parse(words) {
    const { positionals, switches, values } = words;
    expectPositionals(this.description, positionals, 2, Infinity);
    const [root, ...command] = positionals;
    const rootless = switches.has("rootless");
    if (rootless && switches.has("host-pid")) {
      throw new UsageError(
        "--rootless implies a PID namespace: leave out --host-pid",
      );
    }
    if ("uid" in values && "user" in values) {
      throw new UsageError("Two users are named: leave out --uid or --user");
    }
    if (switches.has("as-pid-1") && switches.has("host-pid")) {
      throw new UsageError(
        "--host-pid makes no PID namespace: leave out --as-pid-1",
      );
    }
    if (switches.has("new-session") && switches.has("host-pid")) {
      throw new UsageError(
        "With --host-pid the command stays in mountat's session: leave out --new-session",
      );
    }
    return {
      root: root!,
      command,
      oci: values["oci"]?.[0] ?? null,
      rootless: rootless ? withoutRootless(words) : null,
      parent: values["child-of"] ? Number(values["child-of"][0]) : null,
      options: parseOptions(words),
    };
  },
  async run(
    { root: path, command, options, oci, rootless, parent },
    { json, quiet },
  ) {
    // Only a death from now on sends a signal: PR_SET_PDEATHSIG(2const).
    if (parent !== null && Deno.ppid !== parent) return STATUS.failed;
    try {
      if (rootless !== null) {
        const { runRootless } = await import("./run_rootless.ts");
        const { user, uid, gid, groups } = options;
        const named = Object.entries({ user, uid, gid, groups }).find((
          [, id],
        ) => id !== undefined);
        return await runRootless(rootless, named?.[0] ?? null, FORWARDED);
      }
      const mounts = [
        ...oci === null ? [] : await readOci(oci, options),
        ...options.mounts ?? [],
      ];
      const all: RunOptions = {
        ...options,
        mounts,
        forwardSignals: FORWARDED,
      };
      checkArguments(() => parseRun(command, all));
      for (const fd of options.fds ?? []) checkInherited(fd);
      using root = Directory.open(path);
      const resolved = checkArguments(() => withUser(root, all));
      // By its first wait it knows what is ignored.
      const running = execute(root, command, resolved);
      // To its end: Deno hears late of what came before, and would end by it
      // where nobody listens any more.
      for (const name of FORWARDED) Deno.addSignalListener(name, () => {});
      const { code, signal, timedOut, usage, passedOver } = await running;
      for (const { error } of passedOver) {
        if (!quiet) printMessage(`mountat: Passed over: ${error.message}`);
      }
      const wasKilled = signal === "SIGKILL";
      if (timedOut && !quiet) {
        const how = wasKilled ? "SIGKILL" : "SIGTERM";
        printMessage(`mountat: Ended by ${how} after its --timeout`);
      }
      if (json) {
        printMessage(JSON.stringify({ code, signal, timedOut, usage }));
      }
      if (!timedOut) return code;
      return wasKilled ? STATUS.killed : STATUS.timedOut;
    } catch (error) {
      // Stdout is the command's.
      if (json) reportAsJson([error], printMessage);
      return reportFailure(error);
    } finally {
      endSpawner();
    }
  },
};

function withoutRootless({ positionals, switches, values }: Words): string[] {
  return [
    ...[...switches].filter((name) => name !== "rootless")
      .map((name) => `--${name}`),
    ...Object.entries(values).flatMap(([name, given]) =>
      given.map((value) => `--${name}=${value}`)
    ),
    "--",
    ...positionals,
  ];
}

function parseOptions({ switches, values }: Words): RunOptions {
  const number = (name: string) => {
    const text = values[name]?.[0];
    return text === undefined ? {} : { [name]: parseId(name, text) };
  };
  const timeout = parseDuration(values["timeout"]?.[0] ?? "0");
  const killAfter = values["kill-after"]?.[0];
  const groups = values["groups"]?.[0];
  const capabilities = values["capabilities"]?.[0];
  const cwd = values["chdir"]?.[0];
  const user = values["user"]?.[0];
  const seccomp = values["seccomp"]?.[0];
  if (cwd !== undefined && !cwd.startsWith("/")) {
    throw new UsageError(`Option --chdir must be absolute: ${quote(cwd)}`);
  }
  return {
    proc: !switches.has("no-proc"),
    sys: !switches.has("no-sys"),
    dev: !switches.has("no-dev"),
    hostPid: switches.has("host-pid"),
    hostIpc: switches.has("host-ipc"),
    hostUts: switches.has("host-uts"),
    network: switches.has("no-network") ? "none" : "host",
    asPid1: switches.has("as-pid-1"),
    profile: switches.has("strict") ? "strict" : "default",
    ...switches.has("no-new-privs") ? { noNewPrivs: true } : {},
    limits: Object.fromEntries((values["limit"] ?? []).map(parseLimit)),
    fds: (values["pass-fd"] ?? []).map(parsePassed),
    newSession: switches.has("new-session"),
    mountPoints: switches.has("keep-root") ? "stand-in" : "make",
    clearEnv: switches.has("clear-env"),
    env: Object.fromEntries((values["env"] ?? []).map(parseVariable)),
    mounts: [
      ...(values["tmpfs"] ?? []).map((target) => ({
        type: "tmpfs",
        target: parseInside(target),
        options: "nosuid,nodev,mode=1777",
        place: `--tmpfs ${target}`,
      })),
      ...(values["bind"] ?? []).map((text) => parseBind("bind", text)),
      ...(values["ro-bind"] ?? []).map((text) => parseBind("ro-bind", text)),
      // A mount inside another comes after it.
    ].sort((one, other) => depth(one) - depth(other)),
    ...number("uid"),
    ...user === undefined ? {} : { user },
    ...seccomp === undefined ? {} : { seccomp },
    ...number("gid"),
    // As timeout(1) has it.
    ...timeout === 0 ? {} : { timeout },
    ...killAfter === undefined ? {} : { killAfter: parseDuration(killAfter) },
    ...groups === undefined ? {} : { groups: parseGroups(groups) },
    ...capabilities === undefined
      ? {}
      : { capabilities: parseCapabilityList(capabilities) },
    ...cwd === undefined ? {} : { cwd },
  };
}

function parseId(name: string, text: string): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : NaN;
  if (value < 0xffff_ffff) return value;
  const byName = name === "uid" ? "; --user takes a name" : "";
  throw new UsageError(
    `Option --${name} must be an id: ${quote(text)}${byName}`,
  );
}

function parseGroups(text: string): number[] {
  return text === ""
    ? []
    : text.split(",").map((word) => parseId("groups", word));
}

/** Names as setpriv(1) has them, or as the kernel has. */
function parseCapabilityList(text: string): Capability[] {
  if (text === "none" || text === "") return [];
  return text.split(",").map((word) =>
    `CAP_${word.replace(/^CAP_/i, "").toUpperCase()}` as Capability
  );
}

function parsePassed(text: string): number {
  const value = /^\d{1,7}$/.test(text) ? Number(text) : NaN;
  if (value > 2) return value;
  throw new UsageError(
    `Option --pass-fd must be a descriptor above 2: ${quote(text)}`,
  );
}

/** Refuses what mountat opened itself: a directory of the host, for example. */
function checkInherited(fd: number): void {
  try {
    if (!closesOnExec(fd)) return;
  } catch (error) {
    if (!isErrno(error, EBADF)) throw error;
  }
  throw new UsageError(
    `Descriptor ${fd} of --pass-fd was not open when mountat started`,
  );
}

/**
 * Parses a `--limit`.
 *
 * @throws {UsageError}
 */
export function parseLimit(text: string): [name: string, limit: LimitOption] {
  const [, name, soft, hard = soft] =
    /^([^=]+)=(\d+|unlimited)(?::(\d+|unlimited))?$/.exec(text) ?? [];
  if (name === undefined) {
    throw new UsageError(
      `Option --limit must be NAME=SOFT or NAME=SOFT:HARD: ${quote(text)}`,
    );
  }
  const value = (word: string) => word === "unlimited" ? word : Number(word);
  return [name, { soft: value(soft!), hard: value(hard!) }];
}

function parseVariable(text: string): [name: string, value: string] {
  const at = text.indexOf("=");
  if (at < 1) {
    throw new UsageError(`Option --env must be NAME=value: ${quote(text)}`);
  }
  return [text.slice(0, at), text.slice(at + 1)];
}

/**
 * Parses a `--bind` or `--ro-bind`.
 *
 * @throws {UsageError}
 */
export function parseBind(option: "bind" | "ro-bind", text: string): MountSpec {
  const [source, target, access, ...rest] = splitAtColons(text);
  const known = access === undefined ||
    option === "bind" && ["ro", "rw"].includes(access);
  if (!source || !target || !known || rest.length > 0) {
    const forms = option === "bind"
      ? "SRC:DST, SRC:DST:ro or SRC:DST:rw"
      : "SRC:DST";
    throw new UsageError(
      `Option --${option} must be ${forms}, with \\: for a colon in a path: ${
        quote(text)
      }`,
    );
  }
  const readOnly = option === "ro-bind" || access === "ro";
  return {
    type: "bind",
    source,
    target: parseInside(target),
    recursive: true,
    place: `--${option} ${text}`,
    ...readOnly ? { options: "rro" } : {},
  };
}

/** Splits at colons, but for those behind a backslash. */
function splitAtColons(text: string): string[] {
  const fields = [""];
  for (const [part, escaped] of text.matchAll(/\\([\\:])|[^]/g)) {
    if (part === ":") fields.push("");
    else fields[fields.length - 1] += escaped ?? part;
  }
  return fields;
}

function depth({ target }: MountSpec): number {
  return target.split("/").length;
}

/** A path in the root, written with or without its slash. */
function parseInside(text: string): string {
  return parseTargetArgument(text.replace(/^\/+/, "") || ".").path;
}

const UNITS: Readonly<Record<string, number>> = {
  "": 1000,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/**
 * Parses a duration as timeout(1) does, to milliseconds.
 *
 * @throws {UsageError}
 */
export function parseDuration(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d*)?|\.\d+)([smhd]?)$/.exec(text) ?? [];
  const milliseconds = Math.ceil(Number(number) * UNITS[unit ?? ""]!);
  if (milliseconds <= 0x7fff_ffff) return milliseconds;
  throw new UsageError(
    `A duration must be like 10, 1.5s or 2m, up to 24 days: ${quote(text)}`,
  );
}

/** The mounts of a configuration, but for those that are made anyway. */
async function readOci(
  file: string,
  options: RunOptions,
): Promise<MountSpec[]> {
  const { parseOciMounts } = await import("../spec/oci.ts");
  const text = attempt(
    {
      action: `read ${quote(file)}`,
      target: file,
      ...lookupOfCaller(file, "target"),
    },
    () => readInputFile(file),
  );
  try {
    return parseOciMounts(text, { bundle: dirname(file) }).filter(
      ({ target }) =>
        !(["proc", "sys", "dev"] as const).some((name) =>
          target === name && options[name]
        ),
    );
  } catch (error) {
    if (!(error instanceof SpecSyntaxError)) throw error;
    throw new UsageError(`${printable(file)}: ${printable(error.message)}`);
  }
}

function reportFailure(error: unknown): number {
  const { failed, notFound, notExecutable } = STATUS;
  report(error, failed, "run");
  const refused = error instanceof MountError && error.code === "EPERM";
  if (refused && lacksRights()) {
    printMessage("  hint: mountat run --rootless gets the rights by itself");
  }
  if (!(error instanceof MountError) || error.syscall !== "execve") {
    return failed;
  }
  if (["ENOENT", "ENAMETOOLONG"].includes(error.code)) return notFound;
  // Those are of the process that was to execute it.
  return ["EAGAIN", "ENOMEM"].includes(error.code) ? failed : notExecutable;
}

/** @returns False, too, where /proc does not tell. */
function lacksRights(): boolean {
  try {
    return !privileges().sysAdmin;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return false;
  }
}
