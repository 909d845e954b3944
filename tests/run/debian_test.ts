/**
 * What people do in a Debian root, with apt-get and what it installs: `deno task
 * test:debian`. As root a test uses `run()`, as another user the program.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Directory } from "../../src/directory.ts";
import { run } from "../../src/run/run.ts";
import type { RunOptions } from "../../src/run/options.ts";
import {
  commandLine,
  type Ended,
  run as runProgram,
  shellCommand,
} from "../support/program.ts";
import { processesWith, text } from "../support/run_root.ts";
import { type Debian, debianTest } from "../support/debian.ts";
import { onTerminal } from "../support/terminal.ts";
import { SCRATCH } from "../support/testing.ts";

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** The user who is not root, and the options of the program for it. */
const BUILDER = { name: "builder", uid: 1000 };
const AS_BUILDER = [
  "--user",
  BUILDER.name,
  "--clear-env",
  `--env=PATH=${PATH}`,
];

const COMPILERS = [
  "gcc",
  "libc6-dev",
  "golang-go",
  "rustc",
  "default-jdk-headless",
  "python3",
];

const OTHERS = ["make", "gpg", "gpg-agent", "pinentry-tty", "openssh-client"];

/** Runs a command as root. */
async function asRoot(
  { root }: Debian,
  command: string[],
  options: RunOptions = {},
): Promise<Ended> {
  using opened = Directory.open(root);
  const { code, stdout, stderr } = await run(opened, command, {
    env: { PATH, HOME: "/root" },
    clearEnv: true,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    timeout: 600_000,
    ...options,
  });
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Runs a command as the other user. */
function asBuilder({ root }: Debian, command: string[]): Promise<Ended> {
  const args = ["run", ...AS_BUILDER, "--timeout=10m", root, "--", ...command];
  return Promise.resolve(runProgram(args));
}

/** One that gpg has nothing against. */
const PASSPHRASE = "7 words that nobody would ever guess";

const USERS = { root: asRoot, [BUILDER.name]: asBuilder };

/** What apt-get needs of the host: proxies of its environment, and names. */
function forApt({ archives, resolver }: Debian): RunOptions {
  const source = `${SCRATCH}/resolv.conf`;
  Deno.writeTextFileSync(source, resolver);
  return {
    clearEnv: false,
    env: { PATH, HOME: "/root", DEBIAN_FRONTEND: "noninteractive" },
    mounts: [
      { type: "bind", source, target: "etc/resolv.conf", options: "ro" },
      { type: "bind", source: archives, target: "var/cache/apt/archives" },
      { type: "tmpfs", target: "tmp", options: "mode=1777" },
    ],
  };
}

/** Installs packages by apt-get; gives what it said. */
async function install(
  debian: Debian,
  packages: string[],
  options: RunOptions = {},
): Promise<string> {
  const command = ["apt-get", "install", "--yes", "--no-install-recommends"];
  const { code, stdout, stderr } = await asRoot(
    debian,
    [...command, ...packages],
    { ...forApt(debian), ...options },
  );
  assertEquals(code, 0, stdout + stderr);
  return stdout + stderr;
}

let all: Promise<string> | undefined;

/** Installs everything, once. */
function installed(debian: Debian): Promise<string> {
  return all ??= installAll(debian);
}

async function installAll(debian: Debian): Promise<string> {
  const updated = await asRoot(debian, ["apt-get", "update"], forApt(debian));
  assertEquals(updated.code, 0, updated.stdout + updated.stderr);
  const said = await install(debian, [...COMPILERS, ...OTHERS]);
  const { name, uid } = BUILDER;
  const added = ["useradd", "--create-home", `--uid=${uid}`, name];
  assertEquals(await asRoot(debian, added), {
    code: 0,
    stdout: "",
    stderr: "",
  });
  return updated.stderr + said;
}

debianTest(
  "apt-get installs in a root without mount points",
  async (debian) => {
    const said = await installed(debian);
    assert(!/Read-only file system|cross-device|denied/.test(said), said);
    // The profile has the capabilities that it takes, too.
    const again = await install(debian, ["--reinstall", "dash", "make"], {
      profile: "strict",
    });
    assertMatch(again, /^Setting up make /m);
    // Each package is configured.
    const audit = await asRoot(debian, ["dpkg", "--audit"]);
    assertEquals(audit, { code: 0, stdout: "", stderr: "" });
  },
);

/** A program of each language, and how to build and run it. */
const LANGUAGES = {
  C: {
    file: "hello.c",
    source: `#include <stdio.h>
int main(void) { return puts("C") == EOF; }`,
    build: "gcc -o hello hello.c && ./hello",
  },
  Go: {
    file: "hello.go",
    source: `package main
import "fmt"
func main() { fmt.Println("Go") }`,
    build: "go build -o hello hello.go && ./hello",
  },
  Rust: {
    file: "hello.rs",
    source: 'fn main() { println!("Rust"); }',
    build: "rustc -o hello hello.rs && ./hello",
  },
  Java: {
    file: "Hello.java",
    source: `class Hello {
  public static void main(String[] args) { System.out.println("Java"); }
}`,
    build: "javac Hello.java && java -cp . Hello",
  },
  Python: {
    file: "hello.py",
    // It takes semaphores, in /dev/shm, and pipes between processes.
    source: `import multiprocessing
if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        print("".join(pool.map(chr, b"Python")))`,
    build: "python3 -m compileall -q hello.py && python3 hello.py",
  },
};

for (const [language, { file, source, build }] of Object.entries(LANGUAGES)) {
  for (const [user, runAs] of Object.entries(USERS)) {
    debianTest(
      `a program in ${language} is built and run by ${user}`,
      async (debian) => {
        await installed(debian);
        const script =
          'cd && mkdir "$1" && cd "$1" && printf %s "$3" > "$2" && eval "$4"';
        const ended = await runAs(debian, [
          ...["sh", "-c", script, "sh"],
          ...[language, file, source, build],
        ]);
        const expected = { code: 0, stdout: `${language}\n`, stderr: "" };
        assertEquals(ended, expected);
      },
    );
  }
}

for (const [user, runAs] of Object.entries(USERS)) {
  debianTest(`bash substitutes processes for ${user}`, async (debian) => {
    await installed(debian);
    // What it does not wait for ends with it.
    const script =
      "diff <(echo one; echo two) <(echo one); echo three > >(cat >&2); wait $!";
    assertEquals(await runAs(debian, ["bash", "-c", script]), {
      code: 0,
      stdout: "2d1\n< two\n",
      stderr: "three\n",
    });
  });

  debianTest(
    `gpg makes a key without a terminal for ${user}`,
    async (debian) => {
      await installed(debian);
      const script =
        `gpg --batch --quiet --passphrase '' --quick-generate-key me@here
      gpg --list-secret-keys --with-colons | grep -c ^sec
      echo signed | gpg --batch --quiet --sign | gpg --batch --quiet --decrypt 2>&1 | head -n 1`;
      const { code, stdout } = await runAs(debian, ["sh", "-c", script]);
      assertEquals([code, stdout], [0, "1\nsigned\n"]);
    },
  );

  debianTest(`programs ask ${user} at the terminal`, async (debian) => {
    await installed(debian);
    const options = user === BUILDER.name
      ? AS_BUILDER
      : ["--clear-env", `--env=PATH=${PATH}`, "--env=HOME=/root"];
    const words = commandLine(["run", ...options, "--tmpfs=/tmp", debian.root]);
    await onTerminal(
      `
     run() { ${shellCommand(words)} "$@"; echo "=$?"; }
     run sh -c 'tty; : < "$(tty)" && echo hello > "$(tty)"; id -un > /dev/tty'
     run script -qec 'tty; id -un' /dev/null
     run ssh-keygen -q -t ed25519 -f /tmp/key
     run sh -c 'GPG_TTY=$(tty) gpg --quiet --no-symkey-cache --output /tmp/secret --symmetric /etc/hostname'
    `,
      async (type, until) => {
        await until(`/dev/console\r\nhello\r\n${user}\r\n=0\r\n`);
        await until(`/dev/pts/0\r\n${user}\r\n=0\r\n`);
        for (const _ of ["a passphrase", "the same"]) {
          await until("passphrase");
          await until(": ");
          await type(`${PASSPHRASE}\r`);
        }
        await until("=0\r\n");
        for (const prompt of ["Passphrase: ", "Repeat: "]) {
          await until(prompt);
          await type(`${PASSPHRASE}\r`);
        }
        await until("=0\r\n");
      },
    );
  }, { commands: ["script", "bash"] });
}

/**
 * A makefile whose targets, a1 and a2, and b1 and b2, wait for each other, for
 * ten seconds: one at a time none of them is made.
 */
const MUTUAL = `a1 a2 b1 b2:
	@touch $@; other=$(if $(filter %1,$@),$(@:1=2),$(@:2=1)); \\
	for i in $$(seq 1000); do [ -e $$other ] && echo $@ && exit; sleep 0.01; done; exit 1
`;

for (const [user, runAs] of Object.entries(USERS)) {
  debianTest(
    `make builds several targets at a time for ${user}`,
    async (debian) => {
      await installed(debian);
      const script = `cd && rm -rf make && mkdir make && cd make
      printf '%s' "$1" > mutual.mk
      printf 'all:\\n\\t+@$(MAKE) -s -f mutual.mk a1 a2\\n' > Makefile
      for style in fifo pipe; do make -s -j2 --jobserver-style=$style && rm a?; done`;
      const { code, stdout, stderr } = await runAs(debian, [
        "sh",
        "-c",
        script,
        "sh",
        MUTUAL,
      ]);
      assertEquals([code, stderr], [0, ""]);
      assertEquals(stdout.split("\n").sort(), ["", "a1", "a1", "a2", "a2"]);
    },
  );
}

debianTest(
  "--pass-fd lets make share the jobs of a make outside",
  async (debian) => {
    await installed(debian);
    const work = `${SCRATCH}/work`;
    Deno.mkdirSync(work);
    Deno.writeTextFileSync(`${work}/mutual.mk`, MUTUAL);
    const words = shellCommand(commandLine(["run", `--bind=${work}:/mnt`]));
    const command = shellCommand([
      debian.root,
      "make",
      "-s",
      "-C",
      "/mnt",
      "-f",
      "mutual.mk",
    ]);
    Deno.writeTextFileSync(
      `${SCRATCH}/Makefile`,
      `all: a b
a b:
	+@fds='$(patsubst --jobserver-auth=%,%,$(filter --jobserver-auth=%,$(MAKEFLAGS)))'; \\
	${words} --pass-fd "$\${fds%,*}" --pass-fd "$\${fds#*,}" ${command} $@1 $@2
`,
    );
    const help = new Deno.Command("make", { args: ["--help"] }).outputSync();
    const style = text.decode(help.stdout).includes("--jobserver-style")
      ? ["--jobserver-style=pipe"]
      : [];
    const { code, stdout, stderr } = new Deno.Command("make", {
      args: ["-s", "-j3", ...style, "-C", SCRATCH],
      env: { NO_COLOR: "1", PATH: `${Deno.env.get("PATH")}:${PATH}` },
      stdin: "null",
    }).outputSync();
    assertEquals([code, text.decode(stderr)], [0, ""]);
    const made = text.decode(stdout).split("\n").sort();
    assertEquals(made, ["", "a1", "a2", "b1", "b2"]);
  },
  { commands: ["make"] },
);

/** A shell in the root that tells how much it sees, each time it is asked. */
interface Guest {
  /** What it sees of /proc: how many processes. */
  ask(): Promise<string>;
  /** Ends it; gives its exit status. */
  end(): Promise<number>;
}

const MARK = crypto.randomUUID();

const GUEST = "while read -r _; do set -- /proc/[0-9]*; echo $#; done; exit 7";

function guestOf(
  input: WritableStream<Uint8Array>,
  output: ReadableStream<Uint8Array>,
  code: Promise<number>,
): Guest {
  const writer = input.getWriter();
  const reader = output.getReader();
  return {
    async ask() {
      await writer.write(new TextEncoder().encode("\n"));
      const { value } = await reader.read();
      return text.decode(value);
    },
    async end() {
      await writer.close();
      while (!(await reader.read()).done);
      return await code;
    },
  };
}

function guestByProgram({ root }: Debian): Guest {
  const args = ["run", root, "--", "sh", "-c", GUEST, MARK];
  const [command, ...rest] = commandLine(args);
  const process = new Deno.Command(command!, {
    args: rest,
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const code = process.status.then(({ code }) => code);
  return guestOf(process.stdin, process.stdout, code);
}

function guestByLibrary(root: Directory): Guest {
  const input = new TransformStream<Uint8Array, Uint8Array>();
  const output = new TransformStream<Uint8Array, Uint8Array>();
  const code = run(root, ["sh", "-c", GUEST, MARK], {
    stdin: input.readable,
    stdout: output.writable,
  }).then(({ code }) => code);
  return guestOf(input.writable, output.readable, code);
}

debianTest(
  "eight at once in a root keep their /proc, and leave nothing",
  async (debian) => {
    using root = Directory.open(debian.root);
    const guests = Array.from(
      { length: 8 },
      (_, i) => i % 2 === 0 ? guestByLibrary(root) : guestByProgram(debian),
    );
    const all = () => Promise.all(guests.map((guest) => guest.ask()));
    assertEquals(await all(), guests.map(() => "2\n"));
    // Neither in the order of their start, nor all of one kind first.
    for (const index of [3, 0, 1, 4, 0, 1, 1, 0]) {
      const [guest] = guests.splice(index, 1);
      assertEquals(await guest!.end(), 7);
      assertEquals(await all(), guests.map(() => "2\n"));
    }
    assertEquals(processesWith(MARK), []);
  },
);
