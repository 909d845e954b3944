/** The runner as a program: its socket, its end, its configuration, its log. */
import {
  Action,
  appears,
  BUILD,
  Client,
  RunnerProcess,
  runnerTest,
  SOCKET,
} from "./support.ts";
import { programTest, run } from "../support/program.ts";
import { ROOT, SCRATCH } from "../support/testing.ts";
import { processesWith } from "../support/run_root.ts";
import { open as openPath } from "../support/scratch.ts";
import { LOCK_EX, O_RDONLY } from "../../src/sys/constants.ts";
import { flock } from "../../src/sys/file.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import { Ajv2020 } from "npm:ajv@8.17.1/dist/2020.js";

const OPTIONS = ["--build-directory", BUILD, "--listen", SOCKET];

/** Runs the program to its end. */
function program(args: string[]) {
  return run(args, { entry: "runner.ts", permissions: ["-A"] });
}

function makeDirectories(): void {
  Deno.mkdirSync(BUILD);
  Deno.mkdirSync(`${SCRATCH}/socket`);
}

/** Waits until an action of this name has begun. */
const begun = (action: Action) => appears(`${action.path}/tmp/begun`);

const token = () => `31${crypto.getRandomValues(new Uint32Array(1))[0]}`;

runnerTest(
  "a runner that is killed leaves no command, and the next one serves",
  async () => {
    const word = token();
    const first = await RunnerProcess.start();
    await using client = new Client();
    const action = new Action("1");
    const answer = client.run(
      action.shell(
        `trap '' TERM; sleep ${word} & : > /tmp/begun; sleep ${word}`,
      ),
    );
    await begun(action);
    assert(processesWith(word).length >= 2);
    await first.end("SIGKILL");
    assertEquals((await answer).status, "UNAVAILABLE");
    // The kernel ends them; nobody is told when it has.
    while (processesWith(word).length > 0) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    // The socket is there still, and nobody serves it.
    assert(Deno.lstatSync(SOCKET).isSocket);
    await using _next = await RunnerProcess.start();
    const next = await client.run(new Action("2").request(["true"]), {
      wait: true,
    });
    assertEquals(next.status, "OK");
  },
);

runnerTest("a client that takes its leave ends nothing else", async () => {
  await using runner = await RunnerProcess.start();
  // Only here: to be loaded it takes a permission.
  const { Client: GrpcClient, credentials } = await import("@grpc/grpc-js");
  // It tells the server so: GOAWAY.
  for (let i = 0; i < 3; i++) {
    const client = new GrpcClient(
      `unix:${SOCKET}`,
      credentials.createInsecure(),
    );
    for (let call = 0; call < 150; call++) {
      await new Promise<void>((resolve, reject) =>
        client.makeUnaryRequest(
          "/buildbarn.runner.Runner/CheckReadiness",
          () => Buffer.alloc(0),
          (bytes) => bytes,
          null,
          (error) => error === null ? resolve() : reject(error),
        )
      );
    }
    client.close();
  }
  await using client = new Client();
  const answer = await client.call("checkReadiness", { path: "" }).answer;
  assertEquals(answer.status, "OK");
  assertEquals((await runner.end()).code, 0);
});

