import { fromFileUrl } from "@std/path/posix/from-file-url";

/**
 * The path that a caller's path or `file:` URL means.
 *
 * @param what What a message calls it.
 * @throws {TypeError} When it is neither, empty, or the URL of another host.
 */
export function pathArgument(what: string, path: string | URL): string {
  const text = path instanceof URL ? pathOfUrl(what, path) : path;
  if (typeof text !== "string" || text === "") {
    throw new TypeError(`${what} must be a path or a file: URL`);
  }
  return text;
}

function pathOfUrl(what: string, url: URL): string {
  if (url.host !== "") {
    throw new TypeError(`${what} must be on this host, not ${url.host}`);
  }
  try {
    return fromFileUrl(url);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw new TypeError(`${what} has an escape that is no UTF-8: ${url}`);
  }
}
