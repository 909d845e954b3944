/** Where things are printed: data on stdout, messages on stderr. */
import {
  commandLine,
  programTest,
  run,
  shellCommand,
} from "../support/program.ts";
import { mountsBelow, SCRATCH } from "../support/testing.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { mount, umount2 } from "../../src/sys/mount.ts";

/** The subcommands, as `mountat --help` lists them. */
function subcommands(): string[] {
  return [...run(["--help"]).stdout.matchAll(/^ {2}([a-z][\w-]+) {2,}\S/gm)]
    .map(([, name]) => name!);
}

/** Calls that succeed one after the other, and whether they have data. */
const CALLS: [args: string[], prints: boolean][] = [
  [["bb_mounter_at", "root", "0"], true],
  [["bb_mounter", "root", "0"], true],
  [["relative-mount", "root", "proc"], false],
  [["mount", "-t", "tmpfs", "--mkdir", "root", "tmp"], false],
  [["bind", "--mkdir", "root", "root/tmp", "bound"], false],
  [["remount", "-o", "ro", "root", "tmp"], false],
  [["move", "root", "other"], true],
  [["list", "root"], true],
  [["apply", "--fstab", "fstab", "root"], true],
  [["run", "/", "true"], false],
  [["relative-unmount", "0", "tmp"], false],
  [["umount", "--recursive", "."], true],
  [["sweep"], false],
  [["doctor"], true],
  [["completions", "bash"], true],
  [["help"], true],
];

