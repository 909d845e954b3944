import type { IdMap, IdMaps } from "./attribute_options.ts";
import { OwnedFd } from "./owned_fd.ts";
import { cloneSleeping } from "./sys/clone_sleeping.ts";
import {
  AT_FDCWD,
  CLONE_NEWUSER,
  O_CLOEXEC,
  O_RDONLY,
  O_WRONLY,
} from "./sys/constants.ts";
import { EINTR } from "./sys/errno.ts";
import { isErrno, UnsupportedError } from "./sys/error.ts";
import { kill, SIGKILL } from "./sys/kill.ts";
import { openat2 } from "./sys/openat2.ts";
import { readlinkat } from "./sys/readlinkat.ts";
import { waitid } from "./sys/waitid.ts";
import { write } from "./sys/write.ts";

/**
 * How long the child lives at the most when this process is killed before it
 * could end it, and the child had not begun: it holds all descriptors.
 */
const CHILD_SECONDS = 2;

/**
 * Makes a user namespace with these maps. Only a process can be put into a new
 * one: a child that does nothing, and is gone on return.
 *
 * @throws {SyscallError} EPERM for ids that can't be mapped, EINVAL for ranges
 * that overlap, ENOENT without /proc.
 * @throws {UnsupportedError} Where /proc shows other processes.
 */
export function createUserNamespace({ uids, gids }: IdMaps): OwnedFd {
  const self = readlinkat(AT_FDCWD, "/proc/self");
  if (self !== String(Deno.pid)) {
    throw new UnsupportedError(
      "An id map can't be made where /proc is of another PID namespace: mount one of this, or give a user namespace's descriptor",
    );
  }
  const child = cloneSleeping(CLONE_NEWUSER, CHILD_SECONDS);
  try {
    writeMaps(`/proc/${child}/uid_map`, uids);
    writeMaps(`/proc/${child}/gid_map`, gids);
    return open(`/proc/${child}/ns/user`, O_RDONLY);
  } finally {
    kill(child, SIGKILL);
    reapAfterAll(child);
  }
}

function writeMaps(path: string, maps: readonly IdMap[]): void {
  using file = open(path, O_WRONLY);
  const lines = maps.map(({ inside, outside, length }) =>
    `${inside} ${outside} ${length}\n`
  );
  // The kernel takes all of it at once or nothing.
  write(file.fd, new TextEncoder().encode(lines.join("")));
}

function open(path: string, flags: number): OwnedFd {
  return new OwnedFd(openat2(AT_FDCWD, path, { flags: flags | O_CLOEXEC }));
}

function reapAfterAll(child: number): void {
  for (;;) {
    try {
      waitid(child);
      return;
    } catch (error) {
      if (!isErrno(error, EINTR)) throw error;
    }
  }
}
