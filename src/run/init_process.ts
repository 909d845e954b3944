/** The first process of a command's PID namespace, seen from outside. */
import { AT_EMPTY_PATH, CLONE_NEWPID } from "../sys/constants.ts";
import {
  CLONE_VFORK,
  CLONE_VM,
  cloneCalls,
  stringArray,
} from "../sys/spawn.ts";
import { cString } from "../sys/call.ts";
import type { ThreadCall } from "../sys/thread.ts";
import { type Ended, kill, pidfdOpen, waitid } from "../sys/process.ts";
import {
  addSeals,
  dup,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  memfdCreate,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  read,
  setNonblocking,
  write,
} from "../sys/file.ts";
import { MSG_DONTWAIT, recvmsg, sendmsg, socketpair } from "../sys/socket.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import { isErrno, SyscallError, UnsupportedError } from "../sys/error.ts";
import { EAGAIN, ECONNRESET, EPIPE, ESRCH } from "../sys/errno.ts";
import { LITTLE_ENDIAN, RUSAGE, SIGNALS } from "../sys/layout.ts";
import { decodeUsage, type Usage } from "../sys/process.ts";
import { type CallTable, type Failure, SOCKET } from "./table.ts";
import { waitReady } from "./wait_ready.ts";
import { POLLIN } from "../sys/event.ts";

/** How a command ended, as the first process saw it. */
export interface CommandEnd {
  /** The status, as wait(2) has it. */
  readonly status: number;
  readonly usage: Usage;
}

/** Everything that the first process reported until it ended. */
export interface Report {
  /** The calls that failed, in order. */
  readonly failures: readonly Failure[];
  /** How the command ended; null if it was not started, or all were killed. */
  readonly command: CommandEnd | null;
  /** How the first process ended. */
  readonly own: Ended;
}

/** The bytes of a report that a table is done. */
const DONE_SIZE = 1;

/** The bytes of a report of a failure. */
const FAILURE_SIZE = 8;

/** The bytes of a report of the command's end, before the usage. */
const STATUS_SIZE = 8;

/** The exit status of a first process whose program could not be executed. */
const NOT_EXECUTED = 127;

/** A table in a file, which first processes map. */
export class TableFile implements Disposable {
  readonly #file: OwnedFd;
  /** The number of bytes. */
  readonly length: number;

  /**
   * @param isShared True if more than one maps it: the command of one could write
   * to it by /proc/1/map_files.
   * @throws {SyscallError} EMFILE.
   */
  constructor(table: Uint8Array, isShared = false) {
    const flags = MFD_CLOEXEC | (isShared ? MFD_ALLOW_SEALING : 0);
    using owned = new DisposableStack();
    const file = owned.use(
      new OwnedFd(memfdCreate("mountat table", flags), "table", true),
    );
    for (let rest = table; rest.length > 0;) {
      rest = rest.subarray(write(file.fd, rest));
    }
    if (isShared) {
      const sizes = F_SEAL_SHRINK | F_SEAL_GROW;
      addSeals(file.fd, F_SEAL_SEAL | F_SEAL_WRITE | sizes);
    }
    owned.move();
    this.#file = file;
    this.length = table.length;
  }

