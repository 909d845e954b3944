import { setTracer, type TracedCall } from "./call.ts";
import { type Argument, formatArgument, SyscallError } from "./error.ts";
import { errnoCode, errnoText } from "./errno.ts";
import { AT_FDCWD } from "./constants.ts";
import { readlinkat } from "./names.ts";
import { quote } from "../base/text.ts";

/**
 * Reports each system call that this thread makes through this library, as
 * `strace -y` prints it: flags by name, and with /proc the path of each
 * descriptor.
 *
 * For the bare calls, set a tracer with `setTracer` of `@meroton/mountat/sys`.
 * This function uses it, too.
 *
 * Needs the permission `--allow-ffi`, when a call is made.
 *
 * @example See what a mount takes
 * ```ts
 * import { Directory, trace } from "@meroton/mountat";
 * import { assert } from "@std/assert";
 *
 * using root = Directory.open(Deno.makeTempDirSync());
 * const lines: string[] = [];
 * {
 *   using _trace = trace((line) => lines.push(line));
 *   using _mount = root.mount("tmp", { type: "tmpfs", mkdir: true });
 * }
 * // fsopen("tmpfs", FSOPEN_CLOEXEC)         = 29<anon_inode:[fscontext]>
 * assert(lines.some((line) => line.startsWith('fsopen("tmpfs", ')));
 * ```
 *
 * @param write Is called with a line, without a newline, after each system
 * call. Calls that the function makes itself are not reported. It must not
 * throw: the error would be uncaught.
 * @returns Ends the tracing when disposed of. If several are active, end the
 * last one first.
 */
export function trace(write: (line: string) => void): Disposable {
  const links = new Map<number, string>();
  let writing = false;
  const previous = setTracer((call) => {
    if (writing) return;
    writing = true;
    try {
      write(formatCall(call, links));
    } finally {
      writing = false;
    }
  });
  return {
    [Symbol.dispose]() {
      setTracer(previous);
    },
  };
}

/** The calls whose result is a descriptor; fcntl(2) stands for `dup`. */
const OPENING = [
  "fanotify_init",
  "fcntl",
  "fsmount",
  "fsopen",
  "fspick",
  "open_tree",
  "open_tree_attr",
  "openat2",
  "pidfd_open",
];

/** The column of the result, as in strace(1). */
const RESULT_COLUMN = 40;

/**
 * Formats a call that was just made.
 *
 * @param links The files that descriptors referred to before this call: the
 * call may have closed a descriptor, or mounted the mount that it refers to.
 */
function formatCall(
  { syscall, args, result, errno }: TracedCall,
  links: Map<number, string>,
): string {
  const closes = syscall === "close";
  const shown = args.map((argument) => {
    const text = formatArgument(argument);
    if (typeof argument === "string") return text;
    const { fd } = argument;
    return text + bracket(links.get(fd) ?? (closes ? undefined : linkOf(fd)));
  });
  for (const fd of descriptors(args)) remember(fd, closes, links);
  let outcome = String(result);
  if (result === -1) {
    outcome = `-1 ${errnoCode(errno)} (${errnoText(errno)})`;
  } else if (OPENING.includes(syscall)) {
    remember(result, false, links);
    outcome += bracket(links.get(result));
  }
  const call = `${syscall}(${shown.join(", ")})`;
  return `${call.padEnd(RESULT_COLUMN - 1)} = ${outcome}`;
}

function descriptors(args: readonly Argument[]): number[] {
  return args.flatMap((argument) =>
    typeof argument === "string" || argument.fd < 0 ? [] : [argument.fd]
  );
}

function remember(
  fd: number,
  closed: boolean,
  links: Map<number, string>,
): void {
  const link = closed ? undefined : linkOf(fd);
  if (link === undefined) links.delete(fd);
  else links.set(fd, link);
}

/** The path of a descriptor's file, or of the working directory. */
function linkOf(fd: number): string | undefined {
  if (fd < 0 && fd !== AT_FDCWD) return undefined;
  const name = fd === AT_FDCWD ? "cwd" : `fd/${fd}`;
  try {
    return readlinkat(AT_FDCWD, `/proc/thread-self/${name}`);
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}

/** Puts a path into angle brackets, and escapes angle brackets in the path. */
function bracket(link: string | undefined): string {
  if (link === undefined) return "";
  const escaped = quote(link).slice(1, -1).replaceAll("<", "\\x3c")
    .replaceAll(">", "\\x3e");
  return `<${escaped}>`;
}
