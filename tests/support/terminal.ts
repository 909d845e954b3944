/** Terminals that tests type at: script(1) makes them. */
import { SCRATCH } from "./testing.ts";
import { assert } from "@std/assert";

/** Runs a bash script on a terminal of its own, at which something is typed. */
export async function onTerminal(
  script: string,
  talk: (
    type: (text: string) => Promise<void>,
    until: (text: string) => Promise<string>,
  ) => Promise<void>,
): Promise<void> {
  Deno.writeTextFileSync(`${SCRATCH}/session`, `#!/bin/bash\n${script}`, {
    mode: 0o755,
  });
  // script starts what SHELL says: one that stays would end by the first ^C.
  const session = `exec env --default-signal ${SCRATCH}/session`;
  const terminal = new Deno.Command("script", {
    args: ["-qec", session, "/dev/null"],
    stdin: "piped",
    stdout: "piped",
    // Of a step that fails the session would wait for the next for ever.
    signal: AbortSignal.timeout(120_000),
  }).spawn();
  const keys = terminal.stdin.getWriter();
  const reader = terminal.stdout.pipeThrough(new TextDecoderStream())
    .getReader();
  let said = "";
  /** Waits until that is said; gives what was before. */
  async function until(text: string): Promise<string> {
    while (!said.includes(text)) {
      const { done, value } = await reader.read();
      assert(!done, said);
      said += value;
    }
    const at = said.indexOf(text);
    const before = said.slice(0, at);
    said = said.slice(at + text.length);
    return before;
  }
  const type = (text: string) => keys.write(new TextEncoder().encode(text));
  await talk(type, until);
  await keys.close();
  // To the end: script fails when what it still has to say finds no reader.
  while (!(await reader.read()).done);
  assert((await terminal.status).success);
}
