/**
 * umount2(2) relative to a directory's descriptor, without /proc: on a thread
 * that has a working directory of its own (`unshare(CLONE_FS)`), fchdir(2), then
 * umount2(2) by name. The working directory of every other thread stays.
 */
import { cString, flags32, int32 } from "./argument.ts";
import {
  CLONE_FS,
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  UMOUNT_NOFOLLOW,
} from "./constants.ts";
import { SyscallError, UnsupportedError } from "./error.ts";
import { flagNames, quote } from "./format.ts";
import { errno, libraryPath, NR } from "./libc.ts";
import { settle } from "./settle.ts";

/** Where the thread and its master meet: fields of an Int32Array. */
const FIELD = {
  state: 0,
  dirfd: 1,
  flags: 2,
  nameLength: 3,
  failedCall: 4,
  errno: 5,
} as const;

/** Bytes of the fields; the name follows. */
const FIELD_BYTES = 64;
/** More than any path that the kernel takes: it shall judge a longer one. */
const NAME_BYTES = 8192;

/** What the thread is at. */
const STATE = {
  starting: 0,
  idle: 1,
  asked: 2,
  done: 3,
  ended: 4,
  failed: 5,
} as const;

/** The call that failed. */
const CALLS = ["", "unshare", "fchdir", "umount2"] as const;

/** How long a thread may take to start. */
const START_MILLISECONDS = 30_000;
/** How long it waits for another call before it ends, and lets Deno end. */
const IDLE_MILLISECONDS = 500;

/** What the thread runs. It imports nothing: it needs no permission but FFI. */
const SOURCE = `
const FIELD = ${JSON.stringify(FIELD)}, STATE = ${JSON.stringify(STATE)};
onmessage = ({ data: { shared, library, nr } }) => {
  const fields = new Int32Array(shared, 0, ${FIELD_BYTES / 4});
  const names = new Uint8Array(shared, ${FIELD_BYTES});
  function become(state) {
    Atomics.store(fields, FIELD.state, state);
    Atomics.notify(fields, FIELD.state);
  }
  try {
    const call = (...parameters) => ({
      name: "syscall", parameters: ["i32", ...parameters], result: "i32",
    });
    const { symbols: libc } = Deno.dlopen(library, {
      unshare: call("u64"),
      fchdir: call("i32"),
      umount2: call("buffer", "i32"),
      chdir: { parameters: ["buffer"], result: "i32" },
      memcpy: { parameters: ["buffer", "pointer", "usize"], result: "void" },
      __errno_location: { parameters: [], result: "pointer" },
    });
    const location = libc.__errno_location();
    const errno = new Int32Array(new ArrayBuffer(4));
    const root = new TextEncoder().encode("/\\0");
    libc.memcpy(errno, location, 4);
    function fail(number, failedCall) {
      fields[FIELD.errno] = number;
      fields[FIELD.failedCall] = failedCall;
    }
    function unmount() {
      const dirfd = fields[FIELD.dirfd], flags = fields[FIELD.flags];
      const name = names.slice(0, fields[FIELD.nameLength]);
      const changed = libc.fchdir(nr.fchdir, dirfd);
      if (changed === -1) libc.memcpy(errno, location, 4);
      if (changed === -1) return fail(errno[0], 2);
      const unmounted = libc.umount2(nr.umount2, name, flags);
      if (unmounted === -1) libc.memcpy(errno, location, 4);
      if (unmounted === -1) return fail(errno[0], 3);
    }
    const alone = libc.unshare(nr.unshare, ${CLONE_FS});
    if (alone === -1) libc.memcpy(errno, location, 4);
    if (alone === -1) {
      fail(errno[0], 1);
      return become(STATE.failed);
    }
    libc.chdir(root);
    become(STATE.idle);
    for (;;) {
      const state = Atomics.load(fields, FIELD.state);
      if (state === STATE.asked) {
        fields[FIELD.failedCall] = 0;
        unmount();
        // A working directory keeps the mount that it lies in busy.
        libc.chdir(root);
        become(STATE.done);
      } else if (state !== STATE.idle) {
        Atomics.wait(fields, FIELD.state, state);
      } else if (
        Atomics.wait(fields, FIELD.state, state, ${IDLE_MILLISECONDS}) ===
          "timed-out" &&
        Atomics.compareExchange(fields, FIELD.state, state, STATE.ended) ===
          state
      ) {
        return close();
      }
    }
  } catch {
    become(STATE.failed);
  }
};
`;

