/**
 * The C library: its variadic `syscall`, declared once for each system call
 * with the parameters that the call takes, and bound when it is first used.
 *
 * Deno compiles machine code for a declaration: that takes 0.1 to 0.3
 * milliseconds, and halves what a call takes besides the kernel. It is left out
 * for what is called but a few times.
 */
import { UnsupportedError } from "./error.ts";
import { SYSCALL_NUMBERS } from "./numbers.ts";

type Parameter = "i32" | "u32" | "u64" | "usize" | "buffer";

/** The parameters of each call, as the man page of section 2 gives them. */
const PARAMETERS = {
  // int close(int fd);
  close: ["i32"],
  // int fanotify_init(unsigned int flags, unsigned int event_f_flags);
  fanotify_init: ["u32", "u32"],
  // int fanotify_mark(int fanotify_fd, unsigned int flags, uint64_t mask, int dirfd, const char *path);
  fanotify_mark: ["i32", "u32", "u64", "i32", "buffer"],
  // int fchdir(int fd);
  fchdir: ["i32"],
  // int fchmodat(int dirfd, const char *path, mode_t mode);
  fchmodat: ["i32", "buffer", "u32"],
  // int fcntl(int fd, int cmd, int arg);
  fcntl: ["i32", "i32", "i32"],
  // int flock(int fd, int op);
  flock: ["i32", "i32"],
  // int fsconfig(int fd, unsigned int cmd, const char *key, const void *value, int aux);
  fsconfig: ["i32", "u32", "buffer", "buffer", "i32"],
  // int fsmount(int fsfd, unsigned int flags, unsigned int attr_flags);
  fsmount: ["i32", "u32", "u32"],
  // int fsopen(const char *fsname, unsigned int flags);
  fsopen: ["buffer", "u32"],
  // int fspick(int dirfd, const char *path, unsigned int flags);
  fspick: ["i32", "buffer", "u32"],
  // ssize_t getdents64(int fd, void *dirp, size_t count);
  getdents64: ["i32", "buffer", "usize"],
  // pid_t getpgid(pid_t pid);
  getpgid: ["i32"],
  // int ioctl(int fd, unsigned int op, void *argp);
  ioctl: ["i32", "u32", "buffer"],
  // int kill(pid_t pid, int sig);
  kill: ["i32", "i32"],
  // ssize_t listmount(const struct mnt_id_req *req, uint64_t *mnt_ids, size_t nr_mnt_ids, unsigned int flags);
  listmount: ["buffer", "buffer", "usize", "u32"],
  // int mkdirat(int dirfd, const char *path, mode_t mode);
  mkdirat: ["i32", "buffer", "u32"],
  // int mount(const char *source, const char *target, const char *fstype, unsigned long flags, const void *data);
  mount: ["buffer", "buffer", "buffer", "u64", "buffer"],
  // int mount_setattr(int dirfd, const char *path, unsigned int flags, struct mount_attr *attr, size_t size);
  mount_setattr: ["i32", "buffer", "u32", "buffer", "usize"],
  // int move_mount(int from_dirfd, const char *from_path, int to_dirfd, const char *to_path, unsigned int flags);
  move_mount: ["i32", "buffer", "i32", "buffer", "u32"],
  // int open_tree(int dirfd, const char *path, unsigned int flags);
  open_tree: ["i32", "buffer", "u32"],
  // int open_tree_attr(int dirfd, const char *path, unsigned int flags, struct mount_attr *attr, size_t size);
  open_tree_attr: ["i32", "buffer", "u32", "buffer", "usize"],
  // int openat2(int dirfd, const char *path, const struct open_how *how, size_t size);
  openat2: ["i32", "buffer", "buffer", "usize"],
  // int pidfd_open(pid_t pid, unsigned int flags);
  pidfd_open: ["i32", "u32"],
  // int pipe2(int pipefd[2], int flags);
  pipe2: ["buffer", "i32"],
  // int pivot_root(const char *new_root, const char *put_old);
  pivot_root: ["buffer", "buffer"],
  // int ppoll(struct pollfd *fds, nfds_t nfds, const struct timespec *tmo_p, const sigset_t *sigmask, size_t sigsetsize);
  ppoll: ["buffer", "usize", "buffer", "buffer", "usize"],
  // ssize_t read(int fd, void *buf, size_t count);
  read: ["i32", "buffer", "usize"],
  // ssize_t readlinkat(int dirfd, const char *path, char *buf, int bufsiz);
  readlinkat: ["i32", "buffer", "buffer", "i32"],
  // int rt_sigaction(int signum, const struct sigaction *act, struct sigaction *oldact, size_t sigsetsize);
  rt_sigaction: ["i32", "buffer", "buffer", "usize"],
  // int rt_sigprocmask(int how, const kernel_sigset_t *set, kernel_sigset_t *oldset, size_t sigsetsize);
  rt_sigprocmask: ["i32", "buffer", "buffer", "usize"],
  // int setns(int fd, int nstype);
  setns: ["i32", "i32"],
  // int statmount(const struct mnt_id_req *req, struct statmount *buf, size_t bufsize, unsigned int flags);
  statmount: ["buffer", "buffer", "usize", "u32"],
  // int statx(int dirfd, const char *path, unsigned int flags, unsigned int mask, struct statx *buf);
  statx: ["i32", "buffer", "u32", "u32", "buffer"],
  // int symlinkat(const char *target, int newdirfd, const char *linkpath);
  symlinkat: ["buffer", "i32", "buffer"],
  // int umount2(const char *target, int flags);
  umount2: ["buffer", "i32"],
  // int uname(struct new_utsname *buf);
  uname: ["buffer"],
  // int unlinkat(int dirfd, const char *path, int flags);
  unlinkat: ["i32", "buffer", "i32"],
  // int unshare(unsigned long flags);
  unshare: ["u64"],
  // int waitid(idtype_t idtype, id_t id, siginfo_t *infop, int options, struct rusage *rusage);
  waitid: ["i32", "i32", "buffer", "i32", "buffer"],
  // ssize_t write(int fd, const void *buf, size_t count);
  write: ["i32", "buffer", "usize"],
} as const satisfies Record<string, readonly Parameter[]>;

