/** Completion, by the shells themselves: keys go in at a terminal. */
import { programTest, run } from "../support/program.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { SCRATCH } from "../support/testing.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import type { CommandDescription } from "../../src/cli/command.ts";
import {
  formatBash,
  formatFish,
  formatZsh,
  toSubcommand,
} from "../../src/cli/completions.ts";

type Shell = "bash" | "fish" | "zsh";

/** Writes the script of a shell, as its user would. */
function install(shell: Shell): string {
  const { code, stdout, stderr } = run(["completions", shell]);
  assertEquals([code, stderr], [0, ""]);
  return write(shell, stdout);
}

function write(shell: Shell, script: string): string {
  const path = `${SCRATCH}/completions.${shell}`;
  Deno.writeTextFileSync(path, script);
  return path;
}

/** Runs a shell, and returns what it prints. */
function shell(command: string[], input = ""): string {
  const [program, ...args] = command;
  const file = `${SCRATCH}/input`;
  Deno.writeTextFileSync(file, input);
  const { stdout, stderr } = new Deno.Command("sh", {
    args: ["-c", `exec "$@" < ${file}`, "sh", program!, ...args],
    cwd: SCRATCH,
    env: { HOME: `${SCRATCH}/home`, ZDOTDIR: `${SCRATCH}/home`, TERM: "xterm" },
  }).outputSync();
  const text = new TextDecoder();
  const errors = text.decode(stderr);
  assertEquals(errors, "");
  return text.decode(stdout);
}

/**
 * Types lines at an interactive shell, a Tab in each, and returns the arguments
 * that `mountat` is called with.
 */
function type(
  name: "bash" | "zsh",
  setup: string,
  lines: readonly string[],
  locale = "C.UTF-8",
): string[][] {
  const called = `${SCRATCH}/called`;
  const rc = `${SCRATCH}/home/.${name}rc`;
  Deno.mkdirSync(`${SCRATCH}/home`, { recursive: true });
  Deno.writeTextFileSync(
    rc,
    `PS1='> '
mountat() { printf '%s\\0' "$@" $'\\n' >> ${called}; }
${setup}
source ${SCRATCH}/completions.${name}
`,
  );
  const interactive = name === "bash"
    ? `bash --noprofile --rcfile ${rc} -i`
    : "zsh -d -i";
  const seen = shell(
    ["env", `LC_ALL=${locale}`, "script", "-qec", interactive, "/dev/null"],
    [...lines, "exit", ""].join("\n"),
  );
  const calls = Deno.readTextFileSync(called).split("\0\n\0").slice(0, -1);
  Deno.removeSync(called);
  assertEquals(calls.length, lines.length, seen);
  return calls.map((call) => call.split("\0"));
}

/** A name that is hard to quote. */
const ODD = "q'$x\\ \"&;\u00e9";

const MOUNTED = ["proc", "a b", "a b/c", ODD];

/** What is there to be completed. */
function prepare(): void {
  for (
    const path of ["home/inhome", "my dir", "root/usr local", "lissome", "x:y"]
  ) {
    Deno.mkdirSync(`${SCRATCH}/${path}`, { recursive: true });
  }
  Deno.writeTextFileSync(`${SCRATCH}/config.json`, "{}");
  for (const target of MOUNTED) {
    Deno.mkdirSync(`${SCRATCH}/root/${target}`);
    mount("none", `${SCRATCH}/root/${target}`, "tmpfs", 0, null);
  }
}

function cleanUp(): void {
  for (const target of MOUNTED.toReversed()) {
    umount2(`${SCRATCH}/root/${target}`, 0);
  }
}

