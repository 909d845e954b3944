/**
 * The kernel's constants, in the kernel's spelling. The comment of a constant
 * newer than Linux 5.2, the first with fsopen(2), names its first version.
 */

// Importing this file must not fail without Deno (in Node.js, in a browser),
// where no call is possible.
const AARCH64 =
  (globalThis as { Deno?: { build: { arch: string } } }).Deno?.build.arch ===
    "aarch64";

// fsopen(2): include/uapi/linux/mount.h

/** Close the context's descriptor on exec. */
export const FSOPEN_CLOEXEC = 0x1;

// fsmount(2): include/uapi/linux/mount.h

/** Close the mount's descriptor on exec. */
export const FSMOUNT_CLOEXEC = 0x1;

/** Create the mount in a new mount namespace, and return a descriptor of that; since Linux 7.1. */
export const FSMOUNT_NAMESPACE = 0x2;

// fspick(2): include/uapi/linux/mount.h

/** Close the context's descriptor on exec. */
export const FSPICK_CLOEXEC = 0x1;

/** Do not follow a symlink at the end of the path. */
export const FSPICK_SYMLINK_NOFOLLOW = 0x2;

/** Do not trigger an automount at the end of the path. */
export const FSPICK_NO_AUTOMOUNT = 0x4;

/** An empty path means the descriptor itself. */
export const FSPICK_EMPTY_PATH = 0x8;

// fsconfig(2): include/uapi/linux/mount.h

/** Set a parameter that takes no value. */
export const FSCONFIG_SET_FLAG = 0;

/** Set a parameter to a string. */
export const FSCONFIG_SET_STRING = 1;

/** Set a parameter to bytes. */
export const FSCONFIG_SET_BINARY = 2;

/** Set a parameter to the file at a path. */
export const FSCONFIG_SET_PATH = 3;

/** Set a parameter to the file at a path, which may be empty. */
export const FSCONFIG_SET_PATH_EMPTY = 4;

/** Set a parameter to an open file. */
export const FSCONFIG_SET_FD = 5;

/** Create the file system, or take an existing one that matches. */
export const FSCONFIG_CMD_CREATE = 6;

/** Apply the parameters to the file system that is there. */
export const FSCONFIG_CMD_RECONFIGURE = 7;

/** Create the file system, and fail if an existing one matches; since Linux 6.6. */
export const FSCONFIG_CMD_CREATE_EXCL = 8;

// open_tree(2): include/uapi/linux/mount.h

/** Make a detached copy of the mount, with `AT_RECURSIVE` of those below it too. */
export const OPEN_TREE_CLONE = 0x1;

/** Put the copy into a new mount namespace, and return a descriptor of that; since Linux 7.0. */
export const OPEN_TREE_NAMESPACE = 0x2;

/** Close the descriptor on exec. */
export const OPEN_TREE_CLOEXEC = 0x80000;

// move_mount(2): include/uapi/linux/mount.h

/** Follow a symlink at the end of the source path. */
export const MOVE_MOUNT_F_SYMLINKS = 0x1;

/** Trigger an automount at the end of the source path. */
export const MOVE_MOUNT_F_AUTOMOUNTS = 0x2;

/** An empty source path means the descriptor itself. */
export const MOVE_MOUNT_F_EMPTY_PATH = 0x4;

/** Follow a symlink at the end of the target path. */
export const MOVE_MOUNT_T_SYMLINKS = 0x10;

/** Trigger an automount at the end of the target path. */
export const MOVE_MOUNT_T_AUTOMOUNTS = 0x20;

/** An empty target path means the descriptor itself. */
export const MOVE_MOUNT_T_EMPTY_PATH = 0x40;

/** Move nothing: the target joins the source's peer group; since Linux 5.15. */
export const MOVE_MOUNT_SET_GROUP = 0x100;

/** Put the mount beneath the topmost mount; since Linux 6.5. */
export const MOVE_MOUNT_BENEATH = 0x200;

/** All `MOVE_MOUNT_*` flags, as of Linux 6.5. */
export const MOVE_MOUNT__MASK = 0x377;

// mount_setattr(2), fsmount(2): include/uapi/linux/mount.h

