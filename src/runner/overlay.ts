/**
 * A command sees a directory through an overlay, and its changes are merged into
 * it in the end: so it may change and remove files that have other names
 * elsewhere, and those stay as they are. The layers lie beside the directory, where
 * no command sees them, and on the same mount, so that to merge is to rename.
 */
import { makeFile } from "../mount/mount_point.ts";
import type { ParameterValue } from "../options/mount_options.ts";
import { make } from "../run/root_tree.ts";
import { MountError } from "../error/error.ts";
import { quote } from "../base/text.ts";
import { namesIn, open } from "../fd/open.ts";
import { type HasFd, type OwnedFd, procPath } from "../fd/owned_fd.ts";
import { AT_REMOVEDIR, O_DIRECTORY } from "../sys/constants.ts";
import { EINVAL, ENOENT, EOPNOTSUPP } from "../sys/errno.ts";
import { fallBack, isErrno, UnsupportedError } from "../sys/error.ts";
import { mkdirat, unlinkat } from "../sys/names.ts";
import { openToRead } from "./descent.ts";
import { fremovexattr, fsetxattr } from "../sys/xattr.ts";
import { copyAttributes, mergeLayers, OPAQUE } from "./merge.ts";
import { removeTree } from "./remove.ts";

/**
 * Changes a directory through an overlay.
 *
 * @param lower The directory.
 * @param holder The directory above it, in which the layers are made.
 * @param change Changes what is in the mount that it gets, and may close that.
 * Nobody may have anything in it open afterwards.
 * @param signal When it is aborted, merging ends, and its reason is thrown.
 * @returns What `change` returned, once all changes are merged.
 * @throws What `change` throws: nothing is changed then.
 * @throws {MountError | SyscallError | UnsupportedError} What can't be made.
 * @throws {Error} What can't be merged: some changes are then, and others are not.
 */
export async function changeThroughOverlay<T>(
  lower: HasFd,
  holder: HasFd,
  change: (overlay: OwnedFd) => T | Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const name = `.mountat-${crypto.randomUUID()}`;
  try {
    const result = await changeInLayers(
      lower,
      { holder, name },
      change,
      signal,
    );
    await remove(holder, name);
    return result;
  } catch (error) {
    // The first failure is the one to report.
    await remove(holder, name).catch(() => {});
    throw error;
  }
}

async function changeInLayers<T>(
  directory: HasFd,
  { holder, name }: { readonly holder: HasFd; readonly name: string },
  change: (overlay: OwnedFd) => T | Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  using lower = openToRead(directory.fd, ".");
  mkdirat(holder.fd, name, 0o700);
  using all = openToRead(holder.fd, name);
  using upper = makeIn(all, "upper");
  using work = makeIn(all, "work");
  using discarded = makeIn(all, "discarded");
  copyAttributes(lower.fd, upper.fd);
  using overlay = mountOverlay(lower, upper, work);
  const result = await change(overlay);
  overlay.close();
  try {
    await inSteps(mergeLayers(upper, lower, discarded), signal);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Error(
      `The changes can't be merged: ${(error as Error).message}`,
      { cause: error },
    );
  }
  return result;
}

function makeIn(directory: OwnedFd, name: string): OwnedFd {
  mkdirat(directory.fd, name, 0o700);
  return openToRead(directory.fd, name);
}

/** So that the upper layer has whole files, by the names that they have. */
const PLAIN = {
  redirect_dir: "nofollow",
  metacopy: "off",
  index: "off",
  xino: "off",
  // Else the whole file system is synced when it is unmounted.
  volatile: true,
} as const;

/**
 * Mounts an overlay, attached to nothing.
 *
 * @throws {MountError | UnsupportedError}
 */
