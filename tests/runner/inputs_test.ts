/** Input files are hard links into the worker's cache: nothing may change them. */
import {
  Action,
  appears,
  BUILD,
  Client,
  RunnerProcess,
  runnerTest,
  SOCKET,
} from "./support.ts";
import { Directory } from "../../src/directory.ts";
import { programTest, run as runProgram } from "../support/program.ts";
import { mountsBelow, SCRATCH } from "../support/testing.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { processesWith } from "../support/run_root.ts";
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";

const OPTIONS = ["--build-directory", BUILD, "--listen", SOCKET];

/** A file in the worker's cache, and a link to it in an action's root. */
function link(action: Action, name: string, mode = 0o444): string {
  Deno.mkdirSync(`${BUILD}/cache`, { recursive: true });
  const cached = `${BUILD}/cache/${name.replaceAll("/", "-")}`;
  Deno.writeTextFileSync(cached, "#!/bin/sh\necho input\n");
  Deno.chmodSync(cached, mode);
  const path = `${action.root}/${name}`;
  Deno.mkdirSync(path.replace(/\/[^/]*$/, ""), { recursive: true });
  Deno.linkSync(cached, path);
  return cached;
}

/** All that is known of a file, but for when it was read. */
function state(path: string): unknown {
  const { ino, mode, uid, gid, nlink, size, mtime, ctime } = Deno.statSync(
    path,
  );
  return {
    ...{ ino, mode, uid, gid, nlink, size, mtime, ctime },
    text: Deno.readTextFileSync(path),
  };
}

/** What an action of root might do to an input. */
const CHANGES = [
  "echo x > $f",
  "echo x >> $f",
  "echo x 1<> $f",
  ": > $f",
  "dd if=/dev/zero of=$f bs=1 count=1 conv=notrunc",
  "chmod 777 $f",
  "chmod u+w $f && echo x > $f",
  "chown 0 $f",
  "chown 0:0 $f",
  "chown 0:0 $f; chmod u+w $f; echo x > $f",
  "chown 1234:1234 $f",
  "touch $f",
  "touch -d 1970-01-02 $f",
  "rm $f",
  "rm -f $f",
  "rm -rf ${f%/*}",
  "mv $f $f.new",
  "mv $f /tmp/moved",
  "ln $f $f.link",
  "cp /bin/busybox $f",
  "cp -f /bin/busybox $f",
];

/** What it might do to the machine, each of which must fail. */
const ATTACKS = [
  "ln $f /tmp/link",
  // By these, which are opened alone here, a command would have the host.
  ": >> /proc/sys/kernel/core_pattern",
  ": >> /proc/sysrq-trigger",
  ": >> /sys/kernel/uevent_helper",
  "umount /",
  "umount -l /",
  "umount -l /proc",
  "umount -l /tmp",
  "mount -o remount,rw /sys",
  "mount -o remount,bind,rw,dev /",
  "unshare -r sh -c 'chmod u+w $f && echo x > $f'",
  "unshare -rm sh -c 'mount -o remount,rw / && echo x > $f'",
  "mount -o remount,rw /",
  "mount -t tmpfs none /tmp",
  "mount -o bind / /tmp",
  "mknod /tmp/disk b $major $minor && dd if=/tmp/disk of=/dev/null count=1",
  "mknod /out/disk b $major $minor",
  // There are device nodes in it that work.
  "mknod /dev/disk b $major $minor",
];

/** What the attacks have for names. */
function variables(device: number): string {
  return `f=/src/deep/input major=${device >> 8} minor=${device & 0xff}`;
}

