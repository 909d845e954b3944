/** The examples that help has, each run where it does what it says. */
import {
  commandLine,
  programTest,
  run,
  shellCommand,
} from "../support/program.ts";
import { assert, assertEquals } from "@std/assert";
import { mountsBelow, SCRATCH } from "../support/testing.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";

/** What is around an example, in words of bash. */
interface Stage {
  /** What must be there. */
  before?: string;
  /** What must be so while it waits: then it is interrupted. */
  during?: string;
  /** What must be so afterwards; and it cleans up. */
  after?: string;
}

const MOUNTED = "test -d /srv/root/proc/self && test -d /srv/root/sys/kernel";

const TMPFS = "mkdir -p tmp; mount -t tmpfs none /srv/root/tmp";

const STAGES: Record<string, Stage> = {
  "mountat /srv/root 10": { during: MOUNTED },
  "mountat /srv/root 60": { during: MOUNTED },
  "mountat bb_mounter /srv/root 60": {
    during: "test -c dev/zero && test -d proc/self && mountpoint -q run",
  },
  "mountat runner --build-directory /srv/build --listen /srv/run/socket": {
    before: "mkdir -p /srv/build /srv/run",
    during: "test -S /srv/run/socket",
    after: "not test -e /srv/run/socket; rm -r /srv/build /srv/run",
  },
  "mountat runner --check-config --config /srv/bb_runner.json": {
    before: `echo '{ "buildDirectoryPath": "/b", "grpcServers":
        [{ "listenPaths": ["/s"] }] }' > /srv/bb_runner.json`,
    after: "grep '^Valid$' output; rm /srv/bb_runner.json",
  },
  "mountat relative-mount /srv/root proc": {
    after: "test -d proc/self; umount proc",
  },
  "mountat relative-unmount 3 proc 3< /srv/root": {
    before: "mkdir proc; mount -t proc proc proc",
    after: "not mountpoint -q proc",
  },
  "mountat mount -t tmpfs --mkdir /srv/root tmp": {
    after: "mountpoint -q tmp; umount tmp",
  },
  "mountat mount -t tmpfs -o nosuid,size=64m --mkdir /srv/root tmp": {
    after: "findmnt -n -o OPTIONS tmp | grep nosuid.*size=65536k; umount tmp",
  },
  "mountat bind --recursive --read-only /usr /srv/root usr": {
    before: "mkdir usr",
    after: "test -d usr/bin; not touch usr/x; umount -R usr",
  },
  "mountat bind -o X-mount.idmap=0:1000:1 /srv/data /srv/root data": {
    before: "mkdir /srv/data data; touch /srv/data/file",
    after: `test $(stat -c %u:%g data/file) = 1000:1000
      umount data; rm -r /srv/data`,
  },
  "mountat remount -o ro,size=1g /srv/root tmp": {
    before: TMPFS,
    after: `findmnt -n -o VFS-OPTIONS tmp | grep ^ro
      findmnt -n -o FS-OPTIONS tmp | grep size=1048576k; umount tmp`,
  },
  "mountat remount --make-rslave /srv/root .": {
    before: `mount --bind /srv/root /srv/root; cd /srv/root
      mount --make-shared .; mkdir /srv/copy; mount --bind . /srv/copy`,
    after: `mkdir tmp; mount -t tmpfs none tmp; not mountpoint -q /srv/copy/tmp
      cd /; umount /srv/copy; umount -R /srv/root`,
  },
  "runc spec && mountat apply --oci config.json rootfs": {
    before: "mkdir rootfs",
    after: "test -d rootfs/proc/self; mountat umount -qR rootfs",
  },
  "mountat apply --fstab - /srv/root < fstab": {
    before: "mkdir tmp; echo tmpfs /tmp tmpfs > fstab",
    after: "mountpoint -q tmp; umount tmp",
  },
  "mountat move /srv/old /srv/new proc": {
    before: `mkdir -p /srv/{old,new}/proc; mount -t proc proc /srv/old/proc`,
    after: "not mountpoint -q /srv/old/proc; umount /srv/new/proc",
  },
  "mountat list /srv/root": {
    before: TMPFS,
    after: "grep ^/srv/root/tmp output; umount tmp",
  },
  "mountat list --json | jq '.filesystems[].target'": {
    after: `grep '^"/srv"$' output`,
  },
  "mountat list --tree -t nosysfs,proc,cgroup2 -o +PROPAGATION": {
    after: "grep PROPAGATION output; grep /srv output; not grep sysfs output",
  },
  "mountat list --watch --namespace $(pidof dockerd)": {
    before: `pidof() { echo $$; }; ${TMPFS}`,
    during: "umount tmp; mount -t tmpfs none tmp && grep /srv/root/tmp output",
    after: "umount tmp",
  },
  "mountat run /srv/root -- make test": {
    before: `mkdir bin; cp $(type -P busybox) bin/sh
      printf '#!/bin/sh\\necho "made $@"' > bin/make; chmod +x bin/make`,
    after: "grep 'made test' output",
  },
  "mountat run --tmpfs /tmp --bind /srv:/mnt:ro / sh -c 'ls /mnt'": {
    after: "grep root output",
  },
  "mountat umount /srv/root proc": {
    before: "mkdir proc; mount -t proc proc proc",
    after: "not mountpoint -q proc",
  },
  "mountat umount --recursive /srv/root": {
    before: `${TMPFS}; mkdir tmp/a; mount -t tmpfs none tmp/a`,
    after: "not mountpoint -q tmp",
  },
  "mountat sweep --dry-run": {},
  "mountat doctor": { after: "grep works output" },
  "mountat doctor /srv/root": { after: "grep /srv/root output" },
  "mountat doctor --json | jq .features": { after: "grep fsopen output" },
  "mountat doctor --report /srv/root > report.txt": {
    after: "grep TARGET report.txt",
  },
  "mountat completions bash > mountat.bash && . ./mountat.bash": {
    after: "complete -p mountat",
  },
  "mountat help umount": { after: "grep -e --recursive output" },
  "mountat help --man > mountat.1 && man ./mountat.1": {
    after: "grep SYNOPSIS output",
  },
};

