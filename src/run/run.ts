/**
 * Room `run`: A command in a root of its own.
 */
import type { HasFd } from "../fd/owned_fd.ts";
import type { MountTree } from "../mount/tree.ts";
import type { RunOptions, RunResult } from "./options.ts";

export type { InputOption, OutputOption } from "./streams.ts";
export type { Usage } from "../sys/process.ts";

/**
 * Runs a command in a root of its own: a directory, with a procfs, a sysfs and a
 * /dev mounted in it. The command has a PID namespace, and a mount namespace that
 * contains nothing but its root. When the command ends, or this process dies in any
 * way, everything that the command started is killed. Its mounts are never visible
 * anywhere else.
 *
 * The first process of its PID namespace is an init of less than a kilobyte: it
 * starts the command, reaps orphans, and ends with the command. So signals end
 * the command as they do without a PID namespace. With `asPid1` the command
 * itself is the first process.
 *
 * Missing mount points are made in the root, and removed in the end: see
 * `mountPoints`. They stay if `hostPid` is set, if this process is killed, or if
 * a command of another process has something mounted beside them. While they are
 * in use, each of their directories has a shared lock, flock(2): a process that
 * takes the exclusive lock keeps commands from mounting there.
 *
 * If this process was started to ignore a signal (by nohup(1), for example), this
 * process and the command ignore it, even if a listener is added later. The command
 * does not ignore SIGPIPE, although Deno does. Terminating a Worker does not end the
 * commands that were started in it: abort their `signal` first.
 *
 * The command has a session of its own, and so no /dev/tty. There are two
 * exceptions: with `hostPid`, and if its `stdin` is this process's terminal (see
 * `newSession`), it stays in this process's session.
 *
 * By default the command has IPC and UTS namespaces of its own, and this
 * process's network and credentials. That isolates what it sees, and does not
 * confine a command of root; `profile: "strict"` does. If this process is in a
 * user namespace, the command gets one inside it, with the same ids, so that it
 * can't change the mounts that were made for it.
 *
 * Needs Linux 5.12, the permission `--allow-ffi`, /proc, CAP_SYS_ADMIN and
 * CAP_SYS_CHROOT in the user namespace of the mount namespace, and glibc. Before
 * Linux 6.15 the root is built in another mount namespace, until the command
 * starts: a file system that is unmounted meanwhile stays in use there. See
 * pid_namespaces(7), mount_namespaces(7), vfork(2).
 *
 * @example Run a command, and read what it says
 * ```ts
 * import { Directory, run } from "@meroton/mountat";
 * import { assertEquals } from "@std/assert";
 *
 * using root = Directory.open("/");
 * const { code, stdout } = await run(root, ["sh", "-c", "echo $$"], {
 *   stdout: "piped",
 * });
 * assertEquals(code, 0);
 * assertEquals(new TextDecoder().decode(stdout), "2\n");
 * ```
 *
 * @param root The command's root.
 * @param command The program, looked for on the PATH of its environment, and its
 * arguments. A script needs its #! line: no shell is tried, as by execvp(3).
 * @param options How to run the command.
 * @returns How the command ended.
 * @throws {TypeError | RangeError} For a wrong argument, before any call; a user
 * that the root does not have, before anything is mounted.
 * @throws {MountError} If a call fails; its `syscall` is `execve` if the program
 * can't be executed.
 * @throws {UnsupportedError} If the system or kernel can't do it.
 */
export async function run(
  root: HasFd | MountTree,
  command: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  // A third of the library: a program that only mounts need not load it.
  const { execute } = await import("./execute.ts");
  return await execute(root, command, options);
}