runnerTest("no action of root can change its inputs", async () => {
  await using _runner = await RunnerProcess.start();
  await using client = new Client();
  const action = new Action("1");
  const cached = link(action, "src/deep/input", 0o555);
  const before = state(cached);
  const device = Deno.statSync(cached).dev;
  for (const [i, attack] of [...CHANGES, ...ATTACKS].entries()) {
    const script = `${variables(device)}; ${attack}`;
    const stream = { stdoutPath: `1/out${i}`, stderrPath: `1/err${i}` };
    const { response } = await client.run(
      action.shell(
        `mkdir -p /out; (${script}); echo $?; cat $f /src/deep/input`,
        stream,
      ),
    );
    assertEquals(response.exitCode, "0");
    const [status, ...rest] = action.read(`out${i}`).split("\n");
    assert(status !== "0", attack);
    assertEquals(rest.join("\n"), "#!/bin/sh\necho input\n", attack);
    assertEquals(state(cached), before, attack);
  }
});

runnerTest(
  "an action of root reads and executes its inputs, and owns the rest",
  async () => {
    await using _runner = await RunnerProcess.start();
    await using client = new Client();
    const action = new Action("1");
    link(action, "src/tool", 0o555);
    Deno.mkdirSync(`${action.root}/existing/deep`, { recursive: true });
    Deno.chmodSync(`${action.root}/existing`, 0o700);
    const script = `set -e
    /src/tool
    stat -c '%u %a' /src/tool / /src /existing/deep
    echo made > /src/made; echo x >> /src/made
    mv /src/made /existing/deep/moved; ln /existing/deep/moved /src/linked
    chmod 600 /src/linked; chown 0:0 /src/linked; stat -c '%u:%g' /src/linked
    mkdir /src/new; echo made > /src/new/file; rm /src/new/file; rmdir /src/new
    echo t > /tmp/t; mv /tmp/t /src/from-tmp; mkfifo /src/fifo`;
    const { response } = await client.run(action.shell(script));
    assertEquals([response.exitCode, action.stderr], ["0", ""]);
    assertEquals(
      action.stdout,
      "input\n65534 555\n0 755\n0 755\n0 755\n0:0\n",
    );
    const owner = (name: string) => {
      const { uid, gid } = Deno.lstatSync(`${action.root}/${name}`);
      return [uid, gid];
    };
    for (const name of ["", "src", "existing/deep", "src/from-tmp"]) {
      assertEquals(owner(name), [70_000, 70_000], name);
    }
    assertEquals(owner("src/linked"), [70_000, 70_000]);
    assertEquals(owner("src/tool"), [0, 0]);
    assertEquals(
      Deno.readTextFileSync(`${action.root}/src/linked`),
      "made\nx\n",
    );
    // The worker removes all of it.
    action[Symbol.dispose]();
  },
);

runnerTest(
  "directories are given away through no symlink and no mount",
  async () => {
    await using _runner = await RunnerProcess.start();
    await using client = new Client();
    const action = new Action("1");
    const outside = `${SCRATCH}/outside/deep`;
    Deno.mkdirSync(outside, { recursive: true });
    Deno.symlinkSync(`${SCRATCH}/outside`, `${action.root}/link`);
    Deno.mkdirSync(`${action.root}/mounted`);
    mount("none", `${action.root}/mounted`, "tmpfs", 0, null);
    Deno.mkdirSync(`${action.root}/mounted/deep`);
    const { response } = await client.run(action.request(["true"]));
    assertEquals(response.exitCode, "0");
    for (
      const path of [
        outside,
        `${SCRATCH}/outside`,
        `${action.root}/mounted/deep`,
      ]
    ) assertEquals(Deno.statSync(path).uid, 0, path);
    umount2(`${action.root}/mounted`);
  },
);

runnerTest(
  "commands of another user own the directories, or need the worker's umask",
  async () => {
    const user = [
      ...OPTIONS,
      "--user",
      "1234",
      "--group",
      "2345",
      "--groups",
      "7,8",
    ];
    for (
      const [way, works, first] of [
        ["idmap", true, 70_000],
        ["overlay", true, 0],
        ["mode", false],
      ] as const
    ) {
      await using _runner = await RunnerProcess.start([
        ...user,
        "--protect-inputs",
        way,
      ]);
      await using client = new Client();
      const action = new Action(way);
      const cached = link(action, "src/input");
      const before = content(cached);
      const { response } = await client.run(
        action.shell(
          "id; cat /src/input > /dev/null; echo x > /src/input; rm -f /src/input; touch /src/made; touch /tmp/made",
        ),
      );
      assertEquals(response.exitCode, works ? "0" : "1", way + action.stderr);
      assertEquals(action.stdout, "uid=1234 gid=2345 groups=7,8\n");
      if (works) {
        assertEquals(content(cached), before);
        for (const made of ["root/src/made", "root/src", "tmp/made"]) {
          const { uid } = Deno.statSync(`${action.path}/${made}`);
          assertEquals(uid, first + 1234);
        }
      }
      action[Symbol.dispose]();
      Deno.removeSync(cached);
    }
  },
);

