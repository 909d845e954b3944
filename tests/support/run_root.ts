/** Roots to run commands in, and what commands leave. */
import { has } from "./since.ts";
import { withoutDetachedTargets } from "./scratch.ts";
import type { Directory } from "../../src/directory.ts";
import type { MountTree } from "../../src/mount/tree.ts";
import type { RunOptions, RunResult } from "../../src/run/options.ts";
import { run } from "../../src/run/run.ts";
import { kernelTest, type Needs, ROOT, SCRATCH } from "./testing.ts";
import { assert } from "@std/assert";
import { endSpawner } from "../../src/run/spawner.ts";
import { endStagingThread } from "../../src/mount/staging.ts";

/** Reads what commands write. */
export const text = new TextDecoder();

/** What a busybox is called. */
let applets: string[] | undefined;

/** A root with nothing in it but a static busybox, at `bin`. */
export function makeRoot(name = "root"): string {
  const root = `${SCRATCH}/${name}`;
  Deno.mkdirSync(`${root}/bin`, { recursive: true });
  Deno.copyFileSync("/bin/busybox", `${root}/bin/busybox`);
  applets ??= text.decode(
    new Deno.Command("/bin/busybox", { args: ["--list"] }).outputSync().stdout,
  ).trim().split("\n");
  for (const applet of applets) {
    if (applet !== "busybox") {
      Deno.symlinkSync("busybox", `${root}/bin/${applet}`);
    }
  }
  return root;
}

/** Registers a test that runs commands in a root. */
export function runTest(
  name: string,
  fn: () => void | Promise<void>,
  needs: Needs = {},
): void {
  const { permissions = [], commands = [] } = needs;
  kernelTest(name, async () => {
    try {
      await fn();
    } finally {
      // Their descriptors would be those of this test otherwise.
      endSpawner();
      endStagingThread();
    }
  }, {
    ...needs,
    permissions: ["read", "write", "run", "env", ...permissions],
    commands: ["busybox", ...commands],
  });
}

/** The processes that have a text in their command line, with their names. */
export function processesWith(text: string): string[] {
  const found: string[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const line = Deno.readTextFileSync(`/proc/${name}/cmdline`);
      if (line.includes(text)) found.push(line.replaceAll("\0", " "));
    } catch (error) {
      // It has ended.
      if (!(error instanceof Deno.errors.NotFound || isGone(error))) {
        throw error;
      }
    }
  }
  return found;
}

function isGone(error: unknown): boolean {
  return error instanceof Error &&
    ("code" in error && error.code === "ESRCH" ||
      // What ends between its opening and the reading has no code.
      error.message.includes("os error 3)"));
}

/** How many first processes of commands are children of this process. */
export function keepers(): number {
  let count = 0;
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const status = Deno.readTextFileSync(`/proc/${name}/status`);
      if (
        status.startsWith("Name:\tmountat init\n") &&
        status.includes(`\nPPid:\t${Deno.pid}\n`)
      ) count++;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound || isGone(error))) {
        throw error;
      }
    }
  }
  return count;
}

/** Runs a shell's script, and gives what it wrote. */
export async function shell(
  root: Directory | MountTree,
  script: string,
  options: RunOptions = {},
): Promise<RunResult & { out: string; err: string }> {
  const result = await run(root, ["sh", "-c", script], {
    env: { PATH: "/bin" },
    clearEnv: true,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...options,
  });
  return {
    ...result,
    out: text.decode(result.stdout),
    err: text.decode(result.stderr),
  };
}

/**
 * Runs a shell's script that ends by its timeout, once it has written something:
 * if it had not by then, on a busy machine, it is run again with a longer one.
 */
export async function shellUntil(
  timeout: number,
  root: Directory | MountTree,
  script: string,
  options: RunOptions = {},
): Promise<RunResult & { out: string; err: string }> {
  const result = await shell(root, script, { ...options, timeout });
  return result.out === "" && timeout < 60_000
    ? await shellUntil(4 * timeout, root, script, options)
    : result;
}

/**
 * Registers a test for both ways to build a root, where the kernel has both.
 *
 * @param fn Is told true for a root that is built in a namespace of its own.
 */
export function rootTest(
  name: string,
  fn: (apart: boolean) => Promise<void>,
): void {
  runTest(name, () => fn(false));
  if (!has("attachToDetached")) return;
  runTest(`${name}, built in a namespace of its own`, async () => {
    using _ = withoutDetachedTargets();
    await fn(true);
  });
}

/** A command that has said that it runs, by its first output, and goes on until its input ends. */
export async function running(
  root: Directory | MountTree,
  script: string,
  options: RunOptions = {},
): Promise<{ end(): void; result: Promise<RunResult> }> {
  let end!: () => void;
  const held = new Promise<void>((resolve) => end = resolve);
  const said = Promise.withResolvers<void>();
  const result = shell(root, script, {
    stdin: new ReadableStream({
      async pull(controller) {
        await held;
        controller.close();
      },
    }, { highWaterMark: 0 }),
    stdout: new WritableStream({ write: () => said.resolve() }),
    ...options,
  });
  await Promise.race([said.promise, result]);
  return { end, result };
}

/** The names in a directory, sorted. */
export function names(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name).sort();
}

/** Runs a program's text by a command that runs another. */
export function evaluate(
  script: string,
  [command, ...args]: string[],
): Deno.CommandOutput {
  const deno = [Deno.execPath(), "eval", `--config=${ROOT}deno.json`, script];
  return new Deno.Command(command!, {
    args: [...args, ...deno],
    stdin: "null",
  }).outputSync();
}

/** Waits until what was killed is gone: another process reaps it. */
export async function untilGone(mark: string): Promise<void> {
  for (let left = 1000; processesWith(mark).length > 0; left--) {
    assert(left > 0, "A process of the group is left");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
