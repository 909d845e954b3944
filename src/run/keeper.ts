/**
 * The process whose death ends a run: the kernel kills what is in its PID
 * namespace, and in those inside it. It waits for the end of its input, which
 * comes when the run is over, and when this process dies, in whatever way: nobody
 * else holds the other end of the pipe.
 */
import type { ThreadCall } from "../sys/thread.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  CLONE_NEWNS,
  CLONE_NEWPID,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_PRIVATE,
  MS_REC,
  STATX_INO,
} from "../sys/constants.ts";
import { cString } from "../sys/call.ts";
import {
  kill,
  pidfdGetPidForChildrenNamespace,
  pidfdGetPidNamespace,
  pidfdOpen,
  SIG_IGN,
  sigaction,
  SIGKILL,
  waitid,
} from "../sys/process.ts";
import { CLONE_VM, cloneCalls, stringArray } from "../sys/spawn.ts";
import { SIGNALS, SIGSET_SIZE } from "../sys/layout.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import { pipe2, read, type Statx, statx, write } from "../sys/file.ts";
import { UnsupportedError } from "../sys/error.ts";
import {
  type OptionsInput,
  parseMountOptions,
} from "../options/mount_options.ts";
import { makeProc } from "./root_tree.ts";
import { spawner } from "./spawner.ts";
import { waitReady } from "./wait_ready.ts";
import { POLLIN } from "../sys/event.ts";

/**
 * How the keeper and the command share PID namespaces.
 *
 * - `nested`: the keeper is the first in one, the command the first in another
 *   inside it. It takes a procfs that can be told of an empty namespace.
 * - `shared`: the keeper is the first, and the command comes later. The keeper
 *   mounts the procfs: it shows the namespace of who does that. Of what it sees
 *   itself nothing is left then, for the command sees that.
 * - `group`: both stay in this process's, in a process group of their own.
 */
export type KeeperKind = "nested" | "shared" | "group";

interface Way {
  /** `CLONE_NEW*`. */
  readonly flags: number;
  /** What it does first. */
  readonly before: readonly ThreadCall[];
  /** What it does then, with its input and output open and nothing else. */
  readonly become: (input: number, output: number) => readonly ThreadCall[];
  /** What it does when its input has ended. */
  readonly after: readonly ThreadCall[];
}

/** Unlike what a keeper itself says when it waits. */
const COPIED = new Uint8Array([1]);

/** Bytes of a `struct open_how`. */
const OPEN_HOW_SIZE = 24;

const WAYS: Readonly<Record<KeeperKind, () => Way>> = {
  nested: () => ({
    flags: CLONE_NEWPID,
    before: [call("unshare", CLONE_NEWPID)],
    become: () => [],
    after: [],
  }),
  shared: () => {
    const proc = cString("proc", "proc");
    const place = cString("proc", "/proc");
    const attributes = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    const privately = MS_REC | MS_PRIVATE;
    const ignored = sigaction(SIG_IGN);
    const namespace = cString("namespace", "/proc/self/ns/mnt");
    const how = new Uint8Array(OPEN_HOW_SIZE);
    const cat = cString("cat", "/bin/cat");
    const args = stringArray("args", ["cat"]);
    return {
      flags: CLONE_NEWPID | CLONE_NEWNS,
      // The kernel then reaps what the command leaves behind.
      before: [
        call("rt_sigaction", SIGNALS.SIGCHLD, ignored, null, SIGSET_SIZE),
      ],
      // The command sees it, and must not see this process's memory in it.
      become: (input, output) => [
        call("dup3", input, 0, 0),
        call("dup3", output, 1, 0),
        // This takes the lowest number.
        call("openat2", AT_FDCWD, namespace, how, how.length),
        // To the root of the namespace, whatever this process's is.
        call("setns", 2, CLONE_NEWNS),
        call("close", 2),
        call("mount", null, cString("root", "/"), null, privately, null),
        call("mount", proc, place, proc, attributes, null),
        call("execve", cat, args, stringArray("env", [])),
      ],
      after: [],
    };
  },
  group: () => ({
    flags: 0,
    before: [],
    become: () => [],
    after: [call("kill", 0, SIGKILL)],
  }),
};

function call(name: ThreadCall["name"], ...args: ThreadCall["args"]) {
  return { name, args, text: [] };
}

/** A keeper that waits. */
export class Keeper implements AsyncDisposable {
  /** How it keeps. */
  readonly kind: KeeperKind;
  /** Its process, and the group of a `group`. */
  readonly pid: number;
  /**
   * The PID namespace for the command, or a process that is in it; null for this
   * process's.
   */
  readonly pidns: OwnedFd | null;
  readonly #owned: DisposableStack;
  readonly #input: OwnedFd;
  readonly #process: OwnedFd;
  /** It works with this until its end. */
  #memory: unknown;

