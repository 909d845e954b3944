/**
 * Room `run`: A command in a root of its own.
 */
import {
  type InputOption,
  openInput,
  openOutput,
  type OutputOption,
  type Stream,
} from "./streams.ts";
import type { Usage } from "../sys/process.ts";
import type { MountTree } from "../mount/tree.ts";
import {
  parseRun,
  type Plan,
  type RunOptions,
  type RunResult,
} from "./options.ts";
import { isErrno, SyscallError, UnsupportedError } from "../sys/error.ts";
import { attempt, explain, MountError } from "../error/error.ts";
import { quote } from "../base/text.ts";
import { releaseSpawner, spawner } from "./spawner.ts";
import { HeldSignals, Terminal } from "./signals.ts";
import { makeDev, makeSys, RootTree } from "./root_tree.ts";
import { MountPoints } from "./mount_points.ts";
import { Keeper, type KeeperKind } from "./keeper.ts";
import type { PassedOver } from "../mount/apply.ts";
import type { HasFd, OwnedFd } from "../fd/owned_fd.ts";
import { EINVAL, ENOSYS, ENOTTY } from "../sys/errno.ts";
import { CommandProcess } from "./command.ts";
import { findProgram } from "./program.ts";
import { openInRoot } from "../fd/open.ts";
import { O_DIRECTORY } from "../sys/constants.ts";
import { prepareSpawn } from "../sys/spawn.ts";
import type { SignalName } from "../sys/layout.ts";

export type { InputOption, OutputOption, Usage };

/**
 * Runs a command in a root of its own: a directory, with a procfs, a sysfs and
 * a /dev, in a mount namespace that holds that alone. It is the first process of
 * a PID namespace of its own. When it ends, all that it started is ended, too;
 * so it is when this process dies, however that happens. No mount is visible
 * anywhere else at any time.
 *
 * What is missing in the root to mount on is made there, and removed in the end:
 * see `mountPoints`. With `hostPid` it stays, as it does when this process is
 * killed, and where another process's command has something mounted beside it.
 * Until then each directory of it has a shared lock, flock(2): who takes the
 * exclusive one keeps commands from mounting there.
 *
 * As the first of its PID namespace it is spared the signals that it has no
 * handler for when it sends them itself, abort(3) shows as SIGSEGV, and what its
 * children leave behind is its to wait for. Its limit of open files is the one
 * that Deno has raised.
 *
 * What this process was started to ignore, under nohup(1) say, both ignore,
 * whatever listener is added later; SIGPIPE, which Deno ignores, the command does
 * not. Terminating a Worker ends no command that was started in it: abort its
 * `signal` first.
 *
 * It has a session of its own, and so no /dev/tty, but with `hostPid` and where
 * its `stdin` is this process's terminal: see `newSession`.
 *
 * The command has this process's credentials, or the given ids: this parts what
 * it sees, and does not confine a command of root.
 *
 * Needs Linux 5.12, the permission `--allow-ffi`, /proc, CAP_SYS_ADMIN and
 * CAP_SYS_CHROOT in the user namespace of the mount namespace, and glibc 2.35.
 * Before Linux 6.18 the command is not the first process of its PID namespace,
 * but one of those that the first looks after, a /bin/cat, and its procfs takes
 * no options. Before Linux 6.15 the root is built in another mount namespace,
 * until the command starts: a file system that is unmounted meanwhile stays in
 * use there. See pid_namespaces(7),
 * mount_namespaces(7), posix_spawn(3).
 *
 * @example Run a command, and read what it says
 * ```ts
 * import { Directory, run } from "@meroton/mountat";
 * import { assertEquals } from "@std/assert";
 *
 * using root = Directory.open("/");
 * const { code, stdout } = await run(root, ["sh", "-c", "echo $$"], {
 *   stdout: "piped",
 * });
 * assertEquals(code, 0);
 * assertEquals(new TextDecoder().decode(stdout), "1\n");
 * ```
 *
 * @param root The command's root.
 * @param command The program, looked for on the PATH of its environment, and its
 * arguments. A script needs its #! line: no shell is tried, as by execvp(3).
 * @param options How to run it.
 * @returns How it ended.
 * @throws {TypeError | RangeError} For a wrong argument; before any call.
 * @throws {MountError} What the kernel answers; of the call `execve` when the
 * command can't be started.
 * @throws {UnsupportedError} Where the system or kernel can't do it.
 */
export async function run(
  root: HasFd | MountTree,
  command: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const plan = parseRun(command, options);
  plan.abort?.throwIfAborted();
  try {
    return await runPlanned(root, plan);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const [program] = plan.command;
    throw explain(
      { action: `run ${quote(program)}`, target: program },
      error,
    );
  } finally {
    // What failed before the command was started holds it still.
    releaseSpawner();
  }
}

async function runPlanned(
  root: HasFd | MountTree,
  plan: Plan,
): Promise<RunResult> {
  using owned = new DisposableStack();
  const streams: Streams = [
    openInput(plan.stdin, owned),
    openOutput(plan.stdout, 1, owned),
    openOutput(plan.stderr, 2, owned),
  ];
  using signals = new HeldSignals(plan.forwardSignals);
  // Without the rights to mount this fails, before anything is begun.
  spawner();
  using points = new MountPoints();
  // What leaves the command's group goes on with what is mounted there.
  if (plan.hostPid) points.keep();
  using tree = new RootTree(root, points, plan.mountPoints === "make");
  const furnished = await furnish(tree, plan);
  await using keeper = furnished.keeper;
  using terminal = plan.stdin === "inherit" ? Terminal.ours() : null;
  // A job of a shell's, in the foreground or not: as a group of its own what that
  // does would not reach the command.
  const atTerminal = plan.stdin === "inherit" && Terminal.isThere() &&
    !plan.hostPid && !plan.newSession;
  using stops = new HeldSignals(atTerminal ? STOPS : []);
  using process = start(tree, keeper, plan, streams, {
    atTerminal,
    foreground: terminal !== null,
  });
  // From here on the command's mount namespace holds it.
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
  const result = await attend(process, keeper, plan, streams);
  plan.abort?.throwIfAborted();
  return { ...result, passedOver: furnished.passedOver };
}

