import { mountsBelow, mountTable, SCRATCH } from "../support/testing.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { parseMountinfo } from "../../src/kernel/mountinfo.ts";
import { commandLine, programTest, run } from "../support/program.ts";
import { Directory } from "../../src/directory.ts";
import { hold } from "../support/held.ts";

const READ = { permissions: ["--allow-ffi"] };

function makeRoot(): string {
  const root = `${SCRATCH}/root`;
  Deno.mkdirSync(`${root}/bin`, { recursive: true });
  Deno.copyFileSync("/bin/busybox", `${root}/bin/busybox`);
  return root;
}

function names(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name).sort();
}

/** What a runtime's own command writes to config.json, unchanged. */
function specOf(runtime: string): string {
  const directory = `${SCRATCH}/${runtime}`;
  Deno.mkdirSync(directory);
  const { success } = new Deno.Command(runtime, {
    args: ["spec"],
    cwd: directory,
  }).outputSync();
  assert(success);
  return `${directory}/config.json`;
}

/** What tells whether two mounts are alike. */
function looks(table: string, prefix: string): Record<string, unknown> {
  return Object.fromEntries(
    parseMountinfo(table).map(({ mountPoint, type, options, superOptions }) => [
      mountPoint.slice(prefix.length),
      // Once it is mounted, a file system's read-only flag is the runtime's.
      [type, options, superOptions.filter((word) => !/^r[ow]$/.test(word))],
    ]),
  );
}

for (const runtime of ["runc", "crun"]) {
  programTest(`apply --oci mounts what ${runtime} spec prints`, () => {
    const root = makeRoot();
    const file = specOf(runtime);
    const before = names(root);
    const { code, stdout, stderr } = run(["apply", "--oci", file, root], READ);
    assertEquals([code, stderr], [0, ""]);
    const { mounts } = JSON.parse(Deno.readTextFileSync(file)) as {
      mounts: { destination: string }[];
    };
    assertEquals(
      stdout.trimEnd().split("\n"),
      mounts.map(({ destination }) => `Mounted "${destination.slice(1)}".`),
    );
    using directory = Directory.open(root);
    // Those of version 1 are several mounts.
    const cgroups = mountsBelow("/sys/fs/cgroup").length;
    assertEquals(directory.unmountAll(), mounts.length - 1 + cgroups);
    assertEquals(names(root), [...before, "dev", "proc", "sys"]);
  }, { commands: [runtime, "busybox"] });
}

programTest("apply --oci mounts as runc run does", () => {
  const root = makeRoot();
  const file = specOf("runc");
  const config = JSON.parse(Deno.readTextFileSync(file));
  run(["apply", "--oci", file, root], READ);
  const ours = looks(mountsBelow(root).join("\n"), root);
  using directory = Directory.open(root);
  directory.unmountAll();

  config.process.terminal = false;
  config.process.args = ["/bin/busybox", "cat", "/proc/self/mountinfo"];
  config.root.path = root;
  Deno.writeTextFileSync(file, JSON.stringify(config));
  const { stdout, stderr } = new Deno.Command("runc", {
    args: ["run", "--bundle", `${SCRATCH}/runc`, `mountat-${Deno.pid}`],
    stdin: "null",
  }).outputSync();
  const theirs = looks(new TextDecoder().decode(stdout), "");
  assert("/proc" in theirs, new TextDecoder().decode(stderr));
  // Of cgroups it makes a mount for each controller of version 1.
  const compared = config.mounts.map((
    { destination }: { destination: string },
  ) => destination).filter((path: string) => path !== "/sys/fs/cgroup");
  assertEquals(compared.length, 6);
  for (const path of compared) assertEquals(ours[path], theirs[path], path);
}, { commands: ["runc", "busybox"] });

programTest(
  "apply --fstab reads standard input, and passes over nofail",
  () => {
    const root = makeRoot();
    Deno.writeTextFileSync(
      `${SCRATCH}/fstab`,
      [
        "# What an action needs",
        "proc /proc proc nosuid,x-mount.mkdir 0 0",
        "none /missing nosuchfs nofail,x-mount.mkdir",
        "/dev/null /dev\\040null none bind,x-mount.mkdir",
        "none /later tmpfs noauto",
      ].join("\n"),
    );
    const [program, ...args] = commandLine(["apply", "--fstab", "-", root]);
    const { code, stdout, stderr } = new Deno.Command("sh", {
      args: ["-c", `"$@" < ${SCRATCH}/fstab`, "sh", program!, ...args],
    }).outputSync();
    const text = new TextDecoder();
    assertEquals(code, 0, text.decode(stderr));
    assertEquals(
      text.decode(stdout),
      'Mounted "proc".\nMounted "dev null".\n',
    );
    assertMatch(
      text.decode(stderr),
      /^mountat: Passed over: Cannot mount nosuchfs on "missing" \(line 3\): fsopen: ENODEV/,
    );
    assertEquals(names(root), ["bin", "dev null", "proc"]);
    using directory = Directory.open(root);
    assertEquals(directory.unmountAll(), 2);
  },
);

