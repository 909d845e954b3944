/**
 * What a runner has does not grow with the actions that it has run. A sample is
 * run with the other tests; `deno task test:long` runs LONG_ACTIONS, and prints
 * what there is after each tenth.
 */
import {
  Action,
  appears,
  Client,
  RunnerProcess,
  runnerTest,
} from "./support.ts";
import {
  assertFlat,
  type Possessions,
  possessionsOf,
} from "../support/possessions.ts";
import { timesOf } from "../support/testing.ts";
import { assertEquals } from "@std/assert";

const ACTIONS = timesOf("LONG_ACTIONS", 10_000);

const AT_ONCE = 8;

/**
 * How many KiB more a runner may have at the end, garbage that waits for its
 * collection among them. 4 KiB lost in each of 9,000 actions are 36,000.
 */
const MEMORY = 24_000;

/** What each client asks for in turn, and the answer. */
const KINDS: readonly {
  readonly script?: string;
  readonly more?: object;
  readonly timeout?: number;
  readonly cancelled?: boolean;
  readonly answer: string;
}[] = [
  { script: "echo out; echo made > out", answer: "0" },
  { script: "true", answer: "0" },
  { script: "exit 3", answer: "3" },
  { script: "kill -9 $$", answer: "-1" },
  { script: "(sleep 100 &) & cat /proc/self/stat", answer: "0" },
  { more: { arguments: ["nothing"] }, answer: "127" },
  { more: { arguments: [] }, answer: "INVALID_ARGUMENT" },
  { more: { stdoutPath: "../out" }, answer: "INVALID_ARGUMENT" },
  {
    script: "sleep 100 & sleep 100",
    timeout: 0.1,
    answer: "DEADLINE_EXCEEDED",
  },
  { script: "sleep 100 & sleep 100", cancelled: true, answer: "CANCELLED" },
];

/** Runs one action, and removes it as a worker does. */
async function once(client: Client, at: number): Promise<void> {
  const { script = "", more, timeout, cancelled, answer } = KINDS[
    Math.floor(at / AT_ONCE) % KINDS.length
  ]!;
  const action = new Action(String(at));
  const call = client.call(
    "run",
    action.shell(script, more),
    timeout === undefined ? {} : { timeout },
  );
  if (cancelled) {
    // One that is not there yet is none.
    await appears(`${action.path}/stdout`);
    call.cancel();
  }
  const { status, response } = await call.answer;
  assertEquals(status === "OK" ? response.exitCode : status, answer);
  // Until the answer is late, or there is none, the command has its directory.
  if (timeout !== undefined || cancelled) late.push(action);
  else action[Symbol.dispose]();
}

/** Actions that may go on for a moment. */
const late: Action[] = [];

const count = ACTIONS ?? 160;

runnerTest(`a runner has nothing more after ${count} actions`, async () => {
  await using runner = await RunnerProcess.start(undefined, [SMALL_HEAP]);
  await using client = new Client();
  const lines = read(runner);
  let at = 0;
  const tenths: Possessions[] = [];
  for (let tenth = 1; tenth <= 10; tenth++) {
    const end = Math.floor(count * tenth / 10);
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      while (at < end) await once(client, at++);
    }));
    const possessions = await settled(runner.process.pid, tenths[0]);
    while (late.length > 0) late.pop()![Symbol.dispose]();
    if (ACTIONS !== undefined) console.log(JSON.stringify(possessions));
    tenths.push(possessions);
  }
  assertFlat(tenths, MEMORY);
  assertEquals((await runner.end()).code, 0);
  await lines;
});

/** By itself V8 lets up to 100 MB of garbage wait. A runner has 16 MB in use. */
const SMALL_HEAP = "--v8-flags=--max-semi-space-size=2,--max-old-space-size=32";

/** Reads what a runner says: it waits for that. */
async function read(runner: RunnerProcess): Promise<void> {
  while (await runner.log.next() !== null);
}

/**
 * What a runner has when no action runs any more: those that were cancelled end
 * after their answer.
 *
 * @param first What it had at first.
 */
async function settled(pid: number, first?: Possessions): Promise<Possessions> {
  const end = performance.now() + LONGEST;
  for (;;) {
    const now = possessionsOf(pid);
    const isOver = now.children + now.zombies === 0 &&
      now.descriptors <= (first?.descriptors ?? Infinity);
    if (isOver || performance.now() > end) return now;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** So many milliseconds an end may take. */
const LONGEST = 20_000;