/** The examples of a help text. */
function examplesIn(help: string): string[] {
  const [, text = ""] = help.split("\nExamples:\n");
  return [...text.matchAll(/^ {2}(\S.*)$/gm)].map(([, call]) => call!);
}

/** All examples, by the subcommand whose help has them. */
function examples(): Map<string, string[]> {
  const overview = run(["--help"]).stdout;
  const names = [...overview.matchAll(/^ {2}([a-z][\w-]+) {2,}\S/gm)]
    .map(([, name]) => name!);
  return new Map([
    ["", examplesIn(overview)],
    ...names.map((name): [string, string[]] => [
      name,
      examplesIn(run([name, "--help"]).stdout),
    ]),
  ]);
}

/** Runs an example in /srv/root, which is empty. */
function perform(call: string, { before, during, after }: Stage): void {
  const command = shellCommand(commandLine([], { permissions: ["-A"] }));
  const script = `
    exec 2>&1 9>&1
    BASH_XTRACEFD=9
    mountat() { ${command} "$@"; }
    mkdir /srv/root; cd /srv/root
    not() { if "$@"; then return 1; fi; }
    set -exo pipefail
    ${before ?? ""}
    ${
    during === undefined
      ? `
      if ! { ${call}; } > output 2> messages; then cat messages; exit 1; fi
      test ! -s messages || { cat messages; exit 1; }
      rm messages`
      : `
      mountat() { exec ${command} "$@"; }
      ${call} > output & program=$!
      set +x
      until ${during}; do kill -0 $program; done
      kill -INT $program
      status=0; wait $program || status=$?; test $status = 130`
  }
    ${after ?? ""}`;
  const { code, stdout } = new Deno.Command("bash", {
    args: ["-c", script],
    env: { NO_COLOR: "1", MANPAGER: "cat" },
    stdin: "null",
  }).outputSync();
  assertEquals(code, 0, `${call}\n${new TextDecoder().decode(stdout)}`);
  assertEquals(mountsBelow("/srv").length, 1, call);
}

programTest("help has examples, and each does what it says", () => {
  const found = examples();
  for (const [name, calls] of found) {
    assert(calls.length > 0, `${name} has no example`);
  }
  const calls = [...new Set([...found.values()].flat())];
  assertEquals(
    Object.keys(STAGES).filter((call) => !calls.includes(call)),
    [],
    "Stages without an example",
  );
  for (const call of calls) {
    const stage = STAGES[call];
    assert(stage !== undefined, `The example needs a stage: ${call}`);
    mount("srv", "/srv", "tmpfs", 0, null);
    try {
      perform(call, stage);
    } finally {
      umount2("/srv", 2);
    }
  }
}, {
  commands: ["bash", "busybox", "findmnt", "jq", "man", "mountpoint", "runc"],
});

programTest("help fits on 80 columns, and has the common options", () => {
  assertEquals(run(["help"]), run(["--help"]));
  assertEquals(run(["help", "list"]), run(["list", "--help"]));
  for (const name of examples().keys()) {
    const { code, stdout, stderr } = run(name === "" ? ["-h"] : [name, "-h"]);
    assertEquals([code, stderr], [0, ""], name);
    for (const line of stdout.split("\n")) assert(line.length <= 80, line);
    assert(stdout.startsWith("Usage: mountat "), name);
    for (const option of ["help", "json", "quiet", "trace", "version"]) {
      assert(stdout.includes(` --${option} `), `${name}: ${option}`);
    }
  }
  // It is not left to the directory of the tests.
  assertEquals([...Deno.readDirSync(SCRATCH)], []);
});
