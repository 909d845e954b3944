/** The namespaces of a command, other than its PID and mount namespaces. */
import {
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from "../sys/constants.ts";
import {
  AF_UNIX,
  IFF_UP,
  interfaceFlags,
  SIOCSIFFLAGS,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
} from "../sys/socket.ts";
import { createUserNamespace } from "../mount/idmap.ts";
import { inInitialUserNamespace } from "../kernel/process.ts";
import { readFile } from "../fd/open.ts";
import type { OwnedFd } from "../fd/owned_fd.ts";
import type { IdMap } from "../options/attributes.ts";
import type { CallTable } from "./table.ts";
import type { Plan } from "./options.ts";

/**
 * Gives the process that makes these calls an IPC and a network namespace, as
 * planned. They come first, as file systems that are mounted for the command show
 * them.
 */
export function enterNamespaces(
  table: CallTable,
  { hostIpc, network }: Plan,
): void {
  const flags = (hostIpc ? 0 : CLONE_NEWIPC) |
    (network === "none" ? CLONE_NEWNET : 0);
  if (flags !== 0) table.call("unshare", [flags]);
  if (network === "host") return;
  // Any socket of the namespace will do: netdevice(7).
  const type = SOCK_DGRAM | SOCK_CLOEXEC;
  const socket = table.open("socket", [AF_UNIX, type, 0]);
  table.call("ioctl", [socket, SIOCSIFFLAGS, interfaceFlags("lo", IFF_UP)]);
}

/**
 * Gives the command, which makes these calls, a UTS namespace, as planned, and locks
 * its mounts. Mounts that come from a mount namespace of another user namespace can
 * neither be unmounted nor lose an attribute that forbids something:
 * mount_namespaces(7). Apart from that, a command of root may do anything in its user
 * namespace.
 *
 * @param userNamespace The user namespace that it is put into, null for none.
 */
export function enterCommandsNamespaces(
  table: CallTable,
  { hostUts }: Plan,
  userNamespace: number | null,
): void {
  if (userNamespace !== null) {
    table.call("setns", [userNamespace, CLONE_NEWUSER]);
  }
  const flags = (hostUts ? 0 : CLONE_NEWUTS) |
    (userNamespace === null ? 0 : CLONE_NEWNS);
  if (flags !== 0) table.call("unshare", [flags]);
}

/**
 * Makes a user namespace inside this one, with the same ids.
 *
 * @returns Null in the initial user namespace: there, a user namespace would take
 * all rights from root.
 * @throws {SyscallError} EPERM without CAP_SETFCAP, ENOSPC if the limit of
 * user namespaces is reached.
 */
export function makeInnerUserNamespace(): OwnedFd | null {
  if (inInitialUserNamespace()) return null;
  return createUserNamespace({
    uids: readMap("uid_map"),
    gids: readMap("gid_map"),
  });
}

/** The ids that this user namespace has, each mapped to itself. */
function readMap(name: "uid_map" | "gid_map"): IdMap[] {
  return readFile(`/proc/self/${name}`).trim().split("\n").map((line) => {
    const [inside, , length] = line.trim().split(/\s+/).map(Number);
    return { inside: inside!, outside: inside!, length: length! };
  });
}