runnerTest("SIGTERM lets actions end, for as long as it is told", async () => {
  const runner = await RunnerProcess.start([...OPTIONS, "--grace", "1h"]);
  await using client = new Client();
  const action = new Action("1");
  const answer = client.run(
    action.shell(": > /tmp/begun; while [ ! -e /tmp/go ]; do sleep 0.01; done"),
  );
  await begun(action);
  runner.process.kill("SIGTERM");
  // From then on nobody else is served.
  for (;;) {
    try {
      Deno.lstatSync(SOCKET);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) break;
      throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  Deno.writeTextFileSync(`${action.path}/tmp/go`, "");
  const { status, message } = await answer;
  assertEquals([status, message], ["OK", undefined]);
  assertEquals((await runner.process.status).code, 0);
  await runner.log[Symbol.asyncDispose]();
});

for (
  const [how, options, signals] of [
    ["SIGTERM ends actions without a grace", [], 1],
    ["a second SIGTERM ends actions at once", ["--grace", "1h"], 2],
    ["SIGTERM ends actions after the grace", ["--grace", "0.1s"], 1],
  ] as const
) {
  runnerTest(how, async () => {
    const word = token();
    const runner = await RunnerProcess.start([...OPTIONS, ...options]);
    await using client = new Client();
    const action = new Action("1");
    const answer = client.run(
      action.shell(`trap '' TERM; : > /tmp/begun; sleep ${word}`),
    );
    await begun(action);
    // This alone does nothing.
    runner.process.kill("SIGHUP");
    for (let i = 0; i < signals; i++) {
      runner.process.kill("SIGTERM");
      // Two that come at once are one: signal(7).
      const isThere = () => {
        try {
          return Deno.lstatSync(SOCKET).isSocket;
        } catch {
          return false;
        }
      };
      while (i === 0 && isThere()) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
    const { status, message } = await answer;
    assertEquals([status, message], [
      "UNAVAILABLE",
      "The runner is being stopped",
    ]);
    assertEquals((await runner.process.status).code, 0);
    assertEquals(processesWith(word), []);
    await runner.log[Symbol.asyncDispose]();
  });
}

runnerTest("a socket that is served is left alone", async () => {
  await using _runner = await RunnerProcess.start();
  const second = program(OPTIONS);
  assertEquals(second.code, 1);
  assertMatch(second.stderr, /is served already/);
  await using client = new Client();
  const answer = await client.call("checkReadiness", { path: "" }).answer;
  assertEquals(answer.status, "OK");
});

runnerTest(
  "a socket in the place of a runner's is not removed with it",
  async () => {
    const runner = await RunnerProcess.start();
    Deno.removeSync(SOCKET);
    using other = Deno.listen({ transport: "unix", path: SOCKET });
    await runner.end();
    assert(Deno.lstatSync(SOCKET).isSocket);
    other.close();
  },
);

programTest("a socket's place must be root's alone", () => {
  makeDirectories();
  Deno.writeTextFileSync(`${SCRATCH}/socket/file`, "kept");
  const listen = (path: string) =>
    program(["--build-directory", BUILD, "--listen", path]);
  const isFile = listen(`${SCRATCH}/socket/file`);
  assertEquals(isFile.code, 1);
  assertMatch(isFile.stderr, /is no socket/);
  assertEquals(Deno.readTextFileSync(`${SCRATCH}/socket/file`), "kept");
  {
    // Whoever may read the directory can do that.
    using socket = openPath(`${SCRATCH}/socket`, O_RDONLY);
    flock(socket.fd, LOCK_EX);
    const { code, stderr } = listen(`${SCRATCH}/socket/other`);
    assertEquals(code, 1);
    assertMatch(stderr, /socket" is locked by another process/);
  }
  const open = `${SCRATCH}/open`;
  Deno.mkdirSync(`${open}/closed/below`, { recursive: true });
  const refused = /Others than root may write to ".*\/open/;
  for (const mode of [0o777, 0o1777]) {
    Deno.chmodSync(open, mode);
    assertMatch(listen(`${open}/runner`).stderr, refused);
  }
  Deno.chmodSync(open, 0o777);
  assertMatch(
    listen(`${open}/closed/below/runner`).stderr,
    /write to ".*below\/\.\.\/\.\."/,
  );
  Deno.chmodSync(open, 0o755);
  Deno.chownSync(`${open}/closed`, 1000, 1000);
  assertMatch(
    listen(`${open}/closed/below/runner`).stderr,
    /write to ".*below\/\.\."/,
  );
  Deno.chownSync(`${open}/closed`, 0, 1000);
  Deno.chmodSync(`${open}/closed`, 0o775);
  assertMatch(
    listen(`${open}/closed/below/runner`).stderr,
    /write to ".*below\/\.\."/,
  );
  assertMatch(listen(`${SCRATCH}/nowhere/runner`).stderr, /ENOENT/);
  assertMatch(listen(`/${"x".repeat(107)}`).stderr, /107 bytes at the most/);
});

runnerTest(
  "a socket in a directory of root's in a sticky one is well",
  async () => {
    Deno.mkdirSync(`${SCRATCH}/sticky/closed`, { recursive: true });
    Deno.chmodSync(`${SCRATCH}/sticky`, 0o1777);
    const socket = `${SCRATCH}/sticky/closed/runner`;
    await using _runner = await RunnerProcess.start([
      ...["--build-directory", BUILD, "--listen", socket],
    ]);
    await using client = new Client(socket);
    const answer = await client.call("checkReadiness", { path: "" }).answer;
    assertEquals(answer.status, "OK");
  },
);

runnerTest("the documentation's configuration serves", async () => {
  const text = Deno.readTextFileSync(`${ROOT}docs/buildbarn.md`);
  const [, json] = /^```json\n([^]*?)^```$/m.exec(text)!;
  const file = `${SCRATCH}/runner.json`;
  Deno.writeTextFileSync(file, json!.replaceAll("/worker", SCRATCH));
  Deno.mkdirSync(`${SCRATCH}/runner`);
  await using _runner = await RunnerProcess.start(["--config", file]);
  await using client = new Client(`${SCRATCH}/runner/socket`);
  const answer = await client.run(new Action("1").shell("echo $TMPDIR"));
  assertEquals(answer.response.exitCode, "0");
});

runnerTest(
  "a configuration of bb_runner's serves on all its sockets",
  async () => {
    const file = `${SCRATCH}/bb_runner.json`;
    Deno.mkdirSync(`${SCRATCH}/socket`);
    Deno.writeTextFileSync(
      file,
      JSON.stringify({
        buildDirectoryPath: BUILD,
        global: { setUmask: { umask: 0o077 } },
        grpcServers: [
          { listenPaths: [SOCKET], authenticationPolicy: { allow: {} } },
          { listenPaths: [`${SOCKET}2`] },
        ],
        runCommandsAs: { userId: 1234, groupId: 2345 },
      }),
    );
    await using _runner = await RunnerProcess.start(["--config", file]);
    for (const [i, socket] of [SOCKET, `${SOCKET}2`].entries()) {
      await using client = new Client(socket);
      const action = new Action(String(i));
      const answer = await client.run(action.shell("id; echo $TMPDIR"));
      assertEquals(answer.response.exitCode, "0");
      // Without setTmpdirEnvironmentVariable.
      assertEquals(action.stdout, "uid=1234 gid=2345\n\n");
      assertEquals(Deno.statSync(`${action.path}/stdout`).mode! & 0o777, 0o600);
    }
  },
);

runnerTest("there is a line for each action", async () => {
  await using runner = await RunnerProcess.start([
    "--bind",
    "/etc:/host:ro",
    ...OPTIONS,
  ]);
  await using client = new Client();
  await client.run(new Action("a/1").shell("test -e /host/passwd && exit 4"));
  assertMatch(
    await runner.log.find(/./),
    /^a\/1: exit 4 in \d+ ms, processor \d+ ms, \d+\.\d MB: sh -c "test -e /,
  );
  await client.run(
    new Action("2").request(["true"], { workingDirectory: "\x1b[2J" }),
  );
  assertMatch(
    await runner.log.find(/./),
    /^2: INVALID_ARGUMENT \(.*\\x1b\[2J.*\) in \d+ ms: true$/,
  );
});

runnerTest("the lines of JSON are what docs/schema.json says", async () => {
  const schema = JSON.parse(Deno.readTextFileSync(`${ROOT}docs/schema.json`));
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
  ajv.addSchema({ ...schema, $id: "schema" });
  const check = (name: string, line: string) => {
    const validate = ajv.getSchema(`schema#/$defs/${name}`)!;
    const data = JSON.parse(line);
    assert(validate(data), ajv.errorsText(validate.errors) + line);
    const known = Object.keys(schema.$defs[name].properties);
    assertEquals(Object.keys(data).filter((key) => !known.includes(key)), []);
    return data;
  };
  await using runner = await RunnerProcess.start(["--json", ...OPTIONS]);
  await using client = new Client();
  await client.run(new Action("1").shell("kill $$"));
  const killed = check("runner", await runner.log.find(/./));
  assertEquals([killed.id, killed.status, killed.exitCode, killed.signal], [
    ...["1", "OK", -1, "SIGTERM"],
  ]);
  await client.run(new Action("2").request([]));
  const failed = check("runner", await runner.log.find(/./));
  assertEquals(failed.status, "INVALID_ARGUMENT");
  const checked = program(["--check-config", "--json", ...OPTIONS]);
  check("runner-check", checked.stdout);
});

programTest("a configuration is checked, and nothing done", () => {
  const file = `${SCRATCH}/config.json`;
  const check = (config: unknown) => {
    Deno.writeTextFileSync(file, JSON.stringify(config));
    return program(["--check-config", "--config", file]);
  };
  const config = {
    buildDirectoryPath: "/nowhere",
    grpcServers: [{ listenPaths: ["/nowhere/runner"] }],
  };
  assertEquals(check(config), { code: 0, stdout: "Valid\n", stderr: "" });
  const refused = check({ ...config, cleanTemporaryDirectories: ["/tmp"] });
  assertEquals([refused.code, refused.stdout], [1, ""]);
  assertMatch(
    refused.stderr,
    /config\.json: cleanTemporaryDirectories can't be honoured: each action has/,
  );
  const mode = check({ ...config, runCommandsAs: { userId: 0 } });
  assertEquals(mode.code, 0);
  const args = ["--check-config", "--config", file, "--protect-inputs", "mode"];
  assertMatch(program(args).stderr, /"mode" for commands of root/);
  assertEquals(program([...args, "--user", "1"]).code, 0);
  assertMatch(program(["--config", `${SCRATCH}/none`]).stderr, /ENOENT/);
  assertMatch(program([]).stderr, /--config is missing/);
  assertMatch(program(["--listen", "x"]).stderr, /--config is missing/);
  assertMatch(program([...OPTIONS, "--protect-inputs", "x"]).stderr, /one of/);
  assertMatch(program([...OPTIONS, "--user", "x"]).stderr, /must be an id/);
});

programTest("mountat runner is the same program", () => {
  const ended = run(["runner", "--check-config", ...OPTIONS], {
    permissions: ["-A"],
  });
  assertEquals(ended, { code: 0, stdout: "Valid\n", stderr: "" });
});

programTest("nobody but the runner has its packages", () => {
  for (const entry of ["mod.ts", "cli.ts", "runner.ts"]) {
    const { stdout } = new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", entry],
      cwd: ROOT,
    }).outputSync();
    const { modules } = JSON.parse(new TextDecoder().decode(stdout));
    const has = modules.some(({ specifier }: { specifier: string }) =>
      /^npm:.*(grpc-js|bufbuild)/.test(specifier)
    );
    assertEquals(has, entry === "runner.ts", entry);
  }
});