/** Read-only. */
export const MOUNT_ATTR_RDONLY = 0x1;

/** Set-user-id and set-group-id bits and file capabilities have no effect. */
export const MOUNT_ATTR_NOSUID = 0x2;

/** Device files can't be opened. */
export const MOUNT_ATTR_NODEV = 0x4;

/** Programs can't be executed. */
export const MOUNT_ATTR_NOEXEC = 0x8;

/** The field that holds one of `RELATIME`, `NOATIME` and `STRICTATIME`; clear it to set one. */
export const MOUNT_ATTR__ATIME = 0x70;

/**
 * Update a file's access time if it is older than its last change, or than a
 * day.
 */
export const MOUNT_ATTR_RELATIME = 0x0;

/** Never update access times. */
export const MOUNT_ATTR_NOATIME = 0x10;

/** Always update access times. */
export const MOUNT_ATTR_STRICTATIME = 0x20;

/** Never update access times of directories. */
export const MOUNT_ATTR_NODIRATIME = 0x80;

/** Map ids by the user namespace in `userns_fd`; since Linux 5.12. */
export const MOUNT_ATTR_IDMAP = 0x100000;

/** Symlinks are not followed; since Linux 5.14. */
export const MOUNT_ATTR_NOSYMFOLLOW = 0x200000;

/** Size of the first `struct mount_attr`; since Linux 5.12. */
export const MOUNT_ATTR_SIZE_VER0 = 32;

// mount(2): include/uapi/linux/mount.h

/** Read-only. */
export const MS_RDONLY = 0x1;

/** Set-user-id and set-group-id bits and file capabilities have no effect. */
export const MS_NOSUID = 0x2;

/** Device files can't be opened. */
export const MS_NODEV = 0x4;

/** Programs can't be executed. */
export const MS_NOEXEC = 0x8;

/** Each write reaches the device before it returns. */
export const MS_SYNCHRONOUS = 0x10;

/** Change the flags and data of an existing mount. */
export const MS_REMOUNT = 0x20;

/** Allow mandatory locks; without effect since Linux 5.15. */
export const MS_MANDLOCK = 0x40;

/** Each change of a directory reaches the device before it returns. */
export const MS_DIRSYNC = 0x80;

/** Symlinks are not followed; since Linux 5.10. */
export const MS_NOSYMFOLLOW = 0x100;

/** Never update access times. */
export const MS_NOATIME = 0x400;

/** Never update access times of directories. */
export const MS_NODIRATIME = 0x800;

/** Make a directory or file visible at another place. */
export const MS_BIND = 0x1000;

/** Move a mount to another place. */
export const MS_MOVE = 0x2000;

/** Include the mounts below: with `MS_BIND` or a propagation flag. */
export const MS_REC = 0x4000;

/** The old name of `MS_SILENT`, and its contrary. */
export const MS_VERBOSE = 0x8000;

/** Keep some messages out of the kernel's log. */
export const MS_SILENT = 0x8000;

/** The file system applies the umask, and not the VFS; internal to the kernel. */
export const MS_POSIXACL = 0x10000;

/** Make the mount private, and refuse to bind it. */
export const MS_UNBINDABLE = 0x20000;

/** Neither pass mounts on to other places nor receive them. */
export const MS_PRIVATE = 0x40000;

/** Receive mounts from other places and pass none on. */
export const MS_SLAVE = 0x80000;

/** Pass mounts on to other places and receive them. */
export const MS_SHARED = 0x100000;

/**
 * Update a file's access time if it is older than its last change, or than a
 * day.
 */
export const MS_RELATIME = 0x200000;

/** A mount made inside the kernel; internal to the kernel. */
export const MS_KERNMOUNT = 0x400000;

/** Count the changes of each inode. */
export const MS_I_VERSION = 0x800000;

/** Always update access times. */
export const MS_STRICTATIME = 0x1000000;

/** Write time stamps to the device only now and then. */
export const MS_LAZYTIME = 0x2000000;

/** An automount; internal to the kernel. */
export const MS_SUBMOUNT = 0x4000000;

/** A file system whose locks are local; internal to the kernel. */
export const MS_NOREMOTELOCK = 0x8000000;

/** A file system without security attributes; internal to the kernel. */
export const MS_NOSEC = 0x10000000;

