/** Capabilities of a command: capabilities(7). */
import { readFile } from "../fd/open.ts";
import { readFields } from "../kernel/process.ts";
import { type CapabilitySets, capget } from "../sys/process.ts";
import { LITTLE_ENDIAN } from "../sys/layout.ts";
import { nearest, received } from "../base/check.ts";

/** The name of a capability. */
export type Capability =
  | "CAP_CHOWN"
  | "CAP_DAC_OVERRIDE"
  | "CAP_DAC_READ_SEARCH"
  | "CAP_FOWNER"
  | "CAP_FSETID"
  | "CAP_KILL"
  | "CAP_SETGID"
  | "CAP_SETUID"
  | "CAP_SETPCAP"
  | "CAP_LINUX_IMMUTABLE"
  | "CAP_NET_BIND_SERVICE"
  | "CAP_NET_BROADCAST"
  | "CAP_NET_ADMIN"
  | "CAP_NET_RAW"
  | "CAP_IPC_LOCK"
  | "CAP_IPC_OWNER"
  | "CAP_SYS_MODULE"
  | "CAP_SYS_RAWIO"
  | "CAP_SYS_CHROOT"
  | "CAP_SYS_PTRACE"
  | "CAP_SYS_PACCT"
  | "CAP_SYS_ADMIN"
  | "CAP_SYS_BOOT"
  | "CAP_SYS_NICE"
  | "CAP_SYS_RESOURCE"
  | "CAP_SYS_TIME"
  | "CAP_SYS_TTY_CONFIG"
  | "CAP_MKNOD"
  | "CAP_LEASE"
  | "CAP_AUDIT_WRITE"
  | "CAP_AUDIT_CONTROL"
  | "CAP_SETFCAP"
  | "CAP_MAC_OVERRIDE"
  | "CAP_MAC_ADMIN"
  | "CAP_SYSLOG"
  | "CAP_WAKE_ALARM"
  | "CAP_BLOCK_SUSPEND"
  | "CAP_AUDIT_READ"
  | "CAP_PERFMON"
  | "CAP_BPF"
  | "CAP_CHECKPOINT_RESTORE";

/** By their numbers: include/uapi/linux/capability.h. */
export const CAPABILITIES: readonly Capability[] = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_DAC_READ_SEARCH",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETPCAP",
  "CAP_LINUX_IMMUTABLE",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_BROADCAST",
  "CAP_NET_ADMIN",
  "CAP_NET_RAW",
  "CAP_IPC_LOCK",
  "CAP_IPC_OWNER",
  "CAP_SYS_MODULE",
  "CAP_SYS_RAWIO",
  "CAP_SYS_CHROOT",
  "CAP_SYS_PTRACE",
  "CAP_SYS_PACCT",
  "CAP_SYS_ADMIN",
  "CAP_SYS_BOOT",
  "CAP_SYS_NICE",
  "CAP_SYS_RESOURCE",
  "CAP_SYS_TIME",
  "CAP_SYS_TTY_CONFIG",
  "CAP_MKNOD",
  "CAP_LEASE",
  "CAP_AUDIT_WRITE",
  "CAP_AUDIT_CONTROL",
  "CAP_SETFCAP",
  "CAP_MAC_OVERRIDE",
  "CAP_MAC_ADMIN",
  "CAP_SYSLOG",
  "CAP_WAKE_ALARM",
  "CAP_BLOCK_SUSPEND",
  "CAP_AUDIT_READ",
  "CAP_PERFMON",
  "CAP_BPF",
  "CAP_CHECKPOINT_RESTORE",
];

/**
 * Checks names of capabilities.
 *
 * @returns Their numbers.
 * @throws {TypeError}
 */
export function parseCapabilities(names: readonly Capability[]): number[] {
  return names.map((name) => {
    const number = CAPABILITIES.indexOf(name);
    if (number !== -1) return number;
    throw new TypeError(
      `Unknown capability ${received(name)}${
        typeof name === "string" ? nearest(name, CAPABILITIES) : ""
      }`,
    );
  });
}

/** The changes that leave a command no more than certain capabilities. */
export interface CapabilityChange {
  /** The numbers of the capabilities that no program it executes can get. */
  readonly dropped: readonly number[];
  /** `struct __user_cap_data_struct`, two of them. */
  readonly sets: Uint8Array<ArrayBuffer>;
  /** The numbers of the capabilities that programs without file capabilities keep. */
  readonly ambient: readonly number[];
}

/**
 * Finds the changes for a command.
 *
 * @param kept The numbers of the capabilities that may stay, null for all.
 * @param stays True if the command's user still has capabilities.
 * @param anew True if the command first gets all capabilities in another user
 * namespace.
 * @throws {SyscallError} If /proc can't be read.
 */
export function changeCapabilities(
  kept: readonly number[] | null,
  stays: boolean,
  anew: boolean,
): CapabilityChange {
  const own = capget();
  if (anew) return findChange(kept, stays, anew, own);
  const { effective, permitted, inheritable } = own;
  const key = [kept, stays, effective, permitted, inheritable].join();
  // The bounding set may have fewer by now: dropping them again changes nothing.
  if (known?.key !== key) {
    known = { key, change: findChange(kept, stays, anew, own) };
  }
  return known.change;
}

/** The last result: most commands of a process get the same capabilities. */
let known: { key: string; change: CapabilityChange } | null = null;

function findChange(
  kept: readonly number[] | null,
  stays: boolean,
  anew: boolean,
  { effective, permitted, inheritable }: CapabilitySets,
): CapabilityChange {
  const mask = kept === null
    ? ~0n
    : kept.reduce((bits, number) => bits | 1n << BigInt(number), 0n);
  const has = (bits: bigint, number: number) =>
    (bits >> BigInt(number) & 1n) !== 0n;
  const status = readFields("/proc/thread-self/status");
  const ofStatus = (name: string) => BigInt(`0x${status(name)}`);
  const last = Number(readFile("/proc/sys/kernel/cap_last_cap"));
  const bounding = ofStatus("CapBnd");
  const sets = new DataView(new ArrayBuffer(24));
  [effective, permitted, inheritable].forEach((bits, i) => {
    const set = stays ? bits & mask : 0n;
    sets.setUint32(i * 4, Number(set & 0xffff_ffffn), LITTLE_ENDIAN);
    sets.setUint32(12 + i * 4, Number(set >> 32n), LITTLE_ENDIAN);
  });
  const all = Array.from({ length: last + 1 }, (_, number) => number);
  const before = anew ? ~0n : bounding;
  const ambient = anew && stays ? ofStatus("CapAmb") & mask : 0n;
  return {
    dropped: all.filter((number) => has(before & ~(bounding & mask), number)),
    sets: new Uint8Array(sets.buffer),
    ambient: all.filter((number) => has(ambient, number)),
  };
}
