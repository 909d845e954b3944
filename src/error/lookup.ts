/** The hint of a lookup: the component of the path that stopped it, and why. */
import { AT_FDCWD, O_CLOEXEC, O_NOFOLLOW, O_PATH } from "../sys/constants.ts";
import { pathOf, S_IFDIR, S_IFLNK, typeOf } from "../fd/open.ts";
import { openat2 } from "../sys/file.ts";
import { readlinkat } from "../sys/names.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import { SyscallError } from "../sys/error.ts";
import type { Lookup } from "./attempt.ts";
import { quote } from "../base/text.ts";

/**
 * Walks a path again, and says which component stopped its lookup.
 *
 * @param lookup The path.
 * @param syscall The call that failed.
 * @param code The error's name.
 * @returns A sentence; undefined if nothing is found that explains the error.
 */
export function lookupHint(
  lookup: Lookup,
  syscall: string,
  code: string,
): string | undefined {
  const stop = findStopIfPossible(lookup);
  if (stop === undefined || !CAUSES[stop.why].includes(code)) return undefined;
  const hint = sentence(lookup, stop, syscall);
  return hint.charAt(0).toUpperCase() + hint.slice(1);
}

function sentence(lookup: Lookup, stop: Stop, syscall: string): string {
  const { why, at, directory, via, leadsTo } = stop;
  const { path, whose } = lookup;
  const link = via === undefined
    ? ""
    : `${quote(via.link)} is a symlink to ${quote(via.to)}, and `;
  const isWhole = at === path && via === undefined;
  const within = whose === "target"
    ? link
    : `In the ${whose} ${quote(path)}, ${link}`;
  // These words precede a sentence whose subject is the component.
  const before = whose !== "target" && isWhole ? `The ${whose} ` : within;
  const holder = () => nameOf(lookup, directory);
  switch (why) {
    case "missing":
      return syscall === "mkdirat"
        ? `${within}this user may not write to ${holder()}`
        : `${before}${quote(at)} does not exist`;
    case "symlink":
      return `${before}${quote(at)} is a symlink to ${
        quote(leadsTo!)
      }, and no symlink is followed there: name what it leads to`;
    case "circle":
      return `The symlinks of the ${whose} lead in a circle: ${quote(at)} to ${
        quote(leadsTo!)
      }`;
    case "file":
      return `${before}${
        at === "" ? "it" : quote(at)
      } is a file, and a directory is needed`;
    case "denied":
      return `${within}this user may not search ${holder()}`;
    case "escape":
      return `${within}".." leads out of the directory`;
  }
}

/** Names a directory on the way; an empty path means the directory `dirfd`. */
function nameOf({ dirfd }: Lookup, directory: string): string {
  if (directory !== "") return quote(directory);
  if (dirfd === AT_FDCWD) return "the working directory";
  try {
    return quote(pathOf(dirfd));
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return "the directory";
  }
}

/** {@linkcode findStop}; undefined if a call that it needs fails. */
function findStopIfPossible(lookup: Lookup): Stop | undefined {
  try {
    return findStop(lookup);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return undefined;
  }
}

/** The errors that each obstacle explains; other errors have other reasons. */
const CAUSES: Readonly<Record<Stop["why"], readonly string[]>> = {
  missing: ["ENOENT", "EACCES"],
  symlink: ["ELOOP", "ENOTDIR"],
  circle: ["ELOOP"],
  file: ["ENOTDIR"],
  denied: ["EACCES"],
  escape: ["EXDEV"],
};

/** The component that stops a lookup. */
interface Stop {
  readonly why:
    | "missing"
    | "symlink"
    | "circle"
    | "file"
    | "denied"
    | "escape";
  /** The path up to and including the component. */
  readonly at: string;
  /** The directory that has the component. */
  readonly directory: string;
  /** The last symlink that was followed to get there. */
  readonly via: { readonly link: string; readonly to: string } | undefined;
  /** The text of a symlink that is not followed. */
  readonly leadsTo?: string;
}

/** The kernel's own limit, path_resolution(7). */
const MOST_LINKS = 40;

function findStop(
  { dirfd, path, follows, inRoot = false }: Lookup,
): Stop | undefined {
  using open = new DisposableStack();
  const top = () =>
    inRoot
      ? { fd: dirfd, path: "" }
      : { fd: openPlace(open, AT_FDCWD, "/").fd, path: "/" };
  // The directories of the walk; the last is the current one.
  let above = [path.startsWith("/") ? top() : { fd: dirfd, path: "" }];
  let via: Stop["via"];
  let links = 0;
  const names = path.split("/").filter(isName);
  while (names.length > 0) {
    const name = names.shift()!;
    const { fd, path: directory } = above.at(-1)!;
    const stopped = (why: Stop["why"], more: Partial<Stop> = {}): Stop => ({
      why,
      at: joined(directory, name),
      directory,
      via,
      ...more,
    });
    if (name === "..") {
      if (above.length > 1) above.pop();
      else if (inRoot) continue;
      else if (!follows) return stopped("escape");
      else {
        const parent = openPlace(open, fd, "..");
        above = [{ fd: parent.fd, path: joined(directory, name) }];
      }
      continue;
    }
    let place: { fd: number; type: number };
    try {
      place = openPlace(open, fd, name);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      switch (error.code) {
        case "ENOENT":
          return stopped("missing");
        case "EACCES":
          return stopped("denied");
        case "ENOTDIR":
          return { ...stopped("file"), at: directory };
        default:
          return undefined;
      }
    }
    if (place.type === S_IFLNK) {
      const leadsTo = readlinkat(place.fd, "");
      if (!follows) return stopped("symlink", { leadsTo });
      if (++links > MOST_LINKS) return stopped("circle", { leadsTo });
      via = { link: joined(directory, name), to: leadsTo };
      names.unshift(...leadsTo.split("/").filter(isName));
      if (leadsTo.startsWith("/")) above = [top()];
      continue;
    }
    if (place.type !== S_IFDIR && names.length > 0) return stopped("file");
    above.push({ fd: place.fd, path: joined(directory, name) });
  }
  const last = above.at(-1)!;
  return typeOf(last.fd) === S_IFDIR ? undefined : {
    why: "file",
    at: last.path,
    directory: "",
    via,
  };
}

function isName(name: string): boolean {
  return name !== "" && name !== ".";
}

function joined(directory: string, name: string): string {
  return directory === "" || directory.endsWith("/")
    ? directory + name
    : `${directory}/${name}`;
}

/** Opens a name without following a symlink, and without an automount. */
function openPlace(
  stack: DisposableStack,
  dirfd: number,
  name: string,
): { fd: number; type: number } {
  const flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  const { fd } = stack.use(
    new OwnedFd(openat2(dirfd, name, { flags }), "place", true),
  );
  return { fd, type: typeOf(fd) };
}
