/** Runs a command, from its options to its end. */
import { openInput, openOutput, type Stream } from "./streams.ts";
import { MountTree } from "../mount/tree.ts";
import {
  parseRun,
  type Plan,
  running,
  type RunOptions,
  type RunResult,
} from "./options.ts";
import { SyscallError, UnsupportedError } from "../sys/error.ts";
import { attempt, explain, MountError } from "../error/error.ts";
import { type Spawner, spawner } from "./spawner.ts";
import { withUser } from "./user.ts";
import { FROM_TERMINAL, HeldSignals, Terminal } from "./signals.ts";
import {
  DetachedRoot,
  make,
  makeDev,
  makeProc,
  makeSys,
  RootTree,
} from "./root_tree.ts";
import { MountPoints } from "./mount_points.ts";
import { Guarding, openGuarded, withoutDevices } from "./guard.ts";
import { GUARDED } from "./profile.ts";
import { enterCommandsNamespaces, enterNamespaces } from "./namespaces.ts";
import type { PassedOver } from "../mount/apply.ts";
import { descriptorOf, type HasFd, OwnedFd, procPath } from "../fd/owned_fd.ts";
import { CommandProcess, type Kind, type Outcome } from "./command.ts";
import { dup, openat2, type Statx, statx } from "../sys/file.ts";
import { readlinkat } from "../sys/names.ts";
import { findPrograms } from "./program.ts";
import { LentStreams } from "./lent_streams.ts";
import { isTerminal } from "../sys/process.ts";
import { cloneTree } from "../mount/bindat.ts";
import { makePrivate } from "../mount/change.ts";
import { explainExecution } from "./why_not_executed.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  CLONE_NEWPID,
  FSOPEN_CLOEXEC,
  MOUNT_ATTR_NODEV,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_PATH,
  STATX_INO,
} from "../sys/constants.ts";
import { CLONE_VFORK, CLONE_VM } from "../sys/spawn.ts";
import { type SignalName, SIGNALS } from "../sys/layout.ts";
import { InitProcess, TableFile } from "./init_process.ts";
import { CallTable, Descriptors, SOCKET } from "./table.ts";
import {
  becomeCommand,
  beginTable,
  copySysfs,
  endTable,
  enterDirectory,
  enterEmptyNamespace,
  enterRoot,
  type Made,
  makeDevices,
  makeProcfs,
  makeSysfs,
  type Placed,
  takeForeground,
} from "./steps.ts";

/**
 * Runs a command: see `run`.
 *
 * @throws {TypeError | RangeError | MountError | UnsupportedError}
 */
export async function execute(
  root: HasFd | MountTree | DetachedRoot,
  command: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const fd = descriptorOf(root);
  const isWhole = root instanceof MountTree || root instanceof DetachedRoot;
  const from = isWhole ? root : { fd };
  const given = parseRun(command, options);
  given.abort?.throwIfAborted();
  const plan = options.user === undefined
    ? given
    : parseRun(command, withUser(from, options));
  try {
    return await runPlanned(from, plan);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    throw explain(running(plan.command[0]), error);
  }
}

async function runPlanned(
  root: HasFd | MountTree | DetachedRoot,
  plan: Plan,
): Promise<RunResult> {
  using owned = new DisposableStack();
  const streams: Streams = [
    openInput(plan.stdin, owned),
    openOutput(plan.stdout, 1, owned),
    openOutput(plan.stderr, 2, owned),
  ];
  const [stdin, ...outputs] = streams;
  const user = plan.ids?.uid ?? null;
  using _lent = user === null ? null : new LentStreams(stdin, outputs, user);
  using tty = plan.dev ? copyTerminal(streams) : null;
  using signals = new HeldSignals(plan.forwardSignals);
  // Without the rights to mount, this fails before anything was changed.
  const place = spawner();
  const kind = plan.hostPid ? "group" : plan.asPid1 ? "first" : "child";
  using init = new InitProcess(plan.hostPid);
  using points = new MountPoints();
  // Processes that leave the command's group go on using the mounts there.
  if (plan.hostPid) points.keep();
  using tree = new RootTree(
    root,
    points,
    plan.mountPoints === "make",
    plan.profile === "strict" ? MOUNT_ATTR_NODEV : 0,
  );
  const job: Job = { plan, kind, init, tree, place, streams, tty };
  const { begun, passedOver } = furnish(job);
  using terminal = plan.stdin === "inherit" ? Terminal.ours() : null;
  // A shell's job, in the foreground or not. If the command were in a process
  // group of its own, the shell's job control would not reach it.
  const atTerminal = plan.stdin === "inherit" && Terminal.isThere() &&
    !plan.hostPid && !plan.newSession;
  const leads = !plan.hostPid && !atTerminal;
  using stops = new HeldSignals(atTerminal ? STOPS : []);
  const table = describeCommand(job, begun, {
    leads,
    foreground: plan.hostPid && terminal !== null,
  });
  const tables = [begun.table, table];
  using process = new CommandProcess(init, tables, { kind, leads });
  // The mounts inside it end with the first process.
  using top = new OwnedFd(dup(tree.fd));
  // From here on the first process holds it.
  tree[Symbol.dispose]();
  for (const stream of streams) stream.closeTheirs();
  signals.deliverTo((name) =>
    process.signal(name, atTerminal && FROM_TERMINAL.includes(name))
  );
  stops.deliverTo((name) => {
    // More than one comes, until the command is stopped.
    const late = name === "SIGTTIN" && Terminal.ours() !== null;
    if (!late) process.suspend(name);
  });
  const result = await attend(process, plan, streams).catch((error) => {
    throw error instanceof SyscallError && error.syscall === "execve"
      ? explainExecution(error, top.fd, plan)
      : error;
  });
  plan.abort?.throwIfAborted();
  return { ...result, passedOver };
}