/** What is typed, and what the program then gets. */
const TYPED: [line: string, args: string[]][] = [
  ["mountat umo\t", ["umount"]],
  ["mountat --quiet swe\t", ["--quiet", "sweep"]],
  ["mountat my\t 5", ["my dir/", "5"]],
  ["mountat umount ro\t pr\t", ["umount", "root/", "proc"]],
  ["mountat umount -l root a\t", ["umount", "-l", "root", "a b"]],
  ["mountat umount --recu\t root", ["umount", "--recursive", "root"]],
  ["mountat umount root --recu\t", ["umount", "root", "--recursive"]],
  ["mountat umount --strategy=su\t", ["umount", "--strategy=subprocess"]],
  ["mountat umount --strategy mt\t x", ["umount", "--strategy", "mtab", "x"]],
  ["mountat mount -t tmp\t root u\t", [
    ...["mount", "-t", "tmpfs", "root", "usr local"],
  ]],
  ["mountat list -t proc,tmp\t", ["list", "-t", "proc,tmpfs"]],
  ["mountat list -o TARGET,FSTY\t", ["list", "-o", "TARGET,FSTYPE"]],
  ["mountat list -o MAJ\t", ["list", "-o", "MAJ:MIN"]],
  ["mountat list -o MAJ:MIN,UNI\t", ["list", "-o", "MAJ:MIN,UNIQ-ID"]],
  ["mountat mount -o size=1m,nosy\t", ["mount", "-o", "size=1m,nosymfollow"]],
  ["mountat mount --options=ro,nosu\t", ["mount", "--options=ro,nosuid"]],
  ["mountat apply --oci conf\t my\t", [
    ...["apply", "--oci", "config.json", "my dir/"],
  ]],
  ["mountat bind conf\t ro\t u\t", [
    "bind",
    "config.json",
    "root/",
    "usr local",
  ]],
  ["mountat remount --make-rsl\t root pr\t", [
    ...["remount", "--make-rslave", "root", "proc"],
  ]],
  ["mountat move root my\t pr\t", ["move", "root", "my dir/", "proc"]],
  ["mountat completions fi\t", ["completions", "fish"]],
  ["mountat help relative-u\t", ["help", "relative-unmount"]],
  ["mountat -- --recu\t", ["--", "--recu"]],
  // After the last argument nothing is expected, nor where anything may be.
  ["mountat umount root proc my\t", ["umount", "root", "proc", "my"]],
  ["mountat relative-unmount my\t", ["relative-unmount", "my"]],
  ["mountat doctor ~/inh\t", ["doctor", `${SCRATCH}/home/inhome`]],
  ["mountat umount ~/../root pr\t", [
    ...["umount", `${SCRATCH}/home/../root`, "proc"],
  ]],
  ["mountat umount root q\t", ["umount", "root", ODD]],
  ["mountat x\t 0", ["x:y", "0"]],
];

const SETUP = {
  // With CDPATH, by which cd would go elsewhere and say so.
  bash: "bind 'set enable-bracketed-paste off'; CDPATH=/",
  zsh: "autoload -U compinit; compinit -u -D",
};

for (
  const [name, label, more, locale] of [
    ["bash", "", "", "C.UTF-8"],
    [
      "bash",
      " where no character breaks them",
      "COMP_WORDBREAKS=$' \\t\\n'",
      "C.UTF-8",
    ],
    ["bash", " in the locale C", "", "C"],
    ["zsh", "", "", "C.UTF-8"],
    ["zsh", " in the locale C", "", "C"],
  ] as const
) {
  programTest(
    `completions ${name} completes words, and quotes them${label}`,
    () => {
      prepare();
      install(name);
      const typed = TYPED.map(([line]) => line);
      const calls = type(name, `${SETUP[name]}\n${more}`, typed, locale);
      TYPED.forEach(([line, args], i) => {
        // A word that is complete gets a space, a directory in zsh a slash.
        assertEquals(
          calls[i]!.map((arg) => arg.replace(/\/$/, "")),
          args.map((arg) => arg.replace(/\/$/, "")),
          line,
        );
      });
      cleanUp();
    },
    { commands: ["script", name] },
  );
}