programTest("sweep takes away what apply attached, and no more", () => {
  const root = makeRoot();
  const before = mountTable();
  Deno.writeTextFileSync(
    `${SCRATCH}/fstab`,
    "proc /proc proc x-mount.mkdir\n/sys /sys none rbind,x-mount.mkdir\n",
  );
  const all = { permissions: ["-A"] };
  const applied = run(["apply", "--fstab", `${SCRATCH}/fstab`, root], all);
  assertEquals(applied.code, 0, applied.stderr);
  assert(mountsBelow(`${root}/sys`).length > 1);
  using directory = Directory.open(root);
  using other = directory.mount("bin", { type: "tmpfs" });
  const swept = run(["sweep"], all);
  assertEquals(swept.code, 0, swept.stderr);
  assertEquals(mountsBelow(root).length, 1);
  other.unmount();
  assertEquals(mountTable(), before);
});

programTest("apply undoes all when an entry fails, and names it", () => {
  const root = makeRoot();
  const before = mountTable();
  Deno.writeTextFileSync(
    `${SCRATCH}/fstab`,
    "a /a tmpfs x-mount.mkdir\nb /a/b tmpfs x-mount.mkdir\nc /c tmpfs bad=1\n",
  );
  const args = ["apply", "--fstab", `${SCRATCH}/fstab`];
  for (const hold of [[], ["--hold"]]) {
    const { code, stdout, stderr } = run([...args, ...hold, root], READ);
    assertEquals([code, stdout], [32, ""]);
    assertMatch(stderr, /^mountat: Cannot mount tmpfs on "c" \(line 3\): /);
    assertEquals([mountTable(), names(root)], [before, ["bin"]]);
  }
});

programTest("apply says where a file is malformed, and mounts nothing", () => {
  const root = makeRoot();
  const before = mountTable();
  const file = `${SCRATCH}/file`;
  for (
    const [format, text, place] of [
      ["--fstab", "a /a tmpfs\nb /../b tmpfs\n", "Line 2, column 3: "],
      ["--oci", '{"mounts": [{"destination": "/a"}]}', "Line 1, column 13: "],
      ["--oci", '{"mounts": [}', "Line 1, column 13: "],
      ["--fstab", "a /a tmpfs ro=what\n", "line 1: The option"],
      [
        "--fstab",
        "a /a tmpfs ro=\x1b[31m\n",
        String.raw`line 1: The option "ro" can't be "\x1b[31m"`,
      ],
      [
        "--fstab",
        `a /a tmpfs ${"x".repeat(300)}\n`,
        "line 1: The option name",
      ],
    ] as const
  ) {
    Deno.writeTextFileSync(file, text);
    const { code, stdout, stderr } = run(["apply", format, file, root], READ);
    assertEquals([code, stdout], [1, ""], stderr);
    assert(stderr.startsWith(`mountat: ${file}: ${place}`), stderr);
    assertEquals([mountTable(), names(root)], [before, ["bin"]]);
  }
  for (
    const args of [
      ["apply", root],
      ["apply", "--oci", file],
      ["apply", "--oci", file, "--fstab", file, root],
      ["apply", "--oci", `${SCRATCH}/none`, root],
      ["apply", "--oci", file, root, "x"],
    ]
  ) assertEquals(run(args, READ).code === 0, false, args.join(" "));
  assertMatch(
    run(["apply", file, root], READ).stderr,
    /^mountat: Name one file, by --oci FILE or --fstab FILE\n/,
  );
});

programTest("apply names the word that makes an fstab's mount point", () => {
  const root = makeRoot();
  const file = `${SCRATCH}/fstab`;
  Deno.writeTextFileSync(file, "none /missing tmpfs\n");
  const { code, stderr } = run(["apply", "--fstab", file, root], READ);
  assertEquals(code, 32);
  assertMatch(
    stderr,
    /\n {2}hint: "missing" does not exist: x-mount\.mkdir makes it\n$/,
  );
});

