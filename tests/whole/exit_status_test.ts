/**
 * The exit status of each subcommand says what is so when it has ended: a row of
 * the table in docs/errors.md, or several, is a test.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { commandLine, type Ended, shellCommand } from "../support/program.ts";
import { type Fault, faultEnvironment } from "../support/faults.ts";
import { mountsBelow, readTest, ROOT, SCRATCH } from "../support/testing.ts";
import { makeRoot } from "../support/run_root.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { MNT_DETACH } from "../../src/sys/constants.ts";
import { recordingTest, recordName, RECORDS } from "../support/records.ts";

/** A job in the scratch directory, what goes wrong, and what is then so. */
interface Row {
  /** The subcommand; the main job is "". */
  readonly command: string;
  /** What is wrong. */
  readonly name: string;
  /** A script of bash; `mountat` is the program, and `start` becomes it. */
  readonly script: string;
  /** A call of the program that fails. */
  readonly fault?: Fault;
  readonly code: number;
  /** The mounts that are there at the end, below the scratch directory. */
  readonly mounts?: readonly string[];
  /** What stdout and stderr must say. */
  readonly stdout?: RegExp;
  readonly stderr?: RegExp;
}

const FULL = /Cannot write to standard output: ENOSPC/;

const USAGE = /^mountat: .*\nTry 'mountat ?[\w-]* --help'\.\n$/s;

const FSTAB = `printf 'none /tmp tmpfs\\nnone /other tmpfs\\n' > fstab
  mkdir -p root/tmp root/other`;

const TWO = `mkdir -p root/tmp root/other
  mount -t tmpfs none root/tmp; mount -t tmpfs none root/other`;

const BOTH = ["root/tmp", "root/other"];

/** No mount is made, or attached: the kernel refuses. */
const FAILS: Fault = { call: "move_mount", when: 1, code: "EIO" };

/** The caller may not. */
const FORBIDDEN: Fault = { ...FAILS, code: "EPERM" };

const FAILED = /EIO/;

/** What ends with a signal, once it has said that it is at work. */
function until(signal: string, args: string, stream = ""): string {
  return `mkfifo gate; exec 9<> gate; start ${args} ${stream}> gate & pid=$!
    read line <&9; kill -${signal} $pid; wait $pid`;
}

const EPERM = /EPERM/;

const NOTHING = /^$/;