const OVERLAY = [...OPTIONS, "--protect-inputs", "overlay"];

/** The names in an action's directory. */
function namesOf(action: Action): string[] {
  return [...Deno.readDirSync(action.path)].map(({ name }) => name).sort();
}

/** Those that are there once its command has run. */
const NAMES = ["root", "server_logs", "stderr", "stdout", "tmp"];

/** What only its owner knows of a file: its other names come and go. */
function content(path: string): unknown {
  const { ino, mode, uid, gid, size, mtime } = Deno.statSync(path);
  return {
    ino,
    mode,
    uid,
    gid,
    size,
    mtime,
    text: Deno.readTextFileSync(path),
  };
}

runnerTest(
  "an action changes its inputs through an overlay, and nobody else's",
  async () => {
    await using _runner = await RunnerProcess.start(OVERLAY);
    await using client = new Client();
    for (const [i, attack] of [...CHANGES, ...ATTACKS].entries()) {
      const succeeds = i < CHANGES.length;
      using action = new Action("1");
      const cached = link(action, "src/deep/input", 0o555);
      const before = content(cached);
      const { status, response } = await client.run(
        action.shell(
          `set -e; ${
            variables(Deno.statSync(cached).dev)
          }; mkdir /out; ${attack}`,
        ),
      );
      assertEquals(
        [status, response.exitCode === "0"],
        ["OK", succeeds],
        attack,
      );
      assertEquals(content(cached), before, attack);
      assertEquals(namesOf(action), NAMES);
      const root = `${action.root}/src/deep`;
      const names = [...Deno.readDirSync(action.root)].map(({ name }) => name);
      assertEquals(names.sort(), ["bin", "out", "src"].slice(0, 3), attack);
      if (attack.startsWith("rm -rf")) {
        assertEquals([...Deno.readDirSync(`${action.root}/src`)], []);
      } else if (/^(rm|mv)/.test(attack)) {
        assertEquals(
          [...Deno.readDirSync(root)].map(({ name }) => name),
          attack.endsWith(".new") ? ["input.new"] : [],
        );
      } else if (succeeds) {
        // It is a file of its own by now.
        const { ino } = Deno.statSync(`${root}/input`);
        assert(ino !== Deno.statSync(cached).ino, attack);
      }
      Deno.removeSync(cached);
    }
  },
);

runnerTest(
  "what an overlay's command did is there when it is answered",
  async () => {
    await using _runner = await RunnerProcess.start(OVERLAY);
    await using client = new Client();
    const action = new Action("1");
    const cached = link(action, "src/input");
    Deno.mkdirSync(`${action.root}/kept`);
    const script =
      `rm -r /src; mkdir /src; echo made > /src/made; ln /src/made /src/linked
    chmod 700 /kept; echo t > /tmp/t; mv /tmp/t /kept/; rm /bin/mv; exit 3`;
    // An absolute way to write it, and a slash at its end.
    for (const inputRootDirectory of ["1/root", "./1//root/"]) {
      const { status, response } = await client.run(
        action.shell(script, {
          inputRootDirectory,
          stdoutPath: `1/out${inputRootDirectory.length}`,
          stderrPath: `1/err${inputRootDirectory.length}`,
        }),
      );
      assertEquals([status, response.exitCode], ["OK", "3"]);
      assertEquals(
        [...Deno.readDirSync(`${action.root}/src`)].map(({ name }) => name)
          .sort(),
        ["linked", "made"],
      );
      const [made, linked] = ["made", "linked"].map((name) =>
        Deno.statSync(`${action.root}/src/${name}`)
      );
      assertEquals([made!.ino, made!.nlink], [linked!.ino, 2]);
      assertEquals(Deno.statSync(`${action.root}/kept`).mode! & 0o777, 0o700);
      assertEquals(Deno.readTextFileSync(`${action.root}/kept/t`), "t\n");
      assertThrows(
        () => Deno.lstatSync(`${action.root}/bin/mv`),
        Deno.errors.NotFound,
      );
      Deno.symlinkSync("busybox", `${action.root}/bin/mv`);
    }
    // Its worker's own name is the last.
    assertEquals(Deno.statSync(cached).nlink, 1);
    // There is nothing above it to have the layers in.
    const { status, message } = await client.run(
      action.shell("true", { inputRootDirectory: "1/.." }),
    );
    assertEquals(status, "INVALID_ARGUMENT");
    assertMatch(message!, /leaves the build directory/);
  },
);

