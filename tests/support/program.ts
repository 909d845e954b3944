/** Runs the program as a user would, in a private mount namespace. */
import { kernelTest, type Needs, ROOT, SCRATCH } from "./testing.ts";

/** How the program ended. */
export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** How to run it. */
export interface RunOptions {
  /** Deno's permissions; by default FFI alone. */
  permissions?: string[];
  /** A command that runs it: strace, setpriv. */
  wrapper?: string[];
  /** The module. */
  entry?: string;
  /** Deno, where not the one that runs the tests. */
  deno?: string;
  /** The working directory. */
  cwd?: string;
}

/** The command line that runs the program. */
export function commandLine(
  args: string[],
  {
    permissions = ["--allow-ffi"],
    wrapper = [],
    entry = "mod.ts",
    deno = Deno.execPath(),
  }: RunOptions = {},
): string[] {
  return [
    ...wrapper,
    deno,
    "run",
    "--no-prompt",
    ...permissions,
    ROOT + entry,
    ...args,
  ];
}

/** The same for a shell, whatever the path of this checkout. */
export function shellCommand(words: string[]): string {
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
}

/** A copy of Deno that every user may execute: the one from npm is its user's. */
export function denoForAll(): string {
  const path = `${SCRATCH}/deno-for-all`;
  Deno.copyFileSync(Deno.execPath(), path);
  Deno.chmodSync(path, 0o755);
  return path;
}

/** Runs the program to its end, in the calling thread's mount namespace. */
export function run(args: string[], options: RunOptions = {}): Ended {
  const [command, ...rest] = commandLine(args, options);
  const { code, stdout, stderr } = new Deno.Command(command!, {
    args: rest,
    env: { NO_COLOR: "1" },
    stdin: "null",
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  }).outputSync();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Registers a test that runs the program. */
export function programTest(
  name: string,
  fn: () => void | Promise<void>,
  needs: Needs = {},
): void {
  const permissions = ["run", "read", "write", "env"] as const;
  kernelTest(name, fn, { ...needs, permissions: [...permissions] });
}