type Streams = readonly [stdin: Stream, stdout: Stream, stderr: Stream];

/** A command that is to be started. */
interface Job {
  readonly plan: Plan;
  readonly kind: Kind;
  readonly init: InitProcess;
  readonly tree: RootTree;
  readonly place: Spawner;
  readonly streams: Streams;
  /** The terminal that its /dev/console is, null for none. */
  readonly tty: OwnedFd | null;
}

/** A copy of the terminal that one of the streams is, to be mounted. */
function copyTerminal(streams: Streams): OwnedFd | null {
  const terminal = streams.find(({ fd, isPipe }) => !isPipe && isTerminal(fd));
  if (terminal === undefined) return null;
  return copyMount(terminal.fd) ?? copyNamed(terminal.fd);
}

/** @returns Null for what another mount namespace has. */
function copyMount(fd: number): OwnedFd | null {
  try {
    return makePrivate(cloneTree(fd, "", 0), 0);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return null;
  }
}

/** Copies a file of another mount namespace, if it has the same name here. */
function copyNamed(fd: number): OwnedFd | null {
  try {
    const name = readlinkat(AT_FDCWD, procPath(fd));
    const flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    using named = new OwnedFd(openat2(AT_FDCWD, name, { flags }));
    return isSameFile(fd, named.fd) ? copyMount(named.fd) : null;
  } catch (error) {
    // In a container it has none: the process that started the container has it.
    if (!(error instanceof SyscallError)) throw error;
    return null;
  }
}

function isSameFile(one: number, other: number): boolean {
  const [{ devMajor, devMinor, ino }, found] = [one, other].map((fd) =>
    statx(fd, "", AT_EMPTY_PATH, STATX_INO)
  ) as [Statx, Statx];
  return found.devMajor === devMajor && found.devMinor === devMinor &&
    found.ino === ino;
}

/** The file systems that every command expects. */
const EXPECTED = ["proc", "sys", "dev"] as const;

type Expected = (typeof EXPECTED)[number];

/** The work of the first process before it gets the root. */
interface Beginning extends Disposable {
  readonly table: CallTable;
  readonly file: TableFile;
  /** The mounts that it makes for the root's directories of these names. */
  readonly made: readonly (readonly [name: Expected, made: Made])[];
  /** The mounts that it makes to be mounted inside those. */
  readonly inside: readonly Placed[];
}

/**
 * Starts the first process. While this process builds the rest, the first process
 * makes the file systems that the command expects, as far as it can by itself.
 *
 * @param late The file systems that it makes.
 * @param types The file systems that it opens contexts of.
 */
function begin(
  job: Job,
  late: readonly Expected[],
  types: readonly string[],
): Beginning {
  const { plan, kind, init, place, streams, tty } = job;
  const { hostIpc, network, profile } = plan;
  using own = new DisposableStack();
  const describe = () => describeBeginning(job, late, types);
  const begun = types.length > 0 || late.includes("dev") && tty !== null
    ? own.use(describe())
    : place.keep([kind, hostIpc, network, profile, late].join(), describe);
  init.send(begun.file, begun.table.descriptors, streams.map(({ fd }) => fd));
  init.start(place.init);
  return begun;
}

