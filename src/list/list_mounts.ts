/**
 * Room `list`: Which mounts there are, which are in the way of another, and
 * which come and go.
 */
import { checkOptions, type OptionNames } from "../base/check.ts";
import type { MountInfo } from "./mount_info.ts";
import { attempt, explain } from "../error/error.ts";
import {
  directoryPath,
  listBelow,
  listByStatmount,
  listByTable,
  listing,
} from "./read.ts";
import { type Attempt, lookupOfCaller } from "../error/attempt.ts";
import { descriptorOf, type HasFd } from "../fd/owned_fd.ts";
import { quote } from "../base/text.ts";
import { open } from "../fd/open.ts";
import { hasProc } from "../kernel/probe.ts";
import { O_PATH } from "../sys/constants.ts";
import { isErrno, UnsupportedError } from "../sys/error.ts";
import { EINVAL, ENOENT, ESRCH } from "../sys/errno.ts";

/** Options of {@linkcode listMounts}. */
export interface ListMountsOptions {
  /**
   * Lists only mounts on this directory and below it: a path, which is trusted
   * and may lead through symlinks, or a `Directory`, even if its path has
   * changed. With `namespace`, it is an absolute path there, compared as text.
   *
   * @default {undefined}, all that the root shows
   */
  below?: string | HasFd;
  /**
   * The namespace whose mounts are listed. A number is the id of a process: the
   * mounts are those that it sees from its root, and their ids are unique since
   * Linux 6.18, with CAP_SYS_ADMIN there. A bigint is the id of a mount namespace
   * (`mntNsId` of statmount(2)): since Linux 6.13, and only with CAP_SYS_ADMIN in
   * the user namespace that owns it. Mounts that an initramfs left beneath the root
   * are among them.
   *
   * @default {undefined}, this thread's
   */
  namespace?: number | bigint;
}

const LIST_NAMES: OptionNames<ListMountsOptions> = {
  below: true,
  namespace: true,
};

/**
 * Lists mounts in the order of the mount table: since Linux 6.8, from the
 * oldest to the newest. The list includes mounts that others cover.
 *
 * It asks the kernel for each mount (listmount(2) and statmount(2)), and with
 * `below` only for mounts in a part of the tree. Before Linux 6.13, it reads
 * /proc/thread-self/mountinfo instead. A mount that vanishes meanwhile is left
 * out.
 *
 * Needs the permission `--allow-ffi`. Needs /proc before Linux 6.13, and to
 * list the mounts below a directory that is not the root of a mount.
 *
 * @example Find what is mounted below a directory
 * ```ts
 * import { Directory, listMounts } from "@meroton/mountat";
 * import { assertEquals } from "@std/assert";
 *
 * const path = Deno.makeTempDirSync();
 * using root = Directory.open(path);
 * using _tmp = root.mount("tmp", { type: "tmpfs", mkdir: true });
 * const [mount] = listMounts({ below: path });
 * assertEquals([mount?.target, mount?.type], [`${path}/tmp`, "tmpfs"]);
 * ```
 *
 * @param options Which mounts to list.
 * @returns The mounts.
 * @throws {TypeError} For a path that is empty or has a NUL, or with `namespace`
 * is not absolute, for a namespace that is neither number nor bigint, and for an
 * unknown option.
 * @throws {RangeError} For a number that is not a process id.
 * @throws {MountError} ENOENT, ENOTDIR, ELOOP or EACCES for a path that can't be
 * opened; ENOENT for a directory that is in no mount of this mount namespace,
 * for a process or namespace that is not there, or without /proc; EAGAIN for a
 * directory that is renamed all the time.
 * @throws {UnsupportedError} For a namespace by its id, before Linux 6.13.
 */
export function listMounts(options: ListMountsOptions = {}): MountInfo[] {
  checkOptions(options, LIST_NAMES);
  const { below, namespace } = options;
  if (namespace !== undefined) return listElsewhere(namespace, below);
  if (below === undefined) {
    return attempt(
      { action: "list the mounts", target: "/" },
      () => listByStatmount() ?? listByTable(),
    );
  }
  return withDirectory(
    below,
    (fd, attempted) => listBelow(fd, attempted).mounts,
  );
}

