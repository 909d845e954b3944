/** The runner as a part of another program: `serve()`. */
import {
  Action,
  appears,
  BUILD,
  Client,
  Lines,
  runnerTest,
} from "./support.ts";
import { SOCKET } from "./support.ts";
import { ROOT, SCRATCH } from "../support/testing.ts";
import { assertEquals, assertThrows } from "@std/assert";

runnerTest("serve() serves until it is disposed of", async () => {
  Deno.mkdirSync(BUILD);
  Deno.mkdirSync(`${SCRATCH}/socket`);
  const fixture = `${ROOT}tests/fixtures/serving.ts`;
  await using program = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", fixture, BUILD, SOCKET],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  await using lines = new Lines(program.stdout);
  const next = async () => JSON.parse((await lines.next())!);
  const writer = program.stdin.getWriter();
  const tell = (line: string) =>
    writer.write(new TextEncoder().encode(`${line}\n`));
  assertEquals(await next(), { running: 0 });
  await using client = new Client();

  const one = await client.run(new Action("1").shell("exit 3"));
  assertEquals([one.status, one.response.exitCode], ["OK", "3"]);
  assertEquals(await next(), { id: "1", status: "OK", exitCode: 3 });

  const action = new Action("2");
  const two = client.run(action.shell(": > /tmp/begun; sleep 1000"));
  await appears(`${action.path}/tmp/begun`);
  await tell("running");
  assertEquals(await next(), { running: 1 });
  await tell("kill");
  assertEquals((await two).status, "UNAVAILABLE");
  assertEquals(await next(), { id: "2", status: "UNAVAILABLE" });

  // Those that are killed then are not the last that it serves.
  const three = await client.run(new Action("3").request(["true"]));
  assertEquals(three.response?.exitCode, "0", three.message);
  assertEquals((await next()).id, "3");
  await tell("end");
  assertEquals(await next(), "ended");
  assertThrows(() => Deno.lstatSync(SOCKET), Deno.errors.NotFound);
  await writer.close();
  assertEquals((await program.status).code, 0);
});
