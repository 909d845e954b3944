/**
 * The steps of the first process of a command's PID namespace. It mounts what the
 * command sees, and gives the command its user, limits, streams and so on.
 */
import {
  type CallTable,
  Descriptors,
  FilterProgram,
  FIRST_OPENED,
  type Operand,
  SOCKET,
  Strings,
  Value,
} from "./table.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  CLONE_NEWNS,
  F_DUPFD_CLOEXEC,
  F_SETFD,
  FD_CLOEXEC,
  FSCONFIG_CMD_CREATE,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  RESOLVE_NO_MAGICLINKS,
  UNSHARE_EMPTY_MNTNS,
} from "../sys/constants.ts";
import { DEVICE_LINKS, DEVICES, S_IFCHR } from "./root_tree.ts";
import { S_IFREG } from "../fd/open.ts";
import type { Attempt } from "../error/attempt.ts";
import { quote } from "../base/text.ts";
import {
  CAPABILITY_HEADER,
  SIG_DFL,
  SIG_SETMASK,
  sigaction,
  TIOCSPGRP,
} from "../sys/process.ts";
import { SIGNALS, SIGSET_SIZE } from "../sys/layout.ts";
import { SECCOMP_MODE_FILTER } from "../sys/seccomp.ts";
import { KEYCTL_JOIN_SESSION_KEYRING } from "./profile.ts";
import type { Plan } from "./options.ts";

// include/uapi/linux/prctl.h
export const PR_SET_NAME = 15;

export const PR_SET_SECCOMP = 22;

export const PR_CAPBSET_DROP = 24;

export const PR_SET_NO_NEW_PRIVS = 38;

export const PR_CAP_AMBIENT = 47;

export const PR_CAP_AMBIENT_RAISE = 2;

export const PR_CAP_AMBIENT_CLEAR_ALL = 4;

/** A mount that was made. */
export interface Made {
  /** Its descriptor. */
  readonly fd: number;
  readonly attempted: Attempt;
}

/** A mount that was made, and its mount point. */
export interface Placed extends Made {
  /** The mount point: a descriptor, and a path from there. */
  readonly at: number;
  readonly path?: string;
}

/**
 * Adds the calls that the first table begins with.
 *
 * @param isGroup True if the first process leads a process group, with the command
 * in it.
 */
export function beginTable(table: CallTable, isGroup = false): void {
  // The file of the next table gets this number.
  table.open("fcntl", [SOCKET, F_DUPFD_CLOEXEC, 0]);
  if (isGroup) table.call("setpgid", [0, 0]);
  table.call("prctl", [PR_SET_NAME, "mountat init", 0, 0, 0]);
  table.call("fcntl", [SOCKET, F_SETFD, FD_CLOEXEC]);
}

/** Adds the calls that the first table ends with: they report that it is done. */
export function endTable(table: CallTable): void {
  table.call("close", [FIRST_OPENED]);
  table.call("sendmsg", [SOCKET, new Descriptors([]), 0]);
}

/** Brings the process group of the process that makes these calls to the foreground. */
export function takeForeground(table: CallTable): void {
  const group = table.cell();
  table.call("getpid", [], { result: group });
  table.call("ioctl", [0, TIOCSPGRP, group]);
}

/** Makes a procfs of the PID namespace of the process that makes these calls. */
export function makeProcfs(table: CallTable): Made {
  const attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  return makeFileSystem(table, "proc", {}, attributes, "proc");
}

/** Makes a copy of a sysfs. */
export function copySysfs(table: CallTable, sys: number): Made {
  const attempted = mounting("sysfs", "sys");
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
  const fd = table.open("open_tree", [sys, "", flags], { attempted });
  return { fd, attempted };
}

/** Makes a sysfs that shows the network namespace of the process that calls. */
export function makeSysfs(table: CallTable): Made {
  const attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
    MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  return makeFileSystem(table, "sysfs", {}, attributes, "sys");
}

/**
 * Makes a /dev with device nodes.
 *
 * @param tty The number of a mount for `console`, null for none.
 * @returns It, and what is to be mounted in it.
 */
