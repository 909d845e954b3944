import { openDirectoryAt } from "../beneath.ts";
import { createDetachedMount } from "../detached_mount.ts";
import { MountError } from "../error.ts";
import { type Features, features } from "../features.ts";
import { listMounts } from "../list_mounts.ts";
import type { MountInfo } from "../mount_info.ts";
import { mountIdAt } from "../mount_id.ts";
import { UNCHANGED } from "../mount_options.ts";
import { readFile } from "../read_file.ts";
import { AT_FDCWD, MOUNT_ATTR_NOEXEC } from "../sys/constants.ts";
import { errnoText } from "../sys/errno.ts";
import { SyscallError, UnsupportedError } from "../sys/error.ts";
import { quote } from "../sys/format.ts";
import { libraryPath, permittedLibraries } from "../sys/libc.ts";
import {
  type Feature,
  type FeatureDescription,
  FEATURES,
} from "./kernel_features.ts";

/** A thing that was looked at. */
export interface Check {
  readonly name: string;
  readonly status: "ok" | "missing" | "unknown";
  /** What was found. */
  readonly detail: string;
  /** What to do about it. */
  readonly advice?: string;
}

/** All that was found. */
export interface Diagnosis {
  /** Whether proc and sysfs can be mounted here. */
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
        ? "The mount namespace belongs to another user namespace: make one too, unshare -Urmpfn"
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

/** What the main job takes beside what is tried. */
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
        `Linux ${since} has it, where no seccomp filter hides it. Without it ${without}`,
      );
    default:
      return unknown(name, whyUnknown(found));
  }
}

function whyUnknown({ mayMount, proc }: Features): string {
  if (!mayMount) return "only who may mount is told";
  return proc ? "can't be tried" : "can't be tried without /proc";
}

/** What the main job mounts. */
const FILE_SYSTEMS = ["proc", "sysfs"] as const;

function tryToMount(type: (typeof FILE_SYSTEMS)[number]): Check {
  const name = `mounting ${type}`;
  const attempted = { action: `mount ${type}`, target: type, type };
  const fileSystem = {
    type,
    parameters: [],
    change: { ...UNCHANGED, attrSet: MOUNT_ATTR_NOEXEC },
    idmap: null,
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

/** How a mount passes on what is mounted on it, and what follows from that. */
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