const ROWS: readonly Row[] = [
  {
    command: "",
    name: "all is done and undone",
    script: "mountat -q root 0",
    code: 0,
  },
  {
    command: "",
    name: "the delay makes no sense",
    script: "mountat root soon",
    code: 1,
    stderr: USAGE,
  },
  {
    command: "",
    name: "nothing can be mounted",
    script: "mountat root 0",
    fault: FAILS,
    code: 1,
    stderr: FAILED,
  },
  {
    command: "",
    name: "it can't say what it does",
    script: "mountat root 0 > /dev/full",
    code: 1,
    stderr: FULL,
  },
  {
    command: "",
    name: "SIGTERM ends the delay",
    script: until("TERM", "root 1000"),
    code: 143,
  },
  {
    command: "bb_mounter",
    name: "all is done and undone",
    script: "mkdir root; mountat bb_mounter -q root 0",
    code: 0,
  },
  {
    command: "bb_mounter",
    name: "the directory is missing from the words",
    script: "mountat bb_mounter",
    code: 1,
    stderr: USAGE,
  },
  {
    command: "bb_mounter",
    name: "it can't say what it does",
    script: "mountat bb_mounter root 0 > /dev/full",
    code: 1,
    stderr: FULL,
  },
  {
    command: "bb_mounter",
    name: "a directory that it made can't be removed",
    script: "mountat bb_mounter root 0",
    fault: { call: "unlinkat", when: 1, code: "EBUSY" },
    code: 32,
    stderr: /Cannot remove "\/.*\/root\/\w+\/?\w*": unlinkat: EBUSY/,
  },
  {
    command: "bb_mounter",
    name: "one of several can't be unmounted",
    script: "mountat bb_mounter root 0",
    fault: { call: "umount2", when: 1, code: "EBUSY" },
    code: 64,
    mounts: ["root/dev/zero"],
    stderr: /umount2: EBUSY/,
  },
  {
    command: "bb_mounter",
    name: "SIGTERM ends the delay",
    script: `mkdir root; ${until("TERM", "bb_mounter root 1000")}`,
    code: 143,
  },
  ...["mount -t tmpfs", "bind src"].flatMap((words): Row[] => {
    const [command] = words.split(" ");
    const before = "mkdir -p src root/tmp;";
    return [
      {
        command: command!,
        name: "it is done",
        script: `${before} mountat ${words} root tmp`,
        code: 0,
        mounts: ["root/tmp"],
      },
      {
        command: command!,
        name: "nobody reads what it prints",
        script: `${before} mkfifo gate
          { read _ < gate; mountat ${words} --json root tmp; echo $? > status; } |
            { exec < /dev/null; echo > gate; }
          exit $(cat status)`,
        code: 0,
        mounts: ["root/tmp"],
      },
      {
        command: command!,
        name: "an option is unknown",
        script: `mountat ${words} --nosuch root tmp`,
        code: 1,
        stderr: USAGE,
      },
      {
        command: command!,
        name: "it is not permitted",
        script: `${before} mountat ${words} root tmp`,
        fault: FORBIDDEN,
        code: 1,
        stderr: EPERM,
      },
      {
        command: command!,
        name: "it can't say what it did",
        script: `${before} mountat ${words} --json root tmp > /dev/full`,
        code: 1,
        stderr: FULL,
      },
      {
        command: command!,
        name: "it fails",
        script: `${before} mountat ${words} root tmp`,
        fault: FAILS,
        code: 32,
        stderr: FAILED,
      },
    ];
  }),
  ...([
    ["it is done", 0, undefined],
    ["it is not permitted", 1, "EPERM"],
    ["it fails", 32, "EIO"],
  ] as const).map(([name, code, error]): Row => ({
    command: "remount",
    name,
    script: `${TWO}; mountat remount -o ro root tmp
      code=$?; grep -q "root/tmp r$([ $code = 0 ] && echo o || echo w)," /proc/self/mountinfo &&
        exit $code`,
    ...error === undefined
      ? {}
      : { fault: { call: "mount_setattr", when: 1, code: error } },
    code,
    mounts: BOTH,
    stderr: error === undefined ? NOTHING : new RegExp(error),
  })),
  ...([
    ["it is done", 0, undefined, ["root/other", "new/tmp"], NOTHING],
    ["it is not permitted", 1, FORBIDDEN, BOTH, EPERM],
    ["it fails", 32, FAILS, BOTH, FAILED],
  ] as const).map(([name, code, fault, mounts, stderr]): Row => ({
    command: "move",
    name,
    script: `${TWO}; mkdir -p new/tmp; mountat move -q root new tmp`,
    ...fault === undefined ? {} : { fault },
    code,
    mounts,
    stderr,
  })),
  {
    command: "move",
    name: "it can't say what it did",
    script: `${TWO}; mkdir -p new/tmp; mountat move root new tmp > /dev/full`,
    code: 1,
    mounts: ["root/other", "new/tmp"],
    stderr: FULL,
  },
  {
    command: "umount",
    name: "all is unmounted",
    script: `${TWO}; mountat umount -qR root`,
    code: 0,
  },
  {
    command: "umount",
    name: "nobody reads, and all is unmounted",
    script: `${TWO}; mkfifo gate
      { read _ < gate; mountat umount -R root; echo $? > status; } |
        { exec < /dev/null; echo > gate; }
      exit $(cat status)`,
    code: 0,
  },
  {
    command: "umount",
    name: "the name is missing",
    script: `mountat umount root`,
    code: 1,
    stderr: USAGE,
  },
  {
    command: "umount",
    name: "it is not permitted",
    script: `${TWO}; mountat umount root tmp`,
    fault: { call: "umount2", when: 1, from: true, code: "EPERM" },
    code: 1,
    mounts: BOTH,
    stderr: EPERM,
  },
  {
    command: "umount",
    name: "it can't say what it did",
    script: `${TWO}; mountat umount -R root > /dev/full`,
    code: 1,
    stderr: FULL,
  },
  {
    command: "umount",
    name: "--recursive can't list at all",
    script: `${TWO}; mountat umount -R root`,
    fault: { call: "listmount", when: 1, from: true, code: "EIO" },
    code: 32,
    mounts: BOTH,
    stderr: /listmount: EIO/,
  },
  {
    command: "umount",
    name: "nothing is mounted there",
    script: `mkdir -p root/tmp; mountat umount root tmp`,
    code: 32,
    stderr: /EINVAL/,
  },
  {
    command: "umount",
    name: "--recursive can't list a second time",
    script: `${TWO}; mountat umount -R root`,
    fault: { call: "listmount", when: 2, from: true, code: "EIO" },
    code: 64,
    stdout: /Unmounted "other"\.\nUnmounted "tmp"\./,
    stderr: /listmount: EIO/,
  },
  {
    command: "umount",
    name: "--recursive can't unmount one of two",
    script: `${TWO}; cd root/tmp; mountat umount -R ../../root`,
    code: 64,
    mounts: ["root/tmp"],
    stdout: /Unmounted "other"/,
    stderr: /EBUSY/,
  },
  {
    command: "umount",
    name: "--recursive can neither unmount one of two nor say so",
    script: `${TWO}; cd root/tmp; mountat umount -R ../../root > /dev/full`,
    code: 64,
    mounts: ["root/tmp"],
    stderr: /EBUSY[^]*Cannot write to standard output: ENOSPC/,
  },
  {
    command: "umount",
    name: "--recursive can't unmount one of two, and nobody reads",
    script: `${TWO}; mkfifo gate
      { read _ < gate; cd root/tmp; mountat umount -R ../../root
        echo $? > ../../status; } | { exec < /dev/null; echo > gate; }
      exit $(cat status)`,
    code: 64,
    mounts: ["root/tmp"],
    stderr: /EBUSY/,
  },
  {
    command: "apply",
    name: "all is mounted",
    script: `${FSTAB}; mountat apply -q --fstab fstab root`,
    code: 0,
    mounts: BOTH,
  },
  {
    command: "apply",
    name: "nobody reads what it mounted",
    script: `${FSTAB}; mkfifo gate
      { read _ < gate; mountat apply --fstab fstab root; echo $? > status; } |
        { exec < /dev/null; echo > gate; }
      exit $(cat status)`,
    code: 0,
    mounts: BOTH,
  },
  {
    command: "apply",
    name: "the file is missing",
    script: "mkdir root; mountat apply --fstab fstab root",
    code: 1,
    stderr: /Cannot read "fstab": openat2: ENOENT/,
  },
  {
    command: "apply",
    name: "it can't say what it mounted",
    script: `${FSTAB}; mountat apply --fstab fstab root > /dev/full`,
    code: 1,
    stderr: FULL,
  },
  {
    command: "apply",
    name: "one of two can't be mounted",
    script: `${FSTAB}; rmdir root/other; mountat apply --fstab fstab root`,
    code: 32,
    stderr: /"other" does not exist/,
  },
  {
    command: "apply",
    name: "SIGTERM ends --hold",
    script: `${FSTAB}; ${until("TERM", "apply --hold --fstab fstab root")}`,
    code: 143,
  },
  {
    command: "list",
    name: "it lists",
    script: `${TWO}; mountat list root > list; grep -c root list`,
    code: 0,
    mounts: BOTH,
    stdout: /2/,
  },
  {
    command: "list",
    name: "the kernel does not tell",
    script: `${TWO}; mountat list root`,
    fault: { call: "listmount", when: 1, from: true, code: "EIO" },
    code: 1,
    mounts: BOTH,
    stderr: /listmount: EIO/,
  },
  {
    command: "list",
    name: "it can't print",
    script: "mountat list > /dev/full",
    code: 1,
    stderr: FULL,
  },
  {
    command: "sweep",
    name: "nothing is left",
    script: "mountat sweep",
    code: 0,
  },
  {
    command: "sweep",
    name: "an argument is too much",
    script: "mountat sweep all",
    code: 1,
    stderr: USAGE,
  },
  {
    command: "sweep",
    name: "it can't say what it did",
    script: "mountat sweep --json > /dev/full",
    code: 1,
    stderr: FULL,
  },
  {
    command: "sweep",
    name: "it can't read a record",
    script:
      `mkdir -p -m 700 ${RECORDS}; (umask 077; echo nonsense > ${RECORDS}/${
        recordName(1)
      }); mountat sweep`,
    code: 32,
    stderr: /Ignored ".*": /,
  },
  {
    command: "sweep",
    name: "it can't read one of two records",
    script: `${FSTAB}
      mountat apply -q --fstab fstab root; (umask 077; echo nonsense > ${RECORDS}/${
      recordName(1)
    }); mountat sweep`,
    code: 64,
    stdout: /Unmounted/,
    stderr: /Ignored ".*": /,
  },
  ...["mountat", "mountat help", "mountat help --man", "mountat help run"].map((
    words,
  ): Row => ({
    command: "help",
    name: `"${words} --help" can't print`,
    script: `${words} --help > /dev/full`,
    code: 1,
    stderr: FULL,
  })),
  {
    command: "help",
    name: "it prints",
    script: "mountat help --man > man; mountat --version",
    code: 0,
    stdout: /^mountat /,
  },
  {
    command: "completions",
    name: "it prints",
    script: "mountat completions bash > bash; bash -n bash",
    code: 0,
  },
  {
    command: "completions",
    name: "it can't print",
    script: "mountat completions fish > /dev/full",
    code: 1,
    stderr: FULL,
  },
  {
    command: "doctor",
    name: "all that is needed is there",
    script: "mountat doctor > said",
    code: 0,
  },
  {
    command: "doctor",
    name: "it can't print",
    script: "mountat doctor > /dev/full",
    code: 1,
    stderr: FULL,
  },
  {
    command: "doctor",
    name: "nothing can be mounted",
    script: "mountat doctor > said",
    fault: { call: "fsopen", when: 1, from: true, code: "EPERM" },
    code: 1,
  },
  ...([
    ["it is done", 0, undefined, ["root/proc"], NOTHING],
    ["it is not permitted", 1, FORBIDDEN, [], EPERM],
    ["it fails", 32, FAILS, [], FAILED],
  ] as const).map(([name, code, fault, mounts, stderr]): Row => ({
    command: "relative-mount",
    name,
    script: "mkdir root; mountat relative-mount root proc",
    ...fault === undefined ? {} : { fault },
    code,
    mounts,
    stderr,
  })),
  ...([
    ["it is done", 0, "3 tmp", ["root/other"], NOTHING],
    ["nothing is mounted there", 1, "3 nosuch", BOTH, /ENOENT/],
    ["the descriptor is no number", 2, "root tmp", BOTH, /Failed to parse/],
  ] as const).map(([name, code, args, mounts, stderr]): Row => ({
    command: "relative-unmount",
    name,
    script: `${TWO}; mountat relative-unmount ${args} 3< root`,
    code,
    mounts,
    stderr,
  })),
  ...([
    ["the command succeeds", 0, "", "true", NOTHING],
    ["the command exits with 3", 3, "", "sh -c 'exit 3'", NOTHING],
    ["a signal ends the command", 143, "", "sh -c 'kill $$'", NOTHING],
    [
      "its time is over",
      124,
      "--timeout 0.1",
      "sleep 1000",
      /Ended by SIGTERM/,
    ],
    [
      "its time is over, and it ignores that",
      137,
      "--timeout 0.1 --kill-after 0.1",
      `sh -c 'trap "" TERM; echo; while :; do read -t 1000 x < /dev/zero; done'`,
      /Ended by SIGKILL/,
    ],
    ["an option makes no sense", 125, "--uid me", "true", USAGE],
    ["the command is a directory", 126, "", "/bin", /execve: EACCES/],
    ["there is no such command", 127, "", "nosuch", /execve: ENOENT/],
  ] as const).map(([name, code, options, words, stderr]): Row => ({
    command: "run",
    name,
    script:
      `PATH=/bin:$PATH mountat run ${options} ${SCRATCH}/busybox ${words} > said`,
    code,
    stderr,
  })),
  {
    command: "run",
    name: "its root can't be made",
    script: `mountat run ${SCRATCH}/busybox true`,
    fault: { call: "open_tree", when: 1, code: "EIO" },
    code: 125,
    stderr: FAILED,
  },
  {
    command: "run",
    name: "a mount point was made, and can't be used",
    script: `mountat run --tmpfs /tmp --tmpfs /tmp/in ${SCRATCH}/busybox true`,
    fault: { call: "fchmodat", when: 1, code: "EPERM" },
    code: 125,
    stderr: /fchmodat: EPERM/,
  },
  {
    command: "run",
    name: "--rootless fails before it has a user namespace",
    script: `mountat run --json --rootless ${SCRATCH}/busybox true`,
    fault: { call: "rt_sigaction", when: 1, code: "EIO" },
    code: 125,
    stdout: NOTHING,
    stderr: /^\{"error":.*EIO.*\nmountat: .*EIO/,
  },
  {
    command: "runner",
    name: "its socket's directory is missing",
    script: `mkdir build
      mountat runner --build-directory $PWD/build --listen $PWD/nowhere/socket`,
    code: 1,
    stderr: /ENOENT/,
  },
  ...([["TERM", 0], ["INT", 130]] as const).map(([signal, code]): Row => ({
    command: "runner",
    name: `SIG${signal} ends it`,
    script: `set -m; mkdir -m 700 build sockets; ${
      until(
        signal,
        "runner --build-directory $PWD/build --listen $PWD/sockets/socket",
        "2",
      )
    }`,
    code,
    // Of the shell, whose jobs are not started to ignore SIGINT then.
    stderr: /start runner/,
  })),
];

readTest("docs/errors.md tells of each exit status, and a test has it", () => {
  const table = Deno.readTextFileSync(`${ROOT}docs/errors.md`)
    .split("## By exit status")[1]!;
  const told = [...table.matchAll(/^\| (`[^|]*`) +\| ([^|]*?) +\|/gm)]
    .flatMap(([, commands, statuses]) =>
      commands!.replaceAll("`", "").split(", ").flatMap((command) =>
        statuses!.split(", ").map((status) => `${command}: ${status}`)
      )
    );
  const tested = ROWS.map(({ command, code }) => {
    const status = command === "run" && code < 10
      ? "the command's"
      : code > 128 && command !== "runner" && code !== 137
      ? "128 + signal"
      : String(code);
    return `${command || "DIRECTORY"}: ${status}`;
  });
  assertEquals([...new Set(told)].sort(), [...new Set(tested)].sort());
});

/** Runs a script in the scratch directory. */
function runScript({ script, fault }: Row): Ended {
  const environment = Object.entries(faultEnvironment(fault ?? null))
    .map(([name, value]) => `${name}=${value}`);
  const program = shellCommand(
    commandLine([], {
      permissions: ["-A"],
      wrapper: fault === undefined ? [] : ["env", ...environment],
    }),
  );
  const { code, stdout, stderr } = new Deno.Command("bash", {
    args: [
      "-c",
      `mountat() { ${program} "$@"; }
      start() { exec ${program} "$@"; }\n${script}`,
    ],
    cwd: SCRATCH,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).outputSync();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

for (const row of ROWS) {
  const { command, name } = row;
  const what =
    `the exit status of mountat ${command} is ${row.code} where ${name}`;
  recordingTest(what, () => {
    const before = mountsBelow(SCRATCH).length + 1;
    mount("none", SCRATCH, "tmpfs", 0, null);
    if (command === "run") makeRoot("busybox");
    try {
      const { code, stdout, stderr } = runScript(row);
      assertEquals(code, row.code, stdout + stderr);
      if (row.stdout !== undefined) assertMatch(stdout, row.stdout);
      assertMatch(stderr, row.stderr ?? NOTHING);
      const found = mountsBelow(SCRATCH).slice(before)
        .map((line) => line.split(" ")[4]!.slice(SCRATCH.length + 1));
      assertEquals(found.sort(), (row.mounts ?? []).toSorted());
    } finally {
      while (mountsBelow(SCRATCH).length >= before) {
        umount2(SCRATCH, MNT_DETACH);
      }
    }
  }, { commands: ["bash", "busybox", "cc", "mkfifo"] });
}
