/**
 * The process whose death ends a run: the kernel kills what is in its PID
 * namespace, and in those inside it. It is cat(1), which waits for the end of
 * its input. That comes when the run is over, and when this process dies, in
 * whatever way: nobody else holds the other end of the pipe.
 */
import { OwnedFd } from "../owned_fd.ts";
import { AT_FDCWD, O_CLOEXEC } from "../sys/constants.ts";
import { ENOENT, EPIPE } from "../sys/errno.ts";
import { isErrno, UnsupportedError } from "../sys/error.ts";
import { pidfdGetPidForChildrenNamespace } from "../sys/ioctl_pidfd.ts";
import { kill, SIGKILL } from "../sys/kill.ts";
import { openat2 } from "../sys/openat2.ts";
import { pidfdOpen } from "../sys/pidfd_open.ts";
import { pipe2 } from "../sys/pipe2.ts";
import { readPipe } from "../sys/pipe_io.ts";
import { prepareSpawn } from "../sys/posix_spawn.ts";
import { decodeText } from "../sys/text.ts";
import { waitid } from "../sys/waitid.ts";
import { write } from "../sys/write.ts";
import { makeProc } from "./root_tree.ts";
import { type Spawner, spawner } from "./spawner.ts";

/**
 * How the keeper and the command share PID namespaces.
 *
 * - `nested`: the keeper is the first in one, the command the first in another
 *   inside it. It takes a procfs that can be told of an empty namespace.
 * - `shared`: the keeper is the first, and the command comes later. The keeper
 *   mounts the procfs: it shows the namespace of who does that.
 * - `group`: both stay in this process's, in a process group of their own.
 */
export type KeeperKind = "nested" | "shared" | "group";

const COMMANDS: Readonly<Record<KeeperKind, readonly string[]>> = {
  // The command's namespace is there, and empty, before the command is.
  nested: ["unshare", "--pid", "cat"],
  // Nobody else reaps what loses its parent.
  shared: [
    "sh",
    "-c",
    'mount -t proc proc /proc && trap "" CHLD && exec cat',
  ],
  group: ["sh", "-c", "cat; kill -KILL 0"],
};

/** A keeper that runs. */
export class Keeper {
  /** How it keeps. */
  readonly kind: KeeperKind;
  /** Its process. */
  readonly pid: number;
  readonly #owned: DisposableStack;
  readonly #input: OwnedFd;
  readonly #output: OwnedFd;
  /** The mount namespace that a `shared` one is in. */
  readonly #mounts: OwnedFd | null;
  #pidns: OwnedFd | null = null;

  /**
   * Starts one.
   *
   * @throws {SyscallError}
   * @throws {UnsupportedError} Where the programs are missing.
   */
  constructor(place: Spawner, kind: KeeperKind) {
    using owned = new DisposableStack();
    const [input, inputEnd] = openPipe(owned);
    const [outputEnd, output] = openPipe(owned);
    const [program] = COMMANDS[kind];
    using process = prepareSpawn(program!, COMMANDS[kind], [], {
      descriptors: [input.fd, output.fd, output.fd],
      processGroup: 0,
    });
    this.kind = kind;
    try {
      this.#mounts = kind === "shared"
        ? owned.use(place.spawnInCopy(process))
        : null;
      if (kind !== "shared") place.spawnOutside(process, kind === "nested");
    } catch (error) {
      if (!isErrno(error, ENOENT)) throw error;
      throw new UnsupportedError(
        `Running a command takes ${program}(1), which is not on PATH`,
        { cause: error },
      );
    }
    this.pid = process.pid;
    input.close();
    output.close();
    this.#input = inputEnd;
    this.#output = outputEnd;
    this.#owned = owned.move();
  }

  /**
   * Waits until it waits.
   *
   * @throws {UnsupportedError} When it could not start: with what it said.
   * @throws {SyscallError} ENOTTY, EINVAL or ENOSYS for a `nested` one where the
   * kernel can't tell an empty PID namespace.
   */
  async ready(): Promise<void> {
    try {
      write(this.#input.fd, READY);
    } catch (error) {
      // It has ended already; why, it has said.
      if (!isErrno(error, EPIPE)) throw error;
    }
    const buffer = new Uint8Array(4096);
    const count = await readPipe(this.#output.fd, buffer);
    const said = decodeText(buffer.subarray(0, count));
    if (said !== decodeText(READY)) {
      throw new UnsupportedError(
        `The process that ends a run can't be started: ${said.trim()}`,
      );
    }
    if (this.kind === "group") return;
    this.#pidns = this.#owned.use(
      this.kind === "nested"
        ? openNamespaceForChildren(this.pid)
        : openNamespace(this.pid),
    );
  }

  /** The PID namespace for the command, null for this process's. */
  get pidns(): OwnedFd | null {
    return this.#pidns;
  }

  /**
   * Makes a procfs for the command.
   *
   * @throws {MountError} EINVAL for a `nested` one where the kernel can show only
   * the PID namespace of who mounts it.
   */
  makeProc(): OwnedFd {
    return this.#mounts === null
      ? makeProc(this.#pidns)
      : spawner().cloneIn(this.#mounts.fd, "/proc");
  }

  /** Ends it, and with it all that it keeps; returns when that is gone. */
  async end(): Promise<void> {
    if (this.#owned.disposed) return;
    this.#owned.dispose();
    // It would end by itself: but for the one whose group would then stay.
    if (this.kind !== "group") kill(this.pid, SIGKILL);
    await waitid(this.pid);
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

function openNamespaceForChildren(pid: number): OwnedFd {
  using process = new OwnedFd(pidfdOpen(pid));
  return new OwnedFd(pidfdGetPidForChildrenNamespace(process.fd));
}

function openNamespace(pid: number): OwnedFd {
  const path = `/proc/${pid}/ns/pid`;
  return new OwnedFd(openat2(AT_FDCWD, path, { flags: O_CLOEXEC }));
}

const READY = new Uint8Array([10]);

function openPipe(owned: DisposableStack): [OwnedFd, OwnedFd] {
  const [reading, writing] = pipe2();
  return [
    owned.use(new OwnedFd(reading)),
    owned.use(new OwnedFd(writing)),
  ];
}