/** A file system that is set up; internal to the kernel. */
export const MS_BORN = 0x20000000;

/** A file system in use; internal to the kernel. */
export const MS_ACTIVE = 0x40000000;

/** A file system that user space can't mount; internal to the kernel. */
export const MS_NOUSER = 0x80000000;

/** The flags of a file system that `MS_REMOUNT` can change. */
export const MS_RMT_MASK = 0x2800051;

/** The upper half of the flags before Linux 2.4; ignored. */
export const MS_MGC_VAL = 0xc0ed0000;

/** The bits of `MS_MGC_VAL`. */
export const MS_MGC_MSK = 0xffff0000;

// umount2(2): include/linux/fs.h, to programs <sys/mount.h>

/** Abort requests under way, where the file system can (NFS, FUSE): data may be lost. */
export const MNT_FORCE = 0x1;

/** Detach the mount at once, and release it when nothing uses it any more. */
export const MNT_DETACH = 0x2;

/** Mark as expired, answering EAGAIN; the second call unmounts if nothing used it meanwhile. */
export const MNT_EXPIRE = 0x4;

/** Do not follow a symlink at the end of the path. */
export const UMOUNT_NOFOLLOW = 0x8;

// openat2(2), open(2): include/uapi/asm-generic/fcntl.h, arch/arm64/include/uapi/asm/fcntl.h

/** The field that holds one of `O_RDONLY`, `O_WRONLY` and `O_RDWR`. */
export const O_ACCMODE = 0x3;

/** Read only. */
export const O_RDONLY = 0x0;

/** Write only. */
export const O_WRONLY = 0x1;

/** Read and write. */
export const O_RDWR = 0x2;

/** Create the file if it does not exist. */
export const O_CREAT = 0x40;

/** With `O_CREAT`: fail if the file exists. */
export const O_EXCL = 0x80;

/** A terminal that is opened does not become the controlling one. */
export const O_NOCTTY = 0x100;

/** Cut the file to length 0. */
export const O_TRUNC = 0x200;

/** Each write goes to the end of the file. */
export const O_APPEND = 0x400;

/** Fail with EAGAIN if the call would wait. */
export const O_NONBLOCK = 0x800;

/** The same as `O_NONBLOCK`. */
export const O_NDELAY = 0x800;

/** Each write's data reach the device before it returns. */
export const O_DSYNC = 0x1000;

/** Transfer without the page cache; another value on aarch64. */
export const O_DIRECT: number = AARCH64 ? 0x10000 : 0x4000;

/** Allow files of 2 GiB and more, as 64-bit kernels always do; another value on aarch64, and 0 in glibc. */
export const O_LARGEFILE: number = AARCH64 ? 0x20000 : 0x8000;

/** Fail if it is no directory; another value on aarch64. */
export const O_DIRECTORY: number = AARCH64 ? 0x4000 : 0x10000;

/** Fail if the path ends in a symlink, or with `O_PATH` open the symlink; another value on aarch64. */
export const O_NOFOLLOW: number = AARCH64 ? 0x8000 : 0x20000;

/** Do not update the access time. */
export const O_NOATIME = 0x40000;

/** Close the descriptor on exec. */
export const O_CLOEXEC = 0x80000;

/** Each write's data and metadata reach the device before it returns. */
export const O_SYNC = 0x101000;

/** Open only a place in the tree: the descriptor can't be read or written. */
export const O_PATH = 0x200000;

/** Make a file without a name in the directory; another value on aarch64. */
export const O_TMPFILE: number = AARCH64 ? 0x404000 : 0x410000;

/** An empty path means the descriptor itself; since Linux 7.2. */
export const O_EMPTYPATH = 0x4000000;

// openat2(2): include/uapi/linux/openat2.h, include/linux/fcntl.h

/** Cross no mount point; since Linux 5.6. */
export const RESOLVE_NO_XDEV = 0x1;

/** Follow no magic link, like those in /proc/PID/fd; since Linux 5.6. */
export const RESOLVE_NO_MAGICLINKS = 0x2;

/** Follow no symlink at all; since Linux 5.6. */
export const RESOLVE_NO_SYMLINKS = 0x4;

