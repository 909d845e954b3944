/** What has a descriptor: a `Directory`, a `MountTree`. */
export interface HasFd {
  /** The descriptor, borrowed. */
  readonly fd: number;
}

/**
 * The descriptor that a caller's `dirfd` means.
 *
 * @throws {TypeError} When it is no descriptor: negative, no whole number, or
 * of a closed handle.
 */
export function descriptorOf(dirfd: number | HasFd): number {
  const fd = typeof dirfd === "number" ? dirfd : dirfd?.fd;
  if (!Number.isInteger(fd) || fd < 0 || fd > 0x7fff_ffff) {
    throw new TypeError(
      `A directory must be an open descriptor or a Directory: received ${
        typeof fd === "number" ? fd : `a value of type ${typeof dirfd}`
      }`,
    );
  }
  // Deno's foreign calls take no negative zero.
  return fd + 0;
}

/** The path that leads to what a descriptor refers to, where there is /proc. */
export function procPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}
