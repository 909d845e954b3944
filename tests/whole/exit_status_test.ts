/** The exit status of each subcommand says what is so when it has ended. */
import { assertEquals, assertMatch } from "@std/assert";
import { commandLine, type Ended, shellCommand } from "../support/program.ts";
import { type Fault, faultEnvironment } from "../support/faults.ts";
import { mountsBelow, SCRATCH } from "../support/testing.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { recordingTest, recordName, RECORDS } from "../support/records.ts";

/** A job in the scratch directory, what goes wrong, and what is then so. */
interface Row {
  /** What is wrong. */
  readonly name: string;
  /** A script of bash; `mountat` is the program. */
  readonly script: string;
  /** A call of the program that fails. */
  readonly fault?: Fault;
  readonly code: number;
  /** The mounts that are there at the end, below the scratch directory. */
  readonly mounts: readonly string[];
  /** What stdout and stderr must say. */
  readonly stdout?: RegExp;
  readonly stderr?: RegExp;
}

const FULL = /Cannot write to standard output: ENOSPC/;

const FSTAB = `printf 'none /tmp tmpfs\\nnone /other tmpfs\\n' > fstab
  mkdir -p root/tmp root/other`;

const TWO = `mkdir -p root/tmp root/other
  mount -t tmpfs none root/tmp; mount -t tmpfs none root/other`;

const ROWS: readonly Row[] = [
  {
    name: "the main job can't say what it does",
    script: "mountat root 0 > /dev/full",
    code: 1,
    mounts: [],
    stderr: FULL,
  },
  {
    name: "bb_mounter can't say what it does",
    script: "mountat bb_mounter root 0 > /dev/full",
    code: 1,
    mounts: [],
    stderr: FULL,
  },
  {
    name: "bb_mounter can't remove a directory that it made",
    script: "mountat bb_mounter root 0",
    fault: { call: "unlinkat", when: 1, code: "EBUSY" },
    code: 32,
    mounts: [],
    stderr: /Cannot remove "\/.*\/root\/\w+\/?\w*": unlinkat: EBUSY/,
  },
  {
    name: "apply can't say what it mounted",
    script: `${FSTAB}; mountat apply --fstab fstab root > /dev/full`,
    code: 1,
    mounts: [],
    stderr: FULL,
  },
  {
    name: "nobody reads what apply mounted",
    script: `${FSTAB}; mkfifo gate
      { read _ < gate; mountat apply --fstab fstab root; echo $? > status; } |
        { exec < /dev/null; echo > gate; }
      exit $(cat status)`,
    code: 0,
    mounts: ["root/tmp", "root/other"],
  },
  {
    name: "apply can't mount one of two",
    script: `${FSTAB}; rmdir root/other; mountat apply --fstab fstab root`,
    code: 32,
    mounts: [],
    stderr: /"other" does not exist/,
  },
  {
    name: "umount --recursive can't list a second time",
    script: `${TWO}; mountat umount -R root`,
    fault: { call: "listmount", when: 2, from: true, code: "EIO" },
    code: 64,
    mounts: [],
    stdout: /Unmounted "other"\.\nUnmounted "tmp"\./,
    stderr: /listmount: EIO/,
  },
  {
    name: "umount --recursive can't list at all",
    script: `${TWO}; mountat umount -R root`,
    fault: { call: "listmount", when: 1, from: true, code: "EIO" },
    code: 32,
    mounts: ["root/tmp", "root/other"],
    stderr: /listmount: EIO/,
  },
  {
    name: "umount --recursive can't unmount one of two",
    script: `${TWO}; cd root/tmp; mountat umount -R ../../root`,
    code: 64,
    mounts: ["root/tmp"],
    stdout: /Unmounted "other"/,
    stderr: /EBUSY/,
  },
  {
    name: "sweep can't read a record",
    script:
      `mkdir -p -m 700 ${RECORDS}; (umask 077; echo nonsense > ${RECORDS}/${
        recordName(1)
      }); mountat sweep`,
    code: 32,
    mounts: [],
    stderr: /Ignored ".*": /,
  },
  {
    name: "list can't print",
    script: "mountat list > /dev/full",
    code: 1,
    mounts: [],
    stderr: FULL,
  },
];

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
    args: ["-c", `mountat() { ${program} "$@"; }\n${script}`],
    cwd: SCRATCH,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).outputSync();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

for (const row of ROWS) {
  recordingTest(`the exit status is ${row.code} where ${row.name}`, () => {
    mount("none", SCRATCH, "tmpfs", 0, null);
    try {
      const { code, stdout, stderr } = runScript(row);
      assertEquals(code, row.code, stdout + stderr);
      if (row.stdout !== undefined) assertMatch(stdout, row.stdout);
      assertMatch(stderr, row.stderr ?? /^$/);
      const found = mountsBelow(SCRATCH).slice(2)
        .map((line) => line.split(" ")[4]!.slice(SCRATCH.length + 1));
      assertEquals(found, row.mounts);
    } finally {
      umount2(SCRATCH, 2);
    }
  }, { commands: ["bash", "cc", "mkfifo"] });
}