/** Fail if the path leads out of the directory; since Linux 5.6. */
export const RESOLVE_BENEATH = 0x8;

/** Resolve the path as if the directory were `/`; since Linux 5.6. */
export const RESOLVE_IN_ROOT = 0x10;

/** Fail with EAGAIN if the lookup would need more than the cache; since Linux 5.12. */
export const RESOLVE_CACHED = 0x20;

/** Size of the first `struct open_how`; since Linux 5.6. */
export const OPEN_HOW_SIZE_VER0 = 24;

// statmount(2): include/uapi/linux/mount.h

/** Ask for `sb_dev_major`, `sb_dev_minor`, `sb_magic` and `sb_flags`; since Linux 6.8. */
export const STATMOUNT_SB_BASIC = 0x1;

/** Ask for the mount's ids, attributes, propagation and peer groups; since Linux 6.8. */
export const STATMOUNT_MNT_BASIC = 0x2;

/** Ask for `propagate_from`; since Linux 6.8. */
export const STATMOUNT_PROPAGATE_FROM = 0x4;

/** Ask for `mnt_root`; since Linux 6.8. */
export const STATMOUNT_MNT_ROOT = 0x8;

/** Ask for `mnt_point`; since Linux 6.8. */
export const STATMOUNT_MNT_POINT = 0x10;

/** Ask for `fs_type`; since Linux 6.8. */
export const STATMOUNT_FS_TYPE = 0x20;

/** Ask for `mnt_ns_id`; since Linux 6.11. */
export const STATMOUNT_MNT_NS_ID = 0x40;

/** Ask for `mnt_opts`; since Linux 6.11. */
export const STATMOUNT_MNT_OPTS = 0x80;

/** Ask for `fs_subtype`; since Linux 6.13. */
export const STATMOUNT_FS_SUBTYPE = 0x100;

/** Ask for `sb_source`; since Linux 6.13. */
export const STATMOUNT_SB_SOURCE = 0x200;

/** Ask for `opt_num` and `opt_array`; since Linux 6.13. */
export const STATMOUNT_OPT_ARRAY = 0x400;

/** Ask for `opt_sec_num` and `opt_sec_array`; since Linux 6.13. */
export const STATMOUNT_OPT_SEC_ARRAY = 0x800;

/** Ask for `supported_mask`; since Linux 6.15. */
export const STATMOUNT_SUPPORTED_MASK = 0x1000;

/** Ask for `mnt_uidmap_num` and `mnt_uidmap`; since Linux 6.15. */
export const STATMOUNT_MNT_UIDMAP = 0x2000;

/** Ask for `mnt_gidmap_num` and `mnt_gidmap`; since Linux 6.15. */
export const STATMOUNT_MNT_GIDMAP = 0x4000;

/** A flag of the call, no bit of the mask: a descriptor names the mount; since Linux 7.0. */
export const STATMOUNT_BY_FD = 0x1;

// listmount(2): include/uapi/linux/mount.h

/** The id that stands for the root of the mount namespace; since Linux 6.8. */
export const LSMT_ROOT = 0xffffffffffffffffn;

/** List the newest mount first; since Linux 6.11. */
export const LISTMOUNT_REVERSE = 0x1;

/** Size of the first `struct mnt_id_req`; since Linux 6.8. */
export const MNT_ID_REQ_SIZE_VER0 = 24;

/** Size of the second `struct mnt_id_req`, with `mnt_ns_id`; since Linux 6.11. */
export const MNT_ID_REQ_SIZE_VER1 = 32;

// statx(2): include/uapi/linux/stat.h

/** Ask for the file type in `stx_mode`. */
export const STATX_TYPE = 0x1;

/** Ask for the permissions in `stx_mode`. */
export const STATX_MODE = 0x2;

/** Ask for `stx_nlink`. */
export const STATX_NLINK = 0x4;

/** Ask for `stx_uid`. */
export const STATX_UID = 0x8;

/** Ask for `stx_gid`. */
export const STATX_GID = 0x10;

/** Ask for `stx_atime`. */
export const STATX_ATIME = 0x20;

/** Ask for `stx_mtime`. */
export const STATX_MTIME = 0x40;