function describeBeginning(
  { plan, kind, place, tty }: Job,
  late: readonly Expected[],
  types: readonly string[],
): Beginning {
  const table = new CallTable();
  const sys = late.includes("sys") && plan.network === "host"
    ? table.pass(place.sys!.fd)
    : null;
  const terminal = late.includes("dev") && tty !== null
    ? table.pass(tty.fd)
    : null;
  const guarding = plan.profile === "strict" && place.copiesDetached
    ? new Guarding(place.guard(), table)
    : null;
  beginTable(table, plan.hostPid);
  enterNamespaces(table, plan);
  if (kind === "first") table.vfork(CLONE_OF_KIND[kind]);
  const opened = types.map((type) =>
    table.open("fsopen", [type, FSOPEN_CLOEXEC])
  );
  if (opened.length > 0) {
    table.call("sendmsg", [SOCKET, new Descriptors(opened), 0]);
  }
  const made: (readonly [Expected, Made])[] = [];
  const inside: Placed[] = [];
  for (const name of late) {
    if (name === "dev") {
      const devices = makeDevices(table, terminal);
      made.push([name, devices.dev]);
      inside.push(...devices.inside);
      continue;
    }
    const one = name === "proc"
      ? makeProcfs(table)
      : sys === null
      ? makeSysfs(table)
      : copySysfs(table, sys);
    made.push([name, one]);
    inside.push(...guarding?.cover([{ name, at: one.fd }]) ?? []);
  }
  endTable(table);
  const file = new TableFile(table.encode({ next: true }), true);
  return {
    table,
    file,
    made,
    inside,
    [Symbol.dispose]: () => file[Symbol.dispose](),
  };
}

/**
 * Mounts what a command expects, but for what the first process does by itself:
 * that takes less time.
 *
 * @returns What that does, and what could not be mounted.
 */
function furnish(job: Job): { begun: Beginning; passedOver: PassedOver[] } {
  const { plan, init, tree, place, tty } = job;
  const strict = plan.profile === "strict";
  // Among nodes it could make others, of the host's disks.
  const makesNodes = strict && plan.mayMakeNodes;
  const wanted = EXPECTED.filter((name) => plan[name]);
  const tops = plan.mounts.map(({ target }) => tree.topOf(target.path));
  const late = wanted.filter((name) =>
    !tops.includes(null) && !tops.includes(name) &&
    (name !== "sys" || place.sys !== null) &&
    (name !== "dev" || place.makesDevices && !makesNodes)
  );
  const early = wanted.filter((name) => !late.includes(name));
  const sysShows = early.includes("sys") && plan.network === "none";
  const types = [
    ...sysShows ? ["sysfs"] : [],
    ...early.includes("proc") ? ["proc"] : [],
    ...plan.mounts.flatMap(({ shows }) => shows === null ? [] : [shows.type]),
  ];
  const begun = begin(job, late, types);
  const contexts = types.length === 0 ? [] : init.receive(begun.table);
  try {
    tree.makeRoom(wanted);
    if (early.includes("sys")) {
      tree.put("sys", makeSys(sysShows ? contexts.shift() : undefined));
    }
    if (early.includes("dev")) tree.put("dev", makeDev(tree.staging, tty));
    if (early.includes("proc")) tree.put("proc", makeProc(contexts.shift()!));
    const passedOver: PassedOver[] = [];
    for (const { spec, shows, ...mount } of plan.mounts) {
      const context = shows === null ? undefined : contexts.shift()!;
      const makeIt = shows === null
        ? mount.make
        : () => make(shows.type, shows.options, shows.type, context);
      try {
        tree.add({
          ...mount,
          make: strict ? () => withoutDevices(makeIt()) : makeIt,
        });
      } catch (error) {
        const failed = error instanceof MountError ||
          error instanceof UnsupportedError;
        if (!failed || !spec.optional) throw error;
        passedOver.push({ spec, error });
      }
    }
    tree.seal();
    return { begun, passedOver };
  } finally {
    for (const context of contexts) context.close();
  }
}

