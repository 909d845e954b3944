/** posix_spawn(3): a process is started as by vfork(2), whatever this one's size. */
import { cString, int32 } from "./argument.ts";
import { UnsupportedError } from "./error.ts";
import { quote } from "./format.ts";
import { LITTLE_ENDIAN } from "./layout.ts";
import { libraryPath } from "./libc.ts";
import { addressOf, type ThreadCall } from "./thread.ts";

/** How {@linkcode prepareSpawn} starts a process. */
export interface SpawnOptions {
  /**
   * What becomes of descriptors 0, 1 and 2; no other is inherited. They are
   * closed on exec here, or are that descriptor itself.
   */
  readonly descriptors: readonly [number, number, number];
  /**
   * The process group to join, null for this process's, or that of its session.
   */
  readonly processGroup: number | null;
  /**
   * Whether it starts a session, without a terminal, and in it a process group.
   *
   * @default {false}
   */
  readonly newSession?: boolean;
  /**
   * Whether its process group comes to the foreground of the terminal on 0.
   *
   * @default {false}
   */
  readonly foreground?: boolean;
}

/** A process that is ready to be started, by any thread. */
export interface PreparedSpawn extends Disposable {
  /** The call that starts it. */
  readonly call: ThreadCall;
  /** The process that was started, as this PID namespace has it. */
  readonly pid: number;
}

/** Room for a `posix_spawn_file_actions_t` and a `posix_spawnattr_t`, 80 and 336 bytes. */
export const ACTIONS_SIZE = 256;
export const ATTRIBUTES_SIZE = 512;

// spawn.h, the same in glibc and musl.
export const POSIX_SPAWN_SETPGROUP = 0x02;
export const POSIX_SPAWN_SETSIGDEF = 0x04;
export const POSIX_SPAWN_SETSID = 0x80;

/** SIGPIPE, which Deno ignores, and glibc's own two, which it would ignore there. */
const NOT_IGNORED = 1n << 12n | 3n << 31n;
/** Bytes of a `sigset_t`. */
const SIGSET_SIZE = 128;

