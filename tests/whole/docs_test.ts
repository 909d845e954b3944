import {
  gatedTest,
  kernelTest,
  missingPermission,
  ROOT,
  ROOT_URL,
  SCRATCH,
} from "../support/testing.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  callsIn,
  checkCall,
  checkOption,
  subcommands,
} from "../support/documented.ts";
import { CALLS, sinceLinux } from "../../src/sys/calls.ts";
import {
  commandLine,
  programTest,
  run,
  shellCommand,
} from "../support/program.ts";
import { withSubcommands } from "../../tools/subcommand_table.ts";

const missing = missingPermission(["run", "read", "write", "env"]);

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
  const examples = ["README.md", "docs", "mod.ts", "cli.ts", "src"]
    .flatMap((path) => filesIn(path)).join("\n").match(/^ *(\* )?```ts$/gm);
  assert(examples!.length >= 30);
  assertEquals(Number(passed), examples!.length, output);
}, { permissions: ["run", "read", "write", "env"] });

/** The texts of a file, or of those in a directory. */
function filesIn(path: string): string[] {
  if (Deno.statSync(ROOT + path).isFile) {
    return /\.(md|ts)$/.test(path) ? [Deno.readTextFileSync(ROOT + path)] : [];
  }
  return [...Deno.readDirSync(ROOT + path)]
    .flatMap(({ name }) => filesIn(`${path}/${name}`));
}

const PAGES = ["README.md", "CONTRIBUTING.md", "cli.ts"].concat(
  missing === null
    ? [...Deno.readDirSync(`${ROOT}docs`)].map(({ name }) => `docs/${name}`)
      .filter((path) => path.endsWith(".md")).sort()
    : "docs/*.md",
);

for (const page of PAGES) {
  gatedTest(
    `the calls that ${page} tells of can be made`,
    missing,
    async () => {
      const text = pageText(page);
      for (const [, script] of text.matchAll(/^```sh\n(.*?)^```$/gms)) {
        for (const call of callsIn(script!)) await checkCall(call, true);
      }
      const prose = text.replace(/^```[^]*?^```$/gm, "");
      for (
        const [, code] of prose.matchAll(/`((?:mountat|deno) [^`|]+)[^`]*`/g)
      ) {
        await checkCall(words(code!), false);
      }
      for (const [, cell] of prose.matchAll(/\| (`mountat [^|]+)\|$/gm)) {
        const [call, ...options] = codesIn(cell!);
        await checkCall(words(call!), true);
        for (const option of options) {
          await checkOption(words(call!)[1]!, option);
        }
      }
      for (const [, path] of prose.matchAll(/\]\((?!https?:)([^)#]+)/g)) {
        Deno.statSync(new URL(path!, `${ROOT_URL}${page}`));
      }
    },
  );
}

programTest("README.md's table is what the help lists", () => {
  // As without the formatting, which aligns the cells.
  const lines = (text: string) =>
    text.replaceAll(/ +/g, " ").replaceAll(/--+/g, "---").split("\n");
  const readme = Deno.readTextFileSync(`${ROOT}README.md`);
  const { stdout } = run(["--help"]);
  assertEquals(lines(withSubcommands(readme, stdout)), lines(readme));
  for (const name of subcommands()) assert(readme.includes(`\n| \`${name}\``));
});

/** A page, or the first comment of a module. */
function pageText(path: string): string {
  const text = Deno.readTextFileSync(ROOT + path);
  if (path.endsWith(".md")) return text;
  return /^\/\*\*\n(.*?)\*\//s.exec(text)![1]!.replace(/^ \* ?/gm, "");
}

function codesIn(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code]) => code!);
}

function words(text: string): string[] {
  return text.trim().split(/\s+/);
}

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

gatedTest(
  "docs/kernel.md says of each call which Linux version it came with",
  missingPermission(["read"]),
  () => {
    const text = Deno.readTextFileSync(`${ROOT}/docs/kernel.md`);
    const told = new Map<string, string>();
    for (const line of text.split("\n")) {
      const [, what, version] = /^\| (.+?) +\| (\d+\.\d+) +\|/.exec(line) ?? [];
      // Of a call that is older, the row is about a part.
      if (what === undefined || what.includes("`")) continue;
      for (const [, call] of what.matchAll(/(\w+)\(2\)/g)) {
        told.set(call!, version!);
      }
    }
    const since = Object.keys(CALLS)
      .map((call) => [call, sinceLinux(call)] as const)
      .filter(([, version]) => version !== undefined);
    assertEquals([...told].sort(), since.sort());
  },
);