/** Tells the first process what is left to do. */
function describeCommand(
  { plan, kind, init, tree, place }: Job,
  { table: before, made, inside }: Beginning,
  { leads, foreground }: { leads: boolean; foreground: boolean },
): CallTable {
  const { command, cwd, environment } = plan;
  const path = environment.find((entry) => entry.startsWith("PATH="))?.slice(5);
  const programs = findPrograms(tree.fd, command[0], cwd, path);
  using owned = new DisposableStack();
  const table = new CallTable(before);
  const numberOf = (fd: number) => table.pass(fd);
  const root = numberOf(tree.fd);
  const empty = place.empty === null ? null : numberOf(place.empty.fd);
  const placed = made.map(([name, one]): Placed => ({
    ...one,
    at: numberOf(tree.pointAt(name).fd),
  }));
  const guarding = plan.profile === "strict"
    ? new Guarding(place.guard(), table)
    : null;
  const guarded = guarding === null
    ? []
    : GUARDED.filter((name) => plan[name]).map((name) => {
      const own = made.find(([made]) => made === name)?.[1];
      // Of a file system that it made, the first process has a descriptor.
      if (own !== undefined) {
        return { name, at: own.fd, covered: place.copiesDetached };
      }
      const { fd } = owned.use(openGuarded(tree.fd, name));
      return { name, at: numberOf(fd), covered: false };
    });
  const userNamespace = place.userNamespace === null
    ? null
    : numberOf(place.userNamespace.fd);
  const fds = plan.fds.map((fd) =>
    attempt(
      { action: `pass on descriptor ${fd}`, target: command[0] },
      () => [numberOf(owned.use(new OwnedFd(dup(fd))).fd), fd] as const,
    )
  );
  if (foreground) takeForeground(table);
  const bare = guarded.filter(({ covered }) => !covered);
  // A mount that is not attached is copied in the namespace that it was made in.
  const early = place.copiesDetached ? guarding?.cover(bare) : undefined;
  enterEmptyNamespace(table, empty);
  const covers = early ?? guarding?.cover(bare) ?? [];
  enterRoot(table, root, [...placed, ...inside, ...covers]);
  guarding?.protect(guarded);
  enterDirectory(table, cwd);
  if (kind !== "first") table.vfork(CLONE_OF_KIND[kind]);
  enterCommandsNamespaces(table, plan, userNamespace);
  becomeCommand(table, plan, {
    newSession: leads,
    fds,
    // If all fail, the error is that of the first: so it is tried again at the end.
    programs: programs.length > 1 ? [...programs, programs[0]!] : programs,
    environment,
  });
  using file = new TableFile(table.encode());
  init.send(file, table.descriptors);
  return table;
}

/** The flags by which the first process makes the command's process. */
const CLONE_OF_KIND: Readonly<Record<Kind, number>> = {
  child: CLONE_VM | CLONE_VFORK | SIGNALS.SIGCHLD,
  group: CLONE_VM | CLONE_VFORK | SIGNALS.SIGCHLD,
  first: CLONE_VM | CLONE_VFORK | SIGNALS.SIGCHLD | CLONE_NEWPID,
};

/** Attends a command until it and everything that it started have ended. */
async function attend(
  process: CommandProcess,
  plan: Plan,
  streams: Streams,
): Promise<Omit<RunResult, "passedOver">> {
  using watch = new DisposableStack();
  // Settles when the outputs are to be given up, even if a process still holds
  // them.
  const enough = Promise.withResolvers<void>();
  let timedOut = false;
  using timers = new DisposableStack();
  function after(milliseconds: number, act: () => void): void {
    const timer = setTimeout(act, milliseconds);
    timers.defer(() => clearTimeout(timer));
  }
  if (plan.timeout !== null) {
    after(plan.timeout, () => {
      timedOut = true;
      process.signalAll("SIGTERM");
      after(plan.killAfter, () => {
        process.signalAll("SIGKILL");
        enough.resolve();
        // A command of root may have stopped the first process: ptrace(2).
        after(LAST_MILLISECONDS, () => process.kill());
      });
    });
  }
  const { abort } = plan;
  const aborted = Promise.withResolvers<undefined[]>();
  if (abort !== undefined) {
    const kill = () => {
      process.kill();
      enough.resolve();
      aborted.resolve([]);
    };
    abort.addEventListener("abort", kill);
    watch.defer(() => abort.removeEventListener("abort", kill));
    // It was aborted while the command was started.
    if (abort.aborted) kill();
  }
  const moved = streams.map((stream) => stream.moved());
  // The failure of a stream is reported at the end.
  for (const end of moved) end.catch(() => {});
  const [stdin, ...outputs] = streams;
  let outcome: Outcome;
  try {
    outcome = await process.outcome();
  } finally {
    stdin.stop();
  }
  // The command was in time, however long it takes to move its output.
  if (!timedOut) timers.dispose();
  for (const output of outputs) output.finish();
  enough.promise.then(() => outputs.forEach((output) => output.stop()));
  // A stream of the caller's may never take what was written.
  const [, stdout, stderr] = await Promise.race([
    Promise.all(moved),
    aborted.promise,
  ]);
  return {
    success: outcome.code === 0,
    ...outcome,
    timedOut,
    ...stdout === undefined ? {} : { stdout },
    ...stderr === undefined ? {} : { stderr },
  };
}

/** The milliseconds that the first process has to kill all others. */
const LAST_MILLISECONDS = 1000;

/** The signals that stop a job: for Ctrl-Z, and for reading in the background. */
const STOPS: readonly SignalName[] = ["SIGTSTP", "SIGTTIN"];
