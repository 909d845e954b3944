/** Programs that the driver runs, in the mount namespace of its thread. */
import { ROOT } from "../../support/root.ts";
import { SyscallError } from "../../../src/sys/mod.ts";

/**
 * Runs a program to its end.
 *
 * @returns What it printed.
 * @throws {Error} When it fails, with what it said about that.
 */
export function run(
  command: string,
  args: string[],
  options: Pick<Deno.CommandOptions, "cwd" | "env"> = {},
): string {
  const { success, stdout, stderr } = new Deno.Command(command, {
    args,
    ...options,
  }).outputSync();
  if (success) return decoder.decode(stdout);
  throw new Error(`${command} failed: ${decoder.decode(stderr)}`);
}

const decoder = new TextDecoder();

/** The compiled helper.c: it survives the case's file systems here. */
let program: Uint8Array | undefined;

/** Where helper.c is compiled to, in a directory that may not have it yet. */
export function helperIn(workshop: string): string {
  const path = `${workshop}/helper`;
  if (program === undefined) {
    run("cc", ["-o", path, `${ROOT}tests/whole/ltp/helper.c`]);
    program = Deno.readFileSync(path);
  } else {
    Deno.writeFileSync(path, program, { mode: 0o755 });
  }
  return path;
}

/** The name of the error that a system call ends with, "ok" when there is none. */
export function outcome(call: () => void): string {
  try {
    call();
    return "ok";
  } catch (error) {
    if (error instanceof SyscallError) return error.code;
    throw error;
  }
}