type Call = keyof typeof PARAMETERS;

type Native<P> = P extends "buffer" ? Uint8Array<ArrayBuffer> | null
  // A number would do, but takes Deno's slow way.
  : P extends "u64" | "usize" ? bigint
  : number;

type Natives<P extends readonly Parameter[]> = { [I in keyof P]: Native<P[I]> };

type Calls = {
  readonly [C in Call]: (
    number: number,
    ...args: Natives<(typeof PARAMETERS)[C]>
  ) => number;
};

interface Libc extends Calls {
  /**
   * Copies errno into {@linkcode errno}. To be called on the line after the
   * failing call: V8's own calls overwrite errno when anything is allocated.
   * (A signal can still come between: Deno's handler leaves EAGAIN there when
   * some hundred signals wait for an event loop that does not turn.)
   */
  readonly copyErrno: (
    to: Int32Array<ArrayBuffer>,
    from: Deno.PointerValue,
    size: bigint,
  ) => void;
  /** Where this thread's errno is. */
  readonly errnoLocation: Deno.PointerValue;
}

/** The errno of the last call that failed, as `copyErrno` left it. */
export const errno: Int32Array<ArrayBuffer> = new Int32Array(
  // Over a buffer of its own: a small array made by length lives in V8's heap
  // and moves out of it, an allocation, when its address is first asked for.
  new ArrayBuffer(4),
);

/** Bytes of an errno. */
export const ERRNO_SIZE = 4n;

// Without Deno importing must still work: the first call throws.
const architecture: string | undefined = (globalThis as { Deno?: typeof Deno })
  .Deno?.build.arch;

/** The system call numbers of this processor. */
export const NR: {
  readonly [C in Call | keyof typeof SYSCALL_NUMBERS.x86_64]: number;
} = SYSCALL_NUMBERS[architecture === "aarch64" ? "aarch64" : "x86_64"];

/** The system calls, each bound to the C library when it is first used. */
export const libc: Libc = {} as Libc;

for (const [name, parameters] of Object.entries(PARAMETERS)) {
  let uses = 0;
  let uncompiled: NativeCall | undefined;
  Object.defineProperty(libc, name, {
    configurable: true,
    get(): NativeCall {
      uses++;
      if (uses <= MOST_UNCOMPILED) {
        return uncompiled ??= bindUncompiled(parameters);
      }
      const value = bind(parameters);
      Object.defineProperty(libc, name, { value });
      return value;
    },
  });
}

type NativeCall = (...args: unknown[]) => number;

/**
 * As many as most programs that mount once make. V8 keeps count of whom a place
 * calls after some more of them, and calls compiled code directly only where
 * that was never anybody else.
 */
const MOST_UNCOMPILED = 4;

function bind(
  parameters: readonly Parameter[],
  before: readonly Deno.NativeType[] = [],
): NativeCall {
  // First, for it throws where there is no Deno to ask.
  const library = libraryPath();
  const { symbols } = Deno.dlopen(library, {
    syscall: { parameters: [...before, "i32", ...parameters], result: "i32" },
  });
  return symbols.syscall as NativeCall;
}

