/**
 * Arbitrary requests to a runner: it answers each with a status that it has, and
 * serves the next. A sample is tried with the other tests; `deno task test:fuzz`
 * tries FUZZ_RUNS of each kind, from FUZZ_SEED on.
 */
import fc from "npm:fast-check@4.11.0";
import { create, toBinary } from "@bufbuild/protobuf";
import { Buffer } from "node:buffer";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { RunRequestSchema } from "../../src/runner/generated/buildbarn/runner/runner_pb.ts";
import { assertTyped, RUNS, textOf } from "../support/fuzz.ts";
import { possessionsOf } from "../support/possessions.ts";
import { SCRATCH } from "../support/testing.ts";
import { Action, BUILD, RunnerProcess, runnerTest, SOCKET } from "./support.ts";

const SAMPLE = 100;

/**
 * What an answer to an arbitrary request may be. The last is of HTTP/2 itself, for
 * a client that gives up a thousand streams, and more than 33 in a second.
 */
const STATUSES = [
  ...["OK", "UNKNOWN", "INVALID_ARGUMENT", "INTERNAL", "RESOURCE_EXHAUSTED"],
];

/** Errors that nobody has thought of. */
const ENGINE =
  /is not (a function|iterable|defined)|Cannot (read|set|mix|convert)|undefined|\[object /;

/** What a runner answered: a status, and what it says. */
type Ask = (method: string, bytes: Uint8Array) => Promise<[string, string]>;

/** Serves; afterwards the runner has nothing more, and nothing was made outside. */
function fuzzedTest(name: string, fn: (ask: Ask) => Promise<void>): void {
  runnerTest(`fuzz: ${name}`, async () => {
    // Only here: to be loaded it takes a permission.
    const { Client, credentials, status } = await import("@grpc/grpc-js");
    await using runner = await RunnerProcess.start();
    const lines = (async () => {
      while (await runner.log.next() !== null);
    })();
    Deno.mkdirSync(`${SCRATCH}/outside`);
    const before = namesIn(SCRATCH);
    const client = new Client(`unix:${SOCKET}`, credentials.createInsecure());
    const ask: Ask = (method, bytes) =>
      new Promise((resolve) =>
        client.makeUnaryRequest(
          `/buildbarn.runner.Runner/${method}`,
          () => Buffer.from(bytes),
          (bytes) => bytes,
          null,
          (error) =>
            error === null
              ? resolve(["OK", ""])
              : resolve([status[error.code], error.details]),
        )
      );
    assertEquals(await ask("CheckReadiness", new Uint8Array()), ["OK", ""]);
    try {
      await fn(ask);
      assertEquals(await ask("CheckReadiness", new Uint8Array()), ["OK", ""]);
      assertEquals(possessionsOf(runner.process.pid).children, 0);
    } finally {
      client.close();
    }
    assertEquals(namesIn(SCRATCH), before);
    assertEquals(namesIn(`${SCRATCH}/outside`), []);
    assertEquals((await runner.end()).code, 0);
    await lines;
  });
}

function namesIn(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name).sort();
}

function checkAnswer([status, message]: [string, string]): void {
  assert(STATUSES.includes(status), `${status}: ${message}`);
  if (status !== "OK") assertMatch(message, /./);
  assert(!ENGINE.test(message), message);
}

/** An action as a worker makes it, and what strangers have left in it. */
function layOut(): Action {
  const action = new Action("1");
  Deno.symlinkSync(`${SCRATCH}/outside`, `${action.path}/link`);
  Deno.symlinkSync("../../outside", `${action.root}/link`);
  return action;
}

const path = textOf([
  ...["1", "root", "tmp", "server_logs", "link", "bin", "/", "/", ".", ".."],
  ...["stdout", "x".repeat(300)],
], 6);

/** Mostly what a worker says. */
function mostly(name: string): fc.Arbitrary<string> {
  return fc.oneof({ arbitrary: fc.constant(name), weight: 3 }, path);
}

