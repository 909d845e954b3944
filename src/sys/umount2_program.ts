/**
 * umount2(2) relative to a directory's descriptor, as a program for a process
 * that inherits the descriptor. It imports nothing: it is there wherever this
 * module came from, a bundle, say.
 */
import { libraryPath, NR } from "./libc.ts";

/** What the process runs, on a task of its own. */
const SOURCE = `
const call = (...parameters) => ({
  name: "syscall", parameters: ["i32", ...parameters], result: "i32",
});
const { symbols: libc } = Deno.dlopen(task.library, {
  fchdir: call("i32"),
  umount2: call("buffer", "i32"),
  memcpy: { parameters: ["buffer", "pointer", "usize"], result: "void" },
  __errno_location: { parameters: [], result: "pointer" },
});
const location = libc.__errno_location();
const errno = new Int32Array(new ArrayBuffer(4));
const name = new TextEncoder().encode(task.name + "\\0");
libc.memcpy(errno, location, 4);
function fail(syscall) {
  console.log(JSON.stringify({ syscall, errno: errno[0] }));
  Deno.exit(1);
}
const changed = libc.fchdir(task.fchdir, task.dirfd);
if (changed === -1) libc.memcpy(errno, location, 4);
if (changed === -1) fail("fchdir");
const unmounted = libc.umount2(task.umount2, name, task.flags);
if (unmounted === -1) libc.memcpy(errno, location, 4);
if (unmounted === -1) fail("umount2");
`;

/**
 * The program as a URL for `deno run`. When a call fails it prints `syscall` and
 * `errno` as JSON, and its exit status is 1.
 *
 * @param dirfd The directory, inherited by the process.
 * @param name The mount point, relative to it, without lone surrogates.
 * @param flags `MNT_*`, `UMOUNT_NOFOLLOW`.
 */
export function umount2Program(
  dirfd: number,
  name: string,
  flags: number,
): string {
  const { fchdir, umount2 } = NR;
  const library = libraryPath();
  const task = { library, fchdir, umount2, dirfd, name, flags };
  const source = `const task = ${JSON.stringify(task)};${SOURCE}`;
  return `data:text/javascript,${encodeURIComponent(source)}`;
}
