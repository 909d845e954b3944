import { Directory } from "../../src/directory.ts";
import type { RunOptions } from "../../src/run/options.ts";
import { run } from "../../src/run/run.ts";
import {
  evaluate,
  keepers,
  makeRoot,
  running,
  runTest,
  shell,
  shellUntil,
  text,
} from "../support/run_root.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { ROOT_URL } from "../support/testing.ts";
import { readFile } from "../../src/fd/open.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { pipe2 } from "../../src/sys/file.ts";

runTest(
  "run() leaves a command no signal ignored that Deno ignores",
  async () => {
    using root = Directory.open(makeRoot());
    const { out } = await shell(root, "cat /proc/self/status; :");
    const mask = (status: string, name: string) =>
      BigInt(`0x${new RegExp(`${name}:\\t(.*)`).exec(status)![1]}`);
    const own = mask(readFile("/proc/self/status"), "SigIgn");
    const sigpipe = 1n << 12n;
    assertEquals(own & sigpipe, sigpipe);
    // The C library's own, 32 and 33, are as it likes.
    const internal = 3n << 31n;
    assertEquals(
      mask(out, "SigIgn") & ~internal,
      own & ~sigpipe & ~internal,
    );
    assertEquals(mask(out, "SigBlk"), 0n);
  },
);

runTest("run() leaves ignored what who started this process ignored", () => {
  const path = makeRoot();
  const script = `
    import { Directory, run } from "${ROOT_URL}mod.ts";
    using root = Directory.open(${JSON.stringify(path)});
    for (const name of ["SIGINT", "SIGUSR1"]) {
      await run(root, ["/bin/grep", "SigIgn", "/proc/self/status"], {
        forwardSignals: [name],
      });
    }
    Deno.kill(Deno.pid, "SIGHUP");
    await new Promise((resolve) => {
      // It comes after the other.
      Deno.addSignalListener("SIGUSR2", resolve);
      Deno.kill(Deno.pid, "SIGUSR2");
    });
    Deno.exit(3);`;
  const wrapper = ["env", "--default-signal"];
  wrapper.push("--ignore-signal=HUP,INT,QUIT,TERM");
  const { code, stdout, stderr } = evaluate(script, wrapper);
  assertEquals(code, 3, text.decode(stderr));
  const masks = text.decode(stdout).trimEnd().split("\n")
    .map((line) => Number.parseInt(line.split("\t")[1]!, 16) & 0xffff);
  assertEquals(masks, [0x4007, 0x4007]);
});

runTest("run() ends a command that takes too long", async () => {
  using root = Directory.open(makeRoot());
  const wait = "echo; while :; do read -t 9 x; done";
  for (
    const [script, expected, options] of [
      [wait, [143, "SIGTERM", true], {}],
      [`trap 'exit 9' TERM; ${wait}`, [9, null, true], {}],
      [`trap '' TERM; ${wait}`, [137, "SIGKILL", true], { killAfter: 50 }],
    ] as [string, unknown[], RunOptions][]
  ) {
    using input = new OwnedFd(pipe2()[0]);
    const { code, signal, timedOut } = await shellUntil(100, root, script, {
      ...options,
      stdin: input.fd,
    });
    assertEquals([code, signal, timedOut], expected, script);
  }
  const { code, timedOut } = await shell(root, "exit 3", { timeout: 60_000 });
  assertEquals([code, timedOut], [3, false]);
});

runTest("run() kills a command when it is aborted", async () => {
  using root = Directory.open(makeRoot());
  const controller = new AbortController();
  const { result } = await running(root, "trap '' TERM; echo; cat", {
    signal: controller.signal,
  });
  const reason = new Error("no longer wanted");
  controller.abort(reason);
  assertEquals(await assertRejects(() => result, Error), reason);
  assertEquals(keepers(), 0);
  const before = assertRejects(() => run(root, ["true"], controller), Error);
  assertEquals(await before, reason);
});

runTest(
  "run() was in time when the command was, whoever reads on",
  async () => {
    using root = Directory.open(makeRoot());
    const chunks: Uint8Array[] = [];
    /** Reads longer than the command may take. */
    const runReading = (timeout: number) =>
      shell(root, "echo a; echo b >&2", {
        timeout,
        killAfter: 0,
        stdout: new WritableStream({
          async write(chunk) {
            await new Promise((resolve) => setTimeout(resolve, 2 * timeout));
            chunks.push(chunk.slice());
          },
        }),
      });
    let { timedOut, code } = await runReading(400);
    // The machine may be busy.
    if (timedOut) ({ timedOut, code } = await runReading(8_000));
    assertEquals([timedOut, code], [false, 0]);
    assertEquals(text.decode(chunks[0]), "a\n");
  },
);

runTest(
  "run() forwards signals, and ends a command as they would",
  async () => {
    using root = Directory.open(makeRoot());
    for (
      const [script, expected] of [
        ["echo; cat", [138, "SIGUSR1"]],
        ["trap 'exit 5' USR1; echo; while :; do read x; done", [5, null]],
      ] as const
    ) {
      const { result } = await running(root, script, {
        forwardSignals: ["SIGUSR1"],
      });
      Deno.kill(Deno.pid, "SIGUSR1");
      const { code, signal } = await result;
      assertEquals([code, signal], [...expected]);
    }
    const { end, result } = await running(root, "trap '' USR1; echo; cat", {
      forwardSignals: ["SIGUSR1"],
    });
    Deno.kill(Deno.pid, "SIGUSR1");
    end();
    assertEquals((await result).code, 0);
  },
);