const SYMBOLS = {
  // int posix_spawn_file_actions_init(posix_spawn_file_actions_t *);
  posix_spawn_file_actions_init: { parameters: ["buffer"], result: "i32" },
  posix_spawn_file_actions_destroy: { parameters: ["buffer"], result: "i32" },
  // int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *, int fd, int newfd);
  posix_spawn_file_actions_adddup2: {
    parameters: ["buffer", "i32", "i32"],
    result: "i32",
  },
  // int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int from);
  posix_spawn_file_actions_addclosefrom_np: {
    parameters: ["buffer", "i32"],
    result: "i32",
  },
  // int posix_spawnattr_init(posix_spawnattr_t *);
  posix_spawnattr_init: { parameters: ["buffer"], result: "i32" },
  posix_spawnattr_destroy: { parameters: ["buffer"], result: "i32" },
  // int posix_spawnattr_setflags(posix_spawnattr_t *, short flags);
  posix_spawnattr_setflags: { parameters: ["buffer", "i16"], result: "i32" },
  // int posix_spawnattr_setpgroup(posix_spawnattr_t *, pid_t pgroup);
  posix_spawnattr_setpgroup: { parameters: ["buffer", "i32"], result: "i32" },
  // int posix_spawnattr_setsigdefault(posix_spawnattr_t *, const sigset_t *);
  posix_spawnattr_setsigdefault: {
    parameters: ["buffer", "buffer"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const FOREGROUND_SYMBOLS = {
  // int posix_spawn_file_actions_addtcsetpgrp_np(posix_spawn_file_actions_t *, int tcfd);
  posix_spawn_file_actions_addtcsetpgrp_np: {
    parameters: ["buffer", "i32"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

let bound: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | undefined;
let boundForeground:
  | Deno.DynamicLibrary<typeof FOREGROUND_SYMBOLS>["symbols"]
  | undefined;

function bind<S extends Deno.ForeignLibraryInterface>(
  symbols: S,
): Deno.DynamicLibrary<S>["symbols"] {
  const path = libraryPath();
  try {
    return Deno.dlopen(path, symbols).symbols;
  } catch (error) {
    throw new UnsupportedError(
      "The C library can't start a process as it must be: glibc 2.35 can",
      { cause: error },
    );
  }
}

/**
 * Makes a process ready to be started.
 *
 * `int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *file_actions, const posix_spawnattr_t *attrp, char *const argv[], char *const envp[]);`
 *
 * See posix_spawn(3). Signals that Deno ignores are not ignored in it.
 *
 * @param file The program; without a slash it is looked for on this process's
 * PATH.
 * @param args Its arguments, its own name first.
 * @param environment Its environment, `NAME=value`.
 * @param options Its descriptors, process group and session.
 * @returns The call. It is disposed of when it was made.
 * @throws {UnsupportedError} Where the C library can't do it.
 */
export function prepareSpawn(
  file: string,
  args: readonly string[],
  environment: readonly string[],
  { descriptors, processGroup, newSession = false, foreground = false }:
    SpawnOptions,
): PreparedSpawn {
  const libc = bound ??= bind(SYMBOLS);
  const path = cString("file", file);
  const argv = stringArray("args", args);
  const envp = stringArray("env", environment);
  const pid = new Int32Array(new ArrayBuffer(4));
  const actions = new Uint8Array(ACTIONS_SIZE);
  const attributes = new Uint8Array(ATTRIBUTES_SIZE);
  libc.posix_spawn_file_actions_init(actions);
  libc.posix_spawnattr_init(attributes);
  if (processGroup !== null) {
    libc.posix_spawnattr_setpgroup(attributes, int32("group", processGroup));
  }
  libc.posix_spawnattr_setflags(
    attributes,
    POSIX_SPAWN_SETSIGDEF |
      (processGroup === null ? 0 : POSIX_SPAWN_SETPGROUP) |
      (newSession ? POSIX_SPAWN_SETSID : 0),
  );
  const defaults = new Uint8Array(SIGSET_SIZE);
  new DataView(defaults.buffer).setBigUint64(0, NOT_IGNORED, LITTLE_ENDIAN);
  libc.posix_spawnattr_setsigdefault(attributes, defaults);
  descriptors.forEach((fd, to) =>
    libc.posix_spawn_file_actions_adddup2(actions, int32("fd", fd), to)
  );
  if (foreground) {
    boundForeground ??= bind(FOREGROUND_SYMBOLS);
    boundForeground.posix_spawn_file_actions_addtcsetpgrp_np(actions, 0);
  }
  libc.posix_spawn_file_actions_addclosefrom_np(actions, 3);
  return {
    call: {
      name: "posix_spawnp",
      args: [
        new Uint8Array(pid.buffer),
        path,
        actions,
        attributes,
        argv,
        envp,
      ],
      text: [quote(file), `[${args.map(quote).join(", ")}]`, "…"],
    },
    get pid() {
      return pid[0]!;
    },
    [Symbol.dispose]() {
      libc.posix_spawn_file_actions_destroy(actions);
      libc.posix_spawnattr_destroy(attributes);
    },
  };
}

/** A null-terminated array of strings, which follow it in the same memory. */
export function stringArray(
  name: string,
  texts: readonly string[],
): Uint8Array<ArrayBuffer> {
  const strings = texts.map((text) => cString(name, text));
  const start = (strings.length + 1) * 8;
  const size = strings.reduce((sum, { length }) => sum + length, start);
  const memory = new Uint8Array(new ArrayBuffer(size));
  const table = new DataView(memory.buffer);
  const address = addressOf(memory);
  let at = start;
  strings.forEach((string, i) => {
    table.setBigUint64(i * 8, address + BigInt(at), LITTLE_ENDIAN);
    memory.set(string, at);
    at += string.length;
  });
  return memory;
}
