/** What fails in other processes: in user namespaces, under filters. */
import type { Holder } from "../../src/error/holders.ts";
import { commandLine } from "./program.ts";

/** What the error said. */
export interface Failure {
  syscall: string;
  code: string;
  hint?: string;
  holders?: Holder[];
}

/** How to fail. */
export interface FailingOptions {
  /** A command that runs the process: unshare, setpriv. */
  wrapper?: string[];
  /** What a shell does in there, `"$@"` where the process runs. */
  script?: string;
}

/**
 * Mounts or unmounts in another process, and tells what error came of it.
 *
 * @param args Arguments of fixtures/failing.ts.
 * @param options How to run it.
 */
export function failing(
  args: string[],
  { wrapper = [], script = '"$@"' }: FailingOptions = {},
): Failure {
  const [command, ...rest] = commandLine(args, {
    wrapper: [...wrapper, "sh", "-ec", script, "sh"],
    entry: "tests/fixtures/failing.ts",
  });
  const { stdout, stderr } = new Deno.Command(command!, {
    args: rest,
    // Another user's would be taken from the list of users: with another cache.
    env: { HOME: Deno.env.get("HOME") ?? "/root" },
    stdin: "null",
  }).outputSync();
  const text = new TextDecoder();
  const said = text.decode(stdout);
  if (!said.startsWith("{")) throw new Error(said + text.decode(stderr));
  return JSON.parse(said);
}
