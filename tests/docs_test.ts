import { assert, assertEquals, assertMatch } from "@std/assert";
import { commandLine, programTest, shellCommand } from "./cli/program.ts";
import { kernelTest, ROOT, SCRATCH } from "./support.ts";

kernelTest("every example of the documentation runs", () => {
  const { success, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: [
      "test",
      "--doc",
      "-A",
      "README.md",
      "docs",
      "mod.ts",
      "cli.ts",
      "src",
    ],
    cwd: ROOT,
    // The examples make directories.
    env: { NO_COLOR: "1", TMPDIR: SCRATCH },
  }).outputSync();
  const text = new TextDecoder();
  const output = text.decode(stdout) + text.decode(stderr);
  assert(success, output);
  const [, passed] = /(\d+) passed/.exec(output) ?? [];
  assert(Number(passed) >= 6, output);
}, { permissions: ["run", "read", "write", "env"] });

/** A command of a transcript, and what it printed there. */
interface Exchange {
  readonly command: string;
  readonly output: string[];
}

/** The commands of the blocks of a page that are called console, in order. */
function exchangesOf(page: string): Exchange[] {
  const found: { command: string; output: string[] }[] = [];
  for (const [, block] of page.matchAll(/^```console\n(.*?)^```$/gms)) {
    for (const line of block!.trimEnd().split("\n")) {
      if (line.startsWith("$ ")) {
        found.push({ command: line.slice(2), output: [] });
      } else if (line.startsWith("> ")) {
        found.at(-1)!.command += `\n${line.slice(2)}`;
      } else {
        found.at(-1)!.output.push(line);
      }
    }
  }
  return found;
}

/** What a transcript says: an ellipsis stands for anything. */
function pattern(output: string[]): RegExp {
  const lines = output.map((line) =>
    line === "…"
      ? "(?:.*\n)*"
      : `${line.split("…").map((part) => RegExp.escape(part)).join(".*")}\n`
  );
  return new RegExp(`^${lines.join("")}$`);
}

for (const page of ["docs/guide.md"]) {
  programTest(`the transcripts of ${page} are what happens`, () => {
    const exchanges = exchangesOf(Deno.readTextFileSync(`${ROOT}${page}`));
    const program = shellCommand(commandLine([], { permissions: ["-A"] }));
    const bin = `${SCRATCH}/bin`;
    Deno.mkdirSync(bin);
    Deno.writeTextFileSync(
      `${bin}/mountat`,
      `#!/bin/sh\nexec ${program} "$@"\n`,
      { mode: 0o755 },
    );
    Deno.mkdirSync(`${SCRATCH}/empty`);
    const script = [
      `PATH=${bin}:$PATH`,
      "exec 2>&1",
      ...exchanges.map(({ command }, at) => `echo "\x1e${at}"\n${command}`),
    ].join("\n");
    const { stdout } = new Deno.Command("timeout", {
      args: ["60", "sh", "-c", script],
      cwd: `${SCRATCH}/empty`,
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).outputSync();
    const outputs = new TextDecoder().decode(stdout).split("\x1e").slice(1);
    assertEquals(outputs.length, exchanges.length, outputs.join(""));
    exchanges.forEach(({ command, output }, at) => {
      const printed = outputs[at]!.replace(/^\d+\n/, "");
      assertMatch(printed, pattern(output), command);
    });
  }, { commands: ["busybox", "chroot"] });
}
