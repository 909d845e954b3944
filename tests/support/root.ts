/**
 * The repository's folder. This file imports nothing: a child that may read
 * nothing but this checkout loads it, too.
 */
export const ROOT = decodeURIComponent(
  new URL("../../", import.meta.url).pathname,
);

/** The same as a URL, for module specifiers. */
export const ROOT_URL = new URL("../../", import.meta.url).href;
