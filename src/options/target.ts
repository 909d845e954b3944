import { received, refuseRevoked } from "../base/check.ts";
import { encodeText } from "../base/text.ts";

/**
 * Targets: paths relative to a directory, as the caller wrote them. Faults in
 * the text are reported before any system call.
 */

/** A target whose text was checked. */
export interface Target {
  /** The path, without empty and `.` components; `.` for the directory itself. */
  readonly path: string;
  /** The path of its parent directory. */
  readonly parent: string;
  /** The last component: `.` for the directory itself. */
  readonly name: string;
}

/**
 * Checks a target's text.
 *
 * @throws {TypeError} If it is no string, empty, absolute, or contains a NUL.
 */
export function parseTarget(target: string): Target {
  if (typeof target !== "string") {
    throw new TypeError(`A target must be a string, not ${typeof target}`);
  }
  if (target === "") {
    throw new TypeError('A target must not be empty: "." is the directory');
  }
  // encodeText() refuses a lone surrogate that stands for no byte.
  if (!target.isWellFormed()) encodeText(target);
  if (target.includes("\0")) {
    throw new TypeError("A target must not contain a NUL character");
  }
  if (target.startsWith("/")) {
    throw new TypeError(
      `A target must be relative to its directory, not absolute: "${target}"`,
    );
  }
  if (!target.includes("/")) {
    return { path: target, parent: ".", name: target };
  }
  const components = target.split("/").filter((component) =>
    component !== "" && component !== "."
  );
  return {
    path: components.join("/") || ".",
    parent: components.slice(0, -1).join("/") || ".",
    name: components.at(-1) ?? ".",
  };
}

/** Checks the option `beneath`; the target's name finds the mount on top. */
export function parseBeneath(
  beneath: boolean = false,
  { name }: Target,
): boolean {
  if (beneath && (name === "." || name === "..")) {
    throw new TypeError(
      'With "beneath" the target must end in a name',
    );
  }
  return beneath;
}

/** Checks the option `symlinks`; true if symlinks are followed in the root. */
export function parseSymlinks(
  symlinks: "refuse" | "inRoot" = "refuse",
): boolean {
  if (symlinks === "refuse" || symlinks === "inRoot") {
    return symlinks === "inRoot";
  }
  throw new TypeError(
    `"symlinks" must be "refuse" or "inRoot": received ${received(symlinks)}`,
  );
}

/** The mode of new mount points; null if mount points must exist. */
export function parseMkdir(mkdir: boolean | number = false): number | null {
  if (mkdir === false) return null;
  if (mkdir === true) return 0o755;
  return parseMode(mkdir);
}

/** Checks a file mode. */
export function parseMode(mode: number): number {
  if (typeof mode !== "number") {
    throw new TypeError(`A mode must be a number, not ${typeof mode}`);
  }
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) {
    throw new RangeError(
      `A mode must be between 0 and 0o7777: received ${mode}`,
    );
  }
  return mode;
}

/**
 * Converts a caller's path or `file:` URL to a path.
 *
 * @param what The argument's name in a message.
 * @throws {TypeError} If it is neither, empty, or the URL of another host.
 */
export function pathArgument(what: string, path: string | URL): string {
  refuseRevoked(what, path);
  const text = path instanceof URL ? pathOfUrl(what, path) : path;
  if (typeof text !== "string" || text === "") {
    throw new TypeError(`${what} must be a path or a file: URL`);
  }
  return text;
}

function pathOfUrl(what: string, url: URL): string {
  if (url.protocol !== "file:") {
    throw new TypeError(`${what} must be a path or a file: URL`);
  }
  if (url.host !== "") {
    throw new TypeError(`${what} must be on this host, not ${url.host}`);
  }
  try {
    // A percent sign that begins no escape stands for itself.
    return decodeURIComponent(
      url.pathname.replace(/%(?![0-9A-Fa-f]{2})/g, "%25"),
    );
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw new TypeError(`${what} has an escape that is no UTF-8: ${url}`);
  }
}
