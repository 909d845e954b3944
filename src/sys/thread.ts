/**
 * A thread that makes given system calls. It can change what Linux keeps for
 * each thread: namespaces, root, working directory, credentials. The other
 * threads of the process keep theirs.
 */
import { errno, libraryPath, NR } from "./libc.ts";
import { type Argument, UnsupportedError } from "./error.ts";
import { cString, flagNames, settle } from "./call.ts";
import {
  AT_FDCWD,
  CLONE_FS,
  CLONE_NEWNS,
  CLONE_NEWPID,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_PRIVATE,
  MS_REC,
  O_CLOEXEC,
} from "./constants.ts";
import { quote } from "../base/text.ts";

/** A call for the thread to make. */
export interface ThreadCall {
  /** The kernel's name of the system call. */
  readonly name: keyof typeof NR;
  /**
   * Its arguments. A buffer is passed by its address: the thread shares the
   * process's memory, and writes there.
   */
  readonly args: readonly (number | bigint | Uint8Array<ArrayBuffer> | null)[];
  /** The arguments as strace(1) would print them. */
  readonly text: readonly Argument[];
}

/** The fields of the Int32Array that the thread and its owner share. */
const FIELD = {
  state: 0,
  /** The number of calls to make until one fails. */
  calls: 1,
  /** The number of calls to make after those, even if one of those failed. */
  lastCalls: 2,
  /** The number of `calls` that succeeded. */
  succeeded: 3,
  /** The error number of the call that failed; 0 for none. */
  errno: 4,
  /** The number of `lastCalls` that failed. */
  lastFailed: 5,
  /** The result of the last of `calls` that was made. */
  result: 6,
  /** Descriptors to close at the end; numbers below 3 are unused slots. */
  owned: 8,
} as const;

/** The most descriptors that a thread may own. */
const MOST_OWNED = 8;

/** Bytes of the fields; the table of calls follows. */
const FIELD_BYTES = 64;

/** A call in the table: its number, and six arguments. */
const CALL_WORDS = 7;

const MOST_CALLS = 64;

/** The states of the thread. */
const STATE = {
  starting: 0,
  idle: 1,
  held: 2,
  asked: 3,
  done: 4,
  ending: 5,
  ended: 6,
} as const;

/** The time that a thread may take to start. */
const START_MILLISECONDS = 30_000;

/** The time that the thread waits for calls before it ends, so Deno can end. */
const IDLE_MILLISECONDS = 200;

/**
 * The thread's program. It imports nothing, so it needs only the FFI
 * permission.
 */
const SOURCE = `
const FIELD = ${JSON.stringify(FIELD)}, STATE = ${JSON.stringify(STATE)};
onmessage = ({ data: { shared, library, closeNumber } }) => {
  const fields = new Int32Array(shared, 0, ${FIELD_BYTES / 4});
  const table = new BigInt64Array(shared, ${FIELD_BYTES});
  function become(state) {
    Atomics.store(fields, FIELD.state, state);
    Atomics.notify(fields, FIELD.state);
  }
  try {
    const parameters = Array(7).fill("i64");
    const { symbols: libc } = Deno.dlopen(library, {
      syscall: { parameters, result: "i32" },
      memcpy: { parameters: ["buffer", "pointer", "usize"], result: "void" },
      __errno_location: { parameters: [], result: "pointer" },
    });
    const location = libc.__errno_location();
    const errno = new Int32Array(new ArrayBuffer(4));
    libc.memcpy(errno, location, 4);
    let result = 0;
    function make(at) {
      result = libc.syscall(...table.subarray(at, at + ${CALL_WORDS}));
      if (result === -1) libc.memcpy(errno, location, 4);
      return result === -1 ? errno[0] : 0;
    }
    function makeAll() {
      const calls = fields[FIELD.calls], all = calls + fields[FIELD.lastCalls];
      let number = 0, i = 0, lastFailed = 0;
      for (; i < calls && number === 0; i++) number = make(i * ${CALL_WORDS});
      fields[FIELD.succeeded] = number === 0 ? i : i - 1;
      fields[FIELD.errno] = number;
      fields[FIELD.result] = result;
      for (i = calls; i < all; i++) {
        if (make(i * ${CALL_WORDS}) !== 0) lastFailed++;
      }
      fields[FIELD.lastFailed] = lastFailed;
    }
    function end() {
      for (let i = FIELD.owned; i < FIELD.owned + ${MOST_OWNED}; i++) {
        if (fields[i] > 2) libc.syscall(closeNumber, fields[i], 0, 0, 0, 0, 0);
      }
      become(STATE.ended);
      close();
    }
    become(STATE.idle);
    for (;;) {
      const state = Atomics.load(fields, FIELD.state);
      if (state === STATE.asked) {
        makeAll();
        become(STATE.done);
      } else if (state === STATE.ending) {
        return end();
      } else if (state !== STATE.idle) {
        Atomics.wait(fields, FIELD.state, state);
      } else if (
        Atomics.wait(fields, FIELD.state, state, ${IDLE_MILLISECONDS}) ===
          "timed-out"
      ) {
        Atomics.compareExchange(fields, FIELD.state, state, STATE.ending);
      }
    }
  } catch {
    become(STATE.ended);
    close();
  }
};
`;