runnerTest("what was not run to its end is not merged", async () => {
  await using runner = await RunnerProcess.start(OVERLAY);
  await using client = new Client();
  const action = new Action("1");
  link(action, "src/input");
  const before = [...Deno.readDirSync(action.root)].length;
  const { answer, cancel } = client.call(
    "run",
    action.shell("rm -r /src; mkdir /new; : > /tmp/begun; sleep 1000"),
  );
  await appears(`${action.path}/tmp/begun`);
  cancel();
  assertEquals((await answer).status, "CANCELLED");
  assertMatch(await runner.log.find(/^1: /), /^1: CANCELLED/);
  assertEquals(namesOf(action), NAMES);
  assertEquals([...Deno.readDirSync(action.root)].length, before);
});

/** Has a command change more than is merged in a moment, and waits for a part. */
async function runUntilMerged(client: Client, action: Action) {
  const call = client.call(
    "run",
    action.shell(
      "echo x > /src/input; cd /src; seq 30000 | while read n; do : > $n; done",
    ),
  );
  while (mergedIn(action) < 2) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return call;
}

const mergedIn = (action: Action) =>
  [...Deno.readDirSync(`${action.root}/src`)].length;

runnerTest("a merge ends when the call is cancelled", async () => {
  await using runner = await RunnerProcess.start(OVERLAY);
  await using client = new Client();
  const action = new Action("1");
  const cached = link(action, "src/input");
  const before = content(cached);
  const { answer, cancel } = await runUntilMerged(client, action);
  cancel();
  assertEquals((await answer).status, "CANCELLED");
  assertMatch(await runner.log.find(/^1: /), /^1: CANCELLED/);
  assert(mergedIn(action) < 30_000);
  assertEquals(namesOf(action), NAMES);
  assertEquals(content(cached), before);
});