/** Ask for `stx_ctime`. */
export const STATX_CTIME = 0x80;

/** Ask for `stx_ino`. */
export const STATX_INO = 0x100;

/** Ask for `stx_size`. */
export const STATX_SIZE = 0x200;

/** Ask for `stx_blocks`. */
export const STATX_BLOCKS = 0x400;

/** Ask for all that stat(2) tells. */
export const STATX_BASIC_STATS = 0x7ff;

/** Ask for `stx_btime`. */
export const STATX_BTIME = 0x800;

/** `STATX_BASIC_STATS` and `STATX_BTIME`, and nothing newer: deprecated in the kernel. */
export const STATX_ALL = 0xfff;

/** Ask for `stx_mnt_id`, the id that is reused; since Linux 5.8. */
export const STATX_MNT_ID = 0x1000;

/** Ask for `stx_dio_mem_align` and `stx_dio_offset_align`; since Linux 6.1. */
export const STATX_DIOALIGN = 0x2000;

/** Ask for `stx_mnt_id`, the id that is unique; since Linux 6.8. */
export const STATX_MNT_ID_UNIQUE = 0x4000;

/** Ask for `stx_subvol`; since Linux 6.10. */
export const STATX_SUBVOL = 0x8000;

/** Ask for the limits of atomic writes; since Linux 6.11. */
export const STATX_WRITE_ATOMIC = 0x10000;

/** Ask for `stx_dio_read_offset_align`; since Linux 6.14. */
export const STATX_DIO_READ_ALIGN = 0x20000;

/** Reserved: EINVAL. */
export const STATX__RESERVED = 0x80000000;

/** The file system compresses the file. */
export const STATX_ATTR_COMPRESSED = 0x4;

/** The file can't be changed, renamed or removed. */
export const STATX_ATTR_IMMUTABLE = 0x10;

/** The file can only be appended to. */
export const STATX_ATTR_APPEND = 0x20;

/** Backups leave the file out. */
export const STATX_ATTR_NODUMP = 0x40;

/** The file system needs a key to decrypt the file. */
export const STATX_ATTR_ENCRYPTED = 0x800;

/** The directory triggers an automount. */
export const STATX_ATTR_AUTOMOUNT = 0x1000;

/** The file is the root of a mount; since Linux 5.8. */
export const STATX_ATTR_MOUNT_ROOT = 0x2000;

/** The file is protected by fs-verity; since Linux 5.5. */
export const STATX_ATTR_VERITY = 0x100000;

/** The file is accessed directly in memory; since Linux 5.8. */
export const STATX_ATTR_DAX = 0x200000;

/** The file can be written atomically; since Linux 6.11. */
export const STATX_ATTR_WRITE_ATOMIC = 0x400000;

// The at-calls: include/uapi/linux/fcntl.h

/** Stands for the working directory in place of a directory's descriptor. */
export const AT_FDCWD: number = -100;

/** Do not follow a symlink at the end of the path. */
export const AT_SYMLINK_NOFOLLOW = 0x100;

/** Follow a symlink at the end of the path. */
export const AT_SYMLINK_FOLLOW = 0x400;

/** Do not trigger an automount at the end of the path. */
export const AT_NO_AUTOMOUNT = 0x800;

/** An empty path means the descriptor itself. */
export const AT_EMPTY_PATH = 0x1000;

/** The field that holds one of the three `AT_STATX_*`. */
export const AT_STATX_SYNC_TYPE = 0x6000;

/** statx(2): be as fresh as stat(2). */
export const AT_STATX_SYNC_AS_STAT = 0x0;

/** statx(2): ask the server of a network file system. */
export const AT_STATX_FORCE_SYNC = 0x2000;

/** statx(2): tell what is cached. */
export const AT_STATX_DONT_SYNC = 0x4000;

/** Include the mounts below: open_tree(2), mount_setattr(2). */
export const AT_RECURSIVE = 0x8000;

/** renameat2(2): do not replace a file; `RENAME_NOREPLACE`, with this name since Linux 6.12. */
export const AT_RENAME_NOREPLACE = 0x1;

/** renameat2(2): exchange the two files; `RENAME_EXCHANGE`, with this name since Linux 6.12. */
export const AT_RENAME_EXCHANGE = 0x2;

