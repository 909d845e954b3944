/**
 * Room `record`: Mounts written down, and swept once their process is dead.
 */
import type { Recorder } from "../options/spec.ts";
import { checkOptions, type OptionNames } from "../base/check.ts";
import {
  openRecordDirectory,
  type RecordDirectory,
  thisNamespace,
  thisProcess,
  whereabouts,
} from "./store.ts";
import {
  formatEntry,
  formatOwner,
  type Owner,
  type RecordEntry,
  recordName,
} from "./file.ts";
import { attempt } from "../error/error.ts";
import { quote } from "../base/text.ts";
import { isUniqueId } from "../kernel/mount_id.ts";
import { isErrno, SyscallError } from "../sys/error.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import {
  AT_EMPTY_PATH,
  LOCK_EX,
  LOCK_NB,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_DSYNC,
  O_EXCL,
  O_WRONLY,
  STATX_NLINK,
} from "../sys/constants.ts";
import { BENEATH, MOST_ATTEMPTS, pathOf } from "../fd/open.ts";
import { flock, openat2, statx, write } from "../sys/file.ts";
import { unlinkat } from "../sys/names.ts";
import { EAGAIN, ENAMETOOLONG, ENOENT } from "../sys/errno.ts";

/** Options of {@linkcode MountRecord.add}. */
export interface RecordOptions {
  /**
   * Everything mounted inside the mount is unmounted with it.
   *
   * @default {false}
   */
  whole?: boolean;
}

const RECORD_NAMES: OptionNames<RecordOptions> = { whole: true };

/**
 * A record of the mounts that this process makes. After the process is dead,
 * because it was killed or because it kept mounts and ended, {@linkcode sweep}
 * or `mountat sweep` unmounts those that are still there. Do not record mounts
 * that should stay.
 *
 * Pass it as the option `record`: each mount is then written down, and
 * synchronised, before it is attached. The record is a file in /run/mountat, or
 * in $XDG_RUNTIME_DIR/mountat for a user who does not own /run. It is locked as
 * long as the process lives.
 *
 * @example Leave nothing mounted, even when killed
 * ```ts
 * import { Directory, MountRecord } from "@meroton/mountat";
 *
 * using root = Directory.open(Deno.makeTempDirSync());
 * using record = MountRecord.open();
 * using _tmp = root.mount("tmp", { type: "tmpfs", mkdir: true, record });
 * ```
 */
export class MountRecord implements Disposable, Recorder {
  readonly #directory: RecordDirectory;
  readonly #owner: Owner;
  readonly #mounts = new Map<bigint, RecordEntry>();
  #file: RecordFile;
  /** The number of lines until a new file replaces this one. */
  #room = LEAST_ROOM;
  /** True while the file ends in a part of a line. */
  #torn = false;

  private constructor(directory: RecordDirectory, owner: Owner) {
    this.#directory = directory;
    this.#owner = owner;
    this.#file = beginFile(directory, owner, []);
  }