/** Binds a call so that Deno compiles nothing for it. */
export function bindUncompiled(parameters: readonly Parameter[]): NativeCall {
  return bind(parameters, [UNCOMPILED]).bind(undefined, NOTHING);
}

/**
 * Deno compiles nothing for what takes a struct. One of a double goes into a
 * register of its own, at which `syscall` does not look.
 */
const UNCOMPILED = { struct: ["f64"] } as const;
const NOTHING = new Uint8Array(8);

const elsewhere = new Map<Call, unknown>();

/** A call, made by a thread of Deno's that may wait: only that has its errno. */
export function bindElsewhere<C extends Call>(
  call: C,
): (...args: Parameters<Calls[C]>) => Promise<number> {
  let bound = elsewhere.get(call);
  if (bound === undefined) {
    const { symbols } = Deno.dlopen(libraryPath(), {
      syscall: {
        parameters: ["i32", ...PARAMETERS[call]],
        result: "i32",
        nonblocking: true,
      },
    });
    bound = symbols.syscall;
    elsewhere.set(call, bound);
  }
  return bound as (...args: Parameters<Calls[C]>) => Promise<number>;
}

let path: string | undefined;

/** The path or name that the C library was found by. */
export function libraryPath(): string {
  path ??= open();
  return path;
}

/** Finds the C library, binds the way to errno, and returns the library's path. */
function open(): string {
  if (architecture === undefined || Deno.build.os !== "linux") {
    throw new UnsupportedError("Mounts by descriptor need Deno on Linux");
  }
  if (!Object.hasOwn(SYSCALL_NUMBERS, architecture)) {
    throw new UnsupportedError(
      `The system call numbers of ${architecture} are not known, only those of ${
        Object.keys(SYSCALL_NUMBERS).join(" and ")
      }`,
    );
  }
  const paths = candidates(architecture);
  for (const path of paths) {
    try {
      const { symbols } = Deno.dlopen(path, {
        // void *memcpy(void *dest, const void *src, size_t n);
        memcpy: {
          parameters: [UNCOMPILED, "buffer", "pointer", "usize"],
          result: "void",
        },
        // int *__errno_location(void);
        __errno_location: { parameters: [UNCOMPILED], result: "pointer" },
      });
      Object.defineProperties(libc, {
        // No function around it: V8 may do work of its own where one ends.
        copyErrno: { value: symbols.memcpy.bind(undefined, NOTHING) },
        errnoLocation: { value: symbols.__errno_location(NOTHING) },
      });
      return path;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) {
        throw new Deno.errors.NotCapable(
          `Requires ffi access to the C library: run again with --allow-ffi, or with --allow-ffi=PATH and its absolute path, like ${
            absolutePaths(architecture)[0]
          }`,
          { cause: error },
        );
      }
    }
  }
  throw new UnsupportedError(
    `Cannot find the C library: tried ${paths.join(", ")}`,
  );
}

/**
 * Where the C library may be. By its bare name the dynamic linker finds it,
 * but Deno takes that name for a file in the working directory when the
 * permission is limited to paths: then only those paths are tried.
 */
function candidates(architecture: string): string[] {
  const permitted = permittedLibraries(architecture);
  if (permitted.length > 0) return permitted;
  // Asks at a terminal; elsewhere Deno.dlopen throws NotCapable.
  Deno.permissions.requestSync({ name: "ffi" });
  return libraryNames(architecture);
}

/** Which of them Deno's permissions allow; this asks nobody. */
export function permittedLibraries(architecture: string): string[] {
  const ffi = { name: "ffi" } as const;
  // A permission with exceptions is one for paths, too.
  const { state, partial } = Deno.permissions.querySync(ffi);
  if (state === "granted" && !partial) return libraryNames(architecture);
  return absolutePaths(architecture).filter((path) =>
    Deno.permissions.querySync({ ...ffi, path }).state === "granted"
  );
}

function absolutePaths(architecture: string): string[] {
  return [
    `/lib/${architecture}-linux-gnu/libc.so.6`, // Debian
    `/usr/lib/${architecture}-linux-gnu/libc.so.6`,
    "/lib64/libc.so.6", // Fedora, openSUSE
    "/usr/lib64/libc.so.6",
    "/lib/libc.so.6", // Arch
    "/usr/lib/libc.so.6",
    `/lib/libc.musl-${architecture}.so.1`, // Alpine
    `/lib/ld-musl-${architecture}.so.1`,
  ];
}

function libraryNames(architecture: string): string[] {
  return ["libc.so.6", `libc.musl-${architecture}.so.1`];
}