type Streams = readonly [stdin: Stream, stdout: Stream, stderr: Stream];

/** Mounts what a command expects, and starts who keeps it. */
async function furnish(
  tree: RootTree,
  plan: Plan,
): Promise<{ keeper: Keeper; passedOver: PassedOver[] }> {
  tree.makeRoom((["proc", "sys", "dev"] as const).filter((name) => plan[name]));
  if (plan.sys) tree.put("sys", makeSys());
  if (plan.dev) tree.put("dev", makeDev(tree.staging));
  const { keeper, proc } = await keep(plan);
  try {
    if (proc !== null) tree.put("proc", proc);
    const passedOver: PassedOver[] = [];
    for (const { spec, procOptions, ...mount } of plan.mounts) {
      try {
        if (procOptions === null) tree.add(mount);
        else tree.add({ ...mount, make: () => keeper.makeProc(procOptions) });
      } catch (error) {
        const failed = error instanceof MountError ||
          error instanceof UnsupportedError;
        if (!failed || !spec.optional) throw error;
        passedOver.push({ spec, error });
      }
    }
    tree.seal();
    keeper.seal();
    return { keeper, passedOver };
  } catch (error) {
    await keeper[Symbol.asyncDispose]();
    throw error;
  }
}

async function keep(
  plan: Plan,
): Promise<{ keeper: Keeper; proc: OwnedFd | null }> {
  const place = spawner();
  const kind: KeeperKind = plan.hostPid
    ? "group"
    : place.nests
    ? "nested"
    : "shared";
  let keeper: Keeper | undefined;
  try {
    keeper = new Keeper(kind);
    return { keeper, proc: plan.proc ? keeper.makeProc() : null };
  } catch (error) {
    await keeper?.[Symbol.asyncDispose]();
    const cause = error instanceof MountError ? error.cause : error;
    const falls = kind === "nested" && isErrno(cause, EINVAL, ENOTTY, ENOSYS);
    if (!falls) throw error;
  }
  place.nests = false;
  return await keep(plan);
}

function start(
  tree: RootTree,
  keeper: Keeper,
  plan: Plan,
  [stdin, stdout, stderr]: Streams,
  { atTerminal, foreground }: { atTerminal: boolean; foreground: boolean },
): CommandProcess {
  const { command, cwd, environment, ids } = plan;
  const path = environment.find((entry) => entry.startsWith("PATH="))?.slice(5);
  using directory = attempt(
    { action: `start in ${quote(cwd)}`, target: cwd, follows: true },
    () => openInRoot(tree.fd, cwd, O_DIRECTORY),
  );
  const program = findProgram(tree.fd, command[0], cwd, path);
  const group = keeper.kind === "group";
  const leads = !group && !atTerminal;
  using prepared = prepareSpawn(program, command, environment, {
    descriptors: [stdin.fd, stdout.fd, stderr.fd],
    processGroup: group ? keeper.pid : null,
    // A terminal's signals must reach it, and this process: the first of a PID
    // namespace is spared them. Elsewhere it has no use for /dev/tty.
    newSession: leads,
    foreground: group && foreground,
  });
  const pidns = keeper.pidns?.fd ?? null;
  const place = { tree: tree.fd, cwd: directory.fd, pidns, ids };
  spawner().spawnInside(prepared, place);
  const isInit = keeper.kind === "nested";
  return new CommandProcess(prepared.pid, { isInit, leads });
}

/** Sees a command to its end, and to that of all that it started. */
async function attend(
  process: CommandProcess,
  keeper: Keeper,
  plan: Plan,
  streams: Streams,
): Promise<Omit<RunResult, "passedOver">> {
  using watch = new DisposableStack();
  // When nobody waits any longer for who still holds what the command wrote to.
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
      process.signal("SIGTERM");
      after(plan.killAfter, () => {
        process.signal("SIGKILL");
        enough.resolve();
      });
    });
  }
  const { abort } = plan;
  if (abort !== undefined) {
    const kill = () => {
      process.signal("SIGKILL");
      enough.resolve();
    };
    abort.addEventListener("abort", kill);
    watch.defer(() => abort.removeEventListener("abort", kill));
    // While it was started.
    if (abort.aborted) kill();
  }
  const moved = streams.map((stream) => stream.moved());
  // What goes wrong with one is told at the end.
  for (const end of moved) end.catch(() => {});
  const outcome = await process.outcome();
  // It was in time, however long it takes to move what it wrote.
  if (!timedOut) timers.dispose();
  await keeper[Symbol.asyncDispose]();
  const [stdin, ...outputs] = streams;
  stdin.stop();
  enough.promise.then(() => outputs.forEach((output) => output.stop()));
  const [, stdout, stderr] = await Promise.all(moved);
  return {
    success: outcome.code === 0,
    ...outcome,
    timedOut,
    ...stdout === undefined ? {} : { stdout },
    ...stderr === undefined ? {} : { stderr },
  };
}

/** What a terminal sends to the whole foreground: termios(3). */
const FROM_TERMINAL: readonly SignalName[] = ["SIGINT", "SIGQUIT"];

/** What stops a job: Ctrl-Z, and reading while another has the terminal. */
const STOPS: readonly SignalName[] = ["SIGTSTP", "SIGTTIN"];