/**
 * The path of a directory, from this thread's root.
 *
 * @throws {TypeError} For a path that is empty or has a NUL.
 * @throws {MountError} When it can't be opened, or there is no /proc.
 */
export function pathOfDirectory(directory: string | HasFd): string {
  return withDirectory(
    directory,
    (fd, attempted) => attempt(attempted, () => directoryPath(fd, attempted)),
  );
}

function withDirectory<T>(
  directory: string | HasFd,
  use: (fd: number, attempted: Attempt) => T,
): T {
  if (typeof directory !== "string") {
    return use(descriptorOf(directory), listing("the directory", "."));
  }
  if (directory === "") {
    throw new TypeError("The path of the directory must not be empty");
  }
  const attempted = listing(quote(directory), directory);
  using place = attempt(
    { ...attempted, ...lookupOfCaller(directory, "target") },
    () => open(directory, O_PATH),
  );
  return attempt(attempted, () => use(place.fd, attempted));
}

function listElsewhere(
  namespace: number | bigint,
  below: string | HasFd = "/",
): MountInfo[] {
  const path = absolutePath(below);
  const mounts = typeof namespace === "bigint"
    ? listNamespace(namespace)
    : listProcess(namespace);
  return mounts.filter(({ target }) => isBelow(target, path));
}

/**
 * Checks the path of a directory in another mount namespace.
 *
 * @throws {TypeError} When it is not absolute.
 */
export function absolutePath(path: string | HasFd): string {
  if (typeof path === "string" && path.startsWith("/")) return path;
  throw new TypeError(
    "A directory in another mount namespace must be an absolute path",
  );
}

/** True if a path is at or below another, by their text. */
export function isBelow(path: string, directory: string): boolean {
  const prefix = directory.replace(/\/*$/, "/");
  return `${path}/`.startsWith(prefix);
}

function listNamespace(nsId: bigint): MountInfo[] {
  if (nsId <= 0n) throw new RangeError(`No mount namespace has the id ${nsId}`);
  const mounts = attempt(
    { action: `list the mounts of mount namespace ${nsId}`, target: "/" },
    () => listByStatmount({ nsId }),
  );
  if (mounts !== null) return mounts;
  throw new UnsupportedError(
    "Cannot list the mounts of a mount namespace by its id: Linux 6.13 does",
  );
}

/**
 * The errors of opening or reading the mount table of a process that has ended.
 * EINVAL comes as long as nobody has waited for the process.
 */
export const NO_PROCESS = [ENOENT, ESRCH, EINVAL];

/**
 * Explains such an error: the process is not there. Without /proc, no process
 * can be seen, and the error stays as it is.
 */
export function explainNoProcess(attempted: Attempt, error: unknown): unknown {
  return isErrno(error, ...NO_PROCESS) && hasProc()
    ? explain(attempted, error, { detail: "it is not there" })
    : error;
}

/**
 * Lists the mounts that a process sees.
 *
 * @throws {MountError} ENOENT if there is no such process, or no /proc.
 */
function listProcess(pid: number): MountInfo[] {
  const attempted = {
    action: `list the mounts of process ${processId(pid)}`,
    target: "/",
  };
  return attempt(attempted, () => {
    try {
      return listByTable(`/proc/${pid}`);
    } catch (error) {
      throw explainNoProcess(attempted, error);
    }
  });
}

/**
 * Checks a process id.
 *
 * @throws {TypeError} When it is no number.
 * @throws {RangeError} When no process can have it.
 */
export function processId(pid: number): number {
  if (typeof pid !== "number") {
    throw new TypeError(
      `The namespace must be a process id or a namespace's: received a value of type ${typeof pid}`,
    );
  }
  if (Number.isInteger(pid) && pid > 0 && pid <= 0x7fff_ffff) return pid;
  throw new RangeError(`No process has the id ${pid}`);
}
