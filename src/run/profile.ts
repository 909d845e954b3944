/**
 * The profile `"strict"`: it confines a command, even root's, as OCI runtimes and
 * docker do by default. It has no filter of system calls: see seccomp.ts.
 */
import type { Capability } from "./capabilities.ts";

/** A way to confine a command: the option `profile` of `run`. */
export type Profile = "default" | "strict";

/** The capabilities that docker and podman leave a container. */
export const STRICT_CAPABILITIES: readonly Capability[] = [
  "CAP_AUDIT_WRITE",
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_MKNOD",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_RAW",
  "CAP_SETFCAP",
  "CAP_SETGID",
  "CAP_SETPCAP",
  "CAP_SETUID",
  "CAP_SYS_CHROOT",
];

/** The file systems that have more in them than a command should get. */
export const GUARDED = ["proc", "sys"] as const;

/** One of the guarded file systems. */
export type Guarded = (typeof GUARDED)[number];

/** The paths in them that are covered: those of runc's specification and docker's. */
export const MASKED: Readonly<Record<Guarded, readonly string[]>> = {
  proc: [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
  ],
  sys: ["devices/virtual/powercap", "firmware"],
};

/** The paths that are read-only in a procfs. A sysfs is read-only as a whole. */
export const READ_ONLY = ["bus", "fs", "irq", "sys", "sysrq-trigger"] as const;

// include/uapi/linux/keyctl.h
export const KEYCTL_JOIN_SESSION_KEYRING = 1;
