import type { Features } from "../features.ts";

/** A feature of the kernel that can be there or not. */
export type Feature = Exclude<
  keyof Features,
  | "release"
  | "mayMount"
  | "sysAdmin"
  | "initialUserNamespace"
  | "proc"
  | "seccompFilter"
>;

/** A feature, for people. */
export interface FeatureDescription {
  /** Its name among the features. */
  readonly feature: Feature;
  /** Its name in the manual pages. */
  readonly name: string;
  /** The Linux version that it came with. */
  readonly since: string;
  /** What is so without it. */
  readonly without: string;
}

/** The features, by the version that they came with. */
export const FEATURES: readonly FeatureDescription[] = [
  {
    feature: "umount2",
    name: "umount2(2)",
    since: "2.2",
    without: "nothing can be unmounted",
  },
  {
    feature: "fsopen",
    name: "fsopen(2)",
    since: "5.2",
    without: "nothing can be mounted",
  },
  {
    feature: "fsconfig",
    name: "fsconfig(2)",
    since: "5.2",
    without: "nothing can be mounted",
  },
  {
    feature: "fsmount",
    name: "fsmount(2)",
    since: "5.2",
    without: "nothing can be mounted",
  },
  {
    feature: "moveMount",
    name: "move_mount(2)",
    since: "5.2",
    without: "nothing can be mounted or moved",
  },
  {
    feature: "openTree",
    name: "open_tree(2)",
    since: "5.2",
    without: "nothing can be bound",
  },
  {
    feature: "fspick",
    name: "fspick(2)",
    since: "5.2",
    without: "no file system can be given other options",
  },
  {
    feature: "openat2",
    name: "openat2(2)",
    since: "5.6",
    without: "no target can be resolved beneath a directory",
  },
  {
    feature: "mountIds",
    name: "mount ids",
    since: "5.8",
    without: "no mount can be told from another, and nothing be mounted",
  },
  {
    feature: "mountSetattr",
    name: "mount_setattr(2)",
    since: "5.12",
    without: "no mount can be given other attributes or propagation",
  },
  {
    feature: "mountBeneath",
    name: "MOVE_MOUNT_BENEATH",
    since: "6.5",
    without: "no mount can be put beneath another",
  },
  {
    feature: "createExclusive",
    name: "FSCONFIG_CMD_CREATE_EXCL",
    since: "6.6",
    without: "a file system that exists may be taken for a new one",
  },
  {
    feature: "uniqueMountIds",
    name: "unique mount ids",
    since: "6.8",
    without: "a new mount may have the id of one that is gone",
  },
  {
    feature: "statmount",
    name: "statmount(2)",
    since: "6.8",
    without: "mounts are looked up in /proc/thread-self/mountinfo",
  },
  {
    feature: "listmount",
    name: "listmount(2)",
    since: "6.8",
    without: "mounts are looked up in /proc/thread-self/mountinfo",
  },
  {
    feature: "openTreeAttr",
    name: "open_tree_attr(2)",
    since: "6.15",
    without: "a copy with an id map can't be given another",
  },
  {
    feature: "attachToDetached",
    name: "mounts in detached mounts",
    since: "6.15",
    without:
      "a mount tree, or a command's root, takes a mount namespace and a thread",
  },
  {
    feature: "mountEvents",
    name: "mount events of fanotify(7)",
    since: "6.15",
    without: "who waits for mounts must read the mount table again and again",
  },
  {
    feature: "procPidns",
    name: "pidns of procfs",
    since: "6.18",
    without: "a procfs shows the PID namespace of the process that mounts it",
  },
];