  get fd(): number {
    return this.#file.fd;
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** A first process. */
export class InitProcess implements Disposable {
  readonly #ours: OwnedFd;
  readonly #theirs: OwnedFd;
  #process: OwnedFd | null = null;
  #pid = 0;
  /** True if it is in this process's PID namespace, in a group of its own. */
  readonly #isGroup: boolean;
  /** The number of tables that it has reported to be done. */
  #done = 0;

  /**
   * Makes the socket to the first process.
   *
   * @param isGroup True if it gets no PID namespace of its own.
   * @throws {SyscallError} EMFILE.
   */
  constructor(isGroup = false) {
    this.#isGroup = isGroup;
    const [ours, theirs] = socketpair();
    this.#ours = new OwnedFd(ours);
    this.#theirs = new OwnedFd(theirs);
  }

  /** Its process id in this PID namespace. */
  get pid(): number {
    return this.#pid;
  }

  /** A descriptor of the process. */
  get pidfd(): number {
    return this.#process!.fd;
  }

  /**
   * Sends it a table, before or after it is started.
   *
   * @param table The table.
   * @param streams The descriptors that become 0, 1 and 2; with the first table.
   * @throws {SyscallError}
   */
  send(
    table: TableFile,
    descriptors: readonly number[],
    streams: readonly number[] = [],
  ): void {
    const length = new BigUint64Array([BigInt(table.length)]);
    const fds = [...streams, table.fd, ...descriptors];
    try {
      sendmsg(this.#ours.fd, new Uint8Array(length.buffer), fds);
    } catch (error) {
      // It ended during the table before: its report tells why.
      if (this.#pid === 0 || !isErrno(error, EPIPE, ECONNRESET)) throw error;
    }
  }

  /**
   * Starts it.
   *
   * @param program The file of {@linkcode openInit}.
   * @throws {SyscallError} EPERM without CAP_SYS_ADMIN, EAGAIN, ENOMEM, ENOSPC
   * if the limit of namespaces is reached.
   * @throws {UnsupportedError} If the C library can't do it.
   */
  start(program: OwnedFd): void {
    // dup3(2) of itself is EINVAL.
    using theirs = this.#theirs.fd === SOCKET
      ? new OwnedFd(dup(SOCKET, { min: SOCKET + 1 }))
      : this.#theirs;
    const { path, args, env } = programWords();
    const calls: ThreadCall[] = [
      call("dup3", theirs.fd, SOCKET, 0),
      call("execveat", program.fd, path, args, env, AT_EMPTY_PATH),
    ];
    const flags = CLONE_VM | CLONE_VFORK | (this.#isGroup ? 0 : CLONE_NEWPID);
    const { pid, errno } = cloneCalls(flags, calls, NOT_EXECUTED);
    this.#pid = pid;
    this.#theirs.close();
    try {
      if (errno !== 0) this.#failToStart(errno);
      this.#process = new OwnedFd(pidfdOpen(pid));
    } catch (error) {
      if (this.#pid !== 0) this.#end();
      throw error;
    }
  }

  /** @throws {SyscallError} The call that failed before its program was executed. */
  #failToStart(errno: number): never {
    const { status } = this.#end();
    throw status === NOT_EXECUTED
      ? new SyscallError("execveat", errno, ['"mountat init"', "…", "…"])
      : new SyscallError("dup3", errno, ["…", String(SOCKET), "0"]);
  }

  #end(): Ended {
    this.kill();
    const ended = waitid(this.#pid);
    this.#pid = 0;
    return ended;
  }

  /**
   * Waits for the descriptors that a table lets it send, and then for a message with
   * none, which says that the whole table is done.
   *
   * @throws {SyscallError | MountError | UnsupportedError} The error of the call that
   * failed.
   */
  receive(table: CallTable): OwnedFd[] {
    using received = new DisposableStack();
    const all: OwnedFd[] = [];
    for (;;) {
      const message = new Uint8Array(FAILURE_SIZE);
      const { fd } = this.#ours;
      const { count, descriptors } = onceMoreAfterReset(() =>
        recvmsg(fd, message)
      );
      for (const fd of descriptors) {
        all.push(received.use(new OwnedFd(fd, "descriptor", true)));
      }
      if (descriptors.length > 0) continue;
      if (count === 0) throw new UnsupportedError(SILENT);
      if (count === FAILURE_SIZE) {
        const failure = this.#failureOf(new DataView(message.buffer));
        table.trace([failure]);
        throw table.error(failure);
      }
      this.#done++;
      received.move();
      return all.map((fd) => fd.closeWhenDropped());
    }
  }

  /**
   * Lets the first process send a signal.
   *
   * @param target As for kill(2) in its PID namespace, except that 0 is the command.
   */
  order(target: number, signal: number): void {
    if (this.#pid === 0) return;
    const order = new Int32Array([target, signal]);
    try {
      sendmsg(this.#ours.fd, new Uint8Array(order.buffer), [], MSG_DONTWAIT);
    } catch (error) {
      // It has ended, or a command of root stopped it, and it reads no more.
      if (!isErrno(error, EPIPE, ECONNRESET, EAGAIN)) throw error;
    }
  }

  /** Kills it, and everything in its PID namespace or process group. */
  kill(): void {
    if (this.#pid === 0) return;
    kill(this.#pid, SIGNALS.SIGKILL);
    if (this.#isGroup) this.#killGroup();
  }

  /** Kills its group. Until it is reaped, no other group can have its id. */
  #killGroup(): void {
    try {
      kill(-this.#pid, SIGNALS.SIGKILL);
    } catch (error) {
      // It had not made its group yet.
      if (!isErrno(error, ESRCH)) throw error;
    }
  }

  /** Waits for its end. Then everything in its PID namespace is gone. */
  async ended(): Promise<Report> {
    await waitReady(this.pidfd, POLLIN);
    return this.#reap();
  }

  #reap(): Report {
    // Somebody may have killed it, and not its group.
    if (this.#isGroup) this.#killGroup();
    const own = waitid(this.#pid);
    this.#pid = 0;
    const failures: Failure[] = [];
    let command: CommandEnd | null = null;
    for (const message of this.#messages()) {
      if (message.byteLength === DONE_SIZE) {
        this.#done++;
      } else if (message.byteLength === FAILURE_SIZE) {
        failures.push(this.#failureOf(message));
      } else if (message.byteLength === STATUS_SIZE + RUSAGE.SIZE) {
        const status = message.getUint32(0, LITTLE_ENDIAN);
        const { buffer, byteOffset } = message;
        const usage = new DataView(buffer, byteOffset + STATUS_SIZE);
        command = { status, usage: decodeUsage(usage) };
      }
    }
    this.#close();
    if (command === null && failures.length === 0 && own.status !== null) {
      throw own.status === 0
        ? new UnsupportedError(SILENT)
        : new SyscallError("write", own.status, [String(SOCKET), "…", "…"]);
    }
    return { failures, command, own };
  }

  #failureOf(message: DataView): Failure {
    return {
      table: this.#done,
      errno: message.getUint32(0, LITTLE_ENDIAN),
      offset: message.getInt32(4, LITTLE_ENDIAN),
    };
  }

  /**
   * A command of root can take the socket by pidfd_getfd(2), and send whatever it
   * likes. read(2) takes no descriptors that come with it.
   */
  *#messages(): Generator<DataView> {
    const { fd } = this.#ours;
    // A process that survives with hostPid may have taken the socket, too.
    setNonblocking(fd);
    for (;;) {
      const message = new Uint8Array(STATUS_SIZE + RUSAGE.SIZE);
      let count: number;
      try {
        count = onceMoreAfterReset(() => read(fd, message));
      } catch (error) {
        if (isErrno(error, EAGAIN)) return;
        throw error;
      }
      if (count === 0) return;
      yield new DataView(message.buffer, 0, count);
    }
  }

  #close(): void {
    this.#ours.close();
    this.#theirs.close();
    this.#process?.close();
  }

  /** Ends it, unless it has ended. */
  [Symbol.dispose](): void {
    if (this.#pid !== 0) this.#end();
    this.#close();
  }
}

/**
 * Receives from a process that may have ended with unread messages: the kernel
 * says so once, before the reports.
 */
function onceMoreAfterReset<T>(receive: () => T): T {
  try {
    return receive();
  } catch (error) {
    if (!isErrno(error, ECONNRESET)) throw error;
  }
  return receive();
}

const SILENT = "The first process of the command ended without a word";

/** The arguments that its program is executed with: made once, by address. */
let words:
  | {
    path: Uint8Array<ArrayBuffer>;
    args: Uint8Array<ArrayBuffer>;
    env: Uint8Array<ArrayBuffer>;
  }
  | undefined;

function programWords() {
  return words ??= {
    path: cString("path", ""),
    args: stringArray("args", ["mountat-init"]),
    env: stringArray("env", []),
  };
}

function call(
  name: ThreadCall["name"],
  ...args: ThreadCall["args"]
): ThreadCall {
  return { name, args, text: [] };
}
