/**
 * Room `run`: A command in a root of its own.
 */
import type { HasFd } from "../fd/owned_fd.ts";
import type { MountTree } from "../mount/tree.ts";
import type { RunOptions, RunResult } from "./options.ts";

export type { InputOption, OutputOption } from "./streams.ts";
export type { Usage } from "../sys/process.ts";

/**
 * Runs a command in a root of its own: a directory, with a procfs, a sysfs and
 * a /dev, in a mount namespace that holds that alone, and in a PID namespace.
 * When it ends, all that it started is ended, too; so it is when this process
 * dies, however that happens. No mount is visible anywhere else at any time.
 *
 * The first process of its PID namespace is a program of less than a kilobyte,
 * in a memory of its own: it starts the command, waits for what that leaves
 * behind, and ends with it. So the command ends by signals as it does without a
 * PID namespace. With `asPid1` it is the first itself.
 *
 * What is missing in the root to mount on is made there, and removed in the end:
 * see `mountPoints`. With `hostPid` it stays, as it does when this process is
 * killed, and where another process's command has something mounted beside it.
 * Until then each directory of it has a shared lock, flock(2): who takes the
 * exclusive one keeps commands from mounting there.
 *
 * What this process was started to ignore, under nohup(1) say, both ignore,
 * whatever listener is added later; SIGPIPE, which Deno ignores, the command does
 * not. Terminating a Worker ends no command that was started in it: abort its
 * `signal` first.
 *
 * It has a session of its own, and so no /dev/tty, but with `hostPid` and where
 * its `stdin` is this process's terminal: see `newSession`.
 *
 * The command has an IPC and a UTS namespace of its own, and this process's network
 * and credentials, unless something else is said: this parts what it sees, and
 * does not confine a command of root. `profile: "strict"` does. Where this process
 * is in a user namespace the command gets one inside that, with the same ids: so it
 * can change nothing of what is mounted for it.
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
 * @param options How to run it.
 * @returns How it ended.
 * @throws {TypeError | RangeError} For a wrong argument, before any call; a user
 * that the root does not have, before anything is mounted.
 * @throws {MountError} What the kernel answers; of the call `execve` when the
 * command can't be started.
 * @throws {UnsupportedError} Where the system or kernel can't do it.
 */
export async function run(
  root: HasFd | MountTree,
  command: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  // A third of the library, which those who only mount need not load.
  const { execute } = await import("./execute.ts");
  return await execute(root, command, options);
}