/** A thread that waits for calls. */
interface Thread {
  readonly worker: Worker;
  readonly fields: Int32Array;
  readonly names: Uint8Array;
  /** What the thread sees: that of the thread that started it. */
  readonly root: bigint;
}

let thread: Thread | null = null;

/**
 * Unmounts by a name in a directory, on a thread of its own. The calling thread
 * waits. The other one is started at the first call, used again, and ends when
 * it was idle for half a second.
 *
 * @param dirfd The directory.
 * @param name The mount point, relative to it.
 * @param flags `MNT_*`, `UMOUNT_NOFOLLOW`.
 * @param root What identifies the root and mount namespace of the calling
 * thread: when it changed, another thread is started.
 * @throws {SyscallError} As umount2(2) and fchdir(2) answer.
 * @throws {UnsupportedError} When the thread can't be started.
 */
export function threadUmount2(
  dirfd: number,
  name: string,
  flags: number,
  root: bigint,
): void {
  dirfd = int32("dirfd", dirfd);
  const bytes = cString("name", name).subarray(0, NAME_BYTES);
  const bits = flags32("flags", flags);
  const { fields, names } = idleThread(root);
  fields[FIELD.dirfd] = dirfd;
  fields[FIELD.flags] = bits;
  fields[FIELD.nameLength] = bytes.length;
  names.set(bytes);
  become(fields, STATE.asked);
  Atomics.wait(fields, FIELD.state, STATE.asked);
  const failedCall = CALLS[fields[FIELD.failedCall]!]!;
  errno[0] = fields[FIELD.errno]!;
  become(fields, STATE.idle);
  settle(failedCall === "fchdir" ? -1 : 0, "fchdir", [{ fd: dirfd }]);
  settle(failedCall === "umount2" ? -1 : 0, "umount2", [
    quote(name),
    flagNames(bits >>> 0, {
      MNT_FORCE,
      MNT_DETACH,
      MNT_EXPIRE,
      UMOUNT_NOFOLLOW,
    }),
  ]);
}

/** Ends the thread, if there is one, at once. */
export function endThread(): void {
  thread?.worker.terminate();
  thread = null;
}

function become(fields: Int32Array, state: number): void {
  Atomics.store(fields, FIELD.state, state);
  Atomics.notify(fields, FIELD.state);
}

/** The thread, held from ending by itself until it was asked. */
function idleThread(root: bigint): Thread {
  if (thread !== null && thread.root === root) {
    const { idle, done } = STATE;
    const { fields } = thread;
    const state = Atomics.compareExchange(fields, FIELD.state, idle, done);
    if (state === idle) return thread;
  }
  endThread();
  thread = startThread(root);
  return thread;
}

function startThread(root: bigint): Thread {
  const shared = new SharedArrayBuffer(FIELD_BYTES + NAME_BYTES);
  const fields = new Int32Array(shared, 0, FIELD_BYTES / 4);
  const names = new Uint8Array(shared, FIELD_BYTES);
  const library = libraryPath();
  const worker = new Worker(
    `data:text/javascript,${encodeURIComponent(SOURCE)}`,
    { type: "module", name: "umount2" },
  );
  const nr = { fchdir: NR.fchdir, umount2: NR.umount2, unshare: NR.unshare };
  worker.postMessage({ shared, library, nr });
  const { starting } = STATE;
  const waited = Atomics.wait(
    fields,
    FIELD.state,
    starting,
    START_MILLISECONDS,
  );
  if (waited === "timed-out" || fields[FIELD.state] !== STATE.idle) {
    worker.terminate();
    if (CALLS[fields[FIELD.failedCall]!] === "unshare") {
      throw new SyscallError("unshare", fields[FIELD.errno]!, ["CLONE_FS"]);
    }
    throw new UnsupportedError("A thread to unmount from can't be started");
  }
  return { worker, fields, names, root };
}
