/**
 * The repository's folder. This file imports nothing: a child that may read
 * nothing but this checkout loads it, too.
 */
export const ROOT = decodeURIComponent(
  new URL("../", import.meta.url).pathname,
);
