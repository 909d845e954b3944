import { type Command, expectPositionals, type Manner } from "./command.ts";
import { printData } from "./print.ts";
import {
  type Cell,
  formatTable,
  parseColumns,
  toObject,
  visible,
} from "./list_format.ts";
import { type Features, features } from "../kernel/features.ts";
import { SyscallError, UnsupportedError } from "../sys/error.ts";
import { libraryPath, permittedLibraries } from "../sys/libc.ts";
import { openDirectoryAt, readFile } from "../fd/open.ts";
import { UNCHANGED } from "../options/mount_options.ts";
import { AT_FDCWD, MOUNT_ATTR_NOEXEC } from "../sys/constants.ts";
import { createDetachedMount } from "../mount/detached.ts";
import { MountError } from "../error/error.ts";
import { mountIdAt } from "../kernel/mount_id.ts";
import { listMounts } from "../list/list_mounts.ts";
import { quote } from "../base/text.ts";
import { errnoText } from "../sys/errno.ts";
import type { MountInfo } from "../list/mount_info.ts";
import { CALLS } from "../sys/calls.ts";
import deno from "../../deno.json" with { type: "json" };

/** The parsed arguments of `doctor`. */
export interface DoctorArguments {
  /** The directory whose mount is looked at. */
  readonly directory: string;
  /** True to print a report of a bug, too. */
  readonly report: boolean;
}

/** `mountat doctor [DIR]`. */
export const doctor: Command<DoctorArguments> = {
  description: {
    name: "doctor",
    synopsis: ["doctor [--report] [directory]"],
    summary: `Tell what works here, and what to do about the rest

doctor looks at Deno's permissions, the kernel, this process's capabilities, and at
the propagation of the mount that holds the directory (by default the current one). It
tries each feature, attaches nothing and leaves nothing behind. It never prompts for a
permission.

With --report it prints what a bug report needs: also the versions, and the mounts
that the directory lies in or that are below it. An ellipsis replaces words that may
be secret: sources, parts of file systems and unknown options. The paths of mount points
are printed: read them before you publish the report.

Exit status: 0 if /proc and /sys can be mounted here, 1 if not.`,
    options: {
      report: { help: "print what a bug report needs, without secrets" },
    },
    examples: [{
      call: "mountat doctor /srv/root",
      does: "a table of features that work or are missing, and advice",
    }, {
      call: "mountat doctor --json | jq .features",
      does: "the result of the library's features()",
    }, {
      call: "mountat doctor --report /srv/root > report.txt",
      does: "a report to attach to an issue",
    }],
  },
  failureStatus: 1,
  parse({ positionals, switches }) {
    expectPositionals(this.description, positionals, 0, 1);
    return {
      directory: positionals[0] ?? ".",
      report: switches.has("report"),
    };
  },
  async run({ directory, report }, manner) {
    const diagnosis = diagnose(directory);
    const told = report ? makeReport(diagnosis, directory) : null;
    if (manner.json) printData(formatJson({ ...diagnosis, ...told }));
    else if (told !== null) printData(formatReport(diagnosis, told));
    else await print(diagnosis, manner);
    return diagnosis.works ? 0 : 1;
  },
};

async function print(diagnosis: Diagnosis, { quiet }: Manner): Promise<void> {
  const colored = Deno.stdout.isTerminal() && !Deno.noColor;
  const paint = colored ? await painter() : (_: unknown, text: string) => text;
  printData(formatDiagnosis(diagnosis, paint));
  if (quiet) return;
  printData(
    `\nMounting /proc and /sys ${
      diagnosis.works ? "works" : "does not work"
    } here.`,
  );
}

type Paint = (status: Check["status"], text: string) => string;

async function painter(): Promise<Paint> {
  const { green, red, yellow } = await import("@std/fmt/colors");
  const paints = { ok: green, missing: red, unknown: yellow };
  return (status, text) => paints[status](text);
}