const request = fc.record({
  arguments: fc.oneof(
    fc.constant<string[]>(["true"]),
    fc.array(fc.oneof(path, fc.string({ unit: "binary" })), { maxLength: 4 }),
  ),
  environmentVariables: fc.dictionary(
    fc.oneof(fc.constantFrom("PATH", "TMPDIR", "A=B", ""), path),
    fc.oneof(fc.constant("/bin"), path),
  ),
  workingDirectory: mostly(""),
  stdoutPath: mostly("1/stdout"),
  stderrPath: mostly("1/stderr"),
  inputRootDirectory: mostly("1/root"),
  temporaryDirectory: mostly("1/tmp"),
  serverLogsDirectory: mostly("1/server_logs"),
}).map((fields) =>
  toBinary(RunRequestSchema, create(RunRequestSchema, fields))
);

fuzzedTest("fields of a request", async (ask) => {
  await assertTyped("requests", request, [], async (bytes) => {
    using _action = layOut();
    checkAnswer(await ask("Run", bytes));
    // What else the request has named there.
    for (const name of namesIn(BUILD)) {
      if (!["cached-busybox", "1"].includes(name)) {
        Deno.removeSync(`${BUILD}/${name}`, { recursive: true });
      }
    }
  }, RUNS ?? SAMPLE);
});

/** A message of which some bytes are others, or missing. */
const damaged = fc.tuple(
  request,
  fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
    maxLength: 4,
  }),
  fc.nat(),
).map(([bytes, changes, end]) => {
  const copy = bytes.slice(
    0,
    end % 3 === 0 ? end % (bytes.length + 1) : undefined,
  );
  for (const [at, byte] of changes) {
    if (copy.length > 0) copy[at % copy.length] = byte;
  }
  return copy;
});

const bytes = fc.oneof(fc.uint8Array({ maxLength: 64 }), damaged);

fuzzedTest("bytes of a message", async (ask) => {
  await assertTyped("bytes", bytes, [], async (message) => {
    using _action = layOut();
    checkAnswer(await ask("Run", message));
    checkAnswer(await ask("CheckReadiness", message));
    const [status] = await ask("Other", message);
    assert(["UNIMPLEMENTED", "RESOURCE_EXHAUSTED"].includes(status!), status);
    for (const name of namesIn(BUILD)) {
      if (!["cached-busybox", "1"].includes(name)) {
        Deno.removeSync(`${BUILD}/${name}`, { recursive: true });
      }
    }
  }, RUNS ?? SAMPLE);
});

/** The beginning of HTTP/2, and pieces of frames. */
const PREFACE = new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const frame = fc.tuple(
  fc.uint8Array({ maxLength: 40 }),
  fc.integer({ min: 0, max: 12 }),
  fc.integer({ min: 0, max: 255 }),
  fc.nat(5),
).map(([payload, type, flags, stream]) =>
  new Uint8Array([
    0,
    0,
    payload.length,
    type,
    flags,
    0,
    0,
    0,
    stream,
    ...payload,
  ])
);
const stream = fc.tuple(
  fc.boolean(),
  fc.array(fc.oneof(frame, frame, fc.uint8Array({ maxLength: 40 }))),
).map(([isHttp, pieces]) => [...isHttp ? [PREFACE] : [], ...pieces]);

fuzzedTest("bytes of a connection", async (ask) => {
  await assertTyped("connections", stream, [], async (pieces) => {
    using socket = await Deno.connect({ transport: "unix", path: SOCKET });
    try {
      for (const piece of pieces) await socket.write(piece);
      await socket.closeWrite();
      const answer = new Uint8Array(1024);
      while (await socket.read(answer) !== null);
    } catch (error) {
      // It has closed the connection.
      const closed = error instanceof Deno.errors.BrokenPipe ||
        error instanceof Deno.errors.ConnectionReset ||
        error instanceof Deno.errors.NotConnected;
      if (!closed) throw error;
    }
    assertEquals(await ask("CheckReadiness", new Uint8Array()), ["OK", ""]);
  }, RUNS ?? SAMPLE);
});