  /**
   * Opens a new record. It never prompts. Without the permission, without
   * `/proc` or before Linux 6.8, it returns null.
   *
   * Needs Linux 6.8, /proc, and the permissions `--allow-ffi` and
   * `--allow-write=/run/mountat`. A user who does not own /run needs
   * `--allow-write` for mountat in XDG_RUNTIME_DIR, and
   * `--allow-env=XDG_RUNTIME_DIR`.
   *
   * @returns The record; close it, or bind it with `using`. null if nothing can
   * be recorded: without the permission; before Linux 6.8, which reuses the ids
   * of mounts; without /proc, or if it is mounted with `subset=pid`; or without
   * a directory for it.
   * @throws {MountError} ELOOP or ENOTDIR if mountat is not a directory there,
   * EACCES if it belongs to another user or is open to others, ENOSPC.
   * @throws {Deno.errors.NotCapable} Without the permission for FFI.
   */
  static open(): MountRecord | null {
    const directory = openRecordDirectory(true);
    if (directory === null) return null;
    const { path, fd } = directory;
    try {
      return attempt(
        { action: `record mounts in ${quote(path)}`, target: path },
        () => new MountRecord(directory, thisProcess()),
      );
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /**
   * Records a mount that is in this thread's mount namespace, or will be there
   * before anything is awaited. Mounts made with the option `record` are
   * recorded already.
   *
   * @param id The mount's unique id.
   * @param target The mount point, for people to read: its path, or a descriptor
   * of it.
   * @param options Options of the record's line.
   * @throws {TypeError} When the id is no unique one, for an unknown option, or
   * when the record is closed.
   * @throws {MountError} ENOSPC, for one, when it can't be written.
   */
  add(
    id: bigint,
    target: string | number,
    options: RecordOptions = {},
  ): void {
    checkOptions(options, RECORD_NAMES);
    const { whole = false } = options;
    if (typeof id !== "bigint" || !isUniqueId(id)) {
      throw new TypeError(
        `A mount is recorded under its unique id, which this is not: ${id}`,
      );
    }
    const { path } = this.#directory;
    attempt(
      { action: `record a mount in ${quote(path)}`, target: path },
      () => {
        const entry = {
          id,
          target: typeof target === "string" ? target : targetOf(target),
          namespace: thisNamespace(),
          whole,
        };
        const line = formatEntry(entry);
        const { fd } = this.#file.fd;
        const text = this.#torn ? `\n${line}` : line;
        this.#torn = true;
        writeAll(fd, text);
        this.#torn = false;
        this.#mounts.set(id, entry);
      },
    );
    this.#room--;
    // Not now: a mount that is recorded but not attached yet looks gone.
    if (this.#room === 0) queueMicrotask(() => this.#renew());
  }

  /** Goes on in a new file, with the mounts that are still there. */
  #renew(): void {
    const old = this.#file;
    if (old.fd.closed) return;
    this.#room = LEAST_ROOM;
    try {
      this.#forgetGone();
      this.#room += this.#mounts.size;
      const mounts = [...this.#mounts.values()];
      this.#file = beginFile(this.#directory, this.#owner, mounts);
      this.#torn = false;
      removeFile(this.#directory, old);
    } catch (error) {
      // The old file has all mounts, and stays in use.
      if (!(error instanceof SyscallError)) throw error;
    }
  }

  #forgetGone(): void {
    const here = thisNamespace();
    for (const [id, entry] of this.#mounts) {
      if (whereabouts(entry, here) === "gone") this.#mounts.delete(id);
    }
  }

  /**
   * Ends the record; a second call does nothing. If no recorded mount is left,
   * the file is removed; otherwise it stays for a sweep after this process is
   * dead.
   *
   * @throws {MountError} If the mounts can't be looked up, or the file can't be
   * removed.
   */
  close(): void {
    if (this.#file.fd.closed) return;
    const { path, fd } = this.#directory;
    try {
      attempt(
        { action: `end the record in ${quote(path)}`, target: path },
        () => {
          this.#forgetGone();
          if (this.#mounts.size === 0) removeFile(this.#directory, this.#file);
        },
      );
    } finally {
      this.#file.fd.close();
      fd.close();
    }
  }

  /** Ends the record. Mounts stay. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** A file with fewer lines is never replaced. */
const LEAST_ROOM = 1000;

interface RecordFile {
  readonly name: string;
  readonly fd: OwnedFd;
}

/** Makes a locked file, with the lines of the owner and of these mounts. */
function beginFile(
  directory: RecordDirectory,
  owner: Owner,
  mounts: readonly RecordEntry[],
): RecordFile {
  const file = createFile(directory, owner);
  try {
    const text = formatOwner(owner) + mounts.map(formatEntry).join("");
    writeAll(file.fd.fd, text);
    return file;
  } catch (error) {
    removeFile(directory, file);
    throw error;
  }
}

function createFile(directory: RecordDirectory, owner: Owner): RecordFile {
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_DSYNC | O_CLOEXEC;
  const how = { flags, mode: 0o600, resolve: BENEATH };
  for (let attempt = 1;; attempt++) {
    const name = recordName(owner);
    const fd = new OwnedFd(openat2(directory.fd.fd, name, how), "record");
    try {
      lock(fd.fd);
      return { name, fd };
    } catch (error) {
      removeFile(directory, { name, fd });
      if (!isErrno(error, EAGAIN) || attempt === MOST_ATTEMPTS) throw error;
    }
  }
}

/** Fails with EAGAIN if a sweep was quicker: it removes unlocked files. */
function lock(fd: number): void {
  flock(fd, LOCK_EX | LOCK_NB);
  const { nlink } = statx(fd, "", AT_EMPTY_PATH, STATX_NLINK);
  if (nlink === 0) throw new SyscallError("flock", EAGAIN, [{ fd }]);
}

/** Removes a file, and only then its lock: files without a lock are swept. */
function removeFile(
  { fd: directory }: RecordDirectory,
  file: RecordFile,
): void {
  try {
    unlinkat(directory.fd, file.name);
  } catch (error) {
    if (!isErrno(error, ENOENT)) throw error;
  } finally {
    file.fd.close();
  }
}

function writeAll(fd: number, text: string): void {
  const bytes = encoder.encode(text);
  for (let at = 0; at < bytes.length;) at += write(fd, bytes.subarray(at));
}

const encoder = new TextEncoder();

/** The path of a mount point for people to read; empty if it is not known. */
function targetOf(fd: number): string {
  try {
    return pathOf(fd);
  } catch (error) {
    if (isErrno(error, ENOENT, ENAMETOOLONG)) return "";
    throw error;
  }
}