/** renameat2(2): leave a whiteout behind; `RENAME_WHITEOUT`, with this name since Linux 6.12. */
export const AT_RENAME_WHITEOUT = 0x4;

/** faccessat2(2): check the effective ids; since Linux 5.8. */
export const AT_EACCESS = 0x200;

/** unlinkat(2): remove a directory. */
export const AT_REMOVEDIR = 0x200;

/** name_to_handle_at(2): a handle to compare files by, maybe not to open them; since Linux 6.5. */
export const AT_HANDLE_FID = 0x200;

/** name_to_handle_at(2): return the mount id that is unique; since Linux 6.12. */
export const AT_HANDLE_MNT_ID_UNIQUE = 0x1;

/** name_to_handle_at(2): a handle that tells the file's directory too; since Linux 6.13. */
export const AT_HANDLE_CONNECTABLE = 0x2;

/** execveat(2): only check whether the file may be executed; since Linux 6.14. */
export const AT_EXECVE_CHECK = 0x10000;

// unshare(2), setns(2): include/uapi/linux/sched.h

/** Root, working directory and umask: shared by clone(2), made the thread's own by unshare(2). */
export const CLONE_FS = 0x200;

/** Time namespace; since Linux 5.6. */
export const CLONE_NEWTIME = 0x80;

/** Mount namespace. */
export const CLONE_NEWNS = 0x20000;

/** Control group namespace. */
export const CLONE_NEWCGROUP = 0x2000000;

/** Namespace of host and domain name. */
export const CLONE_NEWUTS = 0x4000000;

/** Namespace of System V IPC and POSIX message queues. */
export const CLONE_NEWIPC = 0x8000000;

/** User namespace. */
export const CLONE_NEWUSER = 0x10000000;

/** Process id namespace, for the children. */
export const CLONE_NEWPID = 0x20000000;

/** Network namespace. */
export const CLONE_NEWNET = 0x40000000;

/**
 * unshare(2): a mount namespace with an empty root that nothing can be written to;
 * since Linux 7.1. For clone(2) this bit is `CLONE_PARENT_SETTID`.
 */
export const UNSHARE_EMPTY_MNTNS = 0x100000;

/** clone3(2): what `UNSHARE_EMPTY_MNTNS` is for unshare(2); since Linux 7.1. */
export const CLONE_EMPTY_MNTNS = 0x2000000000n;

// fcntl(2): include/uapi/asm-generic/fcntl.h, include/uapi/linux/fcntl.h

/** Make another descriptor of the open file, with the argument as its least number. */
export const F_DUPFD = 0;

/** Get the descriptor's flags. */
export const F_GETFD = 1;

/** Set the descriptor's flags. */
export const F_SETFD = 2;

/** Get the `O_*` flags of the open file. */
export const F_GETFL = 3;

/** Like `F_DUPFD`, and close the new descriptor on exec. */
export const F_DUPFD_CLOEXEC = 1030;

/** The flag of `F_GETFD` and `F_SETFD`: close on exec. */
export const FD_CLOEXEC = 0x1;

// ioctl(2) on loop devices, see loop(4): include/uapi/linux/loop.h

/** The device can only be read. */
export const LO_FLAGS_READ_ONLY = 0x1;

/** The device lets go of its file when it is closed for the last time. */
export const LO_FLAGS_AUTOCLEAR = 0x4;

/** Look for partitions on the device. */
export const LO_FLAGS_PARTSCAN = 0x8;

/** Go around the page cache of the file. */
export const LO_FLAGS_DIRECT_IO = 0x10;

/** Put a file behind a device, with all settings; since Linux 5.8. */
export const LOOP_CONFIGURE = 0x4c0a;

/** Find or make a device that has no file. */
export const LOOP_CTL_GET_FREE = 0x4c82;

// flock(2): include/uapi/asm-generic/fcntl.h

/** A lock that other open files may have, too. */
export const LOCK_SH = 1;

/** A lock that only one open file can have. */
export const LOCK_EX = 2;

/** Fail with EAGAIN if the call would wait. */
export const LOCK_NB = 4;

/** Release the lock. */
export const LOCK_UN = 8;
