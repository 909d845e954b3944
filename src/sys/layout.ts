/**
 * Byte offsets of fields in the kernel's structs, by the fields' names. They
 * are the same on x86_64 and aarch64.
 */

/** The byte order of the kernel's structs: Deno's two Linux targets share it. */
export const LITTLE_ENDIAN = true;

/** `struct fanotify_event_metadata`, include/uapi/linux/fanotify.h; records follow. */
export const FANOTIFY_EVENT_METADATA = {
  event_len: 0,
  vers: 4,
  metadata_len: 6,
  mask: 8,
  SIZE: 24,
} as const;

/** `struct fanotify_event_info_header`, include/uapi/linux/fanotify.h. */
export const FANOTIFY_EVENT_INFO_HEADER = {
  info_type: 0,
  len: 2,
  SIZE: 4,
} as const;

/** `struct fanotify_event_info_mnt`, include/uapi/linux/fanotify.h. */
export const FANOTIFY_EVENT_INFO_MNT = {
  mnt_id: 8,
  SIZE: 16,
} as const;

/** `struct loop_info64`, include/uapi/linux/loop.h. */
export const LOOP_INFO64 = {
  lo_offset: 24,
  lo_sizelimit: 32,
  lo_flags: 52,
  SIZE: 232,
} as const;

/** `struct loop_config`, include/uapi/linux/loop.h. */
export const LOOP_CONFIG = {
  fd: 0,
  block_size: 4,
  info: 8,
  SIZE: 304,
} as const;

/** `struct mnt_id_req`, include/uapi/linux/mount.h. */
export const MNT_ID_REQ = {
  size: 0,
  mnt_ns_fd: 4,
  mnt_id: 8,
  param: 16,
  mnt_ns_id: 24,
  SIZE: 32,
} as const;

/** `struct mount_attr`, include/uapi/linux/mount.h. */
export const MOUNT_ATTR = {
  attr_set: 0,
  attr_clr: 8,
  propagation: 16,
  userns_fd: 24,
  SIZE: 32,
} as const;

/** `struct linux_dirent64`, include/linux/dirent.h; to programs `struct dirent64`. */
export const DIRENT64 = {
  d_reclen: 16,
  d_type: 18,
  d_name: 19,
} as const;

/** `struct open_how`, include/uapi/linux/openat2.h. */
export const OPEN_HOW = {
  flags: 0,
  mode: 8,
  resolve: 16,
  SIZE: 24,
} as const;

/** `struct pollfd`, include/uapi/asm-generic/poll.h. */
export const POLLFD = {
  fd: 0,
  events: 4,
  revents: 6,
  SIZE: 8,
} as const;

/**
 * `struct statmount`, include/uapi/linux/mount.h. An older kernel has spare
 * bytes in place of a newer field: the size stays. The strings follow.
 */
export const STATMOUNT = {
  size: 0,
  mnt_opts: 4,
  mask: 8,
  sb_dev_major: 16,
  sb_dev_minor: 20,
  sb_magic: 24,
  sb_flags: 32,
  fs_type: 36,
  mnt_id: 40,
  mnt_parent_id: 48,
  mnt_id_old: 56,
  mnt_parent_id_old: 60,
  mnt_attr: 64,
  mnt_propagation: 72,
  mnt_peer_group: 80,
  mnt_master: 88,
  propagate_from: 96,
  mnt_root: 104,
  mnt_point: 108,
  mnt_ns_id: 112,
  fs_subtype: 120,
  sb_source: 124,
  opt_num: 128,
  opt_array: 132,
  opt_sec_num: 136,
  opt_sec_array: 140,
  supported_mask: 144,
  mnt_uidmap_num: 152,
  mnt_uidmap: 156,
  mnt_gidmap_num: 160,
  mnt_gidmap: 164,
  str: 512,
  SIZE: 512,
} as const;

