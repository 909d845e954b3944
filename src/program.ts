import { UnsupportedError } from "./sys/error.ts";

/** Where the program mountat is, null in a process that uses the library alone. */
export const program: { url: string | null } = { url: null };

/**
 * The command line that runs the program in a process of its own.
 *
 * @throws {UnsupportedError} Where this process is another program.
 */
export function programCommand(): string[] {
  if (program.url === null) {
    throw new UnsupportedError("Only the program mountat can run itself again");
  }
  return Deno.build.standalone
    ? [Deno.execPath()]
    : [Deno.execPath(), "run", "--no-prompt", "--allow-ffi", program.url];
}