export function mountOverlay(
  lower: OwnedFd,
  upper: OwnedFd,
  work: OwnedFd,
): OwnedFd {
  const mount = (key: string, layer: (layer: OwnedFd) => ParameterValue) =>
    make("overlay", {
      nodev: true,
      [key]: layer(lower),
      upperdir: layer(upper),
      workdir: layer(work),
      ...PLAIN,
    }, ".");
  try {
    return mount("lowerdir+", (layer) => layer);
  } catch (error) {
    // It takes descriptors since Linux 6.13, and said EOPNOTSUPP before 6.5.
    const refused = error instanceof MountError &&
      [EINVAL, EOPNOTSUPP].includes(error.errno);
    if (!refused) throw error;
    fallBack("fsconfig, with FSCONFIG_SET_FD for a layer");
    return mount("lowerdir", ({ fd }) => procPath(fd));
  }
}

/** Removes the layers. If that fails, tries a second time. */
async function remove(holder: HasFd, name: string): Promise<void> {
  try {
    await inSteps(removeTree(holder.fd, name));
  } catch {
    await inSteps(removeTree(holder.fd, name));
  }
}

/** Does something that takes long, and lets others have their turn meanwhile. */
async function inSteps(
  steps: Generator<void>,
  signal?: AbortSignal,
): Promise<void> {
  let begin = performance.now();
  for (const _ of steps) {
    if (performance.now() - begin < MOST_AT_ONCE) continue;
    await new Promise((resolve) => setTimeout(resolve));
    signal?.throwIfAborted();
    begin = performance.now();
  }
}

/** Milliseconds. */
const MOST_AT_ONCE = 10;

/**
 * Tries whether directories can be changed through overlays.
 *
 * @param path The path that they will have; if there is no such directory yet, nothing is
 * known.
 * @throws {UnsupportedError} With the reason.
 */
export async function checkOverlays(path: string): Promise<void> {
  using holder = openIfThere(path);
  if (holder === null) return;
  try {
    await tryOften(() => tryOverlay(holder));
  } catch (error) {
    const { message } = error as Error;
    const hint = error instanceof MountError && error.hint !== undefined
      ? `; ${error.hint}`
      : "";
    throw new UnsupportedError(
      `Inputs in ${
        quote(path)
      } can't be protected by an overlay: ${message}${hint}`,
      { cause: error },
    );
  }
}

/**
 * Tries something again if it fails: a worker that starts empties its build
 * directory.
 */
async function tryOften(attempt: () => Promise<void>): Promise<void> {
  for (let left = TRIES;; left--) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 1) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const TRIES = 5;

function openIfThere(path: string): OwnedFd | null {
  try {
    return open(path, O_DIRECTORY);
  } catch (error) {
    if (isErrno(error, ENOENT)) return null;
    throw error;
  }
}

/** Changes a directory in all ways that the file system must be able to. */
async function tryOverlay(holder: OwnedFd): Promise<void> {
  const name = `.mountat-${crypto.randomUUID()}`;
  try {
    mkdirat(holder.fd, name, 0o700);
    using lower = openToRead(holder.fd, name);
    // Without them overlay is mounted all the same, and fails later.
    fsetxattr(lower.fd, OPAQUE, new TextEncoder().encode("y"));
    fremovexattr(lower.fd, OPAQUE);
    mkdirat(lower.fd, "directory", 0o700);
    for (const file of ["file", "directory/file"]) makeFile(lower.fd, file);
    await changeThroughOverlay(lower, holder, ({ fd }) => {
      for (const file of ["file", "directory/file"]) unlinkat(fd, file);
      unlinkat(fd, "directory", AT_REMOVEDIR);
      mkdirat(fd, "directory", 0o700);
    });
    // An open directory of btrfs shows what was there when it was opened.
    using above = openToRead(lower.fd, ".");
    using directory = openToRead(lower.fd, "directory");
    const found = [...namesIn(above.fd), ...namesIn(directory.fd)];
    if (found.join() !== "directory") {
      throw new Error("What is removed in an overlay is there still");
    }
  } finally {
    await remove(holder, name);
  }
}