/** Runs the program in the scratch directory, with root/sys as its stdin. */
function runInShell(
  script: string,
  args: string[],
): { code: number; stdout: string; stderr: string } {
  const { code, stdout, stderr } = new Deno.Command("bash", {
    args: ["-c", script, "bash", ...commandLine(args, { permissions: ["-A"] })],
    cwd: SCRATCH,
    env: { NO_COLOR: "1" },
  }).outputSync();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

programTest("subcommands print data on stdout, and nothing else", () => {
  for (const name of ["root/sys/tmp", "other/proc"]) {
    Deno.mkdirSync(`${SCRATCH}/${name}`, { recursive: true });
  }
  Deno.writeTextFileSync(`${SCRATCH}/fstab`, "none /sys/tmp tmpfs\n");
  for (const [args, prints] of CALLS) {
    const { code, stdout, stderr } = runInShell(
      `exec "$@" < ${args[1] === "0" ? "root/sys" : "/dev/null"}`,
      args,
    );
    assertEquals([code, stderr], [0, ""], args.join(" "));
    assertEquals(stdout !== "", prints, args.join(" "));
  }
  assertEquals(mountsBelow(SCRATCH).length, 1);
}, { commands: ["bash"] });

programTest("every subcommand says on stderr what makes no sense", () => {
  for (const name of subcommands()) {
    const { code, stdout, stderr } = run([name, "--jsno"]);
    assertEquals([code, stdout], [name === "run" ? 125 : 1, ""], name);
    assertEquals(
      stderr,
      `mountat: Unknown option "--jsno"; did you mean "--json"?\n` +
        `Try 'mountat ${name} --help'.\n`,
    );
  }
});

/** Calls that fail, and the exit status; any other is called with a directory that is missing. */
const FAILING: [args: string[], code: number][] = [
  [["bb_mounter_at", "file"], 1],
  [["bb_mounter", "file"], 32],
  [["relative-mount", "missing", "x"], 32],
  [["relative-unmount", "77", "x"], 1],
  [["mount", "-t", "tmpfs", ".", "missing"], 32],
  [["bind", "missing", ".", "x"], 32],
  [["remount", "-o", "ro", ".", "missing"], 32],
  [["move", ".", ".", "missing"], 32],
  [["list", "missing"], 1],
  [["apply", "--fstab", "missing", "."], 1],
  [["run", "missing", "true"], 125],
  [["umount", ".", "missing"], 32],
  [["sweep"], 1],
  [["doctor"], 1],
  [["completions", "csh"], 1],
  [["help", "umuont"], 1],
];

programTest("every subcommand says on stderr what failed", () => {
  Deno.writeTextFileSync(`${SCRATCH}/file`, "");
  const calls = new Map(FAILING.map((call) => [call[0][0]!, call]));
  for (const name of subcommands()) {
    const [args, expected] = calls.get(name) ?? [[name, "missing"], 1];
    const options = {
      cwd: SCRATCH,
      // Without it these two fail, too.
      permissions: name === "sweep" || name === "doctor" ? [] : ["--allow-ffi"],
    };
    const { code, stdout, stderr } = run(args, options);
    assertEquals(code, expected, stderr);
    // What doctor finds missing is its data.
    assertEquals(stdout === "", name !== "doctor", name);
    assertEquals(stderr === "", name === "doctor", name);
    if (name === "doctor" || name === "relative-unmount") continue;
    assert(stderr.startsWith("mountat: "), stderr);
  }
});

/** Runs the program with stdout, and perhaps stderr, that nobody reads. */
function runUnread(
  args: string[],
  more = "",
): { code: number; stderr: string } {
  Deno.writeTextFileSync(`${SCRATCH}/code`, "");
  const { stderr } = runInShell(
    `mkfifo gate
     # The program starts when the other end of its pipe is closed.
     { read _ < gate; "$@" ${more}; echo $? > code; } | { exec < /dev/null; echo > gate; }
     rm gate`,
    args,
  );
  return {
    code: Number(Deno.readTextFileSync(`${SCRATCH}/code`)),
    stderr,
  };
}

programTest("a reader that stops early is no error", () => {
  for (
    const args of [
      ["list"],
      ["--json", "list"],
      ["doctor"],
      ["help"],
      ["completions", "zsh"],
      ["--version"],
      ["root", "0"],
      ["bb_mounter", "root"],
    ]
  ) {
    assertEquals(runUnread(args), { code: 0, stderr: "" }, args.join(" "));
  }
  assertEquals(mountsBelow(SCRATCH).length, 1);
  // Where the message goes makes no difference to how it ends.
  for (const where of ["2>&1", "2>/dev/full"]) {
    assertEquals(runUnread(["umount", ".", "x"], where).code, 32);
    assertEquals(runUnread(["relative-unmount", "x", "x"], where).code, 2);
  }
}, { commands: ["bash", "mkfifo"] });

programTest("what can't be written to stdout is said, not shown", () => {
  const full = (args: string[]) => runInShell('"$@" > /dev/full', args);
  const told = {
    code: 1,
    stdout: "",
    stderr:
      "mountat: Cannot write to standard output: ENOSPC (No space left on device)\n",
  };
  Deno.mkdirSync(`${SCRATCH}/tmp`);
  mount("none", `${SCRATCH}/tmp`, "tmpfs", 0, null);
  const calls = [["list"], ["list", "--json"], ["umount", ".", "tmp"]];
  for (const args of [...calls, ["doctor"], ["help"], ["--version"]]) {
    assertEquals(full(args), told, args.join(" "));
  }
  assertEquals(mountsBelow(SCRATCH).length, 1);
}, { commands: ["bash"] });

programTest(
  "a trace that can't be written keeps nothing from being done",
  () => {
    Deno.mkdirSync(`${SCRATCH}/root`);
    for (const [i, target] of ["/dev/full", "&1"].entries()) {
      const args = ["--trace", "relative-mount", "root", `proc${i}`];
      assertEquals(runUnread(args, `2>${target}`), { code: 0, stderr: "" });
      assertEquals(mountsBelow(SCRATCH).length, 2);
      umount2(`${SCRATCH}/root/proc${i}`, 0);
    }
  },
  { commands: ["bash", "mkfifo"] },
);

/** Runs the program on a terminal, and returns what that shows. */
function runOnTerminal(
  args: string[],
  env: Record<string, string> = {},
): string {
  const command = shellCommand(commandLine(args));
  const { stdout } = new Deno.Command("script", {
    args: ["-qec", command, "/dev/null"],
    cwd: SCRATCH,
    env: { TERM: "xterm", ...env },
    stdin: "null",
  }).outputSync();
  return new TextDecoder().decode(stdout);
}

programTest("colours are for a terminal, and not with NO_COLOR", () => {
  const colored = "\x1b[32mok\x1b[39m";
  assert(runOnTerminal(["doctor"], { NO_COLOR: "" }).includes(colored));
  for (const args of [["doctor"], ["list"], ["help"], ["--nope"]]) {
    const shown = runOnTerminal(args, { NO_COLOR: "1" });
    assert(!shown.includes("\x1b"), shown);
  }
  assert(!runInShell('NO_COLOR= "$@"', ["doctor"]).stdout.includes("\x1b"));
}, { commands: ["script"] });

programTest(
  "a directory that is spelt like a subcommand is not made unless it is named as one",
  () => {
    const refused = (name: string, subcommand: string) =>
      `mountat: "${name}" is not a subcommand, and there is no such directory; did you mean "mountat ${subcommand}"? To make a directory of that name, write "./${name}"\n` +
      "Try 'mountat --help'.\n";
    const runHere = (...args: string[]) => run(args, { cwd: SCRATCH });
    const inScratch = () =>
      [...Deno.readDirSync(SCRATCH)].map(({ name }) => name);
    const alike = { lst: "list", lis: "list", rum: "run", bnd: "bind" };
    const longer = { runn: "run", bind1: "bind", help1: "help", lsit: "list" };
    for (const [name, meant] of Object.entries({ ...alike, ...longer })) {
      for (const rest of [["0"], ["/srv"], ["--nope"], ["--quiet", "0"]]) {
        const ended = runHere(name, ...rest);
        const stderr = refused(name, meant);
        assertEquals(ended, { code: 1, stdout: "", stderr });
      }
    }
    assertEquals(inScratch(), []);
    const made = runHere("./lsit", "0");
    assertEquals([made.code, made.stderr], [0, ""]);
    assertMatch(made.stdout, /^Mounting \/proc into/);
    // Now it is there, and there is nothing to ask.
    assertEquals(runHere("lsit", "0").stderr, "");
    const names = ["mounts", "mountpoint", "rn", "tmp", "./lits", "./list"];
    for (const name of [...names, "root"]) {
      assertEquals(runHere(name, "0").stderr, "", name);
    }
    const help = runHere("help", "umuont");
    assertEquals(
      help.stderr,
      'mountat: There is no subcommand "umuont"; did you mean "umount"?\n' +
        "Try 'mountat help --help'.\n",
    );
  },
);

programTest(
  "a person is asked about a directory that is spelt like a subcommand",
  () => {
    const question =
      '"lst" is not a subcommand, and there is no such directory; did you mean "mountat list"? Make the directory and mount in it? [y/N]';
    const answer = (text: string) => {
      const command = shellCommand(commandLine(["lst", "0"]));
      const { code, stdout } = new Deno.Command("bash", {
        args: [
          "-c",
          'printf "$1" | script -qec "$2" /dev/null',
          "bash",
          text,
          command,
        ],
        cwd: SCRATCH,
        env: { TERM: "xterm", NO_COLOR: "1" },
      }).outputSync();
      const shown = new TextDecoder().decode(stdout);
      assert(shown.includes(question), shown);
      return { code, made: [...Deno.readDirSync(SCRATCH)].length };
    };
    assertEquals(answer("n\\n"), { code: 1, made: 0 });
    assertEquals(answer("\\n"), { code: 1, made: 0 });
    assertEquals(answer("y\\n"), { code: 0, made: 1 });
  },
  { commands: ["bash", "script"] },
);

programTest("mountat without arguments says how it is used", () => {
  assertEquals(run([]), {
    code: 1,
    stdout: "",
    stderr: `mountat: Usage: mountat <directory> [delay]
   or: mountat <subcommand> [options] [argument...]
Try 'mountat --help'.
`,
  });
});
