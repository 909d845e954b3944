import { Directory } from "../../src/directory.ts";
import { run } from "../../src/run/run.ts";
import {
  evaluate,
  keepers,
  makeRoot,
  processesWith,
  runTest,
  shell,
  text,
} from "../support/run_root.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { ROOT_URL } from "../support/testing.ts";
import { MountError } from "../../src/error/error.ts";
import { commandLine } from "../support/program.ts";

runTest("run() tells how a command ended", async () => {
  using root = Directory.open(makeRoot());
  const { code, success, signal, timedOut, usage } = await shell(root, "true");
  assertEquals([code, success, signal, timedOut], [0, true, null, false]);
  assert(usage.minorFaults > 0 && usage.maxRss > 0);
  assertEquals((await shell(root, "exit 7")).code, 7);
  const burnt = await shell(
    root,
    "i=0; while test $i -lt 30000; do i=$((i+1)); done",
  );
  assert(burnt.usage.userTime > usage.userTime);
});

runTest("run() lets nothing outlive the command", async () => {
  using root = Directory.open(makeRoot());
  const mark = crypto.randomUUID();
  const { out } = await shell(
    root,
    `sh -c 'trap "" TERM HUP INT; echo started; while :; do sleep 1; done' ${mark} & read -t1 x; exit 0`,
    { stdin: new Uint8Array([10]) },
  );
  assertMatch(out, /^(started\n)?$/);
  assertEquals(processesWith(mark), []);
});

runTest("run() passes the environment exactly", async () => {
  using root = Directory.open(makeRoot());
  const env = {
    PATH: "/bin",
    "a-b.c%%": "()  { x\n}",
    PWD: "/nowhere",
    IFS: "x",
    PPID: "1",
    EMPTY: "",
    BYTE: "\udcff",
    _: "_",
  };
  const { stdout } = await run(root, ["env", "-0"], {
    env,
    clearEnv: true,
    stdout: "piped",
  });
  // busybox has no -0 everywhere: what it prints is compared as it is.
  const printed = text.decode(stdout);
  const expected = Object.entries(env).map(([name, value]) =>
    `${name}=${value}`
  );
  assertEquals(
    printed.split(printed.includes("\0") ? "\0" : /\n(?!\})/).filter((line) =>
      line !== ""
    ),
    expected.map((entry) => entry.replace("\udcff", "\ufffd")),
  );
  Deno.env.set("MOUNTAT_INHERITED", "yes");
  const inherited = await shell(root, "echo $MOUNTAT_INHERITED $MORE", {
    clearEnv: false,
    env: { PATH: "/bin", MORE: "more" },
  });
  Deno.env.delete("MOUNTAT_INHERITED");
  assertEquals(inherited.out, "yes more\n");
});

runTest("run() leaves a command no descriptor but three", async () => {
  using root = Directory.open(makeRoot());
  using _ = root.inheritable();
  const { out } = await shell(root, "ls /proc/$$/fd; :");
  assertEquals(out, "0\n1\n2\n");
});

runTest("run() changes the user and groups of the command alone", async () => {
  const path = makeRoot();
  using root = Directory.open(path);
  const script = "grep -E '^(Uid|Gid|Groups|CapEff):' /proc/self/status";
  const before = await shell(root, script);
  const { out } = await shell(root, script, { uid: 1000, gid: 1001 });
  assertEquals(
    out.replaceAll(" \n", "\n"),
    "Uid:\t1000\t1000\t1000\t1000\nGid:\t1001\t1001\t1001\t1001\nGroups:\nCapEff:\t0000000000000000\n"
      .replace("Groups:\n", "Groups:\t\n").replace("\t\n", "\t\n"),
  );
  assertEquals((await shell(root, "id -g", { uid: 1000 })).out, "1000\n");
  const group = await shell(root, "id -u; id -g", { gid: 7 });
  assertEquals(group.out, "0\n7\n");
  // Who starts commands is who it was.
  assertEquals((await shell(root, script)).out, before.out);
});

runTest(
  "run() takes the supplementary groups from a user it changes to",
  () => {
    const [command, ...args] = commandLine([makeRoot()], {
      entry: "tests/fixtures/groups.ts",
      wrapper: ["setpriv", "--groups=7,8"],
    });
    const { stdout } = new Deno.Command(command!, { args }).outputSync();
    assertEquals(
      text.decode(stdout).replaceAll(" \n", "\n"),
      "Groups:\t\nGroups:\t7 8\n",
    );
  },
  { commands: ["setpriv"] },
);