/** The table, then what to do. */
export function formatDiagnosis({ checks }: Diagnosis, paint: Paint): string {
  const table = formatTable(
    checks.map(({ status, name, detail }) => [status, name, detail]),
  );
  const lines = table.split("\n").map((line, i) => {
    const { status } = checks[i]!;
    return paint(status, status) + line.slice(status.length);
  });
  const advised = checks.filter(({ advice }) => advice !== undefined);
  if (advised.length > 0) lines.push("", "What to do:");
  for (const { name, advice } of advised) lines.push(`  ${name}: ${advice}`);
  return lines.join("\n");
}

/** Null stands for what could not be told. */
function formatJson(diagnosis: Diagnosis & Partial<Report>): string {
  const told = (_: string, value: unknown) => value ?? null;
  return JSON.stringify(diagnosis, told, 2);
}

/** A thing that was looked at. */
export interface Check {
  readonly name: string;
  readonly status: "ok" | "missing" | "unknown";
  /** The finding, in words. */
  readonly detail: string;
  /** Advice for a person. */
  readonly advice?: string;
}

/** All that was found. */
export interface Diagnosis {
  /** True if proc and sysfs can be mounted here. */
  readonly works: boolean;
  readonly checks: readonly Check[];
  /** Null where the kernel could not be asked. */
  readonly features: Features | null;
}

/** Looks at what mounting takes, and at the mount that holds a directory. */
export function diagnose(directory: string): Diagnosis {
  const deno = [
    ok("Deno", Deno.version.deno),
    ffiPermission(),
    otherPermissions(),
  ];
  if (Deno.build.os === "linux" && deno.some(({ status }) => status !== "ok")) {
    const detail = "can't be asked without --allow-ffi";
    const checks = [...deno, unknown("all else", detail)];
    return { works: false, checks, features: null };
  }
  try {
    const found = features();
    const trials = FILE_SYSTEMS.map(tryToMount);
    const place = directoryCheck(directory);
    const works = trials.every(({ status }) => status === "ok") &&
      place.status !== "missing" &&
      NEEDED.every((name) => found[name] === true);
    const checks = [
      ...deno,
      ...systemChecks(found),
      ...FEATURES.map((feature) => featureCheck(feature, found)),
      ...trials,
      place,
    ];
    return { works, checks, features: found };
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    const checks = [...deno, unsupported(error)];
    return { works: false, checks, features: null };
  }
}

function unsupported({ message }: UnsupportedError): Check {
  return Deno.build.os === "linux"
    ? missing(
      "C library",
      message,
      "Grant --allow-ffi as a whole: then the dynamic linker finds it",
    )
    : missing("Linux", message, "Run it there, in a container, say");
}

function ok(name: string, detail: string): Check {
  return { name, status: "ok", detail };
}

function missing(name: string, detail: string, advice?: string): Check {
  return { name, status: "missing", detail, ...advise(advice) };
}

function unknown(name: string, detail: string, advice?: string): Check {
  return { name, status: "unknown", detail, ...advise(advice) };
}

function advise(advice: string | undefined): { advice?: string } {
  return advice === undefined ? {} : { advice };
}

function ffiPermission(): Check {
  const name = "--allow-ffi";
  const { state } = Deno.permissions.querySync({ name: "ffi" });
  if (state === "granted") return ok(name, "granted as a whole");
  const paths = permittedLibraries(Deno.build.arch);
  if (paths.length > 0) return ok(name, `granted for ${paths.join(", ")}`);
  return missing(
    name,
    "not granted",
    `Run it with "deno run --allow-ffi", or for the C library alone with --allow-ffi=/lib/${Deno.build.arch}-linux-gnu/libc.so.6 or wherever that is`,
  );
}

function otherPermissions(): Check {
  const names = ["env", "net", "read", "run", "sys", "write"] as const;
  const granted = names.filter((name) =>
    Deno.permissions.querySync({ name }).state === "granted"
  );
  return ok(
    "other permissions",
    granted.length === 0
      ? "none as a whole; mounting needs none"
      : `${granted.join(", ")}; mounting needs none`,
  );
}

function systemChecks(found: Features): Check[] {
  return [
    ok("Linux", found.release),
    ok("C library", libraryFile()),
    capabilityCheck(found),
    seccompCheck(found),
    found.proc ? ok("/proc", "there") : missing(
      "/proc",
      "/proc/self/fd leads nowhere",
      "Mount it: mount -t proc proc /proc. Without it unmounting takes a thread of its own, and less can be told",
    ),
  ];
}