export function makeDevices(
  table: CallTable,
  tty: number | null,
): { dev: Made; inside: Placed[] } {
  const dev = makeFileSystem(
    table,
    "tmpfs",
    { mode: "755" },
    MOUNT_ATTR_NOSUID,
    "dev",
  );
  const { fd, attempted } = dev;
  const mask = table.cell();
  table.call("umask", [0], { result: mask });
  for (const [name, device] of DEVICES) {
    const args = [fd, name, S_IFCHR | 0o666, device];
    table.call("mknodat", args, { attempted });
  }
  const place = { at: fd, path: "console" };
  if (tty !== null) {
    const args = [fd, place.path, S_IFREG | 0o600, 0];
    table.call("mknodat", args, { attempted });
  }
  for (const name of ["pts", "shm"]) {
    table.call("mkdirat", [fd, name, 0o755], { attempted });
  }
  table.call("umask", [new Value(mask)]);
  for (const [name, target] of Object.entries(DEVICE_LINKS)) {
    table.call("symlinkat", [target, fd, name], { attempted });
  }
  const pts = makeFileSystem(
    table,
    "devpts",
    { mode: "620", ptmxmode: "666" },
    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
    "dev/pts",
  );
  const shm = makeFileSystem(
    table,
    "tmpfs",
    { mode: "1777" },
    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
    "dev/shm",
  );
  return {
    dev,
    inside: [
      { ...pts, at: fd, path: "pts" },
      { ...shm, at: fd, path: "shm" },
      ...tty === null ? [] : [{ fd: tty, ...place, attempted }],
    ],
  };
}

function makeFileSystem(
  table: CallTable,
  type: string,
  parameters: Readonly<Record<string, string>>,
  attributes: number,
  target: string,
): Made {
  const attempted = mounting(type, target);
  const options = { attempted };
  const context = table.open("fsopen", [type, FSOPEN_CLOEXEC], options);
  for (const [key, value] of Object.entries({ source: type, ...parameters })) {
    const args = [context, FSCONFIG_SET_STRING, key, value, 0];
    table.call("fsconfig", args, options);
  }
  table.call(
    "fsconfig",
    [context, FSCONFIG_CMD_CREATE, null, null, 0],
    options,
  );
  const args = [context, FSMOUNT_CLOEXEC, attributes];
  const fd = table.open("fsmount", args, options);
  return { fd, attempted };
}

function mounting(type: string, target: string): Attempt {
  return { action: () => `mount ${type} on ${quote(target)}`, target, type };
}

/**
 * Goes into a mount namespace with nothing in it.
 *
 * @param empty The namespace that it is a copy of; null if the kernel makes an empty
 * one.
 */
export function enterEmptyNamespace(
  table: CallTable,
  empty: number | null,
): void {
  if (empty === null) {
    table.call("unshare", [UNSHARE_EMPTY_MNTNS]);
    return;
  }
  table.call("setns", [empty, CLONE_NEWNS]);
  table.call("unshare", [CLONE_NEWNS]);
}

/**
 * Makes a tree the root of this mount namespace.
 *
 * @param tree The tree, which is attached to nothing.
 * @param placed What is mounted in it then.
 */
export function enterRoot(
  table: CallTable,
  tree: number,
  placed: readonly Placed[],
): void {
  // Below it stays an empty directory, as below the root of any system.
  table.call("move_mount", [tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH]);
  // By its path root would go wherever a link of the root's leads.
  table.call("fchdir", [tree]);
  table.call("chroot", ["."]);
  for (const { fd, at, path, attempted } of placed) {
    const flags = MOVE_MOUNT_F_EMPTY_PATH |
      (path === undefined ? MOVE_MOUNT_T_EMPTY_PATH : 0);
    const args = [fd, "", at, path ?? "", flags];
    table.call("move_mount", args, { attempted });
  }
}

/** Goes to a working directory. Links of a procfs lead out of any root. */
export function enterDirectory(table: CallTable, path: string): void {
  const how = new BigUint64Array([
    BigInt(O_PATH | O_DIRECTORY | O_CLOEXEC),
    0n,
    BigInt(RESOLVE_NO_MAGICLINKS),
  ]);
  const attempted = {
    action: () => `start in ${quote(path)}`,
    target: path,
    follows: true,
    starts: true,
  };
  const args = [AT_FDCWD, path, new Uint8Array(how.buffer), how.byteLength];
  const fd = table.open("openat2", args, { attempted });
  table.call("fchdir", [fd], { attempted });
}