/** The subcommands and their options, as their help has them. */
function subcommands(): Map<string, string[]> {
  const overview = run(["--help"]).stdout;
  const names = [...overview.matchAll(/^ {2}([a-z][\w-]+) {2,}\S/gm)]
    .map(([, name]) => name!);
  assert(names.includes("umount"));
  return new Map(names.map((name) => {
    const { stdout } = run([name, "--help"]);
    const options = [...stdout.matchAll(/^ {2}(?:-\w, | {4})(--[\w-]+)/gm)];
    return [name, options.map(([, option]) => option!).sort()];
  }));
}

programTest("completions bash offers every subcommand and option", () => {
  const script = install("bash");
  const known = subcommands();
  const offered = (...words: string[]): string[] =>
    shell([
      "bash",
      "-c",
      // It works where Tab was pressed, and nowhere else.
      `compopt() { :; }; source ${script}
       COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE=$*
       _mountat; printf '%s\\n' "\${COMPREPLY[@]}"`,
      "bash",
      "mountat",
      ...words,
    ]).trimEnd().split("\n").sort();
  assertEquals(offered(""), [...known.keys()].sort());
  for (const [name, options] of known) {
    assertEquals(offered(name, "--"), options);
  }
  assertEquals(offered("list", "-q", "--js"), ["--json"]);
  assertEquals(offered("umount", "--", "--"), [""]);
}, { commands: ["bash"] });

programTest("completions zsh has options for every subcommand", () => {
  install("zsh");
  const names = [...subcommands().keys()];
  assertEquals(
    type(
      "zsh",
      SETUP.zsh,
      names.map((name) => `mountat ${name} --vers\t`),
    ),
    names.map((name) => [name, "--version"]),
  );
}, { commands: ["script", "zsh"] });

programTest("completions fish offers what it should", () => {
  prepare();
  const script = install("fish");
  const known = subcommands();
  const lines = [
    "mountat ",
    ...[...known.keys()].map((name) => `mountat ${name} --`),
    "mountat umo",
    "mountat -q umo",
    "mountat my",
    "mountat umount ro",
    "mountat umount root ",
    "mountat umount -l --strategy mtab root pr",
    "mountat umount ~/../root pr",
    "mountat umount --strategy=su",
    "mountat umount --strategy w",
    "mountat mount -t tmpf",
    "mountat mount -o size=1m,nosy",
    "mountat mount -osize=1m,nosy",
    "mountat list -t proc,tmpf",
    "mountat mount --options=ro,nosu",
    "mountat mount -t tmpfs root us",
    "mountat bind conf",
    "mountat bind config.json root us",
    "mountat apply --oci conf",
    "mountat apply --oci config.json my",
    "mountat completions ",
    "mountat umount root proc my",
    "mountat relative-unmount my",
    "mountat umount -- --",
  ];
  const all = lines.map((line) =>
    `complete -C '${line}' | string split -f 1 \\t; echo .`
  );
  const output = shell(
    ["fish", "--no-config"],
    [`source ${script}`, ...all].join("\n"),
  );
  const offered = new Map(
    output.split(/^\.\n/m).map((text, i) => [
      lines[i],
      text.trimEnd().split("\n").sort(),
    ]),
  );
  const offers = (line: string, expected: string[]) =>
    assertEquals(offered.get(line), expected, line);
  assertEquals(
    offered.get("mountat ")!.filter((name) => !name.endsWith("/")),
    [...known.keys()].sort(),
  );
  for (const [name, options] of known) offers(`mountat ${name} --`, options);
  offers("mountat umo", ["umount"]);
  offers("mountat -q umo", ["umount"]);
  offers("mountat my", ["my dir/"]);
  offers("mountat umount ro", ["root/"]);
  offers("mountat umount root ", [...MOUNTED].sort());
  offers("mountat umount -l --strategy mtab root pr", ["proc"]);
  offers("mountat umount ~/../root pr", ["proc"]);
  offers("mountat umount --strategy=su", ["--strategy=subprocess"]);
  offers("mountat umount --strategy w", ["worker"]);
  offers("mountat mount -t tmpf", ["tmpfs"]);
  offers("mountat mount -o size=1m,nosy", ["size=1m,nosymfollow"]);
  offers("mountat mount -osize=1m,nosy", ["-osize=1m,nosymfollow"]);
  offers("mountat list -t proc,tmpf", ["proc,tmpfs"]);
  offers("mountat mount --options=ro,nosu", ["--options=ro,nosuid"]);
  offers("mountat mount -t tmpfs root us", ["usr local"]);
  offers("mountat bind conf", ["config.json"]);
  offers("mountat bind config.json root us", ["usr local"]);
  offers("mountat apply --oci conf", ["config.json"]);
  offers("mountat apply --oci config.json my", ["my dir/"]);
  offers("mountat completions ", ["bash", "fish", "zsh"]);
  offers("mountat umount root proc my", [""]);
  offers("mountat relative-unmount my", [""]);
  offers("mountat umount -- --", [""]);
  cleanUp();
}, { commands: ["fish"] });