/** The file that the dynamic linker found under the library's name. */
function libraryFile(): string {
  const name = libraryPath();
  if (name.startsWith("/")) return name;
  try {
    const maps = readFile("/proc/thread-self/maps").split("\n");
    const line = maps.find((line) => line.endsWith(`/${name}`));
    return line?.slice(line.indexOf("/")) ?? name;
  } catch (error) {
    if (error instanceof SyscallError) return name;
    throw error;
  }
}

function capabilityCheck(found: Features): Check {
  const name = "CAP_SYS_ADMIN";
  const where = found.initialUserNamespace === undefined
    ? ""
    : found.initialUserNamespace
    ? ", in the initial user namespace"
    : ", in a user namespace that is not the initial one";
  if (found.mayMount === true) return ok(name, `effective${where}`);
  if (found.mayMount === undefined) {
    return unknown(name, "no call is there that would tell");
  }
  if (found.sysAdmin) {
    return missing(
      name,
      `effective${where}, but mounting is refused`,
      !found.initialUserNamespace
        ? "The mount namespace belongs to another user namespace: make a new mount namespace, too (unshare -Urmpfn)"
        : found.seccompFilter
        ? "Let the seccomp filter allow it (docker run --security-opt seccomp=unconfined)"
        : "A security module may refuse it: see the kernel's log",
    );
  }
  return missing(
    name,
    `not effective${where}`,
    "Be root, or start under unshare -Urmpfn; in a container ask for it (docker run --cap-add SYS_ADMIN)",
  );
}

function seccompCheck({ seccompFilter }: Features): Check {
  const name = "seccomp filter";
  if (seccompFilter === undefined) return unknown(name, "only /proc tells");
  return ok(
    name,
    seccompFilter ? "on: what it refuses looks missing here" : "none",
  );
}

/** The features that the main job takes beside those that are tried. */
const NEEDED: readonly Feature[] = [
  "moveMount",
  "openat2",
  "mountIds",
  "umount2",
];

function featureCheck(
  { feature, name, since, without }: FeatureDescription,
  found: Features,
): Check {
  switch (found[feature]) {
    case true:
      return ok(name, "there");
    case false:
      return missing(
        name,
        "not there",
        `Linux ${since} has it, unless a seccomp filter hides it. Without it, ${without}`,
      );
    default:
      return unknown(name, whyUnknown(found));
  }
}

function whyUnknown({ mayMount, proc }: Features): string {
  if (!mayMount) return "only who may mount is told";
  return proc ? "can't be tried" : "can't be tried without /proc";
}

/** The file systems that the main job mounts. */
const FILE_SYSTEMS = ["proc", "sysfs"] as const;

function tryToMount(type: (typeof FILE_SYSTEMS)[number]): Check {
  const name = `mounting ${type}`;
  const attempted = { action: `mount ${type}`, target: type, type };
  const fileSystem = {
    type,
    parameters: [],
    change: { ...UNCHANGED, attrSet: MOUNT_ATTR_NOEXEC },
    mapIds: null,
  };
  try {
    createDetachedMount(fileSystem, attempted).close();
    return ok(name, "works");
  } catch (error) {
    if (error instanceof UnsupportedError) {
      return missing(name, error.message);
    }
    if (!(error instanceof MountError)) throw error;
    return missing(name, error.message, error.hint);
  }
}

function directoryCheck(path: string): Check {
  const name = "propagation";
  try {
    using directory = openDirectoryAt(AT_FDCWD, path, 0);
    const id = mountIdAt(directory.fd);
    const mount = listMounts().find((mount) => mount.id === id);
    if (mount === undefined) {
      return unknown(
        name,
        `${quote(path)} lies in a mount that this root does not show`,
      );
    }
    return ok(
      name,
      `${quote(path)} lies in the mount on ${quote(mount.target)}, ${
        describePropagation(mount)
      }`,
    );
  } catch (error) {
    const cause = error instanceof MountError ? error.cause : error;
    if (error instanceof UnsupportedError) return unknown(name, error.message);
    if (!(cause instanceof SyscallError)) throw error;
    const { code, errno, syscall } = cause;
    const detail = `${quote(path)}: ${syscall}: ${code} (${errnoText(errno)})`;
    if (code === "ENOSYS") return unknown(name, detail);
    return code === "ENOENT"
      ? unknown(name, detail, "The directory is made when something is mounted")
      : missing(name, detail, "Name a directory that can be opened");
  }
}

