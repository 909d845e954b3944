/** What commands may do, and share with the host, as probe.c tells it. */
import { assert } from "@std/assert";
import { ROOT } from "./root.ts";

/** What a command found out, by the names that probe.c gives it. */
export type Facts = Readonly<Record<string, string>>;

/** Compiles probe.c into a static program, which needs nothing of a root. */
export function compileProbe(path: string): void {
  const source = `${ROOT}tests/support/probe.c`;
  const { success, stderr } = new Deno.Command("cc", {
    args: ["-static", "-o", path, source],
  }).outputSync();
  assert(success, new TextDecoder().decode(stderr));
  Deno.chmodSync(path, 0o755);
}

/** Reads what it printed. */
export function parseFacts(text: string): Facts {
  return Object.fromEntries(
    text.trimEnd().split("\n").map((line) => {
      const [, name, value] = /^(.*) (\S*)$/.exec(line)!;
      return [name, value];
    }),
  );
}

/**
 * Runs a command that runs the probe, with a session keyring, and where nothing
 * that it does to names and mounts is of this machine.
 */
export function probe(program: string, command: string[]): Facts {
  const { success, stdout, stderr } = new Deno.Command("unshare", {
    args: ["--mount", "--uts", program, "with", ...command],
    stdin: "null",
  }).outputSync();
  assert(success, new TextDecoder().decode(stderr));
  return parseFacts(new TextDecoder().decode(stdout));
}
