/**
 * Room `sys`: System calls, one function each, a file for each family of the
 * manual; and the only `Deno.dlopen`.
 *
 * The system calls: their numbers on each processor, and what the C library's
 * variadic `syscall` takes for them, as the man page of section 2 gives it. The
 * numbers are from arch/x86/entry/syscalls/syscall_64.tbl (x86_64) and
 * include/uapi/asm-generic/unistd.h (aarch64). The calls that came with Linux
 * 5.2 and later have one number on both.
 *
 * A call without `parameters` is made only by a `SyscallThread` or in a child,
 * which take any call by its number.
 */

/** A parameter of a system call, as Deno's foreign functions name its type. */
export type ParameterType = "i32" | "u32" | "u64" | "usize" | "buffer";

/** A system call. */
interface CallDescription {
  readonly x86_64: number;
  readonly aarch64: number;
  /** The Linux version that it came with, if users may have an older one. */
  readonly since?: string;
  readonly parameters?: readonly ParameterType[];
}

/** One row for each call, in the order of their names. */
export const CALLS = {
  // int capget(cap_user_header_t hdrp, cap_user_data_t datap);
  capget: { x86_64: 125, aarch64: 90, parameters: ["buffer", "buffer"] },
  capset: { x86_64: 126, aarch64: 91 },
  chdir: { x86_64: 80, aarch64: 49 },
  chroot: { x86_64: 161, aarch64: 51 },
  // long clone3(struct clone_args *cl_args, size_t size);
  clone3: { x86_64: 435, aarch64: 435, parameters: ["buffer", "usize"] },
  // int close(int fd);
  close: { x86_64: 3, aarch64: 57, parameters: ["i32"] },
  close_range: { x86_64: 436, aarch64: 436 },
  dup3: { x86_64: 292, aarch64: 24 },
  execve: { x86_64: 59, aarch64: 221 },
  execveat: { x86_64: 322, aarch64: 281 },
  exit_group: { x86_64: 231, aarch64: 94 },
  // int fanotify_init(unsigned int flags, unsigned int event_f_flags);
  fanotify_init: { x86_64: 300, aarch64: 262, parameters: ["u32", "u32"] },
  // int fanotify_mark(int fanotify_fd, unsigned int flags, uint64_t mask, int dirfd, const char *path);
  fanotify_mark: {
    x86_64: 301,
    aarch64: 263,
    parameters: ["i32", "u32", "u64", "i32", "buffer"],
  },
  // int fchdir(int fd);
  fchdir: { x86_64: 81, aarch64: 50, parameters: ["i32"] },
  // int fchmodat(int dirfd, const char *path, mode_t mode);
  fchmodat: { x86_64: 268, aarch64: 53, parameters: ["i32", "buffer", "u32"] },
  // int fchownat(int dirfd, const char *path, uid_t owner, gid_t group, int flags);
  fchownat: {
    x86_64: 260,
    aarch64: 54,
    parameters: ["i32", "buffer", "u32", "u32", "i32"],
  },
  // int fcntl(int fd, int cmd, int arg);
  fcntl: { x86_64: 72, aarch64: 25, parameters: ["i32", "i32", "i32"] },
  // ssize_t fgetxattr(int fd, const char *name, void *value, size_t size);
  fgetxattr: {
    x86_64: 193,
    aarch64: 10,
    parameters: ["i32", "buffer", "buffer", "usize"],
  },
  // ssize_t flistxattr(int fd, char *list, size_t size);
  flistxattr: {
    x86_64: 196,
    aarch64: 13,
    parameters: ["i32", "buffer", "usize"],
  },
  // int flock(int fd, int op);
  flock: { x86_64: 73, aarch64: 32, parameters: ["i32", "i32"] },
  // int fremovexattr(int fd, const char *name);
  fremovexattr: { x86_64: 199, aarch64: 16, parameters: ["i32", "buffer"] },
  // int fsconfig(int fd, unsigned int cmd, const char *key, const void *value, int aux);
  fsconfig: {
    x86_64: 431,
    aarch64: 431,
    since: "5.2",
    parameters: ["i32", "u32", "buffer", "buffer", "i32"],
  },
  // int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);
  fsetxattr: {
    x86_64: 190,
    aarch64: 7,
    parameters: ["i32", "buffer", "buffer", "usize", "i32"],
  },
  // int fsmount(int fsfd, unsigned int flags, unsigned int attr_flags);
  fsmount: {
    x86_64: 432,
    aarch64: 432,
    since: "5.2",
    parameters: ["i32", "u32", "u32"],
  },
  // int fsopen(const char *fsname, unsigned int flags);
  fsopen: {
    x86_64: 430,
    aarch64: 430,
    since: "5.2",
    parameters: ["buffer", "u32"],
  },
  // int fspick(int dirfd, const char *path, unsigned int flags);
  fspick: {
    x86_64: 433,
    aarch64: 433,
    since: "5.2",
    parameters: ["i32", "buffer", "u32"],
  },
  // ssize_t getdents64(int fd, void *dirp, size_t count);
  getdents64: {
    x86_64: 217,
    aarch64: 61,
    parameters: ["i32", "buffer", "usize"],
  },
  // uid_t geteuid(void);
  geteuid: { x86_64: 107, aarch64: 175, parameters: [] },
  // pid_t getpgid(pid_t pid);
  getpgid: { x86_64: 121, aarch64: 155, parameters: ["i32"] },
  getpid: { x86_64: 39, aarch64: 172 },
  // int ioctl(int fd, unsigned int op, void *argp);
  ioctl: { x86_64: 16, aarch64: 29, parameters: ["i32", "u32", "buffer"] },
  keyctl: { x86_64: 250, aarch64: 219 },
  // int kill(pid_t pid, int sig);
  kill: { x86_64: 62, aarch64: 129, parameters: ["i32", "i32"] },
  // ssize_t listmount(const struct mnt_id_req *req, uint64_t *mnt_ids, size_t nr_mnt_ids, unsigned int flags);
  listmount: {
    x86_64: 458,
    aarch64: 458,
    since: "6.8",
    parameters: ["buffer", "buffer", "usize", "u32"],
  },
  // ssize_t llistxattr(const char *path, char *list, size_t size);
  llistxattr: {
    x86_64: 195,
    aarch64: 12,
    parameters: ["buffer", "buffer", "usize"],
  },
  // int lremovexattr(const char *path, const char *name);
  lremovexattr: { x86_64: 198, aarch64: 15, parameters: ["buffer", "buffer"] },
  // int memfd_create(const char *name, unsigned int flags);
  memfd_create: { x86_64: 319, aarch64: 279, parameters: ["buffer", "u32"] },
  // int mkdirat(int dirfd, const char *path, mode_t mode);
  mkdirat: { x86_64: 258, aarch64: 34, parameters: ["i32", "buffer", "u32"] },
  // int mknodat(int dirfd, const char *path, mode_t mode, dev_t dev);
  mknodat: {
    x86_64: 259,
    aarch64: 33,
    parameters: ["i32", "buffer", "u32", "u32"],
  },
  // int mount(const char *source, const char *target, const char *fstype, unsigned long flags, const void *data);
  mount: {
    x86_64: 165,
    aarch64: 40,
    parameters: ["buffer", "buffer", "buffer", "u64", "buffer"],
  },
  // int mount_setattr(int dirfd, const char *path, unsigned int flags, struct mount_attr *attr, size_t size);
  mount_setattr: {
    x86_64: 442,
    aarch64: 442,
    since: "5.12",
    parameters: ["i32", "buffer", "u32", "buffer", "usize"],
  },
  // int move_mount(int from_dirfd, const char *from_path, int to_dirfd, const char *to_path, unsigned int flags);
  move_mount: {
    x86_64: 429,
    aarch64: 429,
    since: "5.2",
    parameters: ["i32", "buffer", "i32", "buffer", "u32"],
  },
  // int name_to_handle_at(int dirfd, const char *path, struct file_handle *handle, int *mount_id, int flags);
  name_to_handle_at: {
    x86_64: 303,
    aarch64: 264,
    parameters: ["i32", "buffer", "buffer", "buffer", "i32"],
  },
  // int open_tree(int dirfd, const char *path, unsigned int flags);
  open_tree: {
    x86_64: 428,
    aarch64: 428,
    since: "5.2",
    parameters: ["i32", "buffer", "u32"],
  },
  // int open_tree_attr(int dirfd, const char *path, unsigned int flags, struct mount_attr *attr, size_t size);
  open_tree_attr: {
    x86_64: 467,
    aarch64: 467,
    since: "6.15",
    parameters: ["i32", "buffer", "u32", "buffer", "usize"],
  },
  // int openat2(int dirfd, const char *path, const struct open_how *how, size_t size);
  openat2: {
    x86_64: 437,
    aarch64: 437,
    since: "5.6",
    parameters: ["i32", "buffer", "buffer", "usize"],
  },
  // int pidfd_open(pid_t pid, unsigned int flags);
  pidfd_open: { x86_64: 434, aarch64: 434, parameters: ["i32", "u32"] },
  // int pipe2(int pipefd[2], int flags);
  pipe2: { x86_64: 293, aarch64: 59, parameters: ["buffer", "i32"] },
  // int pivot_root(const char *new_root, const char *put_old);
  pivot_root: { x86_64: 155, aarch64: 41, parameters: ["buffer", "buffer"] },
  // int ppoll(struct pollfd *fds, nfds_t nfds, const struct timespec *tmo_p, const sigset_t *sigmask, size_t sigsetsize);
  ppoll: {
    x86_64: 271,
    aarch64: 73,
    parameters: ["buffer", "usize", "buffer", "buffer", "usize"],
  },
  prctl: { x86_64: 157, aarch64: 167 },
  prlimit64: { x86_64: 302, aarch64: 261 },
  // ssize_t read(int fd, void *buf, size_t count);
  read: { x86_64: 0, aarch64: 63, parameters: ["i32", "buffer", "usize"] },
  // ssize_t readlinkat(int dirfd, const char *path, char *buf, int bufsiz);
  readlinkat: {
    x86_64: 267,
    aarch64: 78,
    parameters: ["i32", "buffer", "buffer", "i32"],
  },
  // ssize_t recvmsg(int sockfd, struct msghdr *msg, int flags);
  recvmsg: { x86_64: 47, aarch64: 212, parameters: ["i32", "buffer", "i32"] },
  // int renameat2(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, unsigned int flags);
  renameat2: {
    x86_64: 316,
    aarch64: 276,
    parameters: ["i32", "buffer", "i32", "buffer", "u32"],
  },
  // int rt_sigaction(int signum, const struct sigaction *act, struct sigaction *oldact, size_t sigsetsize);
  rt_sigaction: {
    x86_64: 13,
    aarch64: 134,
    parameters: ["i32", "buffer", "buffer", "usize"],
  },
  // int rt_sigprocmask(int how, const kernel_sigset_t *set, kernel_sigset_t *oldset, size_t sigsetsize);
  rt_sigprocmask: {
    x86_64: 14,
    aarch64: 135,
    parameters: ["i32", "buffer", "buffer", "usize"],
  },
  // ssize_t sendmsg(int sockfd, const struct msghdr *msg, int flags);
  sendmsg: { x86_64: 46, aarch64: 211, parameters: ["i32", "buffer", "i32"] },
  setgroups: { x86_64: 116, aarch64: 159 },
  // int setns(int fd, int nstype);
  setns: { x86_64: 308, aarch64: 268, parameters: ["i32", "i32"] },
  setpgid: { x86_64: 109, aarch64: 154 },
  setresgid: { x86_64: 119, aarch64: 149 },
  setresuid: { x86_64: 117, aarch64: 147 },
  setsid: { x86_64: 112, aarch64: 157 },
  socket: { x86_64: 41, aarch64: 198 },
  // int socketpair(int domain, int type, int protocol, int sv[2]);
  socketpair: {
    x86_64: 53,
    aarch64: 199,
    parameters: ["i32", "i32", "i32", "buffer"],
  },
  // int statmount(const struct mnt_id_req *req, struct statmount *buf, size_t bufsize, unsigned int flags);
  statmount: {
    x86_64: 457,
    aarch64: 457,
    since: "6.8",
    parameters: ["buffer", "buffer", "usize", "u32"],
  },
  // int statx(int dirfd, const char *path, unsigned int flags, unsigned int mask, struct statx *buf);
  statx: {
    x86_64: 332,
    aarch64: 291,
    parameters: ["i32", "buffer", "u32", "u32", "buffer"],
  },
  // int symlinkat(const char *target, int newdirfd, const char *linkpath);
  symlinkat: {
    x86_64: 266,
    aarch64: 36,
    parameters: ["buffer", "i32", "buffer"],
  },
  umask: { x86_64: 95, aarch64: 166 },
  // int umount2(const char *target, int flags);
  umount2: { x86_64: 166, aarch64: 39, parameters: ["buffer", "i32"] },
  // int uname(struct new_utsname *buf);
  uname: { x86_64: 63, aarch64: 160, parameters: ["buffer"] },
  // int unlinkat(int dirfd, const char *path, int flags);
  unlinkat: { x86_64: 263, aarch64: 35, parameters: ["i32", "buffer", "i32"] },
  // int unshare(unsigned long flags);
  unshare: { x86_64: 272, aarch64: 97, parameters: ["u64"] },
  // int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags);
  utimensat: {
    x86_64: 280,
    aarch64: 88,
    parameters: ["i32", "buffer", "buffer", "i32"],
  },
  // int waitid(idtype_t idtype, id_t id, siginfo_t *infop, int options, struct rusage *rusage);
  waitid: {
    x86_64: 247,
    aarch64: 95,
    parameters: ["i32", "i32", "buffer", "i32", "buffer"],
  },
  // ssize_t write(int fd, const void *buf, size_t count);
  write: { x86_64: 1, aarch64: 64, parameters: ["i32", "buffer", "usize"] },
} as const satisfies Record<string, CallDescription>;

/** A processor whose numbers are known. */
export type Architecture = "x86_64" | "aarch64";

/** The processors whose numbers are known. */
export const ARCHITECTURES: readonly Architecture[] = ["x86_64", "aarch64"];

/** The Linux version that a call came with, undefined for the old ones. */
export function sinceLinux(call: string): string | undefined {
  const calls: Readonly<Record<string, CallDescription>> = CALLS;
  return Object.hasOwn(calls, call) ? calls[call]!.since : undefined;
}