/** Describes the propagation of a mount, and what follows from it. */
export function describePropagation(
  { propagation, peerGroup, master }: Pick<
    MountInfo,
    "propagation" | "peerGroup" | "master"
  >,
): string {
  const receives = `receives what is mounted in peer group ${master}`;
  switch (propagation) {
    case "shared":
      return `shared: what is mounted here appears in all of peer group ${peerGroup}, other mount namespaces among them${
        master === undefined ? "" : `, and it ${receives}`
      }; a mount on it can't be moved away, only copied and unmounted`;
    case "slave":
      return `slave: ${receives} and passes nothing on; a mount on it can be moved`;
    case "unbindable":
      return "unbindable: what is mounted here appears nowhere else; a mount on it can be moved, it can't be bound";
    case "private":
      return "private: what is mounted here appears nowhere else; a mount on it can be moved";
  }
}

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
  /** The consequence where it is missing. */
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
    since: CALLS.fsopen.since,
    without: "nothing can be mounted",
  },
  {
    feature: "fsconfig",
    name: "fsconfig(2)",
    since: CALLS.fsconfig.since,
    without: "nothing can be mounted",
  },
  {
    feature: "fsmount",
    name: "fsmount(2)",
    since: CALLS.fsmount.since,
    without: "nothing can be mounted",
  },
  {
    feature: "moveMount",
    name: "move_mount(2)",
    since: CALLS.move_mount.since,
    without: "nothing can be mounted or moved",
  },
  {
    feature: "openTree",
    name: "open_tree(2)",
    since: CALLS.open_tree.since,
    without: "nothing can be bound",
  },
  {
    feature: "fspick",
    name: "fspick(2)",
    since: CALLS.fspick.since,
    without: "no file system can be given other options",
  },
  {
    feature: "openat2",
    name: "openat2(2)",
    since: CALLS.openat2.since,
    without: "no target can be resolved beneath a directory",
  },
  {
    feature: "mountIds",
    name: "mount ids",
    since: "5.8",
    without: "mounts can't be told from each other, and nothing can be mounted",
  },
  {
    feature: "mountSetattr",
    name: "mount_setattr(2)",
    since: CALLS.mount_setattr.since,
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
    without: "an existing file system may be mounted in place of a new one",
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
    since: CALLS.statmount.since,
    without: "mounts are looked up in /proc/thread-self/mountinfo",
  },
  {
    feature: "listmount",
    name: "listmount(2)",
    since: CALLS.listmount.since,
    without: "mounts are looked up in /proc/thread-self/mountinfo",
  },
  {
    feature: "openTreeAttr",
    name: "open_tree_attr(2)",
    since: CALLS.open_tree_attr.since,
    without: "a copy with an id map can't be given another",
  },
  {
    feature: "attachToDetached",
    name: "mounts in detached mounts",
    since: "6.15",
    without:
      "a mount tree, or a command's root, needs a mount namespace and a thread",
  },
  {
    feature: "mountEvents",
    name: "mount events of fanotify(7)",
    since: "6.15",
    without: "watching mounts reads the mount table after each change",
  },
  {
    feature: "procPidns",
    name: "pidns of procfs",
    since: "6.18",
    without: "a procfs shows the PID namespace of the process that mounts it",
  },
  {
    feature: "statmountByFd",
    name: "STATMOUNT_BY_FD",
    since: "7.0",
    without: "one more call, statx(2), finds the mount of a descriptor",
  },
  {
    feature: "openTreeNamespace",
    name: "OPEN_TREE_NAMESPACE",
    since: "7.0",
    without: "nothing changes: mountat does not use it",
  },
  {
    feature: "fsmountNamespace",
    name: "FSMOUNT_NAMESPACE",
    since: "7.1",
    without: "nothing changes: mountat does not use it",
  },
  {
    feature: "emptyMountNamespace",
    name: "CLONE_EMPTY_MNTNS",
    since: "7.1",
    without:
      "each command gets a copy of an empty mount namespace, which the process makes once",
  },
];