/** Details of a command's start that are not in its plan. */
export interface Start {
  /** True if the command starts a session. */
  readonly newSession: boolean;
  /** The descriptors to pass on: their numbers in the table, and the command's. */
  readonly fds: readonly (readonly [number: number, becomes: number])[];
  /** The paths at which its program may be, in order. */
  readonly programs: readonly string[];
  readonly environment: readonly string[];
}

/** Turns the child process that makes these calls into the command. */
export function becomeCommand(
  table: CallTable,
  plan: Plan,
  { newSession, fds, programs, environment }: Start,
): void {
  if (newSession) table.call("setsid", []);
  // The first process's descriptors are closed on exec.
  for (const fd of [0, 1, 2]) table.call("fcntl", [fd, F_SETFD, 0]);
  passDescriptors(table, fds);
  for (const { resource, soft, hard } of plan.limits) {
    const limit = new BigUint64Array([soft, hard]);
    const bytes = new Uint8Array(limit.buffer);
    table.call("prlimit64", [0, resource, bytes, null], {
      attempted: {
        action: "set the command's limits",
        target: plan.command[0],
      },
    });
  }
  takeIds(table, plan);
  const { SIGPIPE } = SIGNALS;
  // Deno ignores it.
  table.call("rt_sigaction", [
    SIGPIPE,
    sigaction(SIG_DFL),
    null,
    SIGSET_SIZE,
  ]);
  const none = new Uint8Array(SIGSET_SIZE);
  table.call("rt_sigprocmask", [SIG_SETMASK, none, null, SIGSET_SIZE]);
  const args = new Strings(plan.command);
  const env = new Strings(environment, false);
  programs.forEach((program, i) => {
    const mayFail = i < programs.length - 1;
    table.call("execve", [program, args, env], { mayFail });
  });
}

function passDescriptors(table: CallTable, fds: Start["fds"]): void {
  if (fds.length === 0) return;
  // Above all numbers that are in use, or are to be.
  const free = Math.max(...fds.flat(), 63) + 1;
  table.call("fcntl", [SOCKET, F_DUPFD_CLOEXEC, free]);
  table.moveSocket(free);
  for (const [i, [fd]] of fds.entries()) {
    table.call("fcntl", [fd, F_DUPFD_CLOEXEC, free + 1 + i]);
  }
  for (const [i, [, becomes]] of fds.entries()) {
    table.call("dup3", [free + 1 + i, becomes, 0]);
  }
}

function takeIds(
  table: CallTable,
  { ids, groups, capabilities, noNewPrivs, profile, filter, command }: Plan,
): void {
  const options = {
    attempted: { action: "change who the command runs as", target: command[0] },
  };
  const add = (name: Parameters<CallTable["call"]>[0], args: Operand[]) =>
    table.call(name, args, options);
  for (const capability of capabilities?.dropped ?? []) {
    add("prctl", [PR_CAPBSET_DROP, capability, 0, 0, 0]);
  }
  if (groups !== null) {
    add("setgroups", [
      groups.length,
      new Uint8Array(new Uint32Array(groups).buffer),
    ]);
  }
  if (ids !== null) {
    const { uid, gid } = ids;
    if (uid !== null && uid !== 0) {
      add("prctl", [PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0]);
    }
    add("setresgid", [gid, gid, gid]);
    if (uid !== null) add("setresuid", [uid, uid, uid]);
  }
  if (capabilities !== null) {
    add("capset", [CAPABILITY_HEADER, capabilities.sets]);
    for (const capability of capabilities.ambient) {
      add("prctl", [PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0]);
    }
  }
  // A new session keyring has none of the caller's keys: keyrings(7).
  if (profile === "strict") add("keyctl", [KEYCTL_JOIN_SESSION_KEYRING, null]);
  if (noNewPrivs) add("prctl", [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0]);
  if (filter !== null) {
    const program = new FilterProgram(filter);
    add("prctl", [PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0]);
  }
}