runTest(
  "run() leaves another user no ambient capabilities, and keeps its own",
  () => {
    const path = makeRoot();
    const script = `
      import { Directory, run } from "${ROOT_URL}mod.ts";
      using root = Directory.open(${JSON.stringify(path)});
      for (const options of [{ uid: 1000 }, { gid: 1000 }, {}]) {
        await run(root, ["/bin/grep", "CapAmb", "/proc/self/status"], options);
      }`;
    const wrapper = ["setpriv", "--inh-caps=+chown,+net_raw"];
    wrapper.push("--ambient-caps=+chown,+net_raw");
    const { stdout, stderr } = evaluate(script, wrapper);
    const line = (mask: string) => `CapAmb:\t${mask.padStart(16, "0")}\n`;
    assertEquals(
      text.decode(stdout),
      line("0") + line("2001") + line("2001"),
      text.decode(stderr),
    );
  },
  { commands: ["setpriv"] },
);

runTest(
  "run() starts in its working directory, and finds the program",
  async () => {
    const path = makeRoot();
    Deno.mkdirSync(`${path}/work/tools`, { recursive: true });
    Deno.symlinkSync("/bin/busybox", `${path}/work/tools/pwd`);
    Deno.writeTextFileSync(`${path}/bin/plain`, "");
    Deno.writeTextFileSync(`${path}/bin/garbage`, "garbage", { mode: 0o755 });
    Deno.writeTextFileSync(`${path}/bin/lost`, "#!/nowhere\n", { mode: 0o755 });
    using root = Directory.open(path);
    const pwd = async (program: string, PATH: string) => {
      const { stdout } = await run(root, [program], {
        cwd: "/work",
        env: { PATH },
        clearEnv: true,
        stdout: "piped",
      });
      return text.decode(stdout);
    };
    assertEquals(await pwd("tools/pwd", ""), "/work\n");
    assertEquals(await pwd("pwd", "/nowhere:/work:tools"), "/work\n");
    assertEquals(await pwd("pwd", "/bin"), "/work\n");
    for (
      const [program, code] of [
        ["nosuch", "ENOENT"],
        ["/nosuch", "ENOENT"],
        ["lost", "ENOENT"],
        ["plain", "EACCES"],
        ["/bin", "EACCES"],
        ["garbage", "ENOEXEC"],
        ["bin/sh/x", "ENOTDIR"],
        ["a".repeat(300), "ENAMETOOLONG"],
        [`/${"a".repeat(300)}`, "ENAMETOOLONG"],
      ] as const
    ) {
      const error = await assertRejects(
        () => shell(root, "", {}).then(() => run(root, [program])),
        MountError,
        `Cannot run "${program}": execve: ${code}`,
      );
      assertEquals([error.syscall, error.code], ["execve", code]);
      const asks = error.hint?.startsWith("The file has no #! line, ") ?? false;
      assertEquals(asks, code === "ENOEXEC");
    }
    const error = await assertRejects(
      () => shell(root, "true", { cwd: "/nosuch" }),
      MountError,
      'Cannot start in "/nosuch": openat2: ENOENT',
    );
    assertEquals(error.target, "/nosuch");
    assertEquals(keepers(), 0);
  },
);

runTest("run() runs several commands at once", async () => {
  using root = Directory.open(makeRoot());
  const results = await Promise.all(
    Array.from(
      { length: 24 },
      (_, i) =>
        shell(root, `echo $$ >/dev/shm/pid; cat /dev/shm/pid; cat; exit ${i}`, {
          stdin: new TextEncoder().encode(String(i)),
        }),
    ),
  );
  assertEquals(
    results.map(({ code, out }) => [code, out]),
    results.map((_, i) => [i, `2\n${i}`]),
  );
});

runTest(
  "run() starts a command in a session, and group, of its own",
  async () => {
    using root = Directory.open(makeRoot());
    for (const newSession of [false, true]) {
      // Its process group, session and terminal: proc_pid_stat(5).
      const { out } = await shell(
        root,
        "cut -d' ' -f1,5-7 /proc/$$/stat",
        { newSession },
      );
      assertEquals(out, "2 2 2 0\n");
    }
  },
);