  /**
   * Starts one, and waits until it waits.
   *
   * @throws {SyscallError} ENOTTY, EINVAL or ENOSYS for a `nested` one where the
   * kernel can't tell an empty PID namespace.
   * @throws {UnsupportedError} Where the C library can't do it.
   */
  constructor(kind: KeeperKind) {
    using owned = new DisposableStack();
    const [input, inputEnd] = openPipe(owned);
    const [outputEnd, output] = openPipe(owned);
    const { flags, before, become, after } = WAYS[kind]();
    // The keeper's, where it shares this process's memory: another for what it says.
    const byte = new Uint8Array(new ArrayBuffer(1));
    const said = new Uint8Array(1);
    const process = cloneCalls((sharesMemory(kind) ? CLONE_VM : 0) | flags, [
      call("setpgid", 0, 0),
      call("prctl", PR_SET_NAME, cString("name", "mountat keeper")),
      ...before,
      ...closeAllBut(input.fd, output.fd),
      ...become(input.fd, output.fd),
      call("write", output.fd, byte, 1),
      call("close", output.fd),
      call("read", input.fd, byte, 1),
      ...after,
    ]);
    this.kind = kind;
    this.pid = process.pid;
    try {
      input.close();
      output.close();
      // What cat has copied, it has been loaded for: then it needs no root.
      if (kind === "shared") write(inputEnd.fd, COPIED);
      const waits = read(outputEnd.fd, said) > 0 &&
        (kind !== "shared" || said[0] === COPIED[0]);
      outputEnd.close();
      this.#process = owned.use(new OwnedFd(pidfdOpen(this.pid)));
      if (kind === "shared" && !waits) {
        throw new UnsupportedError(
          "This kernel needs /bin/cat to run a command",
        );
      }
      if (kind === "group") this.pidns = null;
      else if (kind === "shared") this.pidns = this.#process;
      else this.pidns = openNested(owned, this.#process.fd);
    } catch (error) {
      kill(this.pid, SIGKILL);
      waitid(this.pid);
      throw error;
    }
    this.#input = inputEnd;
    this.#memory = process.memory;
    this.#owned = owned.move();
  }

  /**
   * Makes a procfs for the command.
   *
   * @param options As of a mount.
   * @throws {MountError} EINVAL for a `nested` one where the kernel can show only
   * the PID namespace of who mounts it.
   */
  makeProc(options: OptionsInput = "nosuid,nodev,noexec"): OwnedFd {
    if (this.kind !== "shared") return makeProc(options, this.pidns);
    if (parseMountOptions(options).parameters.length > 0) {
      throw new UnsupportedError(
        "This kernel gives a command's procfs no options: Linux 6.18 does",
      );
    }
    const proc = spawner().cloneIn(this.#process.fd, "/proc");
    if (!isSame(statDirectory(proc.fd), statDirectory(AT_FDCWD, "/proc"))) {
      return proc;
    }
    proc.close();
    throw new UnsupportedError(
      "A procfs can't be mounted in a PID namespace of its own",
    );
  }

  /**
   * Ends the making of procfs: the command comes next, and sees what the keeper
   * does.
   *
   * @throws {SyscallError | MountError}
   */
  seal(): void {
    if (this.kind === "shared") spawner().empty(this.#process.fd);
  }

  /** Ends it, and with it all that it keeps; returns when that is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#owned.disposed) return;
    // The one of a group has something to do at the end of its input.
    if (this.kind !== "group") kill(this.pid, SIGKILL);
    using _ = this.#owned;
    this.#input.close();
    // With nothing in its namespaces any more it ends at once.
    if (this.kind !== "nested") await waitReady(this.#process.fd, POLLIN);
    // The command may have killed it first. Until it is reaped, nobody else can
    // have the number.
    if (this.kind === "group") kill(-this.pid, SIGKILL);
    waitid(this.pid);
    this.#memory = null;
  }
}

/**
 * Whether a keeper may work in this process's memory, and need not be given a
 * copy. A Worker's is gone when that is terminated. And the OOM killer ends all
 * that share one: that is what the first of a PID namespace is for, but the one
 * of a group has something to do then.
 */
function sharesMemory(kind: KeeperKind): boolean {
  return kind !== "group" && !("DedicatedWorkerGlobalScope" in globalThis);
}

// include/uapi/linux/prctl.h
export const PR_SET_NAME = 15;

function openPipe(owned: DisposableStack): [OwnedFd, OwnedFd] {
  const [reading, writing] = pipe2();
  return [owned.use(new OwnedFd(reading)), owned.use(new OwnedFd(writing))];
}

/** Closes what was copied from this process. */
function closeAllBut(...kept: [number, number]): ThreadCall[] {
  const [low, high] = kept.toSorted((a, b) => a - b) as [number, number];
  return [
    [0, low - 1],
    [low + 1, high - 1],
    [high + 1, 0xffff_ffff],
  ].filter(([first, last]) => first! <= last!)
    .map(([first, last]) => call("close_range", first!, last!, 0));
}

/** Opens the namespace that the keeper has made for its children. */
function openNested(owned: DisposableStack, keeper: number): OwnedFd {
  using own = new OwnedFd(pidfdGetPidNamespace(keeper));
  const fd = pidfdGetPidForChildrenNamespace(keeper);
  const inner = owned.use(new OwnedFd(fd));
  if (isSame(statDirectory(inner.fd), statDirectory(own.fd))) {
    throw new UnsupportedError(
      "There are as many PID namespaces, or as deep ones, as there may be",
    );
  }
  return inner;
}

function statDirectory(fd: number, path = ""): Statx {
  return statx(fd, path, AT_EMPTY_PATH, STATX_INO);
}

/** Whether two are the same file. */
function isSame(one: Statx, other: Statx): boolean {
  return one.ino === other.ino && one.devMajor === other.devMajor &&
    one.devMinor === other.devMinor;
}
