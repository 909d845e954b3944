/** Runs commands while the registry answers them. */
import type { Ended } from "../support/program.ts";
import { assertEquals } from "@std/assert";

/** Runs a command to its end. */
export async function execute(
  [command, ...args]: string[],
  options: Pick<Deno.CommandOptions, "cwd" | "env"> = {},
): Promise<Ended> {
  const { code, stdout, stderr } = await new Deno.Command(command!, {
    ...options,
    args,
    env: { NO_COLOR: "1", ...options.env },
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Runs a command that must succeed, and returns what it printed. */
export async function succeed(
  ...args: Parameters<typeof execute>
): Promise<string> {
  const { code, stdout, stderr } = await execute(...args);
  assertEquals(code, 0, `${args[0].join(" ")}\n${stdout}${stderr}`);
  return stdout;
}