runnerTest(
  "a runner that is killed while a command runs leaves no overlay",
  async () => {
    const runner = await RunnerProcess.start(OVERLAY);
    await using client = new Client();
    const action = new Action("1");
    const cached = link(action, "src/input");
    const before = content(cached);
    const word = `31${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    const answer = client.run(
      action.shell(`echo x > /src/input; : > /tmp/begun; sleep ${word}`),
    );
    await appears(`${action.path}/tmp/begun`);
    await runner.end("SIGKILL");
    assertEquals((await answer).status, "UNAVAILABLE");
    while (processesWith(word).length > 0) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assertEquals(mountsBelow(BUILD), []);
    assertEquals(content(cached), before);
    assertEquals(
      Deno.readTextFileSync(`${action.root}/src/input`),
      "#!/bin/sh\necho input\n",
    );
    // What is left is in the action's directory, which the worker removes.
    assertEquals(namesOf(action).length, NAMES.length + 1);
    action[Symbol.dispose]();
  },
);

runnerTest(
  "a runner that is killed while it merges leaves no overlay",
  async () => {
    const runner = await RunnerProcess.start(OVERLAY);
    await using client = new Client();
    const action = new Action("1");
    const cached = link(action, "src/input");
    const before = content(cached);
    const { answer } = await runUntilMerged(client, action);
    await runner.end("SIGKILL");
    assertEquals((await answer).status, "UNAVAILABLE");
    assert(mergedIn(action) < 30_000);
    assertEquals(mountsBelow(BUILD), []);
    assertEquals(content(cached), before);
    action[Symbol.dispose]();
  },
);

runnerTest("an action whose changes can't be merged fails", async () => {
  Deno.mkdirSync(BUILD, { recursive: true });
  const image = `${SCRATCH}/image`;
  Deno.writeTextFileSync(image, "");
  Deno.truncateSync(image, 8 << 20);
  const { success } = new Deno.Command("mkfs.ext4", {
    args: ["-q", "-m", "0", image],
  }).outputSync();
  assert(success);
  using scratch = Directory.open(SCRATCH);
  using _disk = scratch.mount("build", {
    type: "ext4",
    source: image,
    options: "loop",
  });
  await using _runner = await RunnerProcess.start(OVERLAY);
  await using client = new Client();
  const action = new Action("1");
  const cached = link(action, "src/input");
  const before = content(cached);
  // No room is left for the names in the directory that they are to go to.
  const { status, message } = await client.run(
    action.shell(
      `rm /src/input; cd /src
      seq 200 | while read n; do : > $n-${"x".repeat(200)}; done
      dd if=/dev/zero of=/fill bs=1k; exit 0`,
    ),
  );
  assertEquals(status, "INTERNAL");
  assertMatch(message!, /^The changes can't be merged: renameat2.*: ENOSPC/);
  assertEquals(namesOf(action), NAMES);
  assertEquals(content(cached), before);
}, ["mkfs.ext4"]);

programTest("where no overlay can be, the runner does not start", () => {
  const program = (...args: string[]) =>
    runProgram([...OVERLAY, ...args], {
      entry: "runner.ts",
      permissions: ["-A"],
    });
  Deno.mkdirSync(BUILD);
  Deno.mkdirSync(`${SCRATCH}/socket`);
  for (const layer of ["lower", "upper", "work"]) {
    Deno.mkdirSync(`${SCRATCH}/${layer}`);
  }
  const layers = ["lower", "upper", "work"]
    .map((layer) => `${layer}dir=${SCRATCH}/${layer}`).join();
  for (
    const [type, options, reason] of [
      // It has no extended attributes.
      ["ramfs", null, /EOPNOTSUPP/],
      ["overlay", layers, /EINVAL/],
    ] as const
  ) {
    mount("none", BUILD, type, 0, options);
    for (const args of [[], ["--check-config"]]) {
      const { code, stdout, stderr } = program(...args);
      assertEquals([code, stdout], [1, ""], type);
      assertMatch(stderr, /build" can't be protected by an overlay: /);
      assertMatch(stderr, reason);
      assertEquals([...Deno.readDirSync(BUILD)], []);
    }
    umount2(BUILD);
  }
  assertEquals(program("--check-config").code, 0);
  assertEquals([...Deno.readDirSync(BUILD)], []);
  // The worker may make it later.
  Deno.removeSync(BUILD);
  assertEquals(program("--check-config").code, 0);
});

runnerTest(
  "without protection the runner says so, and inputs are the command's",
  async () => {
    await using runner = await RunnerProcess.start([
      ...OPTIONS,
      "--protect-inputs",
      "none",
    ]);
    assertMatch(runner.log.all[0]!, /input files are not protected/);
    await using client = new Client();
    const action = new Action("1");
    const cached = link(action, "src/input");
    await client.run(action.shell("echo poison > /src/input"));
    assertEquals(Deno.readTextFileSync(cached), "poison\n");
  },
);

runnerTest(
  "where inputs can't be protected no command of root runs",
  async () => {
    await using _runner = await RunnerProcess.start();
    await using client = new Client();
    // There are no id maps of this file system.
    mount("none", `${BUILD}`, "ramfs", 0, null);
    const action = new Action("1");
    const { status, message } = await client.run(action.request(["true"]));
    assertEquals(status, "INTERNAL");
    assertMatch(message!, /can't be protected: ramfs has no id maps.*"none"/);
    assertEquals(Deno.statSync(action.root).uid, 0);
    umount2(BUILD);
  },
);

runnerTest(
  "no command runs as a user that the worker's files belong to",
  async () => {
    for (
      const [owner, options, told] of [
        [1234, ["--user", "1234"], /belong to user 1234, whom commands run as/],
        [
          1234,
          ["--user", "1234", "--protect-inputs", "mode"],
          /belong to user 1234, whom commands run as/,
        ],
        [70_000, [], /belong to user 70000, and users 70000 to 135535 are/],
        [135_535, [], /belong to user 135535, and users 70000/],
        [135_536, [], null],
        [1234, ["--user", "1234", "--protect-inputs", "none"], null],
        [1234, ["--user", "1234", "--protect-inputs", "idmap"], null],
        [1234, ["--user", "1234", "--protect-inputs", "overlay"], null],
        [1235, ["--user", "1234"], null],
      ] as const
    ) {
      await using _runner = await RunnerProcess.start([...OPTIONS, ...options]);
      await using client = new Client();
      using action = new Action("1");
      const cached = link(action, "src/input");
      for (const path of [action.path, action.root, cached]) {
        Deno.chownSync(path, owner, owner);
      }
      const isOverlaid = (options as readonly string[]).includes("overlay");
      const look = isOverlaid ? content : state;
      const before = look(cached);
      const { status, message } = await client.run(
        action.shell("chmod u+w src/input && echo poison > src/input; :"),
      );
      const what = JSON.stringify([owner, options]);
      assertEquals(status, told === null ? "OK" : "INTERNAL", what);
      if (told !== null) assertMatch(message!, told);
      const isNone = (options as readonly string[]).includes("none");
      assertEquals(
        Deno.readTextFileSync(cached) === "poison\n",
        isNone,
        what,
      );
      if (!isNone) assertEquals(look(cached), before, what);
      Deno.removeSync(cached);
    }
  },
);

runnerTest(
  "an action that forks without end is stopped by its limits",
  async () => {
    await using _runner = await RunnerProcess.start([
      ...[...OPTIONS, "--user", "54321", "--limit", "nproc=50"],
      ...["--limit", "fsize=1048576"],
    ]);
    await using client = new Client();
    const word = `31${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    const bomb = new Action("1");
    Deno.chmodSync(`${bomb.path}/tmp`, 0o1777);
    const { status, response } = await client.run(
      bomb.shell(`while sleep ${word} & do :; done; exit 9`),
      { timeout: 20 },
    );
    // A shell that can't fork ends.
    assertEquals([status, response.exitCode !== "0"], ["OK", true]);
    assertMatch(bomb.stderr, /can't fork/);
    assertEquals(processesWith(word), []);
    const filler = new Action("2");
    Deno.chmodSync(`${filler.path}/tmp`, 0o1777);
    await client.run(
      filler.shell("dd if=/dev/zero of=/tmp/fill bs=64k count=99 2>/dev/null"),
    );
    assertEquals(Deno.statSync(`${filler.path}/tmp/fill`).size, 1 << 20);
  },
);

runnerTest(
  "an action that kills all that it sees kills itself alone",
  async () => {
    await using _runner = await RunnerProcess.start();
    await using client = new Client();
    const word = `31${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    const other = new Action("other");
    const going = client.run(
      other.shell(
        `: > /tmp/begun; sleep ${word} & while [ ! -e /tmp/go ]; do sleep 0.01; done`,
      ),
    );
    while (processesWith(word).length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const { status } = await client.run(
      new Action("1").shell("kill -9 -1; kill -9 1; kill -9 $$; sleep 9"),
    );
    assertEquals(status, "OK");
    assert(processesWith(word).length > 0);
    Deno.writeTextFileSync(`${other.path}/tmp/go`, "");
    assertEquals((await going).response.exitCode, "0");
    assertEquals(processesWith(word), []);
  },
);