/** A thread that waits for calls. It ends by itself after some idle time. */
export class SyscallThread {
  readonly #fields: Int32Array;
  readonly #table: BigInt64Array;

  /**
   * Starts a thread, in the namespaces of the calling thread.
   *
   * @throws {UnsupportedError} If it can't be started.
   */
  constructor() {
    const shared = new SharedArrayBuffer(
      FIELD_BYTES + MOST_CALLS * CALL_WORDS * 8,
    );
    this.#fields = new Int32Array(shared, 0, FIELD_BYTES / 4);
    this.#table = new BigInt64Array(shared, FIELD_BYTES);
    const library = libraryPath();
    const worker = new Worker(
      `data:text/javascript,${encodeURIComponent(SOURCE)}`,
      { type: "module", name: "system calls" },
    );
    worker.postMessage({ shared, library, closeNumber: NR.close });
    const { starting } = STATE;
    const waited = Atomics.wait(
      this.#fields,
      FIELD.state,
      starting,
      START_MILLISECONDS,
    );
    if (waited === "timed-out" || !this.hold()) {
      worker.terminate();
      throw new UnsupportedError("A thread for system calls can't be started");
    }
  }

  /**
   * Keeps the thread from ending by itself until its next calls are made.
   *
   * @returns True if the thread is still there.
   */
  hold(): boolean {
    const { idle, held } = STATE;
    const state = Atomics.compareExchange(
      this.#fields,
      FIELD.state,
      idle,
      held,
    );
    return state === idle || state === held;
  }