/** A subcommand with a command line of somebody else's in it. */
const WRAPPER: CommandDescription = {
  name: "wrap",
  synopsis: ["wrap [options] <root> <command> [argument...]"],
  summary: "It's [a] wrapper: 'x' \\ $y",
  beforeCommand: 1,
  options: {
    level: {
      short: "l",
      value: "n",
      choices: ["low", "high"],
      help: "a:[b]'c",
    },
    only: { help: "$(x) \\ `y`" },
  },
  examples: [],
};

const WRAPPED: [line: string, args: string[]][] = [
  ["mountat wrap --on\tro\t ls", ["wrap", "--only", "root", "ls"]],
  ["mountat wrap --on\t-l hi\troot", ["wrap", "--only", "-l", "high", "root"]],
  ["mountat wrap root ls --on\t", ["wrap", "root", "ls", "--on"]],
  ["mountat wrap root ls -l hi\t", ["wrap", "root", "ls", "-l", "hi"]],
  ["mountat wrap -- ro\t --on\t", ["wrap", "--", "root", "--on"]],
];

for (
  const [name, format] of [["bash", formatBash], ["zsh", formatZsh]] as const
) {
  programTest(`completions ${name} leaves a command its options`, () => {
    Deno.mkdirSync(`${SCRATCH}/root`);
    write(name, format([toSubcommand(WRAPPER)]));
    const calls = type(name, SETUP[name], WRAPPED.map(([line]) => line));
    WRAPPED.forEach(([line, args], i) =>
      assertEquals(calls[i]!.map((arg) => arg.replace(/\/$/, "")), args, line)
    );
  }, { commands: ["script", name] });
}

programTest("completions fish leaves a command its options", () => {
  Deno.mkdirSync(`${SCRATCH}/root`);
  const script = write("fish", formatFish([toSubcommand(WRAPPER)]));
  const lines = [
    "mountat wrap --on",
    "mountat wrap root --on",
    "mountat wrap root -l ",
    "mountat wrap root ls --on",
    "mountat wrap -l high ro",
    "mountat wr",
  ].map((line) => `complete -C '${line}'`);
  assertEquals(
    shell(["fish", "--no-config"], [`source ${script}`, ...lines].join("\n")),
    [
      "--only\t$(x) \\ `y`",
      "--only\t$(x) \\ `y`",
      "high\ta:[b]'c",
      "low\ta:[b]'c",
      "root/\tDirectory",
      `wrap\t${WRAPPER.summary}`,
      "",
    ].join("\n"),
  );
}, { commands: ["fish"] });

programTest("completions knows three shells", () => {
  const { code, stdout, stderr } = run(["completions", "fihs"]);
  assertEquals([code, stdout], [1, ""]);
  assertMatch(
    stderr,
    /not for "fihs"; did you mean "fish"\?\nTry 'mountat completions --help'/,
  );
});
