import { Directory } from "../../src/directory.ts";
import { run } from "../../src/run/run.ts";
import {
  keepers,
  makeRoot,
  processesWith,
  runTest,
  shell,
  text,
} from "../support/run_root.ts";
import { commandLine, shellCommand } from "../support/program.ts";
import { open } from "../support/scratch.ts";
import { missingCommand, SCRATCH } from "../support/testing.ts";
import { O_RDONLY, O_WRONLY } from "../../src/sys/constants.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { pipe2, read } from "../../src/sys/file.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";

const OPENS = "echo a >/dev/stdout; echo b >>/dev/fd/1; echo c >/dev/stderr";

runTest("run() lets every user open its streams anew", async () => {
  using root = Directory.open(makeRoot());
  const file = `${SCRATCH}/file`;
  for (const hostPid of [false, true]) {
    for (const uid of [0, 1000]) {
      const options = { uid, hostPid };
      const piped = await shell(root, OPENS, options);
      assertEquals([piped.out, piped.err], ["a\nb\n", "c\n"]);
      const read = await shell(root, "cat /dev/stdin", {
        ...options,
        stdin: new TextEncoder().encode("in"),
      });
      assertEquals(read.out, "in");
      Deno.writeTextFileSync(file, "");
      Deno.chmodSync(file, 0o640);
      using output = open(file, O_WRONLY);
      const toFile = await shell(root, `${OPENS}; chmod 777 /dev/fd/2`, {
        ...options,
        stderr: output.fd,
      });
      assertEquals(toFile.out, "a\nb\n");
      assertEquals(Deno.readTextFileSync(file), "c\n");
      // It was lent for as long as the command ran.
      const { uid: owner, mode } = Deno.statSync(file);
      assertEquals(owner, 0);
      if (uid !== 0) assertEquals(mode! & 0o7777, 0o640);
    }
  }
});

runTest("run() lends a caller's pipe, and takes it back", async () => {
  using root = Directory.open(makeRoot());
  const [reading, writing] = pipe2().map((fd) => new OwnedFd(fd));
  using ours = reading!;
  using theirs = writing!;
  const path = `/proc/self/fd/${theirs.fd}`;
  const options = { uid: 1000, stdout: theirs.fd } as const;
  await Promise.all([
    shell(root, "echo one >/dev/stdout", options),
    shell(root, "echo two >/dev/stdout", options),
    // Another's it can't be meanwhile.
    shell(root, "echo lost >/dev/stdout", { ...options, uid: 1001 }),
  ]);
  const buffer = new Uint8Array(64);
  const lines = text.decode(buffer.subarray(0, read(ours.fd, buffer)));
  assertEquals(lines.trim().split("\n").sort(), ["one", "two"]);
  assertEquals(Deno.statSync(path).uid, 0);
});

runTest("run() gives nobody the file that a command reads", async () => {
  using root = Directory.open(makeRoot());
  const file = `${SCRATCH}/secret`;
  Deno.writeTextFileSync(file, "secret");
  Deno.chmodSync(file, 0o600);
  using input = open(file, O_RDONLY);
  const { out, err } = await shell(root, "cat; echo >/dev/stdin", {
    uid: 1000,
    stdin: input.fd,
  });
  assertEquals(out, "secret");
  assertMatch(err, /Permission denied/);
  assertEquals(Deno.statSync(file).uid, 0);
});

runTest("run() ends though a daemon holds its output open", async () => {
  using root = Directory.open(makeRoot());
  const mark = crypto.randomUUID();
  // It leaves the group, and writes no more.
  const daemon =
    `mkfifo /dev/shm/p; setsid sh -c 'echo $$; exec sh -c "read x" ${mark}' <>/dev/shm/p &`;
  const { code, out, timedOut } = await shell(
    root,
    // Its pid is read again before the command writes the rest.
    `{ ${daemon} } | { read pid; echo $pid; head -c 60000 /dev/zero; }
     setsid sh -c 'exec sh -c "read x" ${mark}' <>/dev/shm/p & exit 3`,
    { hostPid: true, timeout: 60_000 },
  );
  const [pid, rest] = out.split("\n");
  assertEquals([code, rest!.length, timedOut], [3, 60000, false]);
  assert(Number(pid) > 0);
  for (const line of processesWith(mark)) assertMatch(line, /read x/);
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const line = Deno.readTextFileSync(`/proc/${name}/cmdline`);
      if (line.includes(mark)) Deno.kill(Number(name), "SIGKILL");
    } catch (error) {
      // It has ended.
      if (!(error instanceof Error)) throw error;
    }
  }
  assertEquals(keepers(), 0);
});

runTest(
  "run() reads no more than was written of an endless daemon",
  async () => {
    using root = Directory.open(makeRoot());
    const pid = Promise.withResolvers<string>();
    let first = true;
    const result = run(root, [
      "sh",
      "-c",
      "setsid sh -c 'echo $$; exec yes' & read x",
    ], {
      env: { PATH: "/bin" },
      hostPid: true,
      stdin: new ReadableStream({
        async pull(controller) {
          await pid.promise;
          controller.close();
        },
      }, { highWaterMark: 0 }),
      stdout: new WritableStream({
        write(chunk) {
          if (first) pid.resolve(text.decode(chunk).split("\n")[0]!);
          first = false;
        },
      }),
    });
    const daemon = await pid.promise;
    assertEquals((await result).code, 1);
    try {
      Deno.kill(Number(daemon), "SIGKILL");
    } catch (error) {
      // Nobody reads what it writes any more: it has ended by that.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  },
);

const SAYS = "tty; echo a >/dev/stdout; echo b >/dev/tty; echo c >$(tty)";

runTest("a command's terminal has a name that every user can open", () => {
  const path = makeRoot();
  const say = (...args: string[]) => {
    const { stdout } = new Deno.Command("script", {
      args: [
        "--quiet",
        "--return",
        "--command",
        shellCommand(args),
        "/dev/null",
      ],
      stdin: "null",
    }).outputSync();
    return text.decode(stdout).replaceAll("\r", "");
  };
  const script = ["/bin/sh", "-c", `PATH=/bin; ${SAYS}`];
  const expected = "/dev/console\na\nb\nc\n";
  for (const more of [[], ["--uid=1000"], ["--host-pid", "--uid=1000"]]) {
    const args = ["run", ...more, path, ...script];
    assertEquals(say(...commandLine(args, { permissions: ["-A"] })), expected);
  }
  // Where it is of another mount namespace.
  for (
    const [wrapper, ...more] of [
      [["unshare", "--mount"]],
      [["unshare", "--mount"], "--uid=1000"],
      [[], "--rootless"],
    ] as const
  ) {
    const args = ["run", ...more, path, ...script];
    const options = { permissions: ["-A"], wrapper: [...wrapper] };
    assertEquals(say(...commandLine(args, options)), expected);
  }
  // As under bubblewrap, which has no other users.
  if (missingCommand(["bwrap"]) !== null) return;
  const bwrap = ["bwrap", "--bind", path, "/", "--proc", "/proc"];
  assertEquals(say(...bwrap, "--dev", "/dev", ...script), expected);
}, { commands: ["script", "unshare", "setpriv"] });
