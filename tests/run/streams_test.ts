import { Directory } from "../../src/directory.ts";
import { run } from "../../src/run/run.ts";
import {
  keepers,
  makeRoot,
  runTest,
  shell,
  shellUntil,
  text,
  untilGone,
} from "../support/run_root.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SCRATCH } from "../support/testing.ts";
import { AT_FDCWD, O_CREAT, O_RDWR } from "../../src/sys/constants.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { openat2, pipe2 } from "../../src/sys/file.ts";

runTest("run() moves bytes and streams", async () => {
  using root = Directory.open(makeRoot());
  const bytes = crypto.getRandomValues(new Uint8Array(65536));
  const chunks = Array.from({ length: 32 }, () => bytes);
  const chunksOut: Uint8Array[] = [];
  const { stderr } = await run(root, ["sh", "-c", "tee /dev/stderr"], {
    stdin: ReadableStream.from(chunks),
    stdout: new WritableStream({
      write(chunk) {
        chunksOut.push(chunk);
      },
    }),
    stderr: "piped",
  });
  const whole = await new Blob(chunks).bytes();
  assertEquals(await new Blob(chunksOut as BlobPart[]).bytes(), whole);
  assertEquals(stderr, whole);
  const few = await run(root, ["cat"], { stdin: bytes, stdout: "piped" });
  assertEquals(few.stdout, bytes);
  assertEquals(few.stderr, undefined);
  // What the command does not read is no failure.
  const unread = await run(root, ["true"], { stdin: whole });
  assertEquals(unread.code, 0);
});

runTest(
  "run() tells of a stream that fails, when the command has ended",
  async () => {
    using root = Directory.open(makeRoot());
    await assertRejects(
      () =>
        run(root, ["cat"], {
          stdin: ReadableStream.from((async function* () {
            yield new Uint8Array(1);
            await Promise.reject(new Error("from in"));
          })()),
          stdout: "null",
        }),
      Error,
      "from in",
    );
    await assertRejects(
      () =>
        run(root, ["yes"], {
          stdout: new WritableStream({
            write() {
              throw new Error("from out");
            },
          }),
        }),
      Error,
      "from out",
    );
    assertEquals(keepers(), 0);
  },
);

runTest(
  "run() that is aborted waits for no stream of the caller's",
  async () => {
    using root = Directory.open(makeRoot());
    for (
      const [stuck, command] of [
        ["write", ["yes"]],
        ["write", ["echo", "x"]],
        ["close", ["echo", "x"]],
      ] as const
    ) {
      const called = Promise.withResolvers<void>();
      const goesOn = Promise.withResolvers<void>();
      const controller = new AbortController();
      const stdout = new WritableStream({
        [stuck]() {
          called.resolve();
          return goesOn.promise;
        },
      });
      const running = run(root, command, { stdout, signal: controller.signal });
      await called.promise;
      controller.abort(new Error("enough"));
      await assertRejects(() => running, Error, "enough");
      goesOn.resolve();
    }
    assertEquals(keepers(), 0);
  },
);

runTest("run() gives a command open descriptors", async () => {
  using root = Directory.open(makeRoot());
  const file = `${SCRATCH}/file`;
  using output = new OwnedFd(
    openat2(AT_FDCWD, file, { flags: O_CREAT | O_RDWR, mode: 0o600 }),
  );
  // Each is what another becomes.
  using input = new OwnedFd(
    openat2(AT_FDCWD, "/etc/passwd", { flags: 0 }),
  );
  const options = { stdin: input.fd, stdout: output.fd, stderr: output.fd };
  await run(root, ["sh", "-c", "head -c4; echo err >&2"], options);
  assertEquals(Deno.readTextFileSync(file), "rooterr\n");
  const crossed = await run(root, ["sh", "-c", "ls -l /proc/$$/fd >/crossed"], {
    stdin: 2,
    stdout: 0,
    stderr: 1,
    mounts: [{ type: "bind", source: file, target: "crossed" }],
  });
  assertEquals(crossed.code, 0);
  const led = [0, 1, 2].map((fd) => Deno.readLinkSync(`/proc/self/fd/${fd}`));
  const lines = Deno.readTextFileSync(file).trimEnd().split("\n").slice(1);
  const links = lines.map((line) => line.split(" -> ")[1]!);
  assertEquals([links[0], links[2]], [led[2], led[1]]);
});

runTest("run() does not wait for a daemon that holds the pipe", async () => {
  using root = Directory.open(makeRoot());
  const mark = crypto.randomUUID();
  // It leaves the group, and ends when it is killed here.
  const script = `mkfifo /dev/shm/p
    setsid sh -c 'echo $$; exec sh -c "read x" ${mark}' <>/dev/shm/p &
    read x`;
  const end = (pid: string) => Deno.kill(Number(pid), "SIGKILL");
  using input = new OwnedFd(pipe2()[0]);
  const options = { hostPid: true, stdin: input.fd, stderr: "null" } as const;
  const late = await shellUntil(2_000, root, `${script} <>/dev/shm/p`, {
    ...options,
    killAfter: 50,
  });
  assert(late.timedOut);
  end(late.out);
  await untilGone(mark);
  const controller = new AbortController();
  const pid = Promise.withResolvers<string>();
  const aborted = shell(root, `${script}; exit 0`, {
    ...options,
    signal: controller.signal,
    stdout: new WritableStream({
      write: (chunk) => pid.resolve(text.decode(chunk)),
    }),
  });
  const daemon = await pid.promise;
  controller.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  end(daemon);
  await untilGone(mark);
  assertEquals(keepers(), 0);
});

runTest(
  "run() does not wait for an input that can't be cancelled",
  async () => {
    using root = Directory.open(makeRoot());
    let cancelled = 0;
    for (const script of ["exit 3", "exec <&-; exit 3", "read -n1 x; exit 3"]) {
      const { code } = await shell(root, script, {
        stdin: new ReadableStream({
          pull: (controller) => controller.enqueue(new Uint8Array(65536)),
          cancel() {
            cancelled++;
            return new Promise(() => {});
          },
        }),
      });
      assertEquals(code, 3);
    }
    assertEquals(cancelled, 3);
  },
);