/** Further facts for a bug report, besides a {@linkcode Diagnosis}. */
export interface Report {
  /** The versions of the programs and libraries. */
  readonly versions: Readonly<Record<string, string | null>>;
  /** The mounts around the directory, by columns; null if they can't be told. */
  readonly mounts: readonly Record<string, Cell>[] | null;
}

/** The columns of the report's mounts. */
const REPORTED = parseColumns(
  "ID,PARENT,TARGET,PROPAGATION,FSTYPE,SOURCE,OPTIONS",
  false,
);

function makeReport({ features }: Diagnosis, directory: string): Report {
  const mounts = features === null ? null : mountsAround(directory);
  return {
    versions: {
      mountat: deno.version,
      deno: Deno.version.deno,
      v8: Deno.version.v8,
      processor: Deno.build.arch,
      linux: features?.release ?? null,
      system: features === null ? null : systemName(),
    },
    mounts:
      mounts?.map((mount) =>
        toObject({ mount: withoutSecrets(mount) }, REPORTED)
      ) ?? null,
  };
}

/** The name of the distribution, as os-release(5) has it. */
function systemName(): string | null {
  try {
    const text = readFile("/etc/os-release");
    return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text)?.[1] ?? null;
  } catch (error) {
    if (error instanceof SyscallError) return null;
    throw error;
  }
}

/** The mounts that a directory lies in, from the root on, and those below it. */
function mountsAround(path: string): MountInfo[] | null {
  try {
    using directory = openDirectoryAt(AT_FDCWD, path, 0);
    const below = new Set(
      listMounts({ below: directory }).map(({ id }) => id),
    );
    const all = listMounts();
    const byId = new Map(all.map((mount) => [mount.id, mount]));
    let above = byId.get(mountIdAt(directory.fd));
    while (above !== undefined && !below.has(above.id)) {
      below.add(above.id);
      above = byId.get(above.parentId);
    }
    return all.filter(({ id }) => below.has(id));
  } catch (error) {
    const expected = error instanceof MountError ||
      error instanceof SyscallError || error instanceof UnsupportedError;
    if (expected) return null;
    throw error;
  }
}

const ELLIPSIS = "…";

/**
 * A mount without what may be secret: only those sources, options and values are
 * left of which it is known what they say.
 */
export function withoutSecrets(mount: MountInfo): MountInfo {
  const { source, type, root, superOptions } = mount;
  const isPlain = [type, "none", ""].includes(source) ||
    /^\/dev\/[a-z]+\d*([np]\d+)*$/.test(source);
  return {
    ...mount,
    source: isPlain ? source : ELLIPSIS,
    root: root === "/" ? root : ELLIPSIS,
    superOptions: superOptions.map(withoutValue),
  };
}

/** Options of file systems whose values are numbers or words of the kernel's. */
const HARMLESS =
  /^(r[ow]|sync|dirsync|lazytime|inode64|inode32|nsdelegate|memory_\w+|userxattr|(size|nr_inodes|nr_blocks|mode|uid|gid|ptmxmode|hidepid|subset|errors|data|huge|index|metacopy|redirect_dir|xino|uuid|fsuuid)=[\w.%/]*)$/;

function withoutValue(option: string): string {
  if (HARMLESS.test(option)) return option;
  const [, name] = /^([a-z][a-z0-9_+.-]*)=/.exec(option) ?? [];
  return name === undefined ? ELLIPSIS : `${name}=${ELLIPSIS}`;
}

/** The report, for a person to send. */
export function formatReport(diagnosis: Diagnosis, report: Report): string {
  const versions = Object.entries(report.versions)
    .map(([name, version]) => [name, version ?? "unknown"]);
  const { mounts } = report;
  const rows = mounts?.map((mount) =>
    REPORTED.map(({ name }) => visible(mount[name.toLowerCase()] ?? null))
  );
  return [
    formatTable(versions),
    formatDiagnosis(diagnosis, (_, text) => text),
    rows === undefined
      ? "The mounts around the directory can't be told."
      : formatTable([REPORTED.map(({ name }) => name), ...rows]),
  ].join("\n\n");
}