/** `struct statx`, include/uapi/linux/stat.h; the kernel always fills all of it. */
export const STATX = {
  stx_mask: 0,
  stx_blksize: 4,
  stx_attributes: 8,
  stx_nlink: 16,
  stx_uid: 20,
  stx_gid: 24,
  stx_mode: 28,
  stx_ino: 32,
  stx_size: 40,
  stx_blocks: 48,
  stx_attributes_mask: 56,
  stx_atime: 64,
  stx_btime: 80,
  stx_ctime: 96,
  stx_mtime: 112,
  stx_rdev_major: 128,
  stx_rdev_minor: 132,
  stx_dev_major: 136,
  stx_dev_minor: 140,
  stx_mnt_id: 144,
  stx_dio_mem_align: 152,
  stx_dio_offset_align: 156,
  stx_subvol: 160,
  stx_atomic_write_unit_min: 168,
  stx_atomic_write_unit_max: 172,
  stx_atomic_write_segments_max: 176,
  stx_dio_read_offset_align: 180,
  stx_atomic_write_unit_max_opt: 184,
  SIZE: 256,
} as const;

/** `struct statx_timestamp`, include/uapi/linux/stat.h: what `stx_atime` and the like are. */
export const STATX_TIMESTAMP = {
  tv_sec: 0,
  tv_nsec: 8,
  SIZE: 16,
} as const;

/** `struct file_handle`; the handle's bytes follow. */
export const FILE_HANDLE = {
  handle_bytes: 0,
  handle_type: 4,
  SIZE: 8,
} as const;

/** `siginfo_t` as waitid(2) fills it, include/uapi/asm-generic/siginfo.h. */
export const SIGINFO = {
  si_code: 8,
  si_status: 24,
  SIZE: 128,
} as const;

/** `struct rusage`, include/uapi/linux/resource.h. */
export const RUSAGE = {
  ru_utime: 0,
  ru_stime: 16,
  ru_maxrss: 32,
  ru_minflt: 64,
  ru_majflt: 72,
  ru_inblock: 88,
  ru_oublock: 96,
  ru_nvcsw: 128,
  ru_nivcsw: 136,
  SIZE: 144,
} as const;

/** `struct msghdr`, include/linux/socket.h: `struct user_msghdr`. */
export const MSGHDR = {
  msg_iov: 16,
  msg_iovlen: 24,
  msg_control: 32,
  msg_controllen: 40,
  SIZE: 56,
} as const;

/** `struct iovec`, include/uapi/linux/uio.h. */
export const IOVEC = {
  iov_base: 0,
  iov_len: 8,
  SIZE: 16,
} as const;

/** `struct cmsghdr`, include/linux/socket.h; the data follow. */
export const CMSGHDR = {
  cmsg_len: 0,
  cmsg_level: 8,
  cmsg_type: 12,
  SIZE: 16,
} as const;

/** `struct ifreq`, include/uapi/linux/if.h; the name is its start. */
export const IFREQ = { ifr_flags: 16, SIZE: 40 } as const;

/** `ucontext_t` of glibc, sys/ucontext.h; it is smaller on x86_64. */
export const UCONTEXT = {
  uc_link: 8,
  ss_sp: 16,
  ss_size: 32,
  SIZE: 4608,
} as const;
/** Signal numbers: include/uapi/asm-generic/signal.h, the same on both processors. */
export const SIGNALS = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGSTKFLT: 16,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGVTALRM: 26,
  SIGPROF: 27,
  SIGWINCH: 28,
  SIGIO: 29,
  SIGPWR: 30,
  SIGSYS: 31,
} as const satisfies Partial<Record<Deno.Signal, number>>;

/** Bytes of the kernel's `sigset_t`. */
export const SIGSET_SIZE = 8;

/** A signal by its name. */
export type SignalName = keyof typeof SIGNALS;

/** The names that {@linkcode signalName} gives to real-time signals. */
export type RealTimeSignal = `SIGRTM${string}` | `SIG${32 | 33}`;

/**
 * The name of a signal. A real-time signal has the name that `kill -l` of bash
 * prints. These names start at 34: the C library keeps 32 and 33 for itself.
 */
export function signalName(number: number): SignalName | RealTimeSignal {
  const names = Object.keys(SIGNALS) as SignalName[];
  const name = names.find((name) => SIGNALS[name] === number);
  if (name !== undefined) return name;
  if (number < SIGRTMIN) return `SIG${number as 32 | 33}`;
  const [above, below] = [number - SIGRTMIN, SIGRTMAX - number];
  if (above === 0) return "SIGRTMIN";
  if (below === 0) return "SIGRTMAX";
  return above <= below ? `SIGRTMIN+${above}` : `SIGRTMAX-${below}`;
}

/** The first real-time signal that the C library offers: signal(7). */
const SIGRTMIN = 34;

const SIGRTMAX = 64;