programTest("apply --hold refuses to mount on the directory itself", () => {
  const root = makeRoot();
  const file = `${SCRATCH}/file`;
  for (
    const [format, text, place] of [
      ["--fstab", "a /a tmpfs\nb /. tmpfs nofail\n", "line 2"],
      [
        "--oci",
        '{"mounts": [{"destination": "/", "type": "tmpfs"}]}',
        "mounts[0]",
      ],
    ] as const
  ) {
    Deno.writeTextFileSync(file, text);
    const args = ["apply", "--hold", format, file, root];
    const { code, stdout, stderr } = run(args, READ);
    assertEquals([code, stdout], [1, ""]);
    assert(
      stderr.startsWith(`mountat: ${file}: ${place}: With --hold nothing can`),
      stderr,
    );
  }
});

programTest("apply undoes all when a signal comes meanwhile", async () => {
  const root = makeRoot();
  const before = mountTable();
  const entries = Array.from(
    { length: 3000 },
    (_, n) => `t /m${n} tmpfs x-mount.mkdir\n`,
  );
  Deno.writeTextFileSync(`${SCRATCH}/fstab`, entries.join(""));
  const [command, ...args] = commandLine([
    "apply",
    "--fstab",
    `${SCRATCH}/fstab`,
    root,
  ]);
  const process = new Deno.Command(command!, { args, stdin: "null" }).spawn();
  // Long before the last one.
  while (!names(root).includes("m10")) {
    await new Promise((resolve) => setTimeout(resolve));
  }
  process.kill("SIGTERM");
  assertEquals((await process.status).code, 143);
  assertEquals([mountTable(), names(root)], [before, ["bin"]]);
});

programTest(
  "apply --hold shows its tree to who knows the path alone",
  async () => {
    const root = makeRoot();
    const before = mountTable();
    const [command, ...args] = commandLine([
      "apply",
      "--hold",
      "--oci",
      specOf("runc"),
      root,
    ]);
    const process = new Deno.Command(command!, {
      args,
      stdout: "piped",
    }).spawn();
    const reader = process.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    const path = (await reader.read()).value!.trimEnd();
    assertMatch(path, /^\/proc\/\d+\/fd\/\d+$/);
    assert(Deno.statSync(`${path}/proc/self`).isDirectory);
    assert(Deno.statSync(`${path}/dev/shm`).isDirectory);
    const inside = new Deno.Command("chroot", {
      args: [path, "/bin/busybox", "ls", "/dev"],
    }).outputSync();
    assertEquals(
      new TextDecoder().decode(inside.stdout).trim().split(/\s+/),
      ["mqueue", "pts", "shm"],
    );
    assertEquals(mountTable(), before);
    process.kill("SIGTERM");
    assertEquals((await process.status).code, 143);
    await reader.cancel();
    assertEquals([mountTable(), names(root)], [before, ["bin"]]);
  },
  { commands: ["runc", "busybox", "chroot"] },
);

programTest(
  "apply --hold takes along what is mounted in the directory",
  async () => {
    const root = makeRoot();
    using directory = Directory.open(root);
    using _ = directory.mount("below", { type: "tmpfs", mkdir: true });
    Deno.mkdirSync(`${root}/below/here`);
    Deno.writeTextFileSync(`${SCRATCH}/fstab`, "t /below/here tmpfs\n");
    const [command, ...args] = commandLine([
      "apply",
      "--hold",
      "--fstab",
      `${SCRATCH}/fstab`,
      root,
    ]);
    const process = new Deno.Command(command!, {
      args,
      stdin: "null",
      stdout: "piped",
    }).spawn();
    const reader = process.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    const path = (await reader.read()).value?.trimEnd();
    const seen = path === undefined ? [] : names(`${path}/below`);
    process.kill("SIGTERM");
    await process.status;
    await reader.cancel();
    assertEquals(seen, ["here"]);
  },
);

programTest(
  "nothing is left of apply --hold that is killed on the way to its tree, or with it",
  async () => {
    const root = makeRoot();
    const before = mountTable();
    Deno.writeTextFileSync(
      `${SCRATCH}/fstab`,
      Array.from({ length: 11 }, (_, n) => `t /m${n} tmpfs x-mount.mkdir\n`)
        .join(""),
    );
    const command = commandLine([
      "apply",
      "--hold",
      "--fstab",
      `${SCRATCH}/fstab`,
      root,
    ]);
    const start = performance.now();
    {
      await using _ = await hold(command);
    }
    const whole = performance.now() - start;
    const [program, ...args] = command;
    for (let moment = 0; moment < 100; moment++) {
      if (moment % 4 === 0) {
        {
          await using _ = await hold(command);
        } // Killed once the tree is held.
        assertEquals(mountTable(), before);
        continue;
      }
      const process = new Deno.Command(program!, {
        args,
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn();
      const delay = Math.random() * whole;
      await new Promise((resolve) => setTimeout(resolve, delay));
      process.kill("SIGKILL");
      await process.status;
      assertEquals(mountTable(), before);
    }
  },
);