  /** Undoes {@linkcode hold}: the thread may end by itself again. */
  release(): void {
    const { idle, held } = STATE;
    const state = Atomics.compareExchange(
      this.#fields,
      FIELD.state,
      held,
      idle,
    );
    if (state === held) Atomics.notify(this.#fields, FIELD.state);
  }

  /**
   * Makes calls, one after another until one fails, while the calling thread
   * waits.
   *
   * @param calls The calls.
   * @param lastCalls Calls that are made after those, even if one of those
   * failed, to restore the thread's state. If one fails, the thread ends.
   * @param keep True to hold the thread for more calls, which must follow.
   * Without it the thread might end if this process was stopped for a moment.
   * @returns The result of the last of `calls`.
   * @throws {SyscallError} For the call that failed.
   */
  make(
    calls: readonly ThreadCall[],
    lastCalls: readonly ThreadCall[],
    keep = false,
  ): number {
    if (!this.hold()) throw new TypeError("The thread has ended");
    const fields = this.#fields;
    [...calls, ...lastCalls].forEach((call, i) => this.#write(i, call));
    fields[FIELD.calls] = calls.length;
    fields[FIELD.lastCalls] = lastCalls.length;
    this.#become(STATE.asked);
    Atomics.wait(fields, FIELD.state, STATE.asked);
    const succeeded = fields[FIELD.succeeded]!;
    const number = fields[FIELD.errno]!;
    const result = fields[FIELD.result]!;
    if (fields[FIELD.lastFailed] !== 0) this.end();
    else this.#become(keep && number === 0 ? STATE.held : STATE.idle);
    calls.slice(0, succeeded + 1).forEach(({ name, text }, i) => {
      errno[0] = number;
      const last = i === calls.length - 1;
      settle(i < succeeded ? last ? result : 0 : -1, name, text);
    });
    return result;
  }

  /** Gives descriptors to the thread, which closes them when it ends. */
  own(...descriptors: number[]): void {
    this.#fields.set(descriptors, FIELD.owned);
  }

  #write(index: number, call: ThreadCall): void {
    this.#table.set(wordsOf(call, CALL_WORDS), index * CALL_WORDS);
  }

  /** Ends the thread, and waits until it has ended; repeating does nothing. */
  end(): void {
    const { idle, held, done, ending } = STATE;
    const state = Atomics.load(this.#fields, FIELD.state);
    if (state === held || state === done) this.#become(ending);
    // An idle thread may just have begun to end by itself.
    else Atomics.compareExchange(this.#fields, FIELD.state, idle, ending);
    Atomics.notify(this.#fields, FIELD.state);
    Atomics.wait(this.#fields, FIELD.state, ending);
  }

  #become(state: number): void {
    Atomics.store(this.#fields, FIELD.state, state);
    Atomics.notify(this.#fields, FIELD.state);
  }
}

/** Converts a call to the arguments of syscall(2). */
export function wordsOf(
  { name, args }: ThreadCall,
  length: number,
): bigint[] {
  const words = args.map((value) =>
    value instanceof Uint8Array ? addressOf(value) : BigInt(value ?? 0)
  );
  words.unshift(BigInt(NR[name]));
  while (words.length < length) words.push(0n);
  return words;
}

let memcpy:
  | ((to: Uint8Array<ArrayBuffer>, from: null, size: bigint) => bigint)
  | undefined;

/**
 * A buffer's address. The caller must keep the buffer alive while it is used.
 */
export function addressOf(buffer: Uint8Array<ArrayBuffer>): bigint {
  // `Deno.UnsafePointer.value` would need the permission for all libraries.
  memcpy ??= Deno.dlopen(libraryPath(), {
    // void *memcpy(void *dest, const void *src, size_t n);
    memcpy: { parameters: ["buffer", "buffer", "usize"], result: "usize" },
  }).symbols.memcpy;
  return BigInt(memcpy(buffer, null, 0n));
}

// Calls that several users of a {@linkcode SyscallThread} make.

const ROOT = cString("path", "/");

const EMPTY = cString("path", "");

/**
 * unshare(2); a thread needs `CLONE_FS` before it can change mount namespaces.
 */
export function unshareCall(flags: number): ThreadCall {
  const text = flagNames(flags, { CLONE_FS, CLONE_NEWNS, CLONE_NEWPID });
  return { name: "unshare", args: [flags], text: [text] };
}

/** setns(2). */
export function setnsCall(fd: number, type: number): ThreadCall {
  const text = flagNames(type, { CLONE_NEWNS, CLONE_NEWPID });
  return { name: "setns", args: [fd, type], text: [{ fd }, text] };
}

/** mount(2): makes all mounts private, so that new ones appear nowhere else. */
export function mountPrivately(): ThreadCall {
  return {
    name: "mount",
    args: [null, ROOT, null, MS_REC | MS_PRIVATE, null],
    text: ["NULL", '"/"', "NULL", "MS_REC|MS_PRIVATE", "NULL"],
  };
}

/** move_mount(2) of a detached tree to the root. */
export function moveToRoot(tree: number): ThreadCall {
  return {
    name: "move_mount",
    args: [tree, EMPTY, AT_FDCWD, ROOT, MOVE_MOUNT_F_EMPTY_PATH],
    text: [
      { fd: tree },
      '""',
      { fd: AT_FDCWD },
      '"/"',
      "MOVE_MOUNT_F_EMPTY_PATH",
    ],
  };
}

/** openat2(2) for reading. */
export function openPath(path: string): ThreadCall {
  const how = new BigUint64Array([BigInt(O_CLOEXEC), 0n, 0n]);
  const bytes = new Uint8Array(how.buffer);
  return {
    name: "openat2",
    args: [AT_FDCWD, cString("path", path), bytes, bytes.length],
    text: [{ fd: AT_FDCWD }, quote(path), "{flags=O_RDONLY|O_CLOEXEC}", "24"],
  };
}
